"""The table a run learns from, by what the configuration says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from churnlib.config import DataConfig, ReferenceConfig, SimulatorConfig, TableConfig
from churnlib.data.events import EventDefinition, GatheredEvents, gather_events, read_definition
from churnlib.data.pseudonyms import Pseudonyms, check_id, read_pseudonyms
from churnlib.errors import ConfigError, DataError

if TYPE_CHECKING:
    from churnlib.config.files import FileOptions
    from churnlib.data.sources import TableOptions


class LoadedTable(NamedTuple):
    """The configured table.

    Attributes:
        frame: Its rows, with the columns that histories and event tables add.
        truth: ``(n,)`` true churn probability of each row, if they are simulated.
        said: Sentences on what was read, and on events that are not used.
        sources: What to remember of each file that was read: its option, path, format, version.
    """

    frame: pl.DataFrame
    truth: np.ndarray | None
    said: tuple[str, ...]
    sources: tuple[dict[str, Any], ...] = ()


class _Sources:
    """The files of a table, each read as it was when it was opened first."""

    def __init__(self) -> None:
        self.facts: list[dict[str, Any]] = []

    def pinned(self, option: str, path: str, how: FileOptions) -> TableOptions:
        """Return the options that read the file, and remember it."""
        from churnlib.data.sources import pin_table

        options, facts = pin_table(path, **how.reading())
        self.facts.append({"option": option, **facts})
        return options

    def said(self) -> list[str]:
        """Return sentences on what was chosen without being asked for."""
        from churnlib.data.sources import about_source

        return [line for facts in self.facts for line in about_source(facts)]


def load_table(data: DataConfig, *, seed: int, max_steps: int = 36) -> LoadedTable:
    """Read the configured table.

    Histories and events are joined by the customers' own names; from here on customers are called by their pseudonyms,
    if ``data.pseudonymise`` names a key.

    Args:
        data: One of the data configurations.
        seed: Of the run; simulated customers are drawn with it unless they have their own.
        max_steps: Newest steps of a history that are gathered from a long table.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    pseudonyms = configured_pseudonyms(data)
    sources = _Sources()
    frame, truth = _read_configured(data, sources, seed=seed, max_steps=max_steps)
    gathered = join_events(frame, data, sources)
    frame = gathered.frame
    if pseudonyms is not None:
        frame = pseudonyms.frame(frame, check_id(data.id, frame.columns))
    return LoadedTable(frame, truth, (*sources.said(), *gathered.said), tuple(sources.facts))


def configured_pseudonyms(data: DataConfig) -> Pseudonyms | None:
    """Return the pseudonyms that the configuration asks for, None if it asks for none.

    Raises:
        ConfigError: If there is no such key.
    """
    return read_pseudonyms(**asdict(data.pseudonymise))


def _read_configured(
    data: DataConfig, sources: _Sources, *, seed: int, max_steps: int
) -> tuple[pl.DataFrame, np.ndarray | None]:
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
            raise ConfigError("data.path is missing; give a file or an address, such as data.path=customers.csv")
        frame = read_table(data.path, **sources.pinned("data.path", data.path, data))
        return join_history(frame, data, sources, max_steps=max_steps), None
    raise ConfigError(f"data={data.name} is not a table; choose simulator, table, telco, mlc or isp")


def scan_configured(
    data: DataConfig, *, seed: int, max_steps: int = 36, say: Callable[[str], None] | None = None
) -> pl.LazyFrame:
    """Return the configured table without reading a file's rows; histories and events are joined in memory.

    Args:
        data: One of the data configurations.
        seed: Of the run.
        max_steps: Newest steps of a history that are gathered from a long table.
        say: Called with sentences on what is read, and on events that are not used.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    if isinstance(data, TableConfig) and data.path and data.history.path is None and not data.events:
        from churnlib.data.sources import scan_table

        pseudonyms, sources = configured_pseudonyms(data), _Sources()
        lazy = scan_table(data.path, **sources.pinned("data.path", data.path, data))
        if say is not None:
            for line in sources.said():
                say(line)
        return lazy if pseudonyms is None else pseudonyms.scan(lazy, check_id(data.id, lazy.collect_schema().names()))
    table = load_table(data, seed=seed, max_steps=max_steps)
    if say is not None:
        for line in table.said:
            say(line)
    return table.frame.lazy()


@contextmanager
def reading_table(data: DataConfig) -> Iterator[None]:
    """Turn what goes wrong with a file into one sentence, around the reading of :func:`scan_configured`."""
    if not (isinstance(data, TableConfig) and data.path):
        yield
        return
    from churnlib.data.sources import reading

    with reading(data.path, **data.reading()):
        yield


def join_history(frame: pl.DataFrame, data: TableConfig, sources: _Sources, *, max_steps: int) -> pl.DataFrame:
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
        **sources.pinned("data.history.path", history.path, history),
    )
    snapshot = data.columns[data.time].format if data.time in data.columns else None
    formats = None if snapshot is None else (snapshot,)
    return with_history(frame, events, id=data.id, time=data.time, formats=formats, most=max_steps)


def event_definitions(data: DataConfig) -> tuple[EventDefinition, ...]:
    """Return what ``data.events`` asks for.

    Raises:
        ConfigError: If it is impossible.
    """
    return tuple(read_definition(name, table.definition()) for name, table in data.events.items())


def join_events(frame: pl.DataFrame, data: DataConfig, sources: _Sources) -> GatheredEvents:
    """Return the table with the columns that ``data.events`` asks for.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If an event table cannot be read, or none of its events belongs to a customer of the table.
    """
    definitions = event_definitions(data)
    if not definitions:
        return GatheredEvents(frame, {}, ())
    for name, table in data.events.items():
        if not table.path:
            raise ConfigError(f"data.events.{name}.path is missing; give the file with its events")
    snapshot = data.columns[data.time].format if data.time in data.columns else None
    gathered = gather_events(
        frame,
        definitions,
        {name: table.path for name, table in data.events.items()},
        id=data.id,
        time=data.time,
        formats=None if snapshot is None else (snapshot,),
        options={
            name: sources.pinned(f"data.events.{name}.path", table.path, table) for name, table in data.events.items()
        },
    )
    for definition in definitions:
        count = gathered.counts[definition.name]
        if count.rows and not count.known:
            named = definition.id or data.id
            raise DataError(
                f"none of the {count.rows:,} events of data.events.{definition.name} belongs to a customer of the "
                f"table; does {named!r} name them as {data.id!r} of the table does?"
            )
    return gathered
