"""How a column is distributed, what is missing from it, and how many leave in each of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from churnlib.data.bins import MISSING, Bins, as_numbers, round_to
from churnlib.evaluation.intervals import wilson_interval
from churnlib.profiling.rows import Rows
from churnlib.schema import Column, Kind

N_BARS = 24
"""Bars of a histogram."""

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def describe_column(rows: Rows, column: Column, bins: Bins, *, fewest: int) -> dict[str, Any]:
    """Describe a column that the schema reads.

    Returns:
        JSON-ready: ``missing`` (count and share), ``distinct``; of numbers and dates ``histogram`` and ``quantiles``;
        ``cells``: label, rows, share, and for two classes churn rate with its 95 % interval; ``strength`` in [0, 1] of
        the association with churn.
    """
    values = rows.typed[column.name]
    n_missing = int(values.null_count())
    found: dict[str, Any] = {
        "missing": {"n": n_missing, "share": n_missing / max(len(rows), 1)},
        "cells": cells_of(bins, rows.label if rows.binary else None),
        "strength": strength(bins, rows.label, len(rows.schema.classes)),
    }
    if column.kind in (Kind.numeric, Kind.datetime, Kind.sequence):
        numbers = as_numbers(values, column)
        found |= _describe_numbers(numbers[~np.isnan(numbers)], fewest, whole_days=column.kind is Kind.datetime)
    else:
        found["distinct"] = int(values.drop_nulls().n_unique())
    return found


def cells_of(bins: Bins, label: np.ndarray | None) -> list[dict[str, Any]]:
    """Return the cells with their rows; with labels of two classes how many leave, with a 95 % interval."""
    counts = bins.counts()
    shares = counts / max(counts.sum(), 1)
    cells: list[dict[str, Any]] = [
        {"label": name, "n": int(n), "share": float(share)}
        for name, n, share in zip(bins.labels, counts, shares, strict=True)
    ]
    if label is not None:
        left = np.bincount(bins.codes, weights=label, minlength=len(bins.labels))
        low, high = wilson_interval(left, counts)
        for cell, churned, n, a, b in zip(cells, left, counts, low, high, strict=True):
            cell |= {"rate": float(churned / n) if n else None, "low": float(a), "high": float(b)}
    return [cell for cell in cells if cell["n"]]


def strength(bins: Bins, label: np.ndarray, n_classes: int) -> float:
    """Return how strongly a column's cells and the classes go together, in [0, 1]; 0 is what chance would give."""
    return cramers_v(np.bincount(bins.codes * n_classes + label, minlength=len(bins.labels) * n_classes), n_classes)


def cramers_v(counts: np.ndarray, n_columns: int) -> float:
    """Return Cramér's V of a table of counts without its bias (Bergsma 2013): 0 on average if nothing goes together.

    Args:
        counts: ``(rows * n_columns,)`` counts, row by row.
        n_columns: Columns of the table.
    """
    table = counts.reshape(-1, n_columns).astype(np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n, (r, k) = table.sum(), table.shape
    if min(r, k) < 2 or n < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = ((table - expected) ** 2 / expected).sum() / n
    phi = max(0.0, phi - (r - 1) * (k - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi / smaller))) if smaller > 0 else 0.0


def _describe_numbers(filled: np.ndarray, fewest: int, *, whole_days: bool) -> dict[str, Any]:
    if not len(filled):
        return {"distinct": 0}
    low, high = np.quantile(filled, [0.005, 0.995])
    step = round_to(float(high - low))
    first, last = np.floor(low / step) * step, np.ceil(high / step) * step
    last = last if last > first else first + step
    bars = np.histogram(np.clip(filled, first, last), bins=N_BARS, range=(first, last))[0]
    quantiles = np.quantile(filled, QUANTILES)
    return {
        "distinct": len(np.unique(filled)),
        "mean": _plain(filled.mean(), step),
        "sd": float(f"{filled.std():.3g}"),
        "quantiles": {f"{q:g}": _plain(value, step) for q, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": {
            "from": float(first),
            "to": float(last),
            # A bar of few people is not drawn: it would tell of them.
            "counts": [int(n) if n >= fewest else 0 for n in bars],
            "dates": whole_days,
        },
    }


def _plain(number: float, step: float) -> float:
    """Round to a tenth of the steps in which a column is told: no quantile is a person's own number."""
    return float(np.round(np.round(number / step * 10) * step / 10, 10))


def missing_cell(cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the cell of missing values, if there is one."""
    return next((cell for cell in cells if cell["label"] == MISSING), None)


def missing_shares(frame: pl.DataFrame) -> dict[str, float]:
    """Return the share of missing cells of each column, blank text included."""
    blank = [
        (pl.col(name).cast(pl.String).str.strip_chars() == "").sum() if dtype == pl.String else pl.lit(0)
        for name, dtype in frame.schema.items()
    ]
    counts = frame.null_count().row(0)
    blanks = frame.select(expr.alias(str(i)) for i, expr in enumerate(blank)).row(0) if frame.width else ()
    return {name: (a + b) / max(len(frame), 1) for name, a, b in zip(frame.columns, counts, blanks, strict=True)}


__all__ = ["cells_of", "cramers_v", "describe_column", "missing_cell", "missing_shares", "strength"]
