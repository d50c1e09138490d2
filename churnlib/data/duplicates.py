"""Rows that say the same thing twice, removed before training; scoring answers every row it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from churnlib.schema import parsing

ROW, NAME, TIME, LATEST = "\0row", "\0name", "\0time", "\0latest"
"""Columns of our own beside those of the table, whose names have no NUL."""


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """A table without repeated rows.

    Attributes:
        kept: Numbers of the rows that stay, ascending, counted from 0.
        exact: Number of rows removed because an earlier row is equal in every column.
        repeated: Number of rows removed because another row has the same customer (and, where rows are dated, date) and
            is newer, or stands further down.
    """

    kept: pl.Series
    exact: int
    repeated: int


def deduplicate(
    frame: pl.DataFrame,
    *,
    id: str | None = None,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    latest: str | None = None,
    formats: Sequence[str] = (),
) -> Deduplicated:
    """Find rows to remove: exact copies, then all but the newest row of a customer.

    Equal rows of different customers stay. Where rows carry the date they were taken at, a customer may have several
    rows, one for each date.

    Args:
        frame: The table, cells as they came.
        id: Column that names the customer; rows without a name (blanks are none) are kept.
        time: Column with the date at which a row was taken.
        latest: Column of dates or numbers that says which of a customer's rows is the newest (of equals the last one);
            the last one in the table when left out. A row without a value counts as the oldest.
        formats: Date formats of ``latest``, besides ISO 8601.

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
        if latest is not None:
            keys[LATEST] = _age(latest, unique.schema[latest], formats)
        named = unique.select(ROW, **keys)
        if latest is not None:
            keys.pop(LATEST)
            named = named.sort(LATEST, nulls_last=False, maintain_order=True)
        last = named.filter(pl.col(NAME).is_not_null()).unique(subset=list(keys), keep="last", maintain_order=True)
        kept = pl.concat([last[ROW], named.filter(pl.col(NAME).is_null())[ROW]])
    kept = kept.cast(pl.Int64).sort().alias("row")
    return Deduplicated(kept, exact, len(unique) - len(kept))


def _age(name: str, dtype: pl.DataType, formats: Sequence[str]) -> pl.Expr:
    """Return what grows with time: dates where the cells are dates, else numbers."""
    cell = parsing.cell_of(name)
    if dtype.is_numeric() and not formats:
        return parsing.number(cell, dtype)
    moment = parsing.moment(cell, dtype, formats).to_physical().cast(pl.Float64)
    return pl.coalesce(moment, parsing.number(cell, dtype))


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Rows that differ from another customer's in nothing but the name.

    Attributes:
        rows: How many have a twin.
        groups: Sets of such rows.
        largest: Rows of the largest set.
    """

    rows: int
    groups: int
    largest: int


def near_duplicates(frame: pl.DataFrame, attributes: Sequence[str]) -> NearDuplicates:
    """Count rows that are equal in some columns.

    Args:
        frame: Rows of different customers, cells as they came.
        attributes: The columns that are compared: all that say something about a customer.

    >>> near_duplicates(pl.DataFrame({"id": ["a", "b", "c"], "tenure": [1, 1, 2]}), ["tenure"])
    NearDuplicates(rows=2, groups=1, largest=2)
    """
    if not attributes or not len(frame):
        return NearDuplicates(0, 0, 0)
    # 64 bits for each row: among a million, two different ones are taken for equal once in 37 million tables.
    sizes = frame.select(cs.by_name(*attributes)).hash_rows().value_counts(sort=False)["count"]
    twins = sizes.filter(sizes > 1)
    return NearDuplicates(int(twins.sum()), len(twins), int(twins.max() or 0))  # type: ignore[call-overload]
