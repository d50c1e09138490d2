"""Event tables of the simulated customers, in memory or straight into a Parquet file.

``events`` says what the events are. The customers of block ``number`` are
drawn again for their events, from the same generators: tables of any size belong together by the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl

from churnlib.data.simulator import events, model
from churnlib.data.simulator.drawing import in_memory, into_parquet
from churnlib.data.simulator.options import (
    BLOCK_SIZE,
    MAX_CUSTOMERS,
    SNAPSHOT_DATE,
    Options,
    check_whole,
    customer_names,
    draw_snapshots,
    generator_of,
)
from churnlib.errors import ConfigError


def simulate_events(
    n_customers: int,
    table: str = "usage",
    *,
    event_days: int = 90,
    seed: int = 0,
    n_snapshots: int = 1,
    snapshot_date: date = SNAPSHOT_DATE,
) -> pl.DataFrame:
    """Simulate an event table of the customers of :func:`simulate` with the same arguments.

    Args:
        n_customers: Distinct customers, at least 1.
        table: ``usage`` (``customer_id``, ``time``, ``data_gb``, ``call_minutes``; one record per customer and day) or
            ``tickets`` (``customer_id``, ``time``, ``topic``, ``minutes``). See ``events.py``.
        event_days: Most days of usage records; tickets go back 90 days, however many these are.
        seed: As in ``simulate``, like everything below.
        n_snapshots: Month-end dates over which the customers are spread.
        snapshot_date: The last of them.

    Raises:
        ConfigError: An argument is outside its range.
    """
    options = _options(n_customers, table, event_days, seed, n_snapshots, snapshot_date)
    return in_memory(partial(_block, table, options), n_customers)


def _options(
    n_customers: int, table: str, event_days: int, seed: int, n_snapshots: int, snapshot_date: date
) -> Options:
    check_whole("n_customers", n_customers, low=1, high=MAX_CUSTOMERS)
    check_whole("event_days", event_days, low=1, high=events.MAX_DAYS)
    if table not in events.EVENT_TABLES:
        raise ConfigError(f"table must be one of {', '.join(events.EVENT_TABLES)}, got {table!r}")
    return Options(seed, n_snapshots, snapshot_date, 0.0, 0.0, 0.0, 0, event_days)


def simulate_events_to_parquet(
    path: str | Path,
    n_customers: int,
    table: str = "usage",
    *,
    event_days: int = 90,
    seed: int = 0,
    n_snapshots: int = 1,
    snapshot_date: date = SNAPSHOT_DATE,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the table of :func:`simulate_events` to a Parquet file, in memory that does not grow with its size.

    Args:
        path: File to write, whole or not at all; its folder must exist.
        n_customers: As in ``simulate_events``, like the others.
        table: ``usage`` or ``tickets``.
        event_days: Most days of usage records.
        seed: Of the customers.
        n_snapshots: Month-end dates over which the customers are spread.
        snapshot_date: The last of them.
        progress: Called in the writing thread with the number of events drawn so far.

    Returns:
        Number of events written.

    Raises:
        ConfigError: An argument is outside its range.
        DataError: The file cannot be written.
    """
    options = _options(n_customers, table, event_days, seed, n_snapshots, snapshot_date)
    return into_parquet(partial(_block, table, options), n_customers, Path(path), progress=progress)


def _block(table: str, options: Options, number: int, keep: int) -> pl.DataFrame:
    """Draw the events of the first ``keep`` customers of block ``number``."""
    people, fate, trends = (generator_of(number, stream, options) for stream in (0, 1, 4))
    block = events.EventBlock(
        customer_names(number * BLOCK_SIZE + 1, BLOCK_SIZE),
        model.draw_customers(people, BLOCK_SIZE),
        draw_snapshots(fate, options),
        events.draw_trends(trends, BLOCK_SIZE),
        options.event_days,
    )
    stream = 5 + list(events.EVENT_TABLES).index(table)
    return events.EVENT_TABLES[table](generator_of(number, stream, options), block, keep)


__all__ = ["simulate_events", "simulate_events_to_parquet"]
