"""A column of 0 and 1 for each value of a category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import polars as pl

from churnlib.data.steps.arrays import for_each_column
from churnlib.data.steps.step import CATEGORIES, Fitted, Learned, Step, Training, number, tuples
from churnlib.errors import ConfigError
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class OneHot(Step):
    """A 0/1 column for each value that the training rows have; a value they do not have is 0 in all of them.

    Attributes:
        columns: Categories to encode; all if none is named.
        max_categories: Most values of a column that get one of their own, the frequent ones; None for all.
        min_share: Share of the training rows that a value needs for one of its own, in [0, 1).
        other: Whether the values that were too rare share a column; without it they are 0 everywhere.
    """

    word = "one_hot"
    columns: tuple[str, ...] = ()
    max_categories: int | None = 30
    min_share: float = 0.0
    other: bool = True

    def __post_init__(self) -> None:
        self.check_range("max_categories", 1)
        self.check_range("min_share", 0, 1, open_ends="high")

    def fit(self, training: Training) -> Learned:
        """Count the values."""
        names = training.choose(self.columns, CATEGORIES, option=self.option("columns"))
        found = tuple(for_each_column(training.rows, names, self._values))
        fitted = FittedOneHot(found)
        columns = self.columns_after(training, map(number, fitted.made), in_place_of=names)
        said = [
            f"{len(one.rare):,} rare values of {one.name!r} {'share a column' if self.other else 'are 0 everywhere'}"
            for one in found
            if one.rare
        ]
        return Learned(fitted, columns, said=tuple(said))

    def _values(self, values: pl.Series) -> OneHotColumn:
        name = values.name
        counts = values.drop_nulls().alias("value").value_counts(name="n").sort("value")
        known, count = counts["value"], counts["n"].to_list()
        if not len(known):
            raise ConfigError(f"the step {self.word!r} finds no value in {name!r}; leave the column out")
        # The values are sorted, and stay so among equally frequent ones.
        by_count = sorted(range(len(known)), key=lambda place: -count[place])
        enough = [place for place in by_count if count[place] >= self.min_share * len(values)][: self.max_categories]
        frequent = known.gather(sorted(enough))
        rare = known.gather(sorted(set(by_count) - set(enough)))
        return OneHotColumn(name, tuple(frequent), tuple(rare), values.has_nulls(), self.other and len(rare) > 0)


@dataclass(frozen=True)
class OneHotColumn:
    """What is known of one column.

    Attributes:
        name: Column.
        values: Values with a column of their own, ``name=value``.
        rare: Values of the training rows without one.
        missing: Whether a missing value has a column, ``name is missing``: the training rows had some.
        other: Whether the rare ones have one, ``name is rare``.
    """

    name: str
    values: tuple[str, ...]
    rare: tuple[str, ...]
    missing: bool
    other: bool

    def masks(self) -> dict[str, pl.Expr]:
        """Return what each new column asks of a cell."""
        cell = cell_of(self.name)
        masks = {f"{self.name}={value}": cell.eq_missing(pl.lit(value)) for value in self.values}
        if self.missing:
            masks[f"{self.name} is missing"] = cell.is_null()
        if self.other:
            masks[f"{self.name} is rare"] = cell.is_in(self.rare).fill_null(False)
        return masks


@dataclass(frozen=True)
class FittedOneHot(Fitted):
    """The columns and their values.

    Attributes:
        columns: What is known of each column.
    """

    columns: tuple[OneHotColumn, ...]

    @cached_property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(name for column in self.columns for name in column.masks())

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        masks = {name: mask for column in self.columns for name, mask in column.masks().items()}
        # Through whole numbers: from truth values straight to floats takes three times as long.
        return [mask.cast(pl.UInt8).cast(pl.Float64).alias(name) for name, mask in masks.items()]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(self._expressions).drop(column.name for column in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {made: (column.name,) for column in self.columns for made in column.masks()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:  # noqa: D102
        return cls(tuple(OneHotColumn(**one) for one in tuples(values)["columns"]))
