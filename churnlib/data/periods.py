"""The rows of a table by the time they were taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

MOST_PERIODS = 12
UNITS = ("1d", "1mo", "1q", "1y", "5y")


@dataclass(frozen=True, slots=True)
class Periods:
    """The rows by the time they were taken.

    Attributes:
        names: First days of the periods, old to new.
        codes: ``(n,)`` int64 period of each row; -1 where its date is missing.
    """

    names: tuple[str, ...]
    codes: np.ndarray


def periods_of(moments: pl.Series) -> Periods | None:
    """Return the periods of rows with at least two different dates, None of any others.

    Days, if there are few; else months, quarters or years.

    Args:
        moments: ``(n,)`` dates or datetimes; may be missing.

    >>> import datetime as dt
    >>> periods_of(pl.Series([dt.date(2025, 1, 31), dt.date(2025, 1, 31), dt.date(2025, 2, 28)])).codes.tolist()
    [0, 0, 1]
    """
    for unit in UNITS:
        starts = moments.dt.truncate(unit).cast(pl.Date)
        distinct = starts.drop_nulls().unique().sort()
        if len(distinct) < 2:
            return None
        if len(distinct) <= MOST_PERIODS or unit == UNITS[-1]:
            codes = pl.Series(range(len(distinct)), dtype=pl.Int64)
            found = starts.replace_strict(distinct, codes, default=-1, return_dtype=pl.Int64).fill_null(-1)
            return Periods(tuple(day.isoformat() for day in distinct), found.to_numpy())
    return None


__all__ = ["MOST_PERIODS", "Periods", "periods_of"]
