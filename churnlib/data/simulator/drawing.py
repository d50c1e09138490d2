"""Tables that are drawn block by block, in memory or straight into a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from churnlib.data.simulator.options import BLOCK_SIZE
from churnlib.errors import DataError

ROW_GROUP_ROWS = 100_000

Draw = Callable[[int, int], pl.DataFrame]
"""Draws a block, given its number, and returns the rows of its first customers, given how many of them are wanted."""


def _blocks(draw: Draw, n_customers: int) -> Iterator[pl.DataFrame]:
    """Yield the blocks of ``n_customers`` one after another, the last one cut off."""
    for number in range(-(-n_customers // BLOCK_SIZE)):
        yield draw(number, min(BLOCK_SIZE, n_customers - number * BLOCK_SIZE))


def in_memory(draw: Draw, n_customers: int) -> pl.DataFrame:
    """Return the table of ``n_customers``."""
    return pl.concat(_blocks(draw, n_customers), rechunk=True)


def into_parquet(
    draw: Draw,
    n_customers: int,
    target: Path,
    *,
    left_out: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the table of ``n_customers``, in memory that does not grow with its size, and return its number of rows.

    Args:
        draw: Draws a block.
        n_customers: Whose rows are wanted.
        target: File to write, whole or not at all; its folder must exist.
        left_out: Columns that the file shall not have.
        progress: Called in the writing thread with the number of rows drawn so far, after each block.

    Raises:
        DataError: The file cannot be written.
    """
    table = _as_lazy(lambda: _blocks(draw, n_customers), draw(0, 1), progress)
    return _write(table.drop(left_out), target)


def _as_lazy(
    draw: Callable[[], Iterator[pl.DataFrame]], example: pl.DataFrame, progress: Callable[[int], None] | None
) -> pl.LazyFrame:
    """Return all blocks as a lazy frame that draws one at a time, as fast as they are written."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        rows = 0
        for block in draw():
            yield block if columns is None else block.select(columns)
            rows += block.height
            if progress is not None:
                progress(rows)

    return register_io_source(source, schema=example.schema)


def _write(table: pl.LazyFrame, target: Path) -> int:
    """Write a table under a temporary name, rename it, and return its number of rows.

    Raises:
        DataError: The file cannot be written.
    """
    if not target.parent.is_dir():
        raise DataError(f"{target} cannot be written: there is no folder {target.parent}; create it first")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        table.sink_parquet(unfinished, row_group_size=ROW_GROUP_ROWS)
        unfinished.replace(target)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{target} cannot be written ({error}); choose another place for output") from error
    finally:
        try:
            unfinished.unlink(missing_ok=True)
        except KeyboardInterrupt:  # polars reports one Ctrl-C twice, and the second one arrives here
            unfinished.unlink(missing_ok=True)
    return pl.scan_parquet(target).select(pl.len()).collect().item()
