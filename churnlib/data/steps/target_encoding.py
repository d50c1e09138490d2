"""How often customers of each category leave: a category of any size in one number, without a leak.

A row's own label must not stand in its number, or a column of random names would "predict" it. Training rows therefore
get theirs from the other folds (rows of one customer are in the same fold); all other rows get the numbers of all
training rows. Rates of few rows are drawn towards the rate of all (Micci-Barreca, SIGKDD Explorations 3(1), 2001), as
in scikit-learn's ``TargetEncoder``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl

from churnlib.data.steps.coding import coded
from churnlib.data.steps.step import CATEGORIES, Fitted, Learned, Step, Training, number, tuples
from churnlib.errors import ConfigError
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class TargetEncoding(Step):
    """The churn rate of a category's value, or with several classes the rate of each; what is missing is a value too.

    Attributes:
        columns: Categories to encode; all if none is named.
        smooth: ``auto`` (empirical Bayes: as much as the spread within the value asks for), or how many rows with the
            rate of all are added to each value.
        folds: Parts of the training rows of which each gets the rates of the others.
        keep: Whether the categories stay beside their rates.
    """

    word = "target_encoding"
    columns: tuple[str, ...] = ()
    smooth: Any = "auto"
    folds: int = 5
    keep: bool = False

    def __post_init__(self) -> None:
        if self.smooth != "auto":
            self.check_range("smooth", 0)
        self.check_range("folds", 2)

    def fit(self, training: Training) -> Learned:
        """Learn the rates, and the training rows' own from the folds that they are not in."""
        names = training.choose(self.columns, CATEGORIES, option=self.option("columns"))
        if len(training.rows) < self.folds:
            raise ConfigError(
                f"{self.option('folds')}={self.folds} is more than the {len(training.rows)} training rows"
            )
        classes = (1,) if training.n_classes == 2 else tuple(range(training.n_classes))
        hit = (training.label[:, None] == np.array(classes)).astype(np.float64)
        fold = training.folds(self.folds)
        rates, own = [], []
        for name in names:
            values = training.rows.get_column(name)
            learned, out_of_fold = self._rates(name, values, hit, fold)
            rates.append(learned)
            own += [pl.Series(made, column) for made, column in zip(learned.made, out_of_fold.T, strict=True)]
        fitted = FittedTargetEncoding(tuple(rates), self.keep)
        columns = self.columns_after(training, map(number, fitted.made), in_place_of=() if self.keep else names)
        # Taken away first: a table with new columns in other chunks is copied by whatever comes next.
        rows = training.rows if self.keep else training.rows.drop(names)
        return Learned(fitted, columns, rows=rows.with_columns(own))

    def _rates(self, name: str, values: pl.Series, hit: np.ndarray, fold: np.ndarray) -> tuple[Rates, np.ndarray]:
        """Return a column's rates and ``(n, classes)`` those of the training rows."""
        code, known = coded(values)
        n_folds, n_values = int(fold.max()) + 1, len(known) + 1
        cell, size = fold * n_values + code, n_folds * n_values
        count = np.bincount(cell, minlength=size).reshape(n_folds, n_values, 1).astype(np.float64)
        hits = np.stack([np.bincount(cell, weights=one, minlength=size) for one in hit.T], axis=-1)
        hits = hits.reshape(n_folds, n_values, -1)
        learned = self._smoothed(count.sum(axis=0), hits.sum(axis=0))
        # Each fold gets the rates of all rows without its own.
        out_of_fold = self._smoothed(count.sum(axis=0) - count, hits.sum(axis=0) - hits).reshape(size, -1)[cell]
        *of_known, missing = map(tuple, learned.tolist())
        return Rates(name, tuple(known), tuple(of_known), missing, tuple(hit.mean(axis=0).tolist())), out_of_fold

    def _smoothed(self, count: np.ndarray, hits: np.ndarray) -> np.ndarray:
        """Return rates ``(..., values, classes)`` from counts ``(..., values, 1)`` and hits of that shape."""
        prior = hits.sum(axis=-2, keepdims=True) / np.maximum(count.sum(axis=-2, keepdims=True), 1)
        rate = hits / np.maximum(count, 1)
        if self.smooth == "auto":
            # Of 0 and 1, the variance is m (1 - m): between all rows, and within the value's.
            own, rest = prior * (1 - prior) * count, rate * (1 - rate)
        else:
            own, rest = count, np.full_like(count, self.smooth)
        weight = np.divide(own, own + rest, out=np.zeros_like(own + rest), where=own + rest > 0)
        return weight * rate + (1 - weight) * prior


@dataclass(frozen=True)
class Rates:
    """What is known of one column.

    Attributes:
        name: Column.
        values: Values of the training rows.
        rates: By value one rate, or one for each class.
        missing: Of missing values.
        prior: Of all rows, for a value that the training rows did not have.
    """

    name: str
    values: tuple[str, ...]
    rates: tuple[tuple[float, ...], ...]
    missing: tuple[float, ...]
    prior: tuple[float, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        if len(self.prior) == 1:
            return (f"{self.name} rate",)
        return tuple(f"{self.name} rate {number}" for number in range(len(self.prior)))

    def expressions(self) -> list[pl.Expr]:
        """Return the new columns."""
        return [
            cell_of(self.name)
            .replace_strict(
                [None, *self.values],
                [self.missing[place], *(rate[place] for rate in self.rates)],
                default=self.prior[place],
                return_dtype=pl.Float64(),
            )
            .alias(made)
            for place, made in enumerate(self.made)
        ]


@dataclass(frozen=True)
class FittedTargetEncoding(Fitted):
    """The rates.

    Attributes:
        columns: What is known of each column.
        keep: Whether the categories stay.
    """

    columns: tuple[Rates, ...]
    keep: bool

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(name for column in self.columns for name in column.made)

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return [made for column in self.columns for made in column.expressions()]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        rows = rows.with_columns(self._expressions)
        return rows if self.keep else rows.drop(column.name for column in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {made: (column.name,) for column in self.columns for made in column.made}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:  # noqa: D102
        read = tuples(values)
        return cls(**{**read, "columns": tuple(Rates(**one) for one in read["columns"])})
