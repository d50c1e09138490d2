"""The numbers of one column of a table as it came, whatever part the column plays for the model."""

from __future__ import annotations

import numpy as np
import polars as pl

from churnlib.schema import Kind, parsing


def numbers_in(frame: pl.DataFrame, column: str) -> np.ndarray:
    """Return a column's cells as numbers, ``(n,)`` float64; NaN where a cell is empty or no finite number.

    >>> numbers_in(pl.DataFrame({"charge": ["70.5", "", None, "free"]}), "charge").tolist()
    [70.5, nan, nan, nan]
    """
    cells = parsing.as_kind(parsing.cell_of(column), frame.schema[column], Kind.numeric)
    return frame.select(cells).to_series().cast(pl.Float64).fill_null(np.nan).to_numpy()
