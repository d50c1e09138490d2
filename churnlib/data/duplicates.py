"""Rows that say the same thing twice, removed before training; scoring answers every row it is given."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """A table without repeated rows.

    Attributes:
        kept: Numbers of the rows that stay, ascending, counted from 0.
        exact: Number of rows removed because an earlier row is equal in every column.
        repeated: Number of rows removed because a later row has the same customer (and the same date, where rows are dated).
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
        id: Column that names the customer; rows without a name are kept.
        time: Column with the date at which a row was taken.
    """
    row = "\0row"
    unique = frame.with_row_index(row).unique(subset=frame.columns, keep="first", maintain_order=True)
    exact = len(frame) - len(unique)
    kept = unique
    if id is not None:
        key = [id] if time is None else [id, time]
        named = unique.filter(pl.col(id).is_not_null()).unique(subset=key, keep="last", maintain_order=True)
        kept = pl.concat([named, unique.filter(pl.col(id).is_null())])
    rows = kept[row].cast(pl.Int64).sort()
    return Deduplicated(rows, exact, len(unique) - len(rows))
