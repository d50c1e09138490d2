"""Many short columns that are read alike, put one below the other into one long column.

polars spends about a quarter of a millisecond on telling it of one column, whatever its length: for a table of 10,000
columns and 120 rows that is all of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl

MANY_COLUMNS, FEW_ROWS = 100, 1_000
"""From so many columns, of so many rows at most, one long column is read sooner than all of them side by side."""

CELLS = pl.col("cells")


def is_worth_stacking(n_columns: int, n_rows: int) -> bool:
    """Whether columns are read sooner as one long column."""
    return n_columns >= MANY_COLUMNS and n_rows <= FEW_ROWS


def stacked(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the cells of some columns of one type, at least one of them, as the one column :data:`CELLS`."""
    return pl.concat([frame.get_column(name).alias("cells") for name in names], rechunk=True).to_frame()


def read_stacked(frame: pl.DataFrame, names: Sequence[str], read: Callable[[pl.Expr], pl.Expr]) -> Iterator[pl.Series]:
    """Yield columns as an expression reads them, all at once.

    >>> frame = pl.DataFrame({"a": ["1", "x"], "b": ["3", "4"]})
    >>> [column.to_list() for column in read_stacked(frame, ["a", "b"], lambda cell: cell.cast(int, strict=False))]
    [[1, None], [3, 4]]

    Args:
        frame: The table.
        names: Some of its columns, at least one, all of one type.
        read: From a column to an expression that looks at each cell alone.
    """
    values = stacked(frame, names).select(read(CELLS)).to_series()
    for place, name in enumerate(names):
        yield values.slice(place * len(frame), len(frame)).alias(name)


__all__ = ["CELLS", "is_worth_stacking", "read_stacked", "stacked"]
