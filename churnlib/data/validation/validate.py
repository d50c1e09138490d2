"""A table in; the rows that keep its rules, the others with the names of the rules they break, and an account out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.coercion import Coerced
from churnlib.data.validation.book import RuleBook
from churnlib.data.validation.masks import broken
from churnlib.data.validation.report import Entry, Report
from churnlib.data.validation.table_rules import freshness, repeated, share_missing
from churnlib.errors import DataError
from churnlib.schema import Role, Schema, parsing
from churnlib.schema.rules import Rule

QUARANTINE, RULES_REPORT = "quarantine.parquet", "rules.json"
"""Files of the rows that break rules, and of the account."""

BROKEN = "broken_rules"
"""Column of the quarantined rows with the names of the rules that each breaks."""


class BrokenRules(DataError):
    """A table breaks its rules more than it may.

    Args:
        validated: What was found.
        where: Folder with the account and the rows, if they were written.
    """

    def __init__(self, validated: Validated, *, where: Path | None = None) -> None:
        self.validated = validated
        written = (
            "" if where is None else f" (see {where / (QUARANTINE if len(validated.quarantine) else RULES_REPORT)})"
        )
        super().__init__(f"{validated.report.refusal}{written}; correct the table, or the rules")


@dataclass(frozen=True, slots=True)
class Validated:
    """A table beside its rules.

    Attributes:
        rules: The rules of rows, bound to the columns.
        kept: ``(n,)`` bool, the rows that keep them all.
        quarantine: The others, cells as they came, with the list column :data:`BROKEN`.
        report: The account.
        names: What the quarantine's column of names is called (``id``), and the key of its ``pseudonyms``: whoever
            looks for a person finds the rows by it.
    """

    rules: tuple[Rule, ...]
    kept: np.ndarray
    quarantine: pl.DataFrame
    report: Report
    names: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse a table that breaks its rules more than it may.

        Raises:
            BrokenRules: With all that was found.
        """
        if not self.report.passes:
            raise BrokenRules(self)

    def write(self, folder: Path) -> None:
        """Write the account, and the quarantined rows if there are any, into a folder that exists."""
        text = json.dumps({**self.report.to_dict(), **self.names}, indent=2, ensure_ascii=False)
        (folder / RULES_REPORT).write_text(text + "\n", encoding="utf-8")
        if len(self.quarantine):
            self.quarantine.write_parquet(folder / QUARANTINE)


def validate(
    frame: pl.DataFrame, coerced: Coerced, schema: Schema, book: RuleBook, *, now: dt.datetime | None = None
) -> Validated:
    """Look for rows that break rules, and at the table as a whole.

    Args:
        frame: The table, cells as they came.
        coerced: The same, read.
        schema: What the columns are.
        book: The rules.
        now: Of rules about age; the clock's time when left out.

    Raises:
        ConfigError: If a rule does not suit the table. A broken rule is no error here, see :meth:`Validated.check`.
    """
    typed = with_other_roles(frame, coerced.typed, schema)
    rules = book.bind(schema, typed)
    masks = pl.concat([broken(typed, rules, coerced.unreadable), repeated(typed, book)], how="horizontal")
    bad = (
        masks.select(pl.any_horizontal(pl.all())).to_series().to_numpy() if masks.width else np.zeros(len(frame), bool)
    )
    whole = [*share_missing(typed, book), *freshness(typed, book, schema, now=now)]
    counts = {mask.name: int(mask.sum()) for mask in masks}
    report = Report(len(frame), int(bad.sum()), book.max_share, (*row_entries(rules, book, counts), *whole))
    return Validated(rules, ~bad, quarantined(frame, masks, bad), report, names_of(schema))


def names_of(schema: Schema) -> dict[str, Any]:
    """Return what a table calls its customers' names, and the key of their pseudonyms, as far as there are some."""
    told = {"id": schema.id, "pseudonyms": schema.about.get("pseudonyms")}
    return {key: value for key, value in told.items() if value is not None}


def any_of(masks: pl.DataFrame, n: int) -> np.ndarray:
    """Return the rows that break any rule, ``(n,)`` bool."""
    return masks.select(pl.any_horizontal(pl.all())).to_series().to_numpy() if masks.width else np.zeros(n, dtype=bool)


def with_other_roles(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the read columns with those that no model reads (target, id, ignored), read in the same way."""
    others = [
        column
        for column in schema.columns
        if column.name not in typed.columns and column.name in frame.columns
        and (parsing.is_plain(frame.schema[column.name]) or column.role is not Role.ignored)
    ]  # fmt: skip
    read = frame.select(
        parsing.as_kind(parsing.cell_of(c.name), frame.schema[c.name], c.kind, c.formats).alias(c.name) for c in others
    )
    return typed.hstack(read)


def row_entries(rules: Sequence[Rule], book: RuleBook, counts: Mapping[str, int]) -> list[Entry]:
    """Return the entries of the rules about rows.

    Args:
        rules: Of single rows.
        book: Has those of keys.
        counts: Rows that break each of the broken ones.
    """
    asked = {rule.name: rule.asked for rule in rules}
    asked |= {f"{'+'.join(key)}.unique": "names one row" for key in book.unique}
    return [Entry(name, words, counts.get(name, 0), holds=name not in counts) for name, words in asked.items()]


def quarantined(frame: pl.DataFrame, masks: pl.DataFrame, bad: np.ndarray) -> pl.DataFrame:
    """Return the bad rows with the names of the rules that each breaks."""
    name = BROKEN
    while name in frame.columns:
        name += "_"
    rows = frame.filter(pl.Series(bad))
    if not len(rows):
        return rows.with_columns(pl.lit(None, pl.List(pl.String)).alias(name))
    # Few combinations of rules are broken by many rows: names are put together once for each.
    combinations, which = np.unique(masks.filter(pl.Series(bad)).to_numpy(), axis=0, return_inverse=True)
    names = [[masks.columns[place] for place in np.flatnonzero(combination)] for combination in combinations]
    return rows.with_columns(pl.Series(name, names, dtype=pl.List(pl.String)).gather(which.ravel()))


__all__ = ["BROKEN", "QUARANTINE", "RULES_REPORT", "BrokenRules", "Validated", "validate", "with_other_roles"]
