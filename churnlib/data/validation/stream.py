"""The rules of a table that is read piece by piece."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from churnlib.data.coercion import Coerced
from churnlib.data.validation.book import RuleBook
from churnlib.data.validation.masks import broken
from churnlib.data.validation.report import Entry, Report
from churnlib.data.validation.table_rules import freshness, missing_entries
from churnlib.data.validation.validate import Validated, any_of, names_of, quarantined, row_entries, with_other_roles
from churnlib.errors import ConfigError
from churnlib.schema import Schema
from churnlib.schema.parsing import cell_of
from churnlib.schema.rules import Rule


class StreamedRules:
    """Checks one piece after the other, and keeps no more bad rows than are allowed.

    Args:
        book: The rules.
        rules: Those of rows, bound to the columns.
        schema: What the columns are.
        n_rows: Of the whole table.

    Raises:
        ConfigError: If a key must be unique, which takes all rows at once.
    """

    def __init__(self, book: RuleBook, rules: Sequence[Rule], schema: Schema, n_rows: int) -> None:
        if book.unique:
            raise ConfigError(
                "data.rules.unique needs all rows at once, which this command does not hold; leave it out"
            )
        self._book, self._rules, self._schema = book, tuple(rules), schema
        self._most = int(book.max_share * n_rows)
        self._rows = self._bad = 0
        self._broken: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._quarantine: list[pl.DataFrame] = []
        self._newest: pl.DataFrame | None = None

    def check(self, frame: pl.DataFrame, coerced: Coerced) -> np.ndarray:
        """Return which rows of a piece keep the rules, ``(n,)`` bool."""
        typed = with_other_roles(frame, coerced.typed, self._schema)
        masks = broken(typed, self._rules, coerced.unreadable)
        bad = any_of(masks, len(frame))
        self._rows += len(frame)
        self._bad += int(bad.sum())
        self._broken.update({mask.name: int(mask.sum()) for mask in masks})
        self._missing.update({name: typed[name].null_count() for name in self._book.columns})
        if bad.any() and self._bad <= self._most:
            self._quarantine.append(quarantined(frame, masks, bad))
        self._note_newest(typed)
        return ~bad

    def finish(self, *, now: dt.datetime | None = None) -> Validated:
        """Return what was found in all pieces; its mask of kept rows is empty."""
        entries: list[Entry] = row_entries(self._rules, self._book, self._broken)
        entries += missing_entries(self._missing, self._rows, self._book)
        if self._newest is not None:
            entries += freshness(self._newest, self._book, self._schema, now=now)
        report = Report(self._rows, self._bad, self._book.max_share, tuple(entries))
        rows = pl.concat(self._quarantine, how="vertical_relaxed") if self._quarantine else pl.DataFrame()
        return Validated(self._rules, np.zeros(0, dtype=bool), rows, report, names_of(self._schema))

    def _note_newest(self, typed: pl.DataFrame) -> None:
        """Keep the newest value of each dated column, for each snapshot."""
        if not self._book.fresh:
            return
        time = self._schema.time
        names = [name for name in self._book.fresh if name != time]
        if time is None:
            found = typed.select(cell_of(name).max() for name in names)
        else:
            found = typed.group_by(time).agg(cell_of(name).max() for name in names)
        both = found if self._newest is None else pl.concat([self._newest, found])
        self._newest = both.select(pl.all().max()) if time is None else both.group_by(time).agg(pl.all().max())


__all__ = ["StreamedRules"]
