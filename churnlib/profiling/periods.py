"""A table over time: churn, missing values, and whether the columns have moved by more than chance would move them.

The population stability index compares how rows are spread over cells, ``sum (q - p) ln(q / p)``. With no change at all
it is not 0: its mean is ``(B - 1)(1/n + 1/m)`` for B cells, n rows before and m after, and in one of twenty cases it is
above the 95 % point of chi-square with B - 1 degrees of freedom, times ``1/n + 1/m``. A fixed limit such as 0.1 calls
drift what is noise in a small period; here a column has drifted only if it is above both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.bins import Bins
from churnlib.evaluation.intervals import wilson_interval
from churnlib.profiling.rows import Rows

MOST_PERIODS = 12
MODERATE, LARGE = 0.1, 0.25
"""The usual limits of the index."""

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


def periods_of(rows: Rows) -> Periods | None:
    """Return the periods of a table whose rows have at least two different dates, None for any other.

    Days, if there are few; else months, quarters or years.
    """
    if rows.schema.time is None:
        return None
    moments = rows.typed[rows.schema.time]
    for unit in UNITS:
        starts = moments.dt.truncate(unit).dt.date()
        distinct = starts.drop_nulls().unique().sort()
        if len(distinct) < 2:
            return None
        if len(distinct) <= MOST_PERIODS or unit == UNITS[-1]:
            codes = pl.Series(range(len(distinct)), dtype=pl.Int64)
            found = starts.replace_strict(distinct, codes, default=-1, return_dtype=pl.Int64).fill_null(-1)
            return Periods(tuple(day.isoformat() for day in distinct), found.to_numpy())
    return None


def over_time(rows: Rows, periods: Periods) -> list[dict[str, Any]]:
    """Return rows of each period, and for two classes its churn rate with a 95 % interval."""
    inside = periods.codes >= 0
    counts = np.bincount(periods.codes[inside], minlength=len(periods.names))
    told: list[dict[str, Any]] = [
        {"period": name, "n": int(n)} for name, n in zip(periods.names, counts, strict=True)
    ]  # fmt: skip
    if rows.binary:
        left = np.bincount(periods.codes[inside], weights=rows.label[inside], minlength=len(periods.names))
        low, high = wilson_interval(left, counts)
        for one, churned, n, a, b in zip(told, left, counts, low, high, strict=True):
            one |= {"rate": float(churned / n) if n else None, "low": float(a), "high": float(b)}
    return told


def missing_over_time(rows: Rows, periods: Periods) -> dict[str, list[float]]:
    """Return by column with missing values the share of them in each period."""
    wanted = [values.name for values in rows.typed if values.null_count() and values.name != rows.schema.time]
    inside = pl.Series(periods.codes >= 0)
    flags = rows.typed.select(pl.col(wanted).is_null()).filter(inside) if wanted else pl.DataFrame()
    if not wanted:
        return {}
    shares = (
        flags.with_columns(pl.Series("\0period", periods.codes[periods.codes >= 0]))
        .group_by("\0period").mean().sort("\0period")
    )  # fmt: skip
    return {name: shares[name].to_list() for name in wanted}


def drift(bins: Mapping[str, Bins], periods: Periods) -> list[dict[str, Any]]:
    """Compare each later period with the first one, column by column.

    Returns:
        By column, those that moved most first: ``psi``: one value per period after the first; ``noise``: what chance
        alone exceeds in one of twenty cases; ``p``: of the newest period; ``verdict``: steady, within noise, small,
        moderate or large, of the newest period.
    """
    first = periods.codes == 0
    told = []
    for name, cells in bins.items():
        before = cells.counts(first)
        values, noises, p_value = [], [], 1.0
        for period in range(1, len(periods.names)):
            value, noise, p_value = stability(before, cells.counts(periods.codes == period))
            values.append(value)
            noises.append(noise)
        told.append({
            "column": name, "psi": values, "noise": noises, "p": p_value, "verdict": _verdict(values[-1], noises[-1]),
        })  # fmt: skip
    return sorted(told, key=lambda one: -one["psi"][-1])


def stability(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Return the population stability index, the 95 % point of its noise, and the chance of one as large by noise.

    Args:
        before: ``(B,)`` rows of each cell in the reference.
        after: ``(B,)`` rows of each cell now.
    """
    from scipy.stats import chi2

    used = (before + after) > 0
    before, after = before[used].astype(np.float64), after[used].astype(np.float64)
    n, m, cells = before.sum(), after.sum(), len(before)
    if cells < 2 or not n or not m:
        return 0.0, 0.0, 1.0
    p, q = (before + 0.5) / (n + 0.5 * cells), (after + 0.5) / (m + 0.5 * cells)
    value = float(((q - p) * np.log(q / p)).sum())
    scale = 1 / n + 1 / m
    return value, float(chi2.ppf(0.95, cells - 1) * scale), float(chi2.sf(value / scale, cells - 1))


def _verdict(value: float, noise: float) -> str:
    if value <= noise:
        return "within noise"
    return "large" if value >= LARGE else "moderate" if value >= MODERATE else "small"


__all__ = ["LARGE", "MODERATE", "Periods", "drift", "missing_over_time", "over_time", "periods_of", "stability"]
