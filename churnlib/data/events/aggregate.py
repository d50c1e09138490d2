"""From the events of some rows to one number per row and feature.

Events are sorted by row, age and value first. Every sum is then taken in an order that depends on the events of the
row alone: shuffling the event table, or adding other customers to it, changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from churnlib.data.events.definition import AGGREGATIONS, EventDefinition, EventFeature

ROW, AGE = "\0row", "\0age"
"""Number of the row that an event belongs to, and its age there in microseconds; no column's name has a NUL."""

DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Value:
    """What is read from a column of the event table.

    Attributes:
        column: Its name.
        form: ``number``, ``category``, or ``is`` (whether the category is the one asked for).
        category: The one asked for.
    """

    column: str
    form: str
    category: str | None = None


def value_of(feature: EventFeature) -> Value | None:
    """Return what a feature reads besides the time."""
    if feature.column is None:
        return None
    if feature.aggregation == "share":
        return Value(feature.column, "is", feature.value)
    return Value(feature.column, "category" if AGGREGATIONS[feature.aggregation].column == "category" else "number")


def values_of(definition: EventDefinition) -> dict[Value, str]:
    """Return what the features read, each once, with the name of the column that holds it."""
    wanted = dict.fromkeys(value for feature in definition.features if (value := value_of(feature)) is not None)
    return {value: f"\0value {place}" for place, value in enumerate(wanted)}


def aggregate(events: pl.DataFrame, definition: EventDefinition) -> pl.DataFrame:
    """Return a row for each row number that has events, with the features in their order.

    Args:
        events: ``ROW``, ``AGE`` (at least 0) and the columns of :func:`values_of`, in any order.
        definition: The features.
    """
    names = values_of(definition)
    events = events.sort(ROW, AGE, *names.values())
    parts = [events.select(ROW).unique(maintain_order=True)]
    windows = dict.fromkeys(feature.window for feature in definition.features)
    for window in windows:  # one after the other: what is kept for a window is as long as the events
        features = [feature for feature in definition.features if feature.window == window]
        parts.append(_over_window(events, window, features, names).drop(ROW))
        parts += [_daily_max(parts[0], events, feature, names) for feature in features if _by_day(feature)]
    return pl.concat(parts, how="horizontal").select(ROW, *definition.names)


def _by_day(feature: EventFeature) -> bool:
    return feature.aggregation == "daily_max"


def _over_window(
    events: pl.DataFrame, window: float | None, features: Sequence[EventFeature], names: dict[Value, str]
) -> pl.DataFrame:
    inside = pl.lit(True) if window is None else pl.col(AGE) < round(window * DAY)
    before = pl.lit(False) if window is None else ~inside & (pl.col(AGE) < round(2 * window * DAY))
    columns = ["", *(names[value] for value in names if value in {value_of(feature) for feature in features})]
    masked: list[pl.Expr] = []
    for column in columns:
        cell = pl.col(column) if column else pl.col(AGE)
        masked.append(pl.when(inside).then(cell).alias(f"{column}\0in"))
        if any(feature.aggregation in ("change", "ratio") for feature in features):
            masked.append(pl.when(before).then(cell).alias(f"{column}\0before"))
        if column and any(feature.aggregation == "slope" for feature in features):
            masked.append(pl.when(inside & cell.is_not_null()).then(pl.col(AGE) / -DAY).alias(f"{column}\0time"))
    grouped = events.lazy().select(ROW, *masked).group_by(ROW, maintain_order=True)
    return grouped.agg(_expressions(features, names)).collect()


def _expressions(features: Sequence[EventFeature], names: dict[Value, str]) -> Iterator[pl.Expr]:
    """Yield the aggregations over the masked columns of one window: Float64, never infinite or NaN."""
    for feature in features:
        if not _by_day(feature):
            value = value_of(feature)
            column = "" if value is None else names[value]
            number = _expression(feature, column).cast(pl.Float64)
            yield pl.when(number.is_finite()).then(number).alias(feature.name)


def _expression(feature: EventFeature, column: str) -> pl.Expr:
    cell, before = pl.col(f"{column}\0in"), pl.col(f"{column}\0before")
    match feature.aggregation:
        case "count":
            return cell.count()
        case "active_days":
            return (cell // DAY).drop_nulls().n_unique()
        case "recency":
            return cell.min() / DAY
        case "distinct":
            return cell.drop_nulls().n_unique()
        case "share":
            return cell.mean()
        case "daily_mean":
            assert feature.window is not None
            return cell.sum() / feature.window
        case "slope":
            time = pl.col(f"{column}\0time")
            return pl.when(time.min() < time.max()).then(pl.cov(time, cell) / time.var())
        case "change":
            return cell.mean() - before.mean() if column else cell.count().cast(pl.Int64) - before.count()
        case "ratio":
            return cell.mean() / before.mean() if column else cell.count() / before.count()
        case word:
            return getattr(cell, word)()  # sum, mean, max, min, std


def _daily_max(
    rows: pl.DataFrame, events: pl.DataFrame, feature: EventFeature, names: dict[Value, str]
) -> pl.DataFrame:
    """Return the largest daily total; a day without events counts as 0, a day ends at the hour of the snapshot."""
    value = value_of(feature)
    assert value is not None and feature.window is not None
    column = names[value]
    days = events.lazy().filter(pl.col(AGE) < round(feature.window * DAY)).with_columns(pl.col(AGE) // DAY)
    totals = days.group_by(ROW, AGE, maintain_order=True).agg(pl.col(column).sum())
    largest = totals.group_by(ROW).agg(pl.col(column).max(), pl.len().alias("\0days"))
    # Of fewer days with events than the window has, one at least has a total of 0.
    full = pl.col("\0days") >= int(feature.window)
    total = pl.when(full).then(pl.col(column)).otherwise(pl.max_horizontal(pl.col(column), pl.lit(0.0)))
    joined = rows.lazy().join(largest, on=ROW, how="left", maintain_order="left")
    return joined.select(total.alias(feature.name)).collect()


__all__ = ["AGE", "DAY", "ROW", "Value", "aggregate", "value_of", "values_of"]
