"""What the dealing of rows to sides and folds must heed beside their classes: groups, strata, dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.errors import ConfigError
from churnlib.schema import Schema, unknown_column

MOST_VALUES = 100
"""Values of a column to stratify by; of more, most would be too rare to be on every side."""
MICROSECONDS_PER_DAY = 86_400e6
FEWEST_DATES = 3
"""Dates that it takes to train, validate and test one after the other."""


@dataclass(frozen=True, slots=True)
class Dealing:
    """What is known of the rows when they are dealt.

    Attributes:
        groups: ``(n,)`` rows that must stay together have the same value; None where each may go its own way.
        strata: ``(n,)`` int64 combination of the values to stratify by, beside the class; None for the class alone.
        moments: ``(n,)`` int64 microseconds, for sides that go by time; None for others.
        gap: Microseconds that must lie between a row and the first one of the next side.
    """

    groups: np.ndarray | None = None
    strata: np.ndarray | None = None
    moments: np.ndarray | None = None
    gap: int = 0


def customer_groups(frame: pl.DataFrame, schema: Schema, *, group: str | None = None) -> np.ndarray | None:
    """Return what tells the customers of the rows apart, ``(n,)``; None if each row is a customer of its own.

    Without dates every customer has one row by now. Rows without a name are customers of their own. Customers of one
    household (or another group) count as one, and so do households that share a customer.

    Args:
        frame: The rows.
        schema: What the columns are.
        group: Column that names the household; rows without one belong to none.
    """
    customers = None if schema.id is None or schema.time is None else _names(frame, schema.id)
    if group is None:
        return customers
    households = _names(frame, group)
    return households if customers is None else _joined(customers, households)


def _names(frame: pl.DataFrame, column: str) -> np.ndarray:
    name = pl.col(column).cast(pl.String)
    return frame.select(pl.coalesce(name, pl.format("\0{}", pl.int_range(pl.len())))).to_series().to_numpy()


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a number for each row, the same for rows that a chain of equal names on either side connects."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = (np.unique(names, return_inverse=True)[1] for names in (first, second))
    n = int(a.max(initial=-1)) + 1
    size = n + int(b.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, n + b)), shape=(size, size))
    return connected_components(graph, directed=False)[1][a].astype(np.int64)


def strata_of(frame: pl.DataFrame, columns: Sequence[str]) -> np.ndarray | None:
    """Return a number for each combination of values, ``(n,)`` int64; None without columns.

    Raises:
        ConfigError: If a column is not in the table, or has too many values.
    """
    if not columns:
        return None
    for name in columns:
        if name not in frame.columns:
            raise ConfigError(unknown_column(name, frame.columns, option="split.stratify"))
        if (n := frame[name].n_unique()) > MOST_VALUES:
            raise ConfigError(
                f"split.stratify names {name!r}, which has {n:,} values; name columns of at most {MOST_VALUES}, such "
                "as a contract or a region"
            )
    texts = frame.select(pl.struct(pl.col(name).cast(pl.String) for name in columns).alias("values"))
    return texts["values"].rank("dense").to_numpy().astype(np.int64)


def moments_of(typed: pl.DataFrame, time: str) -> np.ndarray:
    """Return the moment of each row, ``(n,)`` int64 microseconds; rows without one count as the oldest."""
    return typed[time].cast(pl.Datetime("us")).to_physical().fill_null(strategy="min").to_numpy()


def goes_by_time(typed: pl.DataFrame, schema: Schema, by: str) -> bool:
    """Whether sides go by time: asked for, or there are dates enough and nothing else is asked for."""
    if by != "auto" or schema.time is None:
        return by == "time"
    return typed[schema.time].drop_nulls().n_unique() >= FEWEST_DATES
