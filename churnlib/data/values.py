"""The numbers in a column of any role, as money is counted by them."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from churnlib.data.one_cell import ODD, UNREADABLE, number, read_by_polars
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, parsing, unknown_column


def numbers_in(frame: pl.DataFrame, column: str) -> np.ndarray:
    """Return a column's cells as numbers, ``(n,)`` float64; NaN where a cell is empty or no finite number.

    >>> numbers_in(pl.DataFrame({"charge": ["70.5", "", None, "free"]}), "charge").tolist()
    [70.5, nan, nan, nan]
    """
    cells = parsing.as_kind(parsing.cell_of(column), frame.schema[column], Kind.numeric)
    return frame.select(cells).to_series().cast(pl.Float64).fill_null(np.nan).to_numpy()


def number_in(cell: object) -> float:
    """Return one cell as a number, as :func:`numbers_in` reads a column of it alone.

    >>> number_in("70.5"), number_in("free")
    (70.5, nan)
    """
    found = None if cell is None else number(cell)
    if found is ODD:
        found = read_by_polars(Column("number", Kind.numeric), cell)
    return math.nan if found is None or found is UNREADABLE else found


def column_numbers(frame: pl.DataFrame, column: str, *, option: str) -> np.ndarray:
    """Return the numbers in a column that an option names, ``(n,)`` float64 with NaN for what is none.

    Args:
        frame: The table.
        column: Name of the column.
        option: That named it, for what is said of a wrong one.

    Raises:
        ConfigError: If there is no such column, or there are rows and no numbers in it.
    """
    if column not in frame.columns:
        raise ConfigError(unknown_column(column, frame.columns, option=option))
    numbers = numbers_in(frame, column)
    if len(numbers) and np.isnan(numbers).all():
        raise ConfigError(f"{option}={column} holds no numbers; name a column that says what a customer is worth")
    return numbers


__all__ = ["column_numbers", "number_in", "numbers_in"]
