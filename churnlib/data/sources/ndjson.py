"""Lines of JSON (.ndjson, .jsonl): one object for each row, its fields for columns.

Single values are text, as in a CSV file, so that a field may be a number here and a word there; the schema decides.
Lists stay lists, and objects within objects become columns of their own (``{"plan": {"name": ...}}`` is
``plan_name``). Fields are those of all lines, not of the first few.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.data.names import normalize_names
from churnlib.errors import DataError
from churnlib.schema.parsing import cell_of, is_sequence

LINES_AT_ONCE = 50_000
ONE_A_LINE = "write each row on a line of its own (jq -c '.[]')"


def scan_lines_of_json(part: str, storage_options: Mapping[str, Any] | None) -> pl.LazyFrame:
    """Open a file of JSON lines, local or in a store, plain or compressed; it is read once for its fields.

    Raises:
        DataError: If a line is no JSON object, with its number, or there are no fields.
        PolarsError: If the bytes cannot be read at all.
    """
    options = dict(storage_options) if storage_options else None
    try:
        found = pl.scan_ndjson(part, infer_schema_length=None, storage_options=options).collect_schema()
    except (pl.exceptions.PolarsError, ValueError):
        # polars gives up where a field is a list here and a number there, and does not say which line is wrong.
        found = None
    if found is None or any(isinstance(dtype, pl.Struct) for dtype in found.values()):
        # A field that polars takes for an object may be a single value further below.
        types = _types_of_lines(part, options)
    else:
        types = {name: _as_text(dtype) for name, dtype in found.items()}
    if not types:
        raise DataError(f"the lines of {part} have no fields; export the table again")
    return _flat(pl.scan_ndjson(part, schema=types, storage_options=options), part)


def broken_line(part: str) -> str | None:
    """Return the first line that is no JSON object, and why; None if all are, or the bytes are no text."""
    try:
        for _ in _objects(part, None):
            pass
    except DataError as error:
        return str(error)
    except pl.exceptions.PolarsError:
        return None
    return None


def _as_text(dtype: pl.DataType) -> pl.DataType:
    return pl.List(pl.Float64) if is_sequence(dtype) else dtype if isinstance(dtype, pl.List) else pl.String()


def _flat(table: pl.LazyFrame, part: str) -> pl.LazyFrame:
    """Return the table with each field of an object within an object as a column."""
    columns: list[tuple[str, pl.Expr]] = []

    def add(name: str, cell: pl.Expr, dtype: Any) -> None:
        if isinstance(dtype, pl.Struct):
            for inner in dtype.fields:
                add(f"{name}_{inner.name}", cell.struct.field(inner.name), inner.dtype)
        else:
            columns.append((name, cell))

    for name, dtype in table.collect_schema().items():
        add(name, cell_of(name), dtype)
    names = normalize_names([name for name, _ in columns], table=part)
    return table.select(cell.alias(name) for name, (_, cell) in zip(names, columns, strict=True))


# --- line by line, where polars has given up -----------------------------------------------------------------------


@dataclass
class _Field:
    """What the values of a field are: some of value, numbers, list, object; and the fields of its objects."""

    kinds: set[str] = field(default_factory=set)
    fields: dict[str, _Field] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        if isinstance(value, dict):
            self.kinds.add("object")
            _add(self.fields, value)
        elif isinstance(value, list):
            self.kinds.add("numbers" if all(map(_is_number, value)) else "list")
        elif value is not None:
            self.kinds.add("value")

    def type(self) -> Any:
        if self.kinds == {"object"} and self.fields:
            return pl.Struct({name: inner.type() for name, inner in self.fields.items()})
        return {"numbers": pl.List(pl.Float64), "list": pl.List(pl.String)}.get("".join(self.kinds), pl.String)


def _add(fields: dict[str, _Field], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        fields.setdefault(name, _Field()).add(value)


def _is_number(step: Any) -> bool:
    return step is None or type(step) in (int, float)


def _types_of_lines(part: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    fields: dict[str, _Field] = {}
    for line in _objects(part, options):
        _add(fields, line)
    return {name: found.type() for name, found in fields.items()}


def _objects(part: str, options: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the object of each line that is not blank.

    Raises:
        DataError: At the first line that is none, with its number.
    """
    number, seen = 0, False
    table = pl.scan_lines(part, storage_options=dict(options) if options else None)
    for batch in table.collect_batches(chunk_size=LINES_AT_ONCE, maintain_order=True):
        for line in batch.to_series().to_list():
            number += 1
            if (line or "").strip():
                seen = True
                yield _object(line, number, part)
    if not seen:
        raise DataError(f"{part} is empty; it must have a line of JSON for each row")


def _object(line: str, number: int, part: str) -> dict[str, Any]:
    if line.startswith("\ufeff"):
        raise DataError(f"{part} starts with a byte order mark, which JSON does not have; save it as UTF-8 without one")
    try:
        value = json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        remedy = ONE_A_LINE if number == 1 and line.strip() in ("[", "{") else "correct it or export the table again"
        why = getattr(error, "msg", str(error))
        raise DataError(f"line {number} of {part} is no JSON ({why[:1].lower()}{why[1:]}); {remedy}") from None
    if isinstance(value, list) and number == 1:
        raise DataError(f"{part} is one JSON list; {ONE_A_LINE}")
    if not isinstance(value, dict):
        raise DataError(f"line {number} of {part} is no JSON object but {type(value).__name__}; export the table again")
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} stands for a number; write null")
