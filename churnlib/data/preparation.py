"""From typed columns to the two arrays a network reads, and the statistics its input layer needs.

First come the steps that the user has named (:mod:`churnlib.data.steps`), if any. Then polars turns strings and dates
into numbers; arithmetic on numbers (imputing, scaling, clipping) is described by the fitted statistics and done by
``churnlib.models.input_layer`` inside the network's graph. Everything is learned from training rows only, and kept as
JSON-ready values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.data.scaling import FLOAT32_MAX, IMPUTE, SCALE, NumericStatistics, Scaling, fit_statistics
from churnlib.data.steps import Chain
from churnlib.data.steps.arrays import filled_by_pieces
from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.schema import FEATURE_KINDS, Kind, Schema
from churnlib.schema.parsing import cell_of

MISSING, UNSEEN, FIRST_KNOWN = 0, 1, 2
"""Codes of a category: no value, a value that the training rows did not have, and the first known value."""

NUMBER_KINDS = (Kind.numeric, Kind.datetime, Kind.ordinal)
"""Kinds that become a number; a sequence becomes several, text only what a step makes of it, the others a code."""

MICROSECONDS_PER_DAY = 86_400e6


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
class History:
    """A sequence column among the numeric inputs: the last steps of each row, the newest one last.

    Attributes:
        name: Column; its inputs are called ``name[-n_steps]``, ..., ``name[-1]``.
        n_steps: Number of inputs. Rows with fewer steps have missing values before their first one.
    """

    name: str
    n_steps: int


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
        numeric: One entry per numeric input, in the order of ``Encoded.numeric``; the steps of the histories come
            after all other numbers.
        categorical: One entry per categorical input, in the order of ``Encoded.codes``.
        clip: Whether scaled numbers are smoothly clipped to +-3.
        one_hot_max: Up to this many values a categorical column is one-hot encoded, above it is embedded.
        embedding_dim: Width of every embedding; chosen by the number of values when None.
        time: Column that dates are measured from (days before it), else days since 1970-01-01.
        orders: Declared order of each ordinal column.
        histories: The sequence columns, in the order of their inputs.
        chain: The steps that come before all this.
        seen: The categorical columns as they stand before the first step; those of ``categorical`` where there is none.
        branches: Preparations of several models that answer together, where each has learned steps of its own; what
            they make of a row then stands side by side, and ``numeric`` and ``categorical`` list it all.
    """

    numeric: tuple[NumericStatistics, ...]
    categorical: tuple[Vocabulary, ...]
    clip: bool = True
    one_hot_max: int = 10
    embedding_dim: int | None = None
    time: str | None = None
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    chain: Chain = field(default_factory=Chain)
    seen: tuple[Vocabulary, ...] = ()
    branches: tuple[Preparation, ...] = ()

    @property
    def has_steps(self) -> bool:
        """Whether steps of the user stand between the columns of the table and the inputs."""
        return bool(self.chain or self.branches)

    def encode(self, typed: pl.DataFrame) -> Encoded:
        """Encode rows.

        Args:
            typed: Columns as :func:`churnlib.data.coercion.coerce` returns them.
        """

        def arrays(piece: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
            encoded = self.encode_prepared(self.chain.apply(piece))
            return encoded.numeric, encoded.codes

        if not self.branches:
            return Encoded(*filled_by_pieces(typed, arrays))
        each = [branch.encode(typed) for branch in self.branches]
        return Encoded(
            np.concatenate([encoded.numeric for encoded in each], axis=1),
            np.concatenate([encoded.codes for encoded in each], axis=1),
        )

    def encode_prepared(self, typed: pl.DataFrame) -> Encoded:
        """Encode rows that have been through the steps already."""
        n, dtypes = len(typed), dict(typed.schema)
        n_plain = len(self.numeric) - sum(history.n_steps for history in self.histories)
        plain = [(s.name, self.orders.get(s.name, ())) for s in self.numeric[:n_plain]]
        steps = [step for history in self.histories for step in as_steps(history)]
        parts = [
            typed.select(cell.fill_null(math.nan) for cell in _as_numbers(plain, dtypes, time=self.time)),
            typed.select(step.fill_null(math.nan).alias(f"{place}") for place, step in enumerate(steps)),
        ]
        numbers = [_to_numpy(part.cast(pl.Float32), n, np.float32) for part in parts if part.width]
        codes = typed.select(_as_code(vocabulary) for vocabulary in self.categorical)
        return Encoded(
            np.concatenate(numbers, axis=1) if len(numbers) > 1 else (numbers or [np.zeros((n, 0), np.float32)])[0],
            _to_numpy(codes, n, np.int64),
        )

    def unseen(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by column the row numbers with values that the training rows did not have; only columns with some."""
        wanted = [(v.name, v.values) for v in self.vocabularies]
        wanted += [] if self.has_steps else list(self.orders.items())
        masks = typed.select(~cell_of(name).is_in(values).fill_null(True) for name, values in wanted)
        return {mask.name: mask.arg_true().to_numpy() for mask in masks if mask.any()}

    def flagged(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by flag the row numbers that a step finds unusual (of several preparations, half of them or more)."""
        each = [branch.chain.flagged(typed) for branch in self.branches] or [self.chain.flagged(typed)]
        names = dict.fromkeys(name for one in each for name in one)
        share = {name: np.mean([one[name] for one in each if name in one], axis=0) for name in names}
        return {name: np.flatnonzero(part >= 0.5) for name, part in share.items() if (part >= 0.5).any()}

    @property
    def vocabularies(self) -> tuple[Vocabulary, ...]:
        """The values that the categorical columns of the table had in the training rows."""
        return self.seen if self.has_steps else self.categorical

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
            "sequences": self._step_places(),
        }

    def _step_places(self) -> list[list[int]]:
        """Return for each history where its steps stand among the numeric inputs."""
        ends = len(self.numeric) - np.cumsum([0, *(history.n_steps for history in reversed(self.histories))])[::-1]
        return [list(range(start, end)) for start, end in pairwise(ends.tolist())]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the raw columns, in the order of the input layer's groups: numeric first, then categorical."""
        return (*(s.name for s in self.numeric), *(v.name for v in self.categorical))

    def origins(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Return the columns of the table that each numeric and then each categorical input is made of.

        A date counts as it is measured, by its distance from the time column, which is not listed beside it.

        Args:
            names: Columns of the typed table, in table order.
        """
        each = [branch._own_origins(names) for branch in self.branches or (self,)]
        return tuple(made for side in zip(*each, strict=True) for found in side for made in found)

    def _own_origins(self, names: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        n_plain = len(self.numeric) - sum(history.n_steps for history in self.histories)
        wanted = [statistics.name for statistics in self.numeric[:n_plain]]
        wanted += [history.name for history in self.histories for _ in range(history.n_steps)]
        found = self.chain.origins(names, [*wanted, *(vocabulary.name for vocabulary in self.categorical)])
        without = [tuple(name for name in made if name != self.time) or made for made in found]
        return without[: len(wanted)], without[len(wanted) :]

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as JSON-ready values."""
        own = asdict(replace(self, chain=Chain(), branches=()))
        return {**own, "chain": self.chain.to_dict(), "branches": [branch.to_dict() for branch in self.branches]}

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
            categorical, seen = (
                tuple(Vocabulary(v["name"], tuple(v["values"]), v["missing"]) for v in values.get(key, ()))
                for key in ("categorical", "seen")
            )
            orders = {name: tuple(order) for name, order in values["orders"].items()}
            histories = tuple(History(**history) for history in values.get("histories", ()))
            chain = Chain.from_dict(values.get("chain", ()))
            branches = tuple(cls.from_dict(branch) for branch in values.get("branches", ()))
            read = {"numeric": numeric, "categorical": categorical, "orders": orders, "histories": histories}
            return cls(**{**values, **read, "chain": chain, "seen": seen, "branches": branches})
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"the preparation cannot be read ({error!r}); write it again with this release"
            ) from error


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
    max_steps: int = 36,
) -> Preparation:
    """Learn medians, scales and categories from training rows.

    Args:
        typed: Training rows only, as :func:`churnlib.data.coercion.coerce` returns them.
        schema: The table's schema.
        impute: ``median``, ``mean`` or ``constant``.
        impute_value: The constant.
        indicator: Add a 0/1 input for each numeric column with missing values in these rows.
        scale: ``robust_clip`` (median and interquartile range, then ``z / sqrt(1 + (z / 3)^2)``: RealMLP, arXiv
            2407.04491), ``robust``, ``standard``, ``minmax`` (to [0, 1]), ``quantile`` (to a normal distribution) or
            ``none``.
        winsorize: Share of rows cut off at each end, in [0, 0.5).
        one_hot_max: Categorical columns with up to this many values are one-hot encoded, larger ones embedded.
        embedding_dim: Width of an embedding.
        max_steps: Most steps of a sequence that are read, counted from its end; fewer if no training row has so many.

    Raises:
        ConfigError: If an option is not one of those named.
        DataError: If there are no rows.
    """
    scaling = Scaling(impute, impute_value, indicator, scale, winsorize)
    if one_hot_max < 0:
        raise ConfigError(f"preprocess.one_hot_max must be 0 or above, got {one_hot_max!r}")
    if embedding_dim is not None and embedding_dim < 1:
        raise ConfigError(f"preprocess.embedding_dim must be 1 or above, got {embedding_dim!r}")
    if max_steps < 1:
        raise ConfigError(f"preprocess.max_steps must be 1 or above, got {max_steps!r}")
    if not len(typed):
        raise DataError("there are no training rows to learn the preparation from")
    for column in schema.features:
        if column.kind not in FEATURE_KINDS:
            raise ConfigError(
                f"no preparation step reads the {column.kind} of {column.name!r}, and no model does; name one, such as "
                f"preprocess.steps.text, or set data.columns.{column.name}.role=ignored"
            )
    dtypes = dict(typed.schema)
    numbers = [column for column in schema.features if column.kind in NUMBER_KINDS]
    sequences = [column.name for column in schema.features if column.kind is Kind.sequence]
    # One selection for all: each one on a wide table costs in proportion to its width.
    values = typed.select(_as_numbers([(c.name, c.order) for c in numbers], dtypes, time=schema.time))
    numeric = [fit_statistics(c.name, column, scaling) for c, column in zip(numbers, values, strict=True)]
    histories = tuple(_fit_history(name, typed.get_column(name), max_steps) for name in sequences)
    for history in histories:
        numeric += _step_statistics(history, typed, scaling)
    return Preparation(
        numeric=tuple(numeric),
        categorical=fit_vocabularies(typed, schema),
        clip=scale == "robust_clip",
        one_hot_max=one_hot_max,
        embedding_dim=embedding_dim,
        time=schema.time,
        orders={column.name: column.order for column in schema.features if column.kind is Kind.ordinal},
        histories=histories,
    )


def side_by_side(branches: Sequence[Preparation], *, seen: tuple[Vocabulary, ...]) -> Preparation:
    """Return a preparation that makes of a row what each of several makes of it.

    Args:
        branches: The preparations; two with equal steps are two all the same.
        seen: Values of the categorical columns in all the rows that one of them has learned from.
    """
    longest = {history.name: history for branch in branches for history in sorted(branch.histories, key=_length)}
    return Preparation(
        numeric=tuple(statistics for branch in branches for statistics in branch.numeric),
        categorical=tuple(vocabulary for branch in branches for vocabulary in branch.categorical),
        histories=tuple(longest.values()),
        seen=seen,
        branches=tuple(branches),
    )


def _length(history: History) -> int:
    return history.n_steps


def _fit_history(name: str, lists: pl.Series, max_steps: int) -> History:
    return History(name, n_steps=max(1, min(int(lists.list.len().max() or 0), max_steps)))  # type: ignore[call-overload]


def _step_statistics(history: History, typed: pl.DataFrame, scaling: Scaling) -> list[NumericStatistics]:
    """Return one entry per step: all alike, so that a level means the same in every month, but for the indicator."""
    steps = typed.select(step.alias(f"{history.name}[{-ago}]") for ago, step in _counted(as_steps(history)))
    together = fit_statistics(history.name, pl.concat([step.alias("step") for step in steps]), scaling)
    return [replace(together, name=step.name, indicator=scaling.indicator and step.has_nulls()) for step in steps]


def _counted(steps: Sequence[pl.Expr]) -> Iterator[tuple[int, pl.Expr]]:
    """Number the steps as they are called: the last one is 1 back."""
    return zip(range(len(steps), 0, -1), steps, strict=True)


def fit_vocabularies(typed: pl.DataFrame, schema: Schema) -> tuple[Vocabulary, ...]:
    """Return the values of each categorical feature in these rows."""
    others = (*NUMBER_KINDS, Kind.sequence, Kind.text)
    categories = [column.name for column in schema.features if column.kind not in others]
    return tuple(_vocabulary(name, typed.get_column(name).alias("value")) for name in categories)


def _vocabulary(name: str, values: pl.Series) -> Vocabulary:
    known = values.drop_nulls().unique().sort()
    return Vocabulary(name, tuple(known.to_list()), missing=bool(values.has_nulls()))


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
    return _in_range(cell)


def _as_numbers(
    wanted: Sequence[tuple[str, Sequence[str]]], dtypes: Mapping[str, pl.DataType], *, time: str | None
) -> Iterator[pl.Expr]:
    """Yield what :func:`as_number` returns for columns with their orders; neighbours alike share one expression."""
    for shared, columns in groupby(wanted, key=lambda column: not column[1] and dtypes[column[0]] == pl.Float64):
        if shared:
            yield _in_range(cs.by_name(*(name for name, _ in columns)).as_expr())
        else:
            yield from (as_number(name, dtypes[name], time=time, order=order) for name, order in columns)


def _in_range(cell: pl.Expr) -> pl.Expr:
    return cell.cast(pl.Float64).clip(-FLOAT32_MAX, FLOAT32_MAX)


def as_steps(history: History) -> list[pl.Expr]:
    """Return the Float64 inputs of a history, oldest first, in the range of float32; a step that is not there is null.

    >>> table = pl.DataFrame({"usage": [[1.0, 2.0, 3.0], [4.0], None]})
    >>> table.select(step.alias(str(i)) for i, step in enumerate(as_steps(History("usage", 2)))).rows()
    [(2.0, 3.0), (None, 4.0), (None, None)]
    """
    lists = cell_of(history.name)
    back = range(-history.n_steps, 0)
    return [lists.list.get(place, null_on_oob=True).clip(-FLOAT32_MAX, FLOAT32_MAX) for place in back]


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
    # polars shares its memory of a single column, which torch must not write to.
    return np.require(frame.to_numpy(order="c"), dtype=dtype, requirements=["C", "W"])


__all__ = [
    "IMPUTE",
    "MISSING",
    "SCALE",
    "UNSEEN",
    "Encoded",
    "History",
    "NumericStatistics",
    "Preparation",
    "Vocabulary",
    "as_number",
    "as_steps",
    "fit_preparation",
    "fit_vocabularies",
    "side_by_side",
]
