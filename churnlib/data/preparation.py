"""From typed columns to the two arrays a network reads, and the statistics its input layer needs.

polars turns strings and dates into numbers here; arithmetic on numbers (imputing, scaling, clipping) is described by the
fitted statistics and done by ``churnlib.models.input_layer`` inside the network's graph. Everything is learned from
training rows only, and kept as JSON-ready values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.schema import Kind, Schema
from churnlib.schema.parsing import cell_of

IMPUTE = ("median", "mean", "constant")
SCALE = ("robust_clip", "robust", "standard", "minmax", "quantile", "none")

N_KNOTS = 101
"""Knots of quantile scaling: the 0 %, 1 %, ..., 100 % quantiles of the training rows."""

MISSING, UNSEEN, FIRST_KNOWN = 0, 1, 2
"""Codes of a category: no value, a value that the training rows did not have, and the first known value."""

NUMBER_KINDS = (Kind.numeric, Kind.datetime, Kind.ordinal)
"""Kinds that become a number; the other features become a code."""

FLOAT32_MAX = float(np.finfo(np.float32).max)
MICROSECONDS_PER_DAY = 86_400e6


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


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The values a categorical column had in the training rows.

    Attributes:
        name: Column.
        values: Sorted values; the code of ``values[i]`` is ``i + 2``.
        missing: Whether the training rows had missing values.
    """

    name: str
    values: tuple[str, ...]
    missing: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as a network reads them.

    Attributes:
        numeric: ``(n, n_numeric)`` float32, missing values NaN.
        codes: ``(n, n_categorical)`` int64: 0 missing, 1 unseen, 2... known values.
    """

    numeric: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.numeric)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Fitted preparation: from typed columns to :class:`Encoded`, and the input layer's statistics.

    Attributes:
        numeric: One entry per numeric input, in the order of ``Encoded.numeric``.
        categorical: One entry per categorical input, in the order of ``Encoded.codes``.
        clip: Whether scaled numbers are smoothly clipped to +-3.
        one_hot_max: Up to this many values a categorical column is one-hot encoded, above it is embedded.
        embedding_dim: Width of every embedding; chosen by the number of values when None.
        time: Column that dates are measured from (days before it), else days since 1970-01-01.
        orders: Declared order of each ordinal column.
    """

    numeric: tuple[NumericStatistics, ...]
    categorical: tuple[Vocabulary, ...]
    clip: bool = True
    one_hot_max: int = 10
    embedding_dim: int | None = None
    time: str | None = None
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def encode(self, typed: pl.DataFrame) -> Encoded:
        """Encode rows.

        Args:
            typed: Columns as :func:`churnlib.data.coercion.coerce` returns them.
        """
        n, dtypes = len(typed), dict(typed.schema)
        numbers = typed.select(
            as_number(s.name, dtypes[s.name], time=self.time, order=self.orders.get(s.name, ())).fill_null(math.nan)
            for s in self.numeric
        )
        codes = typed.select(_as_code(vocabulary) for vocabulary in self.categorical)
        return Encoded(_to_numpy(numbers.cast(pl.Float32), n, np.float32), _to_numpy(codes, n, np.int64))

    def unseen(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return the row numbers with values that the training rows did not have, by column (columns without: left out)."""
        wanted = [(v.name, v.values) for v in self.categorical] + [(n, o) for n, o in self.orders.items()]
        masks = typed.select(~cell_of(name).is_in(values).fill_null(True) for name, values in wanted)
        return {mask.name: mask.arg_true().to_numpy() for mask in masks if mask.any()}

    def input_spec(self, *, one_hot_max: int | None = None) -> dict[str, Any]:
        """Return the arguments of ``churnlib.models.input_layer.InputLayer``: numbers and lists only.

        Args:
            one_hot_max: Overrides the fitted limit; baselines one-hot encode every column.
        """
        limit = self.one_hot_max if one_hot_max is None else one_hot_max
        statistics = [asdict(s) for s in self.numeric]
        keys = ("fill", "indicator", "low", "high", "center", "factor", "knots", "heights")
        return {
            **{key: [list(s[key]) if isinstance(s[key], tuple) else s[key] for s in statistics] for key in keys},
            "clip": self.clip,
            "cardinalities": [FIRST_KNOWN + len(v.values) for v in self.categorical],
            "one_hot": [len(v.values) + v.missing <= limit for v in self.categorical],
            "has_missing": [v.missing for v in self.categorical],
            "embedding_dim": self.embedding_dim,
        }

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the raw columns, in the order of the input layer's groups: numeric first, then categorical."""
        return (*(s.name for s in self.numeric), *(v.name for v in self.categorical))

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """Build a preparation from what :meth:`to_dict` returned.

        Raises:
            BundleError: If the values are no preparation.
        """
        try:
            numeric = tuple(
                NumericStatistics(**{**s, "knots": tuple(s["knots"]), "heights": tuple(s["heights"])})
                for s in values["numeric"]
            )
            categorical = tuple(Vocabulary(v["name"], tuple(v["values"]), v["missing"]) for v in values["categorical"])
            orders = {name: tuple(order) for name, order in values["orders"].items()}
            return cls(**{**values, "numeric": numeric, "categorical": categorical, "orders": orders})
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"the preparation cannot be read ({error!r}); write it again with this release") from error


def fit_preparation(
    typed: pl.DataFrame,
    schema: Schema,
    *,
    impute: str = "median",
    impute_value: float = 0.0,
    indicator: bool = True,
    scale: str = "robust_clip",
    winsorize: float = 0.0,
    one_hot_max: int = 10,
    embedding_dim: int | None = None,
) -> Preparation:
    """Learn medians, scales and categories from training rows.

    Args:
        typed: Training rows only, as :func:`churnlib.data.coercion.coerce` returns them.
        schema: The table's schema.
        impute: ``median``, ``mean`` or ``constant``.
        impute_value: The constant.
        indicator: Add a 0/1 input for each numeric column with missing values in these rows.
        scale: ``robust_clip`` (median and interquartile range, then ``z / sqrt(1 + (z / 3)^2)``: RealMLP, arXiv
            2407.04491), ``robust``, ``standard``, ``minmax`` (to [0, 1]), ``quantile`` (to a normal distribution) or ``none``.
        winsorize: Share of rows cut off at each end, in [0, 0.5).
        one_hot_max: Categorical columns with up to this many values are one-hot encoded, larger ones embedded.
        embedding_dim: Width of an embedding.

    Raises:
        ConfigError: If an option is not one of those named.
        DataError: If there are no rows.
    """
    _check_options(impute, impute_value, scale, winsorize, one_hot_max, embedding_dim)
    if not len(typed):
        raise DataError("there are no training rows to learn the preparation from")
    dtypes = dict(typed.schema)
    numeric = []
    for column in schema.features:
        if column.kind in NUMBER_KINDS:
            number = as_number(column.name, dtypes[column.name], time=schema.time, order=column.order)
            values = typed.select(number).to_series().drop_nulls().to_numpy()
            fill = impute_value if impute == "constant" else _middle(values, impute)
            has_missing = len(values) < len(typed)
            numeric.append(_statistics(column.name, values, fill, indicator and has_missing, scale, winsorize))
    categories = [column.name for column in schema.features if column.kind not in NUMBER_KINDS]
    return Preparation(
        numeric=tuple(numeric),
        categorical=tuple(_vocabulary(typed.get_column(name)) for name in categories),
        clip=scale == "robust_clip",
        one_hot_max=one_hot_max,
        embedding_dim=embedding_dim,
        time=schema.time,
        orders={column.name: column.order for column in schema.features if column.kind is Kind.ordinal},
    )


def _check_options(
    impute: str, impute_value: float, scale: str, winsorize: float, one_hot_max: int, embedding_dim: int | None
) -> None:
    for option, value, allowed in (("impute", impute, IMPUTE), ("scale", scale, SCALE)):
        if value not in allowed:
            raise ConfigError(f"preprocess.{option} must be one of {', '.join(allowed)}, got {value!r}")
    if not abs(impute_value) <= FLOAT32_MAX:
        raise ConfigError(f"preprocess.impute_value must be a number in the range of float32, got {impute_value!r}")
    if not 0 <= winsorize < 0.5:
        raise ConfigError(f"preprocess.winsorize must be in [0, 0.5), got {winsorize!r}")
    if one_hot_max < 0:
        raise ConfigError(f"preprocess.one_hot_max must be 0 or above, got {one_hot_max!r}")
    if embedding_dim is not None and embedding_dim < 1:
        raise ConfigError(f"preprocess.embedding_dim must be 1 or above, got {embedding_dim!r}")


def _middle(values: np.ndarray, impute: str) -> float:
    if not len(values):
        return 0.0
    return float(np.median(values) if impute == "median" else values.mean())


def _vocabulary(values: pl.Series) -> Vocabulary:
    known = values.drop_nulls().unique().sort()
    return Vocabulary(values.name, tuple(known.to_list()), missing=bool(values.has_nulls()))


def _statistics(
    name: str, values: np.ndarray, fill: float, indicator: bool, scale: str, winsorize: float
) -> NumericStatistics:
    low = high = None
    if winsorize > 0 and len(values):
        low, high = (float(q) for q in np.quantile(values, [winsorize, 1 - winsorize]))
        values = values.clip(low, high)
    if scale == "quantile":
        knots, heights = _quantile_knots(values)
        return NumericStatistics(name, fill, indicator, low, high, knots=knots, heights=heights)
    center, factor = _center_and_factor(values, scale)
    return NumericStatistics(name, fill, indicator, low, high, center, factor)


def _center_and_factor(values: np.ndarray, scale: str) -> tuple[float, float]:
    """Location and reciprocal width; a column without width carries nothing and is multiplied by 0."""
    if not len(values):
        return 0.0, 0.0
    if scale == "none":
        return 0.0, 1.0
    if scale == "standard":
        center, width = float(values.mean()), float(values.std())
        size = abs(center)
    elif scale == "minmax":
        center, width = float(values.min()), float(np.ptp(values))
        size = max(abs(center), abs(center + width))
    else:
        q25, center, q75 = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
        width, size = q75 - q25, max(abs(q25), abs(q75))
        if width == 0:
            # More than half of the rows alike (mostly zeros, say): half the whole range instead, as RealMLP does.
            width, size = float(np.ptp(values)) / 2, float(np.abs(values).max())
    # A width of rounding errors is no width, nor is one whose reciprocal float32 cannot hold.
    tiny = max(float(np.finfo(np.float32).eps) * size, 1 / FLOAT32_MAX)
    return center, 1 / width if width > tiny else 0.0


def _quantile_knots(values: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots at the quantiles and the normal scores there; equal quantiles (ties) share the mean of their scores."""
    if not len(values):
        return (0.0, 1.0), (0.0, 0.0)
    share = np.linspace(0, 1, N_KNOTS)
    quantiles = np.quantile(values, share).astype(np.float32).astype(np.float64)
    # The ends at 0.1 % and 99.9 %: +-3.09, as far out as smooth clipping goes.
    score = np.array([NormalDist().inv_cdf(min(max(s, 1e-3), 1 - 1e-3)) for s in share])
    knots, which = np.unique(quantiles, return_inverse=True)
    heights = np.bincount(which, weights=score) / np.bincount(which)
    if len(knots) == 1:
        return (float(knots[0]), float(knots[0]) + 1.0), (0.0, 0.0)
    return tuple(knots.tolist()), tuple(heights.tolist())


def as_number(name: str, dtype: pl.DataType, *, time: str | None = None, order: Sequence[str] = ()) -> pl.Expr:
    """Return the Float64 number of a numeric, datetime or ordinal column, in the range of float32; missing is null.

    Args:
        name: Column of a typed table.
        dtype: Its type.
        time: Column that dates are measured from, in days before it; without it, in days since 1970-01-01.
        order: Values of an ordinal column; the first is 0, the next 1, and so on, others are missing.
    """
    cell = cell_of(name)
    if order:
        ranks = [float(rank) for rank in range(len(order))]
        return cell.replace_strict(list(order), ranks, default=None, return_dtype=pl.Float64)
    if isinstance(dtype, pl.Datetime):
        since = cell_of(time) - cell if time is not None else cell - pl.datetime(1970, 1, 1, time_unit="us")
        return (since.dt.total_microseconds() / MICROSECONDS_PER_DAY).alias(name)
    return cell.cast(pl.Float64).clip(-FLOAT32_MAX, FLOAT32_MAX)


def _as_code(vocabulary: Vocabulary) -> pl.Expr:
    cell, values = cell_of(vocabulary.name), list(vocabulary.values)
    if not values:
        return pl.when(cell.is_null()).then(MISSING).otherwise(UNSEEN).cast(pl.Int64).alias(vocabulary.name)
    codes = range(FIRST_KNOWN, FIRST_KNOWN + len(values))
    # A missing cell keeps the null that stands for it among the old values.
    return cell.replace_strict([None, *values], [MISSING, *codes], default=UNSEEN, return_dtype=pl.Int64)


def _to_numpy(frame: pl.DataFrame, n: int, dtype: Any) -> np.ndarray:
    if not frame.width:
        return np.zeros((n, 0), dtype=dtype)
    return np.ascontiguousarray(frame.to_numpy(), dtype=dtype)
