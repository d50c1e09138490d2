"""From the events of some rows to one number per row and feature.

Events are sorted by row, age and value first, and summed by numpy row by row. Each sum is then taken in an order that
depends on the events of the row alone: shuffling the event table, or adding other customers to it, changes no bit of
the result. (polars' own aggregations round in the last bit by what else is in a column.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
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
    if events.is_empty():
        return pl.DataFrame(schema={ROW: pl.UInt32(), **dict.fromkeys(definition.names, pl.Float64())})
    columns: dict[str, pl.Series] = {}
    for window in dict.fromkeys(feature.window for feature in definition.features):
        over = _Window(events, window, names)  # one after the other: what is kept for a window is as long as the events
        for feature in (feature for feature in definition.features if feature.window == window):
            with np.errstate(all="ignore"):
                values = np.asarray(over.aggregate(feature), dtype=np.float64)
            finite = np.isfinite(values)
            columns[feature.name] = pl.Series(np.where(finite, values, np.nan), nan_to_null=True)
        over.release()
    rows = events[ROW].gather(_starts(events[ROW]))
    return pl.DataFrame({ROW: rows, **{name: columns[name] for name in definition.names}})


def _starts(*keys: pl.Series) -> np.ndarray:
    """Return where a new key begins in sorted columns."""
    changes = np.zeros(len(keys[0]), dtype=bool)
    changes[:1] = True
    for key in keys:
        values = key.to_numpy()
        changes[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


class _Window:
    """The events of all rows, newest first in each, of which some lie in a window.

    Args:
        events: Sorted.
        days: Of the window; None for all of the past.
        names: Columns of the values.
    """

    def __init__(self, events: pl.DataFrame, days: float | None, names: dict[Value, str]) -> None:
        self._events, self._names, self._days = events, names, days
        self._starts = _starts(events[ROW])
        self._age = events[AGE].to_numpy()
        self.inside = self._before = np.ones(len(events), dtype=bool)
        if days is not None:
            self.inside = self._age < round(days * DAY)
            self._before = ~self.inside & (self._age < round(2 * days * DAY))
        self._cells: dict[str, _Cells] = {}

    def aggregate(self, feature: EventFeature) -> np.ndarray:
        """Return the feature of each row, ``(n_rows,)``; not finite where it is missing."""
        value = value_of(feature)
        if value is None:
            return getattr(self, f"_{feature.aggregation}")()
        name = self._names[value]
        if value.form == "category":
            return self._distinct(name)
        if name not in self._cells:
            self._cells[name] = _Cells(self, self._events[name].cast(pl.Float64).to_numpy())
        return getattr(self, _METHODS.get(feature.aggregation, f"_{feature.aggregation}"))(self._cells[name])

    def release(self) -> None:
        """Let go of what was computed: window and cells hold each other, and would wait for the garbage collector."""
        self._cells.clear()

    def total(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Sum ``(n_events,)`` values row by row; others than those wanted count as 0."""
        return np.add.reduceat(np.where(where, values, 0), self._starts)

    def number(self, where: np.ndarray) -> np.ndarray:
        """Return how many events of each row are among those wanted."""
        return np.add.reduceat(where, self._starts, dtype=np.int64)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Repeat the value of each row for its events."""
        return np.repeat(values, np.diff(self._starts, append=len(self._age)))

    # --- of the events ----------------------------------------------------------------------------------------------

    def _count(self) -> np.ndarray:
        return self.number(self.inside)

    def _active_days(self) -> np.ndarray:
        first = np.zeros(len(self._age), dtype=bool)
        first[_starts(self._events[ROW], self._events[AGE] // DAY)] = True
        return self.number(first & self.inside)

    def _recency(self) -> np.ndarray:
        newest = self._starts
        return np.where(self.inside[newest], self._age[newest] / DAY, np.nan)

    def _change(self) -> np.ndarray:
        return self._count() - self.number(self._before)

    def _ratio(self) -> np.ndarray:
        return self._count() / self.number(self._before)

    # --- of their cells ---------------------------------------------------------------------------------------------

    def _sum(self, cells: _Cells) -> np.ndarray:
        return cells.sum

    def _mean(self, cells: _Cells) -> np.ndarray:
        return cells.mean

    def _max(self, cells: _Cells) -> np.ndarray:
        return np.maximum.reduceat(np.where(cells.given, cells.values, -np.inf), self._starts)

    def _min(self, cells: _Cells) -> np.ndarray:
        return np.minimum.reduceat(np.where(cells.given, cells.values, np.inf), self._starts)

    def _std(self, cells: _Cells) -> np.ndarray:
        variance = self.total(cells.off_mean * cells.off_mean, cells.given) / (cells.n - 1)
        return np.where(cells.n > 1, np.sqrt(variance), np.nan)

    def _slope(self, cells: _Cells) -> np.ndarray:
        days = self._age / -DAY
        off_time = days - self.spread(self.total(days, cells.given) / cells.n)
        slope = self.total(off_time * cells.off_mean, cells.given) / self.total(off_time * off_time, cells.given)
        oldest = np.maximum.reduceat(np.where(cells.given, self._age, -1), self._starts)
        newest = np.minimum.reduceat(np.where(cells.given, self._age, np.iinfo(np.int64).max), self._starts)
        return np.where(newest < oldest, slope, np.nan)

    def _daily_mean(self, cells: _Cells) -> np.ndarray:
        return cells.sum / self._days

    def _daily_max(self, cells: _Cells) -> np.ndarray:
        """The largest daily total; a day without events counts as 0, a day ends at the hour of the snapshot."""
        days = _starts(self._events[ROW], self._events[AGE] // DAY)
        totals = np.add.reduceat(np.where(cells.given, cells.values, 0.0), days)
        of_row = np.searchsorted(days, self._starts)
        largest = np.maximum.reduceat(np.where(self.inside[days], totals, -np.inf), of_row)
        # Of fewer days with events than the window has, one at least has a total of 0.
        return np.where(self._active_days() < self._days, np.maximum(largest, 0.0), largest)

    def _mean_change(self, cells: _Cells) -> np.ndarray:
        return cells.mean - cells.average(self._before)

    def _mean_ratio(self, cells: _Cells) -> np.ndarray:
        return cells.mean / cells.average(self._before)

    def _distinct(self, column: str) -> np.ndarray:
        inside = self._events.lazy().filter(pl.lit(pl.Series(self.inside))).drop_nulls(column)
        counts = inside.group_by(ROW).agg(pl.col(column).n_unique())
        rows = self._events[ROW].gather(self._starts).to_frame().lazy()
        joined = rows.join(counts, on=ROW, how="left", maintain_order="left").select(pl.col(column).fill_null(0))
        return joined.collect().to_series().to_numpy()


class _Cells:
    """The numbers of one column over a window; what several aggregations need is computed once.

    Args:
        window: The window.
        values: ``(n_events,)`` float64, NaN for missing.
    """

    def __init__(self, window: _Window, values: np.ndarray) -> None:
        self.values, self._window = values, window
        self.given = window.inside & ~np.isnan(values)

    @cached_property
    def n(self) -> np.ndarray:
        """Number of values of each row."""
        return self._window.number(self.given)

    @cached_property
    def sum(self) -> np.ndarray:
        """Their sum."""
        return self._window.total(self.values, self.given)

    @cached_property
    def mean(self) -> np.ndarray:
        """Their mean; NaN where there are none."""
        return self.sum / self.n

    @cached_property
    def off_mean(self) -> np.ndarray:
        """How far each value is from the mean of its row, ``(n_events,)``."""
        return self.values - self._window.spread(self.mean)

    def average(self, where: np.ndarray) -> np.ndarray:
        """Return the mean over other events."""
        given = where & ~np.isnan(self.values)
        return self._window.total(self.values, given) / self._window.number(given)


_METHODS = {"change": "_mean_change", "ratio": "_mean_ratio", "share": "_mean"}
"""Where the method is called otherwise than the aggregation: of cells, not of the events themselves."""

__all__ = ["AGE", "DAY", "ROW", "Value", "aggregate", "value_of", "values_of"]
