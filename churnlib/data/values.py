"""The numbers in a column of any role, as money is counted by them."""

from __future__ import annotations

import numpy as np
import polars as pl

from churnlib.errors import ConfigError
from churnlib.schema import Kind, parsing, unknown_column


def column_numbers(frame: pl.DataFrame, column: str, *, option: str) -> np.ndarray:
    """Return the numbers in a column, ``(n,)`` float64 with NaN for what is none.

    Args:
        frame: The table.
        column: Name of the column.
        option: That named it, for what is said of a wrong one.

    Raises:
        ConfigError: If there is no such column, or there are rows and no numbers in it.
    """
    if column not in frame.columns:
        raise ConfigError(unknown_column(column, frame.columns, option=option))
    numbers = frame.select(parsing.as_kind(parsing.cell_of(column), frame.schema[column], Kind.numeric)).to_series()
    if len(numbers) and numbers.null_count() == len(numbers):
        raise ConfigError(f"{option}={column} holds no numbers; name a column that says what a customer is worth")
    return numbers.cast(pl.Float64).fill_null(np.nan).to_numpy()


__all__ = ["column_numbers"]
