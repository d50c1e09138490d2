"""The formats of a column of dates, found at its beginning."""

from __future__ import annotations

import polars as pl

from churnlib.errors import DataError
from churnlib.schema import parsing
from churnlib.schema.kinds import Cells, date_formats

TRIED_ROWS = 10_000
"""Rows at the beginning of a table on which formats of dates are found out."""


def find_formats(times: pl.Series, given: str | None, *, option: str, remedy: str) -> tuple[str, ...]:
    """Return the date formats of a column besides ISO 8601.

    Args:
        times: The column's first cells.
        given: The format that the user says it has.
        option: The option that names the column, for errors.
        remedy: The option that names a format.

    Raises:
        DataError: If none of the cells can be read as a date.

    >>> find_formats(pl.Series("day", ["31.12.2024"]), None, option="data.time", remedy="format")
    ('%d.%m.%Y',)
    """
    if given is not None:
        formats = (given,)
    else:
        formats = () if times.dtype.is_temporal() else tuple(date_formats(Cells(times)) or ())
    read = times.to_frame().select(parsing.moment(pl.first(), times.dtype, formats)).to_series()
    filled = times.drop_nulls()
    if len(filled) and read.null_count() == len(read):
        shown = ", ".join(repr(str(value)) for value in filled.head(3).to_list())
        raise DataError(f"{option} names {times.name!r}, which holds no dates (such as {shown}); set {remedy}=...")
    return formats


__all__ = ["TRIED_ROWS", "find_formats"]
