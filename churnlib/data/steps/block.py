"""Several columns of numbers from several others at once, by arithmetic that polars has no expression for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from churnlib.schema.parsing import cell_of


def with_block(
    rows: pl.LazyFrame, read: Sequence[str], made: Sequence[str], compute: Callable[[pl.DataFrame], np.ndarray]
) -> pl.LazyFrame:
    """Add columns of numbers that are computed batch by batch, in a stream as in memory.

    Args:
        rows: The rows.
        read: Columns that the numbers come from.
        made: Names of the new columns.
        compute: From a table of the columns read to ``(n, made)`` float64; NaN becomes missing. Each row by itself.
    """

    def computed(batch: pl.Series) -> pl.Series:
        numbers = compute(batch.struct.unnest())
        return _columns(numbers, made).to_struct(batch.name)

    types = pl.Struct({name: pl.Float64() for name in made})
    block = pl.struct(cell_of(name) for name in read).map_batches(computed, return_dtype=types, is_elementwise=True)
    return rows.with_columns(block.alias(_BLOCK)).unnest(_BLOCK)


_BLOCK = "\0block"
"""A name that no table has."""


def _columns(numbers: np.ndarray, made: Sequence[str]) -> pl.DataFrame:
    columns = pl.from_numpy(np.asfortranarray(numbers), schema=dict.fromkeys(made, pl.Float64))
    return columns.fill_nan(None)


def numbers_of(table: pl.DataFrame) -> np.ndarray:
    """Return columns of numbers as ``(n, columns)`` float64, missing values NaN."""
    return table.fill_null(float("nan")).to_numpy()
