"""Customers some of whose columns are another customer's: what every comparison "with this column and without" asks.

A column of the table may reach the model by several inputs, and an input may be made of several columns (a ratio, a
component). Inputs of one column are exchanged as they are; those of several are made anew from mixed rows of the table.

The answer of a model that says when customers leave may depend on how long they have been there, which its network does
not read. That time, the clock, stands behind the numbers that the network reads, and is exchanged as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from churnlib.data.preparation import Encoded, Preparation
from churnlib.schema import Kind, Schema
from churnlib.staying import since

if TYPE_CHECKING:
    from churnlib.data.one_row import OneRow
    from churnlib.row_predictor import ReadRow

SEVERAL = -1
"""In place of the column that an input is made of, where there are several."""


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers as the table has them and as the model reads them.

    Attributes:
        typed: Columns with the types of the schema; None where no input needs them.
        encoded: The same rows.
    """

    typed: pl.DataFrame | None
    encoded: Encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def take(self, rows: np.ndarray) -> Customers:
        """Return some of the customers, by their numbers."""
        encoded = Encoded(self.encoded.numeric[rows], self.encoded.codes[rows])
        return Customers(None if self.typed is None else self.typed[rows], encoded)


class Mixer:
    """Mixes rows column by column.

    Attributes:
        names: Columns of the table that reach the model, in table order, ``K`` of them.
        owner: ``(E,)`` int64 for each encoded column (numbers first, then categories) the place among ``names`` of the
            column that it is made of, or :data:`SEVERAL`.
        clock: Place among the encoded columns of the time that customers have been there; None without one.
        several: ``(E',)`` encoded columns that are made of several.
        involved: Places among ``names`` of all columns that one of these is made of.

    Args:
        schema: Of the table.
        preparation: From its columns to the model's.
        elapsed: Column with the time that customers have been there, on which the answers depend.
    """

    def __init__(self, schema: Schema, preparation: Preparation, elapsed: str | None = None) -> None:
        self._preparation, self._time = preparation, schema.time
        typed = [column.name for column in schema.columns]
        self._elapsed, self.clock = elapsed, None if elapsed is None else len(preparation.numeric)
        origins = list(preparation.origins(typed))
        if elapsed is not None:
            origins.insert(len(preparation.numeric), (elapsed,))
        reached = {name for made_of in origins for name in made_of}
        self.names = tuple(name for name in typed if name in reached)
        place = {name: number for number, name in enumerate(self.names)}
        self.owner = np.array([place[of[0]] if len(of) == 1 else SEVERAL for of in origins], dtype=np.int64)
        self.several = np.flatnonzero(self.owner == SEVERAL)
        self.involved = tuple(sorted({place[name] for of in origins if len(of) > 1 for name in of}))
        self._dates = {column.name for column in schema.columns if column.kind is Kind.datetime} - {schema.time}
        self.n_numeric = len(preparation.numeric) + (elapsed is not None)

    def customers(self, typed: pl.DataFrame) -> Customers:
        """Return rows of a typed table as both."""
        encoded = self._preparation.encode(typed)
        if self._elapsed is not None:
            encoded = _with_clock(encoded, since(typed[self._elapsed]))
        return Customers(typed, encoded)

    def customer(self, row: OneRow | ReadRow, typed: pl.DataFrame | None) -> Customers:
        """Return one row that has been read by itself.

        Args:
            row: The customer.
            typed: The same as a typed table; needed where an input is made of several columns.
        """
        if self._elapsed is None:
            return Customers(typed, row.encoded)
        now = pl.Series([row.typed[self._elapsed]], dtype=pl.Float64)
        return Customers(typed, _with_clock(row.encoded, since(now)))

    def read_by_model(self, encoded: Encoded) -> tuple[Encoded, np.ndarray | None]:
        """Return rows as the model itself reads them, and the time that each customer has been there, ``(n,)``."""
        if self.clock is None:
            return encoded, None
        numbers = encoded.numeric[:, : self.clock].astype(np.float32)  # which they were
        return Encoded(numbers, encoded.codes), encoded.numeric[:, self.clock]

    def mix(self, ones: Customers, others: Customers, own: np.ndarray) -> Encoded:
        """Return rows that are partly one's and partly another's.

        Args:
            ones: ``n`` customers.
            others: As many.
            own: ``(n, K)`` bool: which columns are the one's.
        """
        mine = own[:, np.maximum(self.owner, 0)]
        numeric = np.where(mine[:, : self.n_numeric], ones.encoded.numeric, others.encoded.numeric)
        codes = np.where(mine[:, self.n_numeric :], ones.encoded.codes, others.encoded.codes)
        if len(self.several):
            made = self._preparation.encode(self._table(ones, others, own))
            numbers = self.several[self.several < self.n_numeric]
            categories = self.several[self.several >= self.n_numeric] - self.n_numeric
            numeric[:, numbers], codes[:, categories] = made.numeric[:, numbers], made.codes[:, categories]
        return Encoded(numeric, codes)

    def _table(self, ones: Customers, others: Customers, own: np.ndarray) -> pl.DataFrame:
        """Return mixed rows of the table, all as of the day of the one: dates keep their distance from it."""
        assert ones.typed is not None and others.typed is not None
        mine, theirs = ones.typed, others.typed
        columns = {}
        for place in self.involved:
            name = self.names[place]
            other = theirs[name]
            if name in self._dates and self._time is not None:
                other = other + (mine[self._time] - theirs[self._time])
            columns[name] = pl.select(
                pl.when(pl.lit(pl.Series(own[:, place]))).then(pl.lit(mine[name])).otherwise(pl.lit(other)).alias(name)
            ).to_series()
        return mine.with_columns(list(columns.values()))


def _with_clock(encoded: Encoded, elapsed: np.ndarray) -> Encoded:
    return Encoded(np.column_stack([encoded.numeric.astype(np.float64), elapsed]), encoded.codes)


__all__ = ["SEVERAL", "Customers", "Mixer"]
