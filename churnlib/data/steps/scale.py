"""Numbers on a common scale.

A network scales its inputs itself (``preprocess.scale``); this step is for baselines, for tables prepared for other
programs, and where a later step (components, clusters) needs comparable numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import polars as pl

from churnlib.data.scaling import FLOAT32_MAX, Scaling, fit_statistics, in_range
from churnlib.data.steps.arrays import for_each_column
from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training, tuples
from churnlib.schema.parsing import cell_of

METHODS = {
    "standard": "standard",
    "minmax": "minmax",
    "robust": "robust",
    "quantile_normal": "quantile",
    "log1p": "standard",
    "yeo_johnson": "standard",
}
"""Method -> how :mod:`churnlib.data.scaling` calls what is done last."""


@dataclass(frozen=True)
class Scale(Step):
    """Scale numbers by what the training rows say; a missing number stays missing.

    Attributes:
        columns: Numbers to scale; all if none is named.
        method: ``standard`` (mean 0, standard deviation 1), ``minmax`` (to [0, 1]), ``robust`` (median 0, interquartile
            range 1), ``quantile_normal`` (to a normal distribution, by 101 quantiles), ``log1p`` (``log(1 + x)``, of
            negative numbers ``-log(1 - x)``, then standard), ``yeo_johnson`` (the power that makes them most like a
            normal distribution, by maximum likelihood, then standard).
        clip: Whether a number outside the range of the training rows is moved to its border first, ever after.
    """

    word = "scale"
    columns: tuple[str, ...] = ()
    method: str = "standard"
    clip: bool = True

    def __post_init__(self) -> None:
        self.check_choice("method", METHODS)

    def fit(self, training: Training) -> Learned:
        """Learn each column's scale."""
        names = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        scales = tuple(for_each_column(training.rows, names, self._fit_column))
        flat = [scale.name for scale in scales if not scale.varies]
        said = [f"{name!r} is constant in the training rows and becomes 0" for name in flat]
        return Learned(FittedScale(scales), training.columns, said=tuple(said))

    def _fit_column(self, column: pl.Series) -> ColumnScale:
        given = in_range(column.drop_nulls())
        low, high = (float(given.min()), float(given.max())) if len(given) and self.clip else (None, None)  # type: ignore[arg-type]
        values = given.to_numpy()
        power = None
        if self.method == "yeo_johnson":
            power = _best_power(values)
            values = yeo_johnson(values, power)
        elif self.method == "log1p":
            values = _log1p(values)
        scaling = Scaling(
            impute="constant", impute_value=0.0, indicator=False, scale=METHODS[self.method], winsorize=0.0
        )
        found = fit_statistics(column.name, pl.Series(values, dtype=pl.Float64), scaling)
        return ColumnScale(
            column.name, self.method, low, high, power, found.center, found.factor, found.knots, found.heights
        )


@dataclass(frozen=True)
class ColumnScale:
    """How one column is scaled.

    Attributes:
        name: Column.
        method: See :class:`Scale`.
        low, high: Numbers outside are moved to the border; None for no border.
        power: Of Yeo and Johnson's transformation.
        center, factor: ``(value - center) * factor``, a factor of 0 for a column without width.
        knots, heights: Of ``quantile_normal``: straight lines between.
    """

    name: str
    method: str
    low: float | None
    high: float | None
    power: float | None
    center: float
    factor: float
    knots: tuple[float, ...]
    heights: tuple[float, ...]

    @property
    def varies(self) -> bool:
        """Whether the column has any width."""
        return any(self.heights) if self.knots else self.factor != 0

    def expression(self) -> pl.Expr:
        """Return the scaled column."""
        low, high = (-FLOAT32_MAX, FLOAT32_MAX) if self.low is None else (self.low, self.high)
        number = cell_of(self.name).clip(low, high)
        if self.knots:
            return number.map_batches(
                partial(_between_knots, np.array(self.knots), np.array(self.heights)),
                return_dtype=pl.Float64(),
                is_elementwise=True,
            )
        if self.method == "yeo_johnson":
            assert self.power is not None
            number = number.map_batches(partial(_powered, self.power), return_dtype=pl.Float64(), is_elementwise=True)
        elif self.method == "log1p":
            number = number.sign() * number.abs().log1p()
        return (number - self.center) * self.factor


@dataclass(frozen=True)
class FittedScale(Fitted):
    """The scales.

    Attributes:
        columns: How each column is scaled.
    """

    columns: tuple[ColumnScale, ...]

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return [column.expression() for column in self.columns]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(self._expressions)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {column.name: (column.name,) for column in self.columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:  # noqa: D102
        return cls(tuple(ColumnScale(**one) for one in tuples(values)["columns"]))


def yeo_johnson(values: np.ndarray, power: float) -> np.ndarray:
    """Return Yeo and Johnson's transformation (Biometrika 87(4), 2000) of numbers, in the range of float32.

    >>> yeo_johnson(np.array([-1.0, 0.0, 3.0]), 0.5).round(3).tolist()
    [-1.219, 0.0, 2.0]
    """
    positive, negative = np.log1p(np.maximum(values, 0)), np.log1p(np.maximum(-values, 0))
    # Both branches are (exp(power * log) - 1) / power, and the log itself where the power is 0.
    up, down = _boxed(positive, power), _boxed(negative, 2 - power)
    return np.where(values >= 0, up, -down)


def _boxed(log: np.ndarray, power: float) -> np.ndarray:
    if abs(power) < np.spacing(1.0):
        return log
    with np.errstate(over="ignore"):
        return np.minimum(np.expm1(power * log) / power, FLOAT32_MAX)


def _best_power(values: np.ndarray) -> float:
    """Return the power of the highest likelihood; 1 (no change) where there is none to find."""
    if len(values) < 2 or np.ptp(values) == 0:
        return 1.0
    from scipy.stats import yeojohnson

    _, power = yeojohnson(values)
    return float(power)  # type: ignore[arg-type]


def _log1p(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _powered(power: float, column: pl.Series) -> pl.Series:
    return _numbers(column.name, yeo_johnson(_with_nan(column), power))


def _between_knots(knots: np.ndarray, heights: np.ndarray, column: pl.Series) -> pl.Series:
    return _numbers(column.name, np.interp(_with_nan(column), knots, heights))


def _with_nan(column: pl.Series) -> np.ndarray:
    return column.fill_null(float("nan")).to_numpy()


def _numbers(name: str, values: np.ndarray) -> pl.Series:
    return pl.Series(name, values, dtype=pl.Float64).fill_nan(None)
