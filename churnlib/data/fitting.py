"""What a preparation learns from training rows: statistics of numbers, steps of histories, values of categories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from churnlib.data.inputs import NUMBER_KINDS, History, Vocabulary, as_numbers, as_steps
from churnlib.data.preparation import Preparation
from churnlib.data.scaling import NumericStatistics, Scaling, fit_statistics
from churnlib.errors import ConfigError, DataError
from churnlib.schema import FEATURE_KINDS, Kind, Schema


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
    values = typed.select(as_numbers([(c.name, c.order) for c in numbers], dtypes, time=schema.time))
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


__all__ = ["fit_preparation", "fit_vocabularies"]
