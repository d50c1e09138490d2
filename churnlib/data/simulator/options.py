"""What a draw of simulated customers depends on besides its size, and the random numbers of each of its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from churnlib.data.simulator.events import MAX_DAYS
from churnlib.data.simulator.history import MAX_MONTHS
from churnlib.errors import ConfigError

BLOCK_SIZE = 10_000
"""Customers that are drawn at once; changing it changes every table."""
MAX_CUSTOMERS = 1_000_000_000
"""Identifiers have nine digits."""

TREATMENT = 100
"""Stream of the generator that says who is treated."""

SNAPSHOT_DATE = date(2025, 6, 30)
MISSING_SHARE = 0.02
OUTLIER_SHARE = 0.003
DUPLICATE_SHARE = 0.005


@dataclass(frozen=True)
class Options:
    """What a draw depends on besides its size, checked once."""

    seed: int
    n_snapshots: int
    snapshot_date: date
    missing_share: float
    outlier_share: float
    duplicate_share: float
    history_months: int
    event_days: int = 0
    treatment_share: float = 0.0

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, low=0, high=2**63 - 1)
        check_whole("n_snapshots", self.n_snapshots, low=1, high=120)
        check_whole("history_months", self.history_months, low=0, high=MAX_MONTHS)
        check_whole("event_days", self.event_days, low=0, high=MAX_DAYS)
        _check_share("missing_share", self.missing_share, high=0.2)
        _check_share("outlier_share", self.outlier_share, high=0.2)
        _check_share("duplicate_share", self.duplicate_share, high=0.2)
        _check_share("treatment_share", self.treatment_share, high=0.95)
        if not isinstance(self.snapshot_date, date) or not 1990 <= self.snapshot_date.year <= 2200:
            raise ConfigError(f"snapshot_date must be a date from 1990 to 2200, got {self.snapshot_date!r}")


def check_whole(name: str, value: object, *, low: int, high: int) -> None:
    """Refuse what is no whole number in this range.

    Raises:
        ConfigError: With the range.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low:,} to {high:,}, got {value!r}")


def _check_share(name: str, value: object, *, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise ConfigError(f"{name} must be a fraction from 0 to {high:g}, got {value!r}")


def snapshot_dates(last: date, count: int) -> list[date]:
    """Return ``count`` snapshot dates from old to new: ``last`` and the ends of the months before it.

    >>> [day.isoformat() for day in snapshot_dates(date(2024, 3, 31), 3)]
    ['2024-01-31', '2024-02-29', '2024-03-31']
    """
    dates = [last]
    while len(dates) < count:
        dates.append(dates[-1].replace(day=1) - timedelta(days=1))
    return dates[::-1]


def generator_of(number: int, stream: int, options: Options) -> np.random.Generator:
    """Return the generator of one kind of draws of block ``number``.

    Streams 0 to 4 and TREATMENT are for customers, those between for the event tables.
    """
    return np.random.default_rng(np.random.SeedSequence(int(options.seed), spawn_key=(number, stream)))


def draw_snapshots(fate: np.random.Generator, options: Options) -> np.ndarray:
    """Draw the snapshot of each customer of a block; the first that fate is asked for."""
    dates = np.array(snapshot_dates(options.snapshot_date, options.n_snapshots), dtype="datetime64[D]")
    return dates[(fate.random(BLOCK_SIZE) * len(dates)).astype(np.int64)]


def customer_names(first_number: int, n: int) -> pl.Series:
    """Return the identifiers of ``n`` customers in a row."""
    return "C" + pl.Series(np.arange(first_number, first_number + n)).cast(pl.String).str.zfill(9)
