"""The rows of a prepared table, one piece of the stream after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import polars as pl

from churnlib.data.coercion import coerce
from churnlib.data.drawn_sides import SIDE
from churnlib.data.inputs import NUMBER_KINDS
from churnlib.data.preparation import Preparation
from churnlib.data.target import target_given
from churnlib.data.validation.stream import StreamedRules
from churnlib.schema import Column, Kind, Schema

_TYPES = {Kind.numeric: pl.Float64(), Kind.datetime: pl.Datetime("us"), Kind.sequence: pl.List(pl.Float64)}


class RowWriter:
    """Prepares one piece of the stream after the other, and counts.

    Args:
        schema: Of the table.
        preparation: What was learned.
        n_rows: Of the whole table.
        progress: Called after each piece.
        checks: The rules of the table, if it has some.
    """

    def __init__(
        self,
        schema: Schema,
        preparation: Preparation,
        n_rows: int,
        progress: Callable[[int, int], None] | None,
        checks: StreamedRules | None = None,
    ) -> None:
        self.schema, self.preparation = schema, preparation
        self.features = prepared_columns(schema, preparation)
        self._named = [name for name in (schema.id, schema.target) if name is not None]
        self._n_rows, self._progress, self._done = n_rows, progress, 0
        self._counting = Lock()  # polars hands pieces to several threads at a time
        self._checks = checks
        self.rows = self.left_out = 0
        self.sides: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        time_type = {schema.time: pl.Datetime("us")} if schema.time else {}
        self.types: dict[str, Any] = {
            **dict.fromkeys(self._named, pl.String()), **time_type, SIDE: pl.String(),
            **{column.name: _TYPES.get(column.kind, pl.String()) for column in self.features},
        }  # fmt: skip

    def prepare(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Return the prepared rows of a piece."""
        assert self.schema.target is not None
        rows = piece.filter(target_given(piece[self.schema.target]))
        read = coerce(rows, self.schema)
        left_out, typed = len(piece) - len(rows), read.typed
        if self._checks is not None:
            with self._counting:
                keeps = pl.Series(self._checks.check(rows, read))
            rows, typed = rows.filter(keeps), typed.filter(keeps)
        typed = self.preparation.chain.apply(typed)
        named = rows.select(pl.col(name).cast(pl.String) for name in self._named)
        dates = typed.select(self.schema.time) if self.schema.time else pl.DataFrame()
        features = typed.select(column.name for column in self.features)
        prepared = pl.concat([named, dates, rows.select(SIDE), features], how="horizontal")
        with self._counting:
            self._count(piece, rows, left_out, read.unreadable_counts())
        return prepared

    def _count(self, piece: pl.DataFrame, rows: pl.DataFrame, left_out: int, unreadable: Mapping[str, int]) -> None:
        self._done += len(piece)
        self.rows += len(rows)
        self.left_out += left_out
        self.sides.update(dict(rows[SIDE].value_counts().iter_rows()))
        self.unreadable.update(unreadable)
        if self._progress is not None:
            self._progress(self._done, self._n_rows)


def prepared_columns(schema: Schema, preparation: Preparation) -> tuple[Column, ...]:
    """Return the features after the last step, in the order in which a model gets them."""
    if not preparation.chain:
        return schema.features
    given = {column.name: column for column in schema.features}
    histories = {history.name: Kind.sequence for history in preparation.histories}
    n_plain = len(preparation.numeric) - sum(history.n_steps for history in preparation.histories)
    numbers = [_named(given, s.name, Kind.numeric, preparation) for s in preparation.numeric[:n_plain]]
    sequences = [given.get(name, Column(name, kind)) for name, kind in histories.items()]
    categories = [_named(given, v.name, Kind.categorical, preparation) for v in preparation.categorical]
    return (*numbers, *sequences, *categories)


def _named(given: Mapping[str, Column], name: str, kind: Kind, preparation: Preparation) -> Column:
    ordered, column = name in preparation.orders, given.get(name)
    made = Column(name, Kind.ordinal if ordered else kind)
    if column is None:
        return made
    # A step may put a column of another kind in the place of one of the table's.
    same = (column.kind is Kind.ordinal) == ordered and (column.kind in NUMBER_KINDS) == (kind is Kind.numeric)
    return column if same else made


__all__ = ["RowWriter", "prepared_columns"]
