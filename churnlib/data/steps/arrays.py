"""Steps that need arrays: a block of numeric columns out of a table, and back into it, wherever the rows come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import polars as pl

from churnlib.schema.parsing import cell_of

FLOAT32_MAX = float(np.finfo(np.float32).max)

Learnt = TypeVar("Learnt")

PIECE_ROWS = 65_536
"""Rows of a slice."""


def numeric_block(rows: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return columns as ``(n, len(names))`` float64, missing values NaN; a copy that may be written to.

    Values are kept to the range of float32, as networks read them: squares and sums stay finite.
    """
    if not names:
        return np.zeros((len(rows), 0))
    cells = (cell_of(name).cast(pl.Float64).clip(-FLOAT32_MAX, FLOAT32_MAX).fill_null(np.nan) for name in names)
    block = rows.select(cells).to_numpy()
    return np.array(block, dtype=np.float64, order="C")


def filled_by_pieces(
    rows: pl.DataFrame, compute: Callable[[pl.DataFrame], Sequence[np.ndarray]]
) -> Sequence[np.ndarray]:
    """Return the arrays that a function makes of the rows, slice by slice, as many at a time as there are processors.

    What stands between the rows and their arrays is then as large as these slices, which also stay in the processors'
    caches.

    Args:
        rows: Any rows.
        compute: Returns arrays ``(k, ...)`` for ``k`` rows, each row by itself.
    """
    if len(rows) <= PIECE_ROWS:
        return compute(rows)
    first = compute(rows[:PIECE_ROWS])
    filled = [np.empty((len(rows), *piece.shape[1:]), dtype=piece.dtype) for piece in first]

    def fill(start: int, pieces: Sequence[np.ndarray]) -> None:
        for whole, piece in zip(filled, pieces, strict=True):
            whole[start : start + PIECE_ROWS] = piece

    fill(0, first)
    with ThreadPoolExecutor(max_workers=pl.thread_pool_size()) as pool:
        starts = range(PIECE_ROWS, len(rows), PIECE_ROWS)
        list(pool.map(lambda start: fill(start, compute(rows[start : start + PIECE_ROWS])), starts))
    return filled


def as_columns(block: np.ndarray, names: Sequence[str]) -> list[pl.Series]:
    """Return the columns of a block, NaN as missing."""
    return [pl.Series(name, block[:, place], nan_to_null=True) for place, name in enumerate(names)]


def by_pieces(
    rows: pl.LazyFrame, compute: Callable[[pl.DataFrame], pl.DataFrame], *, numbers: Sequence[str] = ()
) -> pl.LazyFrame:
    """Return the rows as a function makes them, piece by piece where they are streamed.

    Args:
        rows: Any rows.
        compute: Returns as many rows, with the same columns and ``numbers`` behind them.
        numbers: Numeric columns that it adds.
    """
    schema = {**rows.collect_schema(), **dict.fromkeys(numbers, pl.Float64())}
    return rows.map_batches(
        compute,
        schema=schema,
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
        streamable=True,
    )


def for_each_column(rows: pl.DataFrame, names: Sequence[str], learn: Callable[[pl.Series], Learnt]) -> list[Learnt]:
    """Return what a function learns of each column, several columns at a time: sorting and sums leave Python alone.

    Args:
        rows: The table.
        names: Its columns.
        learn: Called with each.
    """
    if len(rows) < PIECE_ROWS:
        return [learn(rows.get_column(name)) for name in names]
    with ThreadPoolExecutor(max_workers=pl.thread_pool_size()) as pool:
        return list(pool.map(learn, (rows.get_column(name) for name in names)))


def center_and_spread(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, ``(d,)``, without its gaps; a constant one has spread 1.

    Every column has at least one value.
    """
    center, spread = np.nanmean(block, axis=0), np.nanstd(block, axis=0)
    return center, np.where(spread > 0, spread, 1.0)


def with_values(rows: pl.DataFrame, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns that have a value in some row, and those that have none."""
    counts = rows.select(cell_of(name).count() for name in names).row(0) if names else ()
    return (
        tuple(name for name, count in zip(names, counts, strict=True) if count),
        tuple(name for name, count in zip(names, counts, strict=True) if not count),
    )


def some_rows(n: int, most: int, seed: int) -> np.ndarray:
    """Return the numbers of at most so many of ``n`` rows, drawn evenly, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=most, replace=False))
