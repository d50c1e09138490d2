"""``outliers``: values far from the others, found in the training rows and flagged, capped, compressed or left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from churnlib.data.scaling import FLOAT32_MAX, in_range, quantiles
from churnlib.data.steps import isolation
from churnlib.data.steps.arrays import by_pieces, for_each_column, numeric_block, with_values
from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError, DataError
from churnlib.schema.parsing import cell_of

LIMITS = {"z": 3.0, "robust_z": 3.5, "iqr": 1.5}
"""Methods that look at one column at a time, and how far out a value is an outlier unless the user says otherwise."""

METHODS = (*LIMITS, "isolation_forest")
TREATMENTS = ("flag", "cap", "log", "drop")
NORMAL_MAD = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""

MOST_SAID = 8
"""Columns that are named one by one."""


@dataclass(frozen=True)
class Outliers(Step):
    """Find outliers and do something about them.

    Attributes:
        columns: Numeric columns to look at; all of them when left out.
        method: ``z`` (standard deviations from the mean), ``robust_z`` (from the median, by the median absolute
            deviation), ``iqr`` (interquartile ranges beyond the quartiles), or ``isolation_forest`` (rows that are
            unusual in several columns together).
        treatment: ``flag`` (``NAME_outlier``, 0 or 1; of a forest one column ``flag``), ``cap`` (move to the border),
            ``log`` (the whole column becomes sign(x) log(1 + abs(x))), or ``drop`` (training rows only: every other row
            gets its answer).
        limit: How far out; 3 for ``z``, 3.5 for ``robust_z``, 1.5 for ``iqr`` when left out.
        contamination: Of a forest: share of the training rows that are unusual, in (0, 0.5].
        n_trees: Of a forest.
        flag: Of a forest: name of the flag.
    """

    word = "outliers"
    columns: tuple[str, ...] = ()
    method: str = "iqr"
    treatment: str = "cap"
    limit: float | None = None
    contamination: float = 0.01
    n_trees: int = 100
    flag: str = "unusual"

    def __post_init__(self) -> None:
        self.check_choice("method", METHODS)
        self.check_choice("treatment", TREATMENTS)
        self.check_range("limit", 0, open_ends="low")
        self.check_range("contamination", 0, 0.5, open_ends="low")
        self.check_range("n_trees", 1)
        if self.method == "isolation_forest" and self.treatment in ("cap", "log"):
            raise ConfigError(
                f"{self.option('treatment')} must be flag or drop with method=isolation_forest, which finds rows and "
                f"no borders of columns, got {self.treatment!r}"
            )

    def fit(self, training: Training) -> Learned:
        """Find the borders, or grow the forest."""
        names = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        names, _ = with_values(training.rows, names)
        learn = self._grow if self.method == "isolation_forest" else self._find_borders
        return learn(training, names)

    # --- one column at a time ---------------------------------------------------------------------------------------

    def _find_borders(self, training: Training, names: tuple[str, ...]) -> Learned:
        n, limit = len(training.rows), LIMITS[self.method] if self.limit is None else float(self.limit)
        found = for_each_column(training.rows, names, partial(_outside, method=self.method, limit=limit))
        touched = {name: one for name, one in zip(names, found, strict=True) if one.count}
        bounds = {name: (one.low, one.high) for name, one in touched.items()}
        said = [
            f"{name!r}: {one.count:,} of {n:,} training rows ({one.count / n:.2%}) outside "
            f"[{one.low:.6g}, {one.high:.6g}]"
            for name, one in touched.items()
        ]
        if len(bounds) > MOST_SAID:
            said = [*said[:MOST_SAID], f"and outliers in {len(bounds) - MOST_SAID} more columns"]
        if not bounds:
            said.append(f"no outliers in {len(names)} columns")
        columns, kept = training.columns, None
        if self.treatment == "flag":
            flags = [f"{name}_outlier" for name in bounds]
            self._refuse_taken(training, flags)
            columns = (*columns, *(number(name, note=f"by {self.method}") for name in flags))
        if self.treatment == "drop" and bounds:
            outside = pl.any_horizontal(_is_outside(name, *bounds[name]).alias(name) for name in bounds)
            kept, line = self._dropped(training, training.rows.select(outside).to_series().to_numpy())
            said.append(line)
        return Learned(FittedOutliers(self.treatment, bounds, "", None), columns, kept=kept, said=tuple(said))

    # --- all columns together ---------------------------------------------------------------------------------------

    def _grow(self, training: Training, names: tuple[str, ...]) -> Learned:
        if not names:
            return Learned(FittedOutliers(self.treatment, {}, "", None), training.columns, said=("no numeric columns",))
        block = numeric_block(training.rows, names)
        medians = np.nanmedian(block, axis=0)
        filled = np.where(np.isnan(block), medians, block)
        share = float(self.contamination)
        forest = isolation.grow(filled, n_trees=int(self.n_trees), contamination=share, seed=training.seed)
        kept_forest = {"names": names, "medians": tuple(medians.tolist()), **_tuples(forest)}
        unusual = isolation.score(filled, forest) > forest["border"]
        said = [f"{int(unusual.sum()):,} of {len(block):,} training rows are unusual in {len(names)} columns together"]
        if self.treatment == "drop":
            kept, line = self._dropped(training, unusual)
            # Rows that are answered are never left out, so nothing of the forest has to stay.
            fitted = FittedOutliers("drop", {}, "", None)
            return Learned(fitted, training.columns, kept=kept, said=(*said, line))
        self._refuse_taken(training, [self.flag])
        fitted = FittedOutliers("flag", {}, self.flag, kept_forest)
        return Learned(fitted, (*training.columns, number(self.flag, note="by isolation_forest")), said=tuple(said))

    def _dropped(self, training: Training, outside: np.ndarray) -> tuple[np.ndarray, str]:
        kept = ~outside
        if len(np.unique(training.label[kept])) < len(np.unique(training.label)):
            raise DataError(
                f"{self.option('treatment')}=drop would leave no training row of a class; flag or cap outliers instead"
            )
        return kept, f"{int(outside.sum()):,} training rows left out; validation and test rows all stay"

    def _refuse_taken(self, training: Training, names: list[str]) -> None:
        taken = [name for name in names if name in training.rows.columns]
        if taken:
            raise ConfigError(f"the step {self.word!r} makes the column {taken[0]!r}, which is there already")


@dataclass(frozen=True)
class FittedOutliers(Fitted):
    """What is done to outliers.

    Attributes:
        treatment: One of :data:`TREATMENTS`.
        bounds: Lowest and highest usual value, by column, of those that had outliers in the training rows.
        flag: Name of the forest's flag.
        forest: What :func:`~churnlib.data.steps.isolation.grow` returned, with the ``names`` of its columns and the
            ``medians`` that stand for their gaps.
    """

    treatment: str
    bounds: Mapping[str, tuple[float, float]]
    flag: str
    forest: Mapping[str, Any] | None

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        assert self.forest is not None
        return {name: np.asarray(v) if isinstance(v, tuple) else v for name, v in self.forest.items()}

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        if self.forest is not None:
            return by_pieces(rows, self._with_flag, numbers=[self.flag])
        if self.treatment == "drop":
            return rows
        return rows.with_columns(self._treated(name, *bounds) for name, bounds in self.bounds.items())

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return (
            {self.flag: tuple(self.forest["names"])}
            if self.forest is not None
            else {f"{name}_outlier" if self.treatment == "flag" else name: (name,) for name in self.bounds}
        )

    def warning_flags(self) -> tuple[str, ...]:  # noqa: D102
        return () if self.forest is None else (self.flag,)

    def _treated(self, name: str, low: float, high: float) -> pl.Expr:
        cell = cell_of(name)
        if self.treatment == "cap":
            return cell.clip(low, high)
        if self.treatment == "log":
            return cell.sign() * cell.abs().log1p()
        return _is_outside(name, low, high).cast(pl.Float64).alias(f"{name}_outlier")

    def _with_flag(self, rows: pl.DataFrame) -> pl.DataFrame:
        assert self.forest is not None
        block = numeric_block(rows, self.forest["names"])
        filled = np.where(np.isnan(block), self._arrays["medians"], block)
        unusual = isolation.score(filled, self._arrays) > self.forest["border"]
        return rows.with_columns(pl.Series(self.flag, unusual.astype(np.float64)))


class _Outside(NamedTuple):
    """The borders of a column, and how many of its values are outside."""

    low: float
    high: float
    count: int


def _outside(column: pl.Series, *, method: str, limit: float) -> _Outside:
    values = in_range(column.drop_nulls())
    low, high = borders(values.to_numpy(), method, limit)
    return _Outside(low, high, int((values < low).sum()) + int((values > high).sum()))


def _is_outside(name: str, low: float, high: float) -> pl.Expr:
    """Return whether a value is an outlier; a missing one is none."""
    cell = cell_of(name).clip(-FLOAT32_MAX, FLOAT32_MAX)
    return ((cell < low) | (cell > high)).fill_null(False)


def borders(values: np.ndarray, method: str, limit: float) -> tuple[float, float]:
    """Return the lowest and the highest usual value of a column.

    A column in which the measure is 0 (more than half of the values are equal, say) has no borders: they would make
    outliers of all the others.

    Args:
        values: ``(n,)`` at least one, without gaps.
        method: ``z``, ``robust_z`` or ``iqr``.
        limit: How far out.
    """
    if method == "z":
        low = high = float(values.mean())
        reach = float(values.std())
    elif method == "robust_z":
        (low,) = (high,) = quantiles(values, [0.5])
        reach = quantiles(np.abs(values - low), [0.5])[0] / NORMAL_MAD
    else:
        low, high = quantiles(values, [0.25, 0.75])
        reach = high - low
    reach = reach * limit if reach > 0 else float("inf")
    return low - reach, high + reach


def _tuples(forest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in forest.items()}
