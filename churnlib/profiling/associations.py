"""Which columns say the same: correlations of numbers, and Cramér's V where a category is involved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.bins import Bins, as_numbers
from churnlib.profiling.columns import cramers_v
from churnlib.profiling.rows import Rows
from churnlib.schema import Column, Kind

NUMBERS = (Kind.numeric, Kind.datetime, Kind.sequence)


def associations(
    rows: Rows, columns: tuple[Column, ...], bins: Mapping[str, Bins], *, most: int, seed: int
) -> dict[str, Any]:
    """Measure how far each two columns go together.

    Args:
        rows: The table.
        columns: Which to compare.
        bins: Their cells.
        most: Rows to use, spread over the table; associations hardly change beyond some ten thousand.
        seed: Of the choice of rows.

    Returns:
        ``rows`` used; ``pairs``: ``first``, ``second``, ``measure``, ``value`` (Spearman's or Cramér's), for numbers
        ``pearson`` too, the strongest first.
    """
    chosen = np.arange(len(rows))
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(chosen), most, replace=False))
    typed = rows.typed[chosen]
    numeric = [column for column in columns if column.kind in NUMBERS]
    pearson, spearman = _correlations(typed, numeric)
    place = {column.name: i for i, column in enumerate(numeric)}
    codes = {column.name: bins[column.name].codes[chosen] for column in columns}
    pairs = []
    for a, b in combinations([column.name for column in columns], 2):
        if a in place and b in place:
            value = float(spearman[place[a], place[b]])
            pair = {"measure": "Spearman", "value": value, "pearson": float(pearson[place[a], place[b]])}
        else:
            width = len(bins[b].labels)
            table = np.bincount(codes[a] * width + codes[b], minlength=len(bins[a].labels) * width)
            pair = {"measure": "Cramér's V", "value": cramers_v(table, width)}
        pairs.append({"first": a, "second": b, **pair})
    return {"rows": len(chosen), "pairs": sorted(pairs, key=lambda pair: -abs(pair["value"]))}


def _correlations(typed: pl.DataFrame, columns: list[Column]) -> tuple[np.ndarray, np.ndarray]:
    if not columns:
        return np.zeros((0, 0)), np.zeros((0, 0))
    numbers = np.stack([as_numbers(typed[column.name], column) for column in columns], axis=1)
    ranks = [pl.Series(column).fill_nan(None).rank("average").fill_null(math.nan).to_numpy() for column in numbers.T]
    return correlation(numbers), correlation(np.stack(ranks, axis=1))


def correlation(values: np.ndarray) -> np.ndarray:
    """Return the correlation of each two columns over the rows in which neither is missing, ``(k, k)`` float64.

    Args:
        values: ``(n, k)`` float64 with NaN for missing; a column without spread correlates with nothing (0).
    """
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(there.any(axis=0), np.nansum(values, axis=0) / np.maximum(there.sum(axis=0), 1), 0.0)
        filled = np.where(there, values - centre, 0.0)
        scale = np.sqrt((filled**2).sum(axis=0))
        filled = filled / np.where(scale > 0, scale, 1.0)
        mask = there.astype(np.float64)
        n = mask.T @ mask
        sums = filled.T @ mask  # of column i over the rows in which j is there
        squares = (filled**2).T @ mask
        cross = filled.T @ filled
        n = np.maximum(n, 1)
        covariance = cross - sums * sums.T / n
        variance = squares - sums**2 / n
        found = covariance / np.sqrt(np.maximum(variance * variance.T, 1e-300))
    flat = (variance <= 1e-12) | (variance.T <= 1e-12)
    return np.clip(np.where(flat, 0.0, found), -1.0, 1.0)


__all__ = ["associations", "correlation"]
