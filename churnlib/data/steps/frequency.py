"""How common a category's value is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from churnlib.data.steps.step import CATEGORIES, Fitted, Learned, Step, Training, number
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class Frequency(Step):
    """The share of the training rows that have the same value; 0 for a value that none of them has.

    Attributes:
        columns: Categories to encode; all if none is named.
        keep: Whether the categories stay beside their shares.
    """

    word = "frequency"
    columns: tuple[str, ...] = ()
    keep: bool = False

    def fit(self, training: Training) -> Learned:
        """Count the values."""
        names = training.choose(self.columns, CATEGORIES, option=self.option("columns"))
        made = [number(f"{name} share") for name in names]
        fitted = FittedFrequency(tuple(_shares(training.rows.get_column(name)) for name in names), self.keep)
        return Learned(fitted, self.columns_after(training, made, in_place_of=() if self.keep else names))


def _shares(column: pl.Series) -> tuple[str, tuple[str, ...], tuple[float, ...], float]:
    counts = column.drop_nulls().alias("value").value_counts(name="n").sort("value")
    shares = (counts["n"] / len(column)).to_list()
    return column.name, tuple(counts["value"]), tuple(shares), column.null_count() / len(column)


@dataclass(frozen=True)
class FittedFrequency(Fitted):
    """The shares.

    Attributes:
        columns: Name, values, their shares, and the share of missing values of each column.
        keep: Whether the categories stay.
    """

    columns: tuple[tuple[str, tuple[str, ...], tuple[float, ...], float], ...]
    keep: bool

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return [
            cell_of(name)
            .replace_strict([None, *values], [missing, *shares], default=0.0, return_dtype=pl.Float64())
            .alias(f"{name} share")
            for name, values, shares, missing in self.columns
        ]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        rows = rows.with_columns(self._expressions)
        return rows if self.keep else rows.drop(name for name, *_ in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {f"{name} share": (name,) for name, *_ in self.columns}
