"""Sides and a sample of a table of any size: drawn in a stream, the same in every release."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from churnlib.data.murmur import draws
from churnlib.data.splits import SIDES
from churnlib.errors import ConfigError

SIDE = "side"
"""Column that says train, validation or test."""

DRAW, NUMBER = "\0draw", "\0number"
"""Columns of our own beside those of the table, whose names have no NUL."""


def with_sides(source: pl.LazyFrame, id_column: str | None, shares: Sequence[float], seed: int) -> pl.LazyFrame:
    """Add the side of each row, drawn from the customer's name, or from the row's number."""
    names = source.collect_schema().names()
    if SIDE in names:
        raise ConfigError(f"the table has a column {SIDE!r} already, which the result needs; rename it")
    if id_column is not None and id_column not in names:
        raise ConfigError(f"data.id names the column {id_column!r}, which the table does not have")
    number = pl.col(NUMBER).cast(pl.String)
    key = number if id_column is None else pl.coalesce(pl.col(id_column).cast(pl.String), number)
    train, validation, _ = shares
    draw = pl.col(DRAW)
    side = pl.when(draw < train).then(pl.lit(SIDES[0])).when(draw < train + validation).then(pl.lit(SIDES[1]))
    side = side.otherwise(pl.lit(SIDES[2])).alias(SIDE)
    # A column of its own: polars asks the branches of a condition about rows with their texts taken away.
    drawn = source.with_row_index(NUMBER).with_columns(draws(key, seed=seed).alias(DRAW))
    return drawn.with_columns(side).drop(DRAW, NUMBER)


def sample(sided: pl.LazyFrame, n_rows: int, most: int, seed: int) -> pl.DataFrame:
    """Return about as many rows as wanted, spread over the whole table, in its order."""
    if n_rows <= most:
        return sided.collect(engine="streaming")
    drawn = draws(pl.col(NUMBER).cast(pl.String), seed=seed + 1) < most / n_rows
    # A range as long as the table would hold every row back until they are counted.
    return sided.with_row_index(NUMBER).filter(drawn).drop(NUMBER).collect(engine="streaming")


__all__ = ["SIDE", "sample", "with_sides"]
