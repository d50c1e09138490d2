"""How long customers stayed, and whether that was the end: the target of a model that learns when they leave.

Time is counted in one of two ways, by ``clock``:

    start      from the start of the relationship: a duration is a tenure. How long a customer has been there is then
               the axis of time and no feature; who has been there for t is scored as one who is still there at t.
    snapshot   from the moment at which the row was taken: a duration is what came after, and everything known at that
               moment may be a feature, tenure too.

A row without a duration above 0 says nothing and is left out: missing, unreadable, 0 or negative ones, and those that
end before the customer came under observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.errors import ConfigError, DataError
from churnlib.schema import Kind, parsing, unknown_column
from churnlib.survival import UNITS_PER_MONTH

Floats = NDArray[np.float64]

ELAPSED = "elapsed"
"""Column for the time that a customer has been there, where durations are made from dates; scored rows must have it."""

MOST_INTERVALS = 512

ALIKE = 0.7
"""Rank correlation from which a column that goes with the duration is worth a line."""

DAYS_PER_MONTH = UNITS_PER_MONTH["days"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeSpec:
    """Which columns say how long customers stayed, and how finely time is cut.

    Attributes:
        clock: ``start`` or ``snapshot``; see the module.
        duration: Column with the time for which a customer was followed.
        start: Column with the date at which time begins, in place of a duration.
        end: Column with the date at which the customer left or was last seen.
        until: ISO date that stands for a missing end.
        entry: Column with the time, on the same clock, from which a customer was observed: who had left before would
            not be in the table (left truncation).
        unit: A key of :data:`~churnlib.survival.UNITS_PER_MONTH`.
        horizon: Time ahead of which the model speaks where nobody says otherwise.
        intervals: How many intervals, with equally many leavers each.
        width: Length of each interval instead.
    """

    clock: str = "start"
    duration: str | None = None
    start: str | None = None
    end: str | None = None
    until: str | None = None
    entry: str | None = None
    unit: str = "months"
    horizon: float = 6.0
    intervals: int = 24
    width: float | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that say how long: none of them is a feature."""
        return [name for name in (self.duration, self.start, self.end, self.entry) if name is not None]

    @property
    def elapsed(self) -> str | None:
        """The column that says of a scored row how long the customer has been there; None where time begins then."""
        if self.clock == "snapshot":
            return None
        return self.entry or self.duration or ELAPSED

    def check(self, names: Sequence[str]) -> None:
        """Refuse names that a table does not have.

        Raises:
            ConfigError: With the option and the near misses.
        """
        for option in ("duration", "start", "end", "entry"):
            name = getattr(self, option)
            if name is not None and name not in names:
                raise ConfigError(unknown_column(name, names, option=f"task.{option}"))
        if self.elapsed == ELAPSED and self.duration is None and ELAPSED in names:
            raise ConfigError(
                f"task.start makes the column {ELAPSED!r}, which the table has already; name it with task.duration or "
                "rename it"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Lifetimes:
    """The times of rows.

    Attributes:
        duration: ``(n,)`` above 0.
        entry: ``(n,)`` from which each was observed, 0 for all without a column that says so.
        event: ``(n,)`` bool, whether the customer left at the end.
        spec: Where they come from.
        breaks: ``(K,)`` ends of the intervals, learned from training rows.
    """

    duration: Floats
    entry: Floats
    event: NDArray[np.bool_]
    spec: LifetimeSpec
    breaks: Floats

    def targets(self, rows: np.ndarray) -> NDArray[np.float32]:
        """Return what :func:`churnlib.models.hazards.hazard_loss` takes of some rows, ``(n, 3)``.

        Who left or stayed beyond the last break was seen staying until there.
        """
        end = self.position(self.duration[rows])
        inside = self.event[rows] & (self.duration[rows] <= self.breaks[-1])
        interval = np.ceil(end) - 1.0  # that in which the duration ends: (b, c] belongs to c
        columns = [self.position(self.entry[rows]), np.where(inside, interval, end), np.where(inside, interval, -1.0)]
        return np.stack(columns, axis=1).astype(np.float32)

    def position(self, times: Floats) -> Floats:
        """Return times in intervals: 2.5 is half way through the third; the number of intervals from the end on."""
        knots = np.concatenate([[0.0], self.breaks])
        return np.interp(times, knots, np.arange(len(knots), dtype=np.float64))

    def life_table(self, rows: np.ndarray) -> Floats:
        """Return the share of some rows that leave in each interval, of those there when it begins, ``(K,)``.

        Half a leaver and half a stayer are added to each, so that none is 0 or 1.
        """
        entry, stayed, left = self.targets(rows).astype(np.float64).T
        n = len(self.breaks)
        leavers = np.bincount(left[left >= 0].astype(np.int64), minlength=n)
        seen = _seen_until(stayed, n) - _seen_until(np.minimum(entry, stayed), n)
        return (leavers + 0.5) / (leavers + seen + 1.0)

    def known(self, rows: np.ndarray, horizon: float) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return of which rows it is known whether they left within a time, and which of all did, ``(n,)`` each.

        The time is that after they came under observation.
        """
        after = self.duration[rows] - self.entry[rows]
        left = self.event[rows] & (after <= horizon)
        return left | (after >= horizon), left.astype(np.int64)


def _seen_until(position: Floats, n: int) -> Floats:
    """Return how many rows were seen in each interval up to their positions, parts of intervals as parts of rows."""
    whole = np.minimum(np.floor(position).astype(np.int64), n)
    counts = np.bincount(whole, minlength=n + 1).astype(np.float64)
    through = counts[::-1].cumsum()[::-1][1 : n + 1]  # those who passed all of interval j
    in_part = np.bincount(whole, weights=position - whole, minlength=n + 1)[:n]
    return np.asarray(through + in_part, dtype=np.float64)


def with_elapsed(frame: pl.DataFrame, spec: LifetimeSpec) -> tuple[pl.DataFrame, LifetimeSpec]:
    """Return a table with the durations as a column, where they come as dates, and the spec that names it.

    Raises:
        ConfigError: If the table lacks a column.
    """
    spec.check(frame.columns)
    if spec.start is None:
        return frame, spec
    end = _moments(frame, spec.end or "").fill_null(pl.lit(spec.until).str.to_datetime() if spec.until else None)
    days = (end - _moments(frame, spec.start)).dt.total_seconds() / 86_400
    unit = UNITS_PER_MONTH[spec.unit] / DAYS_PER_MONTH
    return frame.with_columns((days * unit).alias(ELAPSED)), replace(spec, duration=ELAPSED)


def _moments(frame: pl.DataFrame, name: str) -> pl.Expr:
    return parsing.as_kind(parsing.cell_of(name), frame.schema[name], Kind.datetime)


def read_times(frame: pl.DataFrame, spec: LifetimeSpec) -> pl.DataFrame:
    """Return ``duration`` and ``entry`` of each row, Float64, null where there is none."""
    if spec.duration is None:
        raise ConfigError("task.duration is missing; name the column that says how long each customer was followed")
    names = {"duration": spec.duration, "entry": spec.entry}
    return frame.select(
        pl.lit(0.0).alias(what)
        if name is None
        else parsing.as_kind(parsing.cell_of(name), frame.schema[name], Kind.numeric).cast(pl.Float64).alias(what)
        for what, name in names.items()
    )


def usable(times: pl.DataFrame) -> pl.Series:
    """Return whether each row says something: a duration above 0 that ends after a known entry of at least 0."""
    duration, entry = pl.col("duration"), pl.col("entry")
    says = (duration > 0) & duration.is_finite() & (entry >= 0) & (entry < duration)
    return times.select(says.fill_null(False).alias("usable")).to_series()


def fit_lifetimes(times: pl.DataFrame, event: np.ndarray, train: np.ndarray, spec: LifetimeSpec) -> Lifetimes:
    """Cut time into intervals as the training rows suggest.

    Args:
        times: Of the rows that are used, as :func:`read_times` returns them.
        event: ``(n,)`` whether each customer left.
        train: Row numbers of the training rows.
        spec: How finely.

    Raises:
        ConfigError: If the horizon or the intervals do not suit the durations.
    """
    duration, entry = (times[name].to_numpy().astype(np.float64) for name in ("duration", "entry"))
    event = np.asarray(event, dtype=bool)
    last = float(duration[train].max())
    left = duration[train][event[train]]
    if not len(left):
        raise DataError("no training row says that a customer left; there is nothing to learn about when they do")
    if not 0 < spec.horizon <= last:
        raise ConfigError(
            f"task.horizon={spec.horizon:g} is longer than any training row was followed ({last:g} {spec.unit}); "
            "choose a shorter one"
        )
    return Lifetimes(duration, entry, event, spec, _breaks(left, last, spec))


def _breaks(left: Floats, last: float, spec: LifetimeSpec) -> Floats:
    """Return the ends of the intervals; the last one ends where nobody was followed for longer."""
    if spec.width is not None:
        n = int(np.ceil(last / spec.width - 1e-9))
        if n > MOST_INTERVALS:
            raise ConfigError(
                f"task.width={spec.width:g} cuts {last:g} {spec.unit} into {n:,} intervals; choose one of at least "
                f"{last / MOST_INTERVALS:.3g}"
            )
        return np.append(np.arange(1, n) * spec.width, last)
    shares = np.arange(1, spec.intervals + 1) / spec.intervals
    ends = np.unique(np.quantile(left, shares, method="inverted_cdf"))
    return np.append(ends[:-1], last)


def time_in_disguise(typed: pl.DataFrame, numbers: Sequence[str], lifetimes: Lifetimes, train: np.ndarray) -> list[str]:
    """Return a sentence for each column that goes with time counted from the start, on the training rows.

    What grows with tenure (all that was ever paid) tells how long a customer was followed, which nobody knows of one
    who is still there. Only where time is counted from the start, and everybody is observed from then on.
    """
    spec = lifetimes.spec
    if spec.clock == "snapshot" or spec.entry is not None or not numbers:
        return []
    rows = typed[train].select(pl.col(name).rank() for name in numbers)
    rows = rows.with_columns(pl.Series(" duration", lifetimes.duration[train]).rank())
    found = rows.select(pl.corr(name, " duration").alias(name) for name in numbers).row(0, named=True)
    return [
        f"{name!r} goes with {spec.duration!r} (rank correlation {value:.2f}) and may say how long a customer was "
        f"followed; if it grows with time, leave it out: data.drop=[{name}]"
        for name, value in found.items()
        if value is not None and abs(value) >= ALIKE
    ]


__all__ = [
    "LifetimeSpec",
    "Lifetimes",
    "fit_lifetimes",
    "read_times",
    "time_in_disguise",
    "usable",
    "with_elapsed",
]
