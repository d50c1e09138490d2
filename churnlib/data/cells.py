"""A column in a dozen cells, each of which holds enough people not to tell of one of them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.anonymity import joined_edges, n_joined
from churnlib.data.scaling import FLOAT32_MAX
from churnlib.schema import Column, Kind

MOST = 12
"""Cells of a column, besides those of missing values and of all other categories."""

MISSING = "missing"

NUMBERS = (Kind.numeric, Kind.datetime, Kind.sequence)
"""Kinds that :func:`as_numbers` reads."""

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Bins:
    """Cells of a column.

    Attributes:
        labels: What they are called, in the order of their values; categories most frequent first.
        codes: ``(n,)`` int64 cell of each row.
        ordered: Whether neighbours are alike.
        edges: Where the cells of numbers begin, but for the first; see :meth:`numbers_into`.
    """

    labels: tuple[str, ...]
    codes: np.ndarray
    ordered: bool
    edges: tuple[float, ...] = ()

    def counts(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the number of rows of each cell, of all rows or of those that a Boolean mask chooses."""
        codes = self.codes if rows is None else self.codes[rows]
        return np.bincount(codes, minlength=len(self.labels))

    def numbers_into(self, numbers: np.ndarray) -> np.ndarray:
        """Return the cell of other numbers of the same column, ``(m,)`` int64; of a missing one the one after all."""
        return np.where(np.isnan(numbers), len(self.edges) + 1, np.searchsorted(self.edges, numbers, side="right"))


def bins_of(values: pl.Series, column: Column, *, fewest: int, most: int = MOST) -> Bins:
    """Put a column into cells.

    Numbers and dates are cut at rounded quantiles, or stand by themselves where there are few different ones;
    categories beyond the most frequent go together, and so do cells with few rows.

    Args:
        values: Typed, as :func:`churnlib.data.coercion.coerce` returns it.
        column: Its entry in the schema.
        fewest: Rows that a cell needs.
        most: Cells of numbers at most.
    """
    if column.kind in NUMBERS:
        numbers = as_numbers(values, column)
        return _bins_of_numbers(numbers, _shown(numbers, column.kind), fewest, most)
    return _bins_of_categories(values, column, fewest)


def as_numbers(values: pl.Series, column: Column) -> np.ndarray:
    """Return numbers, ``(n,)`` float64 with NaN for missing: dates as days since 1970, histories by their mean."""
    if column.kind is Kind.datetime:
        values = values.dt.epoch("d")
    elif column.kind is Kind.sequence:
        values = values.list.mean()
    numbers = values.cast(pl.Float64).clip(-FLOAT32_MAX, FLOAT32_MAX)  # squares stay finite
    return numbers.fill_null(math.nan).to_numpy()


def round_to(spread: float) -> float:
    """Return the power of ten in which numbers of a spread are told: about twenty steps of it.

    >>> round_to(70.0), round_to(3.0)
    (1.0, 0.1)
    """
    return 10.0 ** math.floor(math.log10(spread / 20)) if spread > 0 and math.isfinite(spread) else 1.0


def _bins_of_numbers(numbers: np.ndarray, shown: Callable[[float], str], fewest: int, most: int) -> Bins:
    there = ~np.isnan(numbers)
    filled = numbers[there]
    distinct = np.unique(filled)
    whole = bool((distinct == np.floor(distinct)).all())
    if len(distinct) <= most:
        edges, starts = distinct[1:], distinct
    else:
        quantiles = np.quantile(filled, np.linspace(0, 1, max(most - 1, 3))[1:-1])
        step = round_to(float(np.subtract(*np.quantile(filled, [0.95, 0.05]))))
        edges = np.unique(np.round(np.round(quantiles / step) * step, 10))
        if whole:
            edges = np.unique(np.ceil(edges))
        edges, starts = edges[(edges > distinct[0]) & (edges <= distinct[-1])], None
    codes = np.searchsorted(edges, filled, side="right")
    kept = joined_edges(np.bincount(codes, minlength=len(edges) + 1).tolist(), fewest)
    edges = edges[kept]
    labels = _values(distinct, edges, shown) if starts is not None else _ranges(edges, shown, whole=whole)
    if starts is None and whole and len(edges) and edges[0] - 1 == distinct[0]:
        labels[0] = shown(distinct[0])  # the lowest cell has one value, which enough customers share
    every = np.full(len(numbers), len(labels), dtype=np.int64)
    every[there] = np.searchsorted(edges, filled, side="right")
    return Bins((*labels, *([] if there.all() else [MISSING])), every, True, tuple(map(float, edges)))


def _values(distinct: np.ndarray, edges: np.ndarray, shown: Callable[[float], str]) -> list[str]:
    """Name cells of few different values: one value, or the first and the last."""
    if not len(distinct):
        return []
    cells = np.split(distinct, np.searchsorted(distinct, edges))
    return [shown(cell[0]) if len(cell) == 1 else f"{shown(cell[0])} – {shown(cell[-1])}" for cell in cells]


def _ranges(edges: np.ndarray, shown: Callable[[float], str], *, whole: bool) -> list[str]:
    """Name cells between edges; of whole numbers by the first and the last one inside."""
    if not len(edges):
        return ["any"]
    last = (edges - 1) if whole else edges
    word = " – " if whole else " to under "
    inner = [
        shown(low) if whole and low == high else f"{shown(low)}{word}{shown(high)}"
        for low, high in zip(edges[:-1], last[1:], strict=True)
    ]
    return [f"under {shown(edges[0])}", *inner, f"{shown(edges[-1])} or more"]


def _shown(numbers: np.ndarray, kind: Kind) -> Callable[[float], str]:
    if kind is Kind.datetime:
        return lambda days: (_EPOCH + dt.timedelta(days=int(days))).isoformat()
    return lambda number: f"{number:,.10g}"


def _bins_of_categories(values: pl.Series, column: Column, fewest: int) -> Bins:
    name = "value"
    counts = values.alias(name).drop_nulls().value_counts(name="n").sort(["n", name], descending=[True, False])
    named: list[str] = counts[name].to_list()
    sizes: list[int] = counts["n"].to_list()
    n_other = max(n_joined(sizes[::-1], fewest), len(named) - MOST if len(named) > MOST + 1 else 0)
    kept = named[: len(named) - n_other]
    labels = _in_order(kept, column)
    cells = [*labels, *([f"{n_other:,} other values" if n_other > 1 else "another value"] if n_other else [])]
    missing = len(cells)
    codes = pl.Series(range(len(labels)), dtype=pl.Int64)
    coded = values.cast(pl.String).replace_strict(
        pl.Series(labels, dtype=pl.String), codes, default=None, return_dtype=pl.Int64
    ) if labels else pl.Series([None], dtype=pl.Int64).new_from_index(0, len(values))  # fmt: skip
    codes_of = coded.fill_null(len(labels)).to_numpy().copy()
    gone = values.is_null().to_numpy()
    codes_of[gone] = missing
    return Bins((*cells, *([MISSING] if gone.any() else [])), codes_of, ordered=column.kind is Kind.ordinal)


def _in_order(labels: Sequence[str], column: Column) -> list[str]:
    """Return the values of an ordinal column in its order, "false" before "true", others most frequent first."""
    if column.kind is Kind.ordinal:
        place = {value: i for i, value in enumerate(column.order)}
        return sorted(labels, key=lambda value: (place.get(value, len(place)), value))
    return sorted(labels) if set(labels) <= {"true", "false"} else list(labels)


__all__ = ["MISSING", "MOST", "NUMBERS", "Bins", "as_numbers", "bins_of", "round_to"]
