"""The table a run learns from, by what the configuration says about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import polars as pl

from churnlib.config import DataConfig, ReferenceConfig, SimulatorConfig, TableConfig
from churnlib.data.pseudonyms import Pseudonyms, check_id, read_pseudonyms
from churnlib.errors import ConfigError


def load_table(data: DataConfig, *, seed: int, max_steps: int = 36) -> tuple[pl.DataFrame, np.ndarray | None]:
    """Return the configured table, and the true churn probability of its rows if they are simulated.

    From here on customers are called by their pseudonyms, if ``data.pseudonymise`` names a key.

    Args:
        data: One of the data configurations.
        seed: Of the run; simulated customers are drawn with it unless they have their own.
        max_steps: Newest steps of a history that are gathered from a long table.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    pseudonyms = configured_pseudonyms(data)
    frame, truth = _read_configured(data, seed=seed, max_steps=max_steps)
    if pseudonyms is not None:
        frame = pseudonyms.frame(frame, check_id(data.id, frame.columns))
    return frame, truth


def configured_pseudonyms(data: DataConfig) -> Pseudonyms | None:
    """Return the pseudonyms that the configuration asks for, None if it asks for none.

    Raises:
        ConfigError: If there is no such key.
    """
    return read_pseudonyms(**asdict(data.pseudonymise))


def _read_configured(data: DataConfig, *, seed: int, max_steps: int) -> tuple[pl.DataFrame, np.ndarray | None]:
    if isinstance(data, SimulatorConfig):
        from churnlib.data.simulator import simulate

        drawn = simulate(
            data.n_customers,
            seed=seed if data.seed is None else data.seed,
            n_snapshots=data.n_snapshots,
            history_months=data.history_months,
        )
        return drawn.table, drawn.churn_probability
    if isinstance(data, ReferenceConfig):
        from churnlib.data.reference import load_reference

        return load_reference(data.reference), None
    if isinstance(data, TableConfig):
        from churnlib.data.sources import read_table

        if not data.path:
            raise ConfigError("data.path is missing; give a CSV or Parquet file, such as data.path=customers.csv")
        frame = read_table(data.path, separator=data.separator)
        return join_history(frame, data, max_steps=max_steps), None
    raise ConfigError(f"data={data.name} is not a table; choose simulator, table, telco, mlc or isp")


def scan_configured(data: DataConfig, *, seed: int, max_steps: int = 36) -> pl.LazyFrame:
    """Return the configured table without reading a file's rows; histories are joined in memory.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    if isinstance(data, TableConfig) and data.path and data.history.path is None:
        from churnlib.data.sources import scan_table

        pseudonyms = configured_pseudonyms(data)
        lazy = scan_table(data.path, separator=data.separator)
        return lazy if pseudonyms is None else pseudonyms.scan(lazy, check_id(data.id, lazy.collect_schema().names()))
    return load_table(data, seed=seed, max_steps=max_steps)[0].lazy()


@contextmanager
def reading_table(data: DataConfig) -> Iterator[None]:
    """Turn what goes wrong with a file into one sentence, around the reading of :func:`scan_configured`."""
    if not (isinstance(data, TableConfig) and data.path):
        yield
        return
    from churnlib.data.sources import reading

    with reading(data.path, separator=data.separator):
        yield


def join_history(frame: pl.DataFrame, data: TableConfig, *, max_steps: int) -> pl.DataFrame:
    """Return the table with the list columns that ``data.history`` asks for, if it does."""
    history = data.history
    if history.path is None:
        return frame
    from churnlib.data.history import read_events, with_history

    events = read_events(
        history.path,
        id=history.id or data.id,
        time=history.time,
        columns=history.columns,
        format=history.format,
        separator=history.separator,
    )
    snapshot = data.columns[data.time].format if data.time in data.columns else None
    formats = None if snapshot is None else (snapshot,)
    return with_history(frame, events, id=data.id, time=data.time, formats=formats, most=max_steps)
