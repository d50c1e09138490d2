"""Rows that say the same thing twice, removed before training; scoring answers every row it is given."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from churnlib.schema import parsing

ROW, NAME, TIME = "\0row", "\0name", "\0time"
"""Columns of our own beside those of the table, whose names have no NUL."""


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """A table without repeated rows.

    Attributes:
        kept: Numbers of the rows that stay, ascending, counted from 0.
        exact: Number of rows removed because an earlier row is equal in every column.
        repeated: Number of rows removed because a later row has the same customer (and, where rows are dated, date).
    """

    kept: pl.Series
    exact: int
    repeated: int


def deduplicate(frame: pl.DataFrame, *, id: str | None = None, time: str | None = None) -> Deduplicated:  # noqa: A002
    """Find rows to remove: exact copies, then all but the last row of a customer.

    Equal rows of different customers stay. Where rows carry the date they were taken at, a customer may have several
    rows, one for each date.

    Args:
        frame: The table, cells as they came.
        id: Column that names the customer; rows without a name (blanks are none) are kept.
        time: Column with the date at which a row was taken.

    >>> twice = pl.DataFrame({"id": ["a", "b", "a", "a"], "tenure": [1, 5, 1, 2]})
    >>> deduplicate(twice, id="id").kept.to_list()
    [1, 3]
    """
    if not len(frame):
        return Deduplicated(pl.Series("row", [], dtype=pl.Int64), 0, 0)
    unique = frame.with_row_index(ROW).unique(subset=cs.by_name(*frame.columns), keep="first", maintain_order=True)
    exact = len(frame) - len(unique)
    kept = unique[ROW]
    if id is not None and parsing.is_plain(frame.schema[id]):
        keys = {NAME: parsing.category(parsing.cell_of(id), frame.schema[id])}
        if time is not None:
            keys[TIME] = parsing.cell_of(time)
        named = unique.select(ROW, **keys)
        last = named.filter(pl.col(NAME).is_not_null()).unique(subset=list(keys), keep="last", maintain_order=True)
        kept = pl.concat([last[ROW], named.filter(pl.col(NAME).is_null())[ROW]])
    kept = kept.cast(pl.Int64).sort().alias("row")
    return Deduplicated(kept, exact, len(unique) - len(kept))
