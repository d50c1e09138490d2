"""Text with few different cells: each of them is read once, and a long column put together from what they read as."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from churnlib.schema.parsing import cell_of

MANY_ROWS = 10_000
"""Rows of a long column."""

FIRST_ROWS = 1_000
"""Rows that are looked at first: most columns of two values show both of them here."""


def distinct_cells(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    """Return the different cells of each column of a long table that has few, in any order and without missing ones.

    >>> answers = pl.DataFrame({"paid": ["no", "yes", None] * 5_000, "name": [f"C{i}" for i in range(15_000)]})
    >>> {name: cells.sort().to_list() for name, cells in distinct_cells(answers, ["paid", "name"]).items()}
    {'paid': ['no', 'yes']}

    Args:
        frame: The table.
        names: Its columns of text.
    """
    if len(frame) < MANY_ROWS:
        return {}
    pairs = _pairs(frame, names)
    others = _unique(frame, [name for name in names if name not in pairs])
    return pairs | {name: cells for name, cells in others.items() if 0 < len(cells) <= len(frame) // 4}


def read_once(name: str, distinct: pl.Series, read: pl.Series) -> pl.Expr:
    """Return a column whose different cells have been read.

    Args:
        name: Column of text.
        distinct: Its different cells.
        read: What each of them reads as.
    """
    text = cell_of(name).cast(pl.String)
    if len(distinct) == 2:  # one comparison instead of a look into a table of hashes
        second = (text == distinct[1]).cast(pl.UInt32)
        return pl.lit(read).gather(second).alias(name)
    return text.replace_strict(distinct, read, default=None, return_dtype=read.dtype)


def _pairs(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    """Return the two cells of each column in which nothing but the two first ones is found."""
    first = _unique(frame.head(FIRST_ROWS), names)
    pairs = {name: cells for name, cells in first.items() if len(cells) == 2}
    found = frame.select(
        sum((cell_of(name).cast(pl.String) == cell).sum() for cell in cells).alias(name)  # type: ignore[union-attr]
        for name, cells in pairs.items()
    )
    return {name: cells for name, cells in pairs.items() if found[name][0] == frame[name].count()}


def _unique(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    found = frame.select(cell_of(name).cast(pl.String).unique().implode() for name in names)
    return {name: found[name][0].drop_nulls().alias(name) for name in names}
