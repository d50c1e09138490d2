"""An empty table to be filled in by hand: its header, one made-up customer, and what each column may hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from churnlib.data.events import events_of
from churnlib.data.profile import draw_rows
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Column, Kind, Role, Schema

EXAMPLE = "EXAMPLE"
"""Name of the made-up customer."""

SHOWN_WORDS = 12
"""Categories that are named; of more it is said how many there are."""

_DRAWN = 20
"""Made-up rows, of which each column shows its first value."""

_FORMS = {
    Kind.datetime: "date, such as 2024-12-31",
    Kind.boolean: "yes or no",
    Kind.sequence: "list of numbers, oldest first, such as [1.5, 2]",
    Kind.text: "text",
    Kind.identifier: "name or number",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the template.

    Attributes:
        name: Of the column.
        needed: Whether each row must have a value.
        holds: What it may hold, in words.
        example: A value, as text.
    """

    name: str
    needed: bool
    holds: str
    example: str


def template_of(schema: Schema, profile: Mapping[str, Any], *, labelled: bool = False) -> list[Field]:
    """Return the columns that a person has to fill in for a schema.

    Columns that nobody reads, and those that are made from event tables, are left out. The example is no customer: each
    of its values is drawn on its own, from what many customers have in common.

    Args:
        schema: Of the customers.
        profile: Of their columns, as :func:`churnlib.data.profile.build_profile` returns it.
        labelled: Whether the target is a column too, for customers to learn from.
    """
    made = {name for definition in events_of(schema) for name in definition.names}
    rows = draw_rows(dict(profile), schema, _DRAWN, seed=0)
    fields = []
    for column in schema.columns:
        if column.name in made:
            continue
        if column.role is Role.id:
            fields.insert(0, Field(column.name, True, "name or number of the customer", EXAMPLE))
        elif column.role in (Role.feature, Role.time, Role.elapsed):
            found = next((row[column.name] for row in rows if row.get(column.name) is not None), None)
            words = _words(column, profile["columns"].get(column.name, {}))
            fields.append(Field(column.name, not column.nullable, words, _text(found)))
    if labelled and schema.target is not None:
        fields.append(Field(schema.target, True, " or ".join(schema.classes), schema.classes[0]))
    return fields


def write_template(fields: list[Field], path: str | Path, *, separator: str = ",") -> Path:
    """Write the header and the example as CSV, and what the columns may hold as a table beside it.

    Returns:
        The path of the second file, which ends in ``.md``.

    Raises:
        ConfigError: If one of the files is there already.
        DataError: If they cannot be written.
    """
    target, notes = Path(path), Path(path).with_suffix(".md")
    for file in (target, notes):
        if file.exists():
            raise ConfigError(f"{file} exists already; choose another output, or remove it")
    lines = ["| column | needed | holds |", "| --- | --- | --- |"]
    lines += [f"| `{one.name}` | {'yes' if one.needed else 'may be empty'} | {_cell(one.holds)} |" for one in fields]
    staged = {file: file.with_name(f".{file.name}.{uuid4().hex[:8]}") for file in (notes, target)}
    try:
        staged[notes].write_text("\n".join([f"Columns of {target.name}", "", *lines, ""]), encoding="utf-8")
        with staged[target].open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\n")
            writer.writerow([one.name for one in fields])
            writer.writerow([one.example for one in fields])
        for file, temporary in staged.items():
            temporary.replace(file)
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror}); choose another output") from error
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)
    return notes


def _words(column: Column, profile: Mapping[str, Any]) -> str:
    if column.kind is Kind.numeric:
        quantiles = profile.get("quantiles") or []
        whole = profile.get("whole")
        kind = "whole number" if whole else "number"
        if not quantiles:
            return kind
        low, high = (round(one) if whole else one for one in (quantiles[1], quantiles[-2]))  # extremes may be one's own
        return f"{kind}, mostly {low:,g} to {high:,g}"
    if column.kind in _FORMS:
        return _FORMS[column.kind]
    words = list(column.order or profile.get("counts", {}))
    if not words or len(words) > SHOWN_WORDS:
        return f"one of {len(words)} words" if words else "text"
    return f"one of {', '.join(words)}{' (in this order)' if column.order else ''}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value) if isinstance(value, list) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


__all__ = ["EXAMPLE", "Field", "template_of", "write_template"]
