"""What the training rows say about a numeric column: how to fill its gaps and bring it to a common scale.

The numbers found here are applied by ``churnlib.models.input_layer``, inside the network's graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from churnlib.errors import ConfigError

IMPUTE = ("median", "mean", "constant")
SCALE = ("robust_clip", "robust", "standard", "minmax", "quantile", "none")

N_KNOTS = 101
"""Knots of quantile scaling: the 0 %, 1 %, ..., 100 % quantiles of the training rows."""

OUTERMOST = 1e-3
"""Share of a normal distribution beyond the outermost knots: +-3.09, as far out as smooth clipping goes."""

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How the gaps of numeric columns are filled and their values brought to a common scale.

    Attributes:
        impute: ``median``, ``mean`` or ``constant``.
        impute_value: The constant.
        indicator: Whether each column with missing values in training gets a 0/1 input.
        scale: One of :data:`SCALE`; see :func:`churnlib.data.fitting.fit_preparation`.
        winsorize: Share of rows cut off at each end, in [0, 0.5).

    Raises:
        ConfigError: If an option has no such value.
    """

    impute: str
    impute_value: float
    indicator: bool
    scale: str
    winsorize: float

    def __post_init__(self) -> None:
        for option, value, allowed in (("impute", self.impute, IMPUTE), ("scale", self.scale, SCALE)):
            if value not in allowed:
                raise ConfigError(f"preprocess.{option} must be one of {', '.join(allowed)}, got {value!r}")
        if not abs(self.impute_value) <= FLOAT32_MAX:
            raise ConfigError(f"preprocess.impute_value must be a finite float32 number, got {self.impute_value!r}")
        if not 0 <= self.winsorize < 0.5:
            raise ConfigError(f"preprocess.winsorize must be in [0, 0.5), got {self.winsorize!r}")


@dataclass(frozen=True, slots=True)
class NumericStatistics:
    """What the training rows say about one numeric input.

    Attributes:
        name: Column.
        fill: Replaces a missing value.
        indicator: Whether a 0/1 input says that the value was missing.
        low, high: Values outside are moved to the border before scaling (null: no border).
        center, factor: Scaled value = (value - center) * factor; a column that is constant in training has factor 0.
        knots: Strictly increasing values, for quantile scaling, and
        heights: the scaled value at each of them; straight lines between.
    """

    name: str
    fill: float
    indicator: bool
    low: float | None = None
    high: float | None = None
    center: float = 0.0
    factor: float = 1.0
    knots: tuple[float, ...] = ()
    heights: tuple[float, ...] = ()


def in_range(values: pl.Series) -> pl.Series:
    """Return numbers as networks read them, those outside the range of float32 moved to its border.

    >>> in_range(pl.Series([1.0, None, 1e300])).to_list()
    [1.0, None, 3.4028234663852886e+38]
    """
    low, high = values.min(), values.max()
    inside = low is None or (low >= -FLOAT32_MAX and high <= FLOAT32_MAX)  # type: ignore[operator]
    return values if inside else values.clip(-FLOAT32_MAX, FLOAT32_MAX)  # nearly all columns need no copy


def quantiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Return quantiles of numbers, with straight lines between two neighbours, as ``numpy.quantile`` does by default.

    Sorting, which processors do many numbers at a time, is twice as fast as numpy's and polars' selection of a few.

    >>> quantiles(np.array([3.0, 1.0, 2.0, 10.0]), [0, 0.25, 0.5])
    [1.0, 1.75, 2.5]

    Args:
        values: ``(n,)`` at least one, without NaN.
        shares: In [0, 1].
    """
    ordered = np.sort(values)
    place = np.asarray(shares, dtype=np.float64) * (len(ordered) - 1)
    below = place.astype(np.int64)
    low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    share = place - below
    # From the nearer neighbour, as numpy does: between equal neighbours and at the ends nothing is rounded.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share)).tolist()


def fit_statistics(name: str, column: pl.Series, scaling: Scaling) -> NumericStatistics:
    """Learn one column's statistics.

    Args:
        name: What the column is called in the table.
        column: Training rows, Float64 in the range of float32; null for missing.
        scaling: What to do.
    """
    gaps = column.has_nulls()
    values = (column.drop_nulls() if gaps else column).to_numpy()
    indicator = scaling.indicator and gaps
    if not len(values):
        # Nothing is known: whatever comes later is scaled to 0.
        fill = float(scaling.impute_value) if scaling.impute == "constant" else 0.0
        knots, heights = _flat_knots(0.0) if scaling.scale == "quantile" else ((), ())
        return NumericStatistics(name, fill, indicator, factor=0.0, knots=knots, heights=heights)
    fill = _fill(values, scaling)
    low = high = None
    if scaling.winsorize > 0:
        low, high = quantiles(values, [scaling.winsorize, 1 - scaling.winsorize])
        values = values.clip(low, high)
    if scaling.scale == "quantile":
        knots, heights = _quantile_knots(values)
        return NumericStatistics(name, fill, indicator, low, high, knots=knots, heights=heights)
    center, factor = _center_and_factor(values, scaling.scale)
    return NumericStatistics(name, fill, indicator, low, high, center, factor)


def _fill(values: np.ndarray, scaling: Scaling) -> float:
    if scaling.impute == "constant":
        return float(scaling.impute_value)
    return quantiles(values, [0.5])[0] if scaling.impute == "median" else float(values.mean())


def _center_and_factor(values: np.ndarray, scale: str) -> tuple[float, float]:
    """Location and reciprocal width; a column without width carries nothing and is multiplied by 0."""
    if scale == "none":
        return 0.0, 1.0
    if scale == "standard":
        center, width = float(values.mean()), float(values.std())
        size = abs(center)
    elif scale == "minmax":
        center, width = float(values.min()), float(np.ptp(values))
        size = max(abs(center), abs(center + width))
    else:
        q25, center, q75 = quantiles(values, [0.25, 0.5, 0.75])
        width, size = q75 - q25, max(abs(q25), abs(q75))
        if width == 0:
            # More than half of the rows alike (mostly zeros, say): half the whole range instead, as RealMLP does.
            width, size = float(np.ptp(values)) / 2, float(np.abs(values).max())
    # A width of rounding errors is no width, nor is one whose reciprocal float32 cannot hold.
    tiny = max(float(np.finfo(np.float32).eps) * size, 1 / FLOAT32_MAX)
    return center, 1 / width if width > tiny else 0.0


def _quantile_knots(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots at the quantiles and the normal scores there; equal quantiles (ties) share the mean of their scores."""
    share = np.linspace(0, 1, N_KNOTS)
    ordered = np.array(quantiles(values, share.tolist()), dtype=np.float32).astype(np.float64)
    score = np.array([NormalDist().inv_cdf(s) for s in share.clip(OUTERMOST, 1 - OUTERMOST)])
    knots, which = np.unique(ordered, return_inverse=True)
    heights = np.bincount(which, weights=score) / np.bincount(which)
    if len(knots) == 1:
        return _flat_knots(float(knots[0]))
    return tuple(knots.tolist()), tuple(heights.tolist())


def _flat_knots(at: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of a column without width: 0 everywhere."""
    return (at, at + max(1.0, abs(at))), (0.0, 0.0)
