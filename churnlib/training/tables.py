"""The table a run learns from, by what the configuration says about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from churnlib.config import DataConfig, JoinedConfig, ReferenceConfig, SimulatorConfig, SqlConfig, TableConfig
from churnlib.data.events import EventDefinition, GatheredEvents, gather_events, read_definition
from churnlib.data.pseudonyms import Pseudonyms, check_id, read_pseudonyms
from churnlib.data.table_spec import TableSpec
from churnlib.errors import ConfigError, DataError

if TYPE_CHECKING:
    from churnlib.config import SourceConfig
    from churnlib.config.files import FileOptions
    from churnlib.data.joined import Joined
    from churnlib.data.sources import TableOptions


class LoadedTable(NamedTuple):
    """The configured table.

    Attributes:
        frame: Its rows, with the columns that histories and event tables add.
        truth: ``(n,)`` true churn probability of each row, if they are simulated.
        said: Sentences on what was read and joined, and on events that are not used.
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


Progress = Callable[[str, int, int], None]
"""Called with what is gathered, how much of it is done and how much there is."""

Remember = Callable[[Mapping[str, Any]], None]
"""Called with what to remember of a file that is read: its option, path, format, version."""


def load_table(data: DataConfig, *, seed: int, max_steps: int = 36, progress: Progress | None = None) -> LoadedTable:
    """Read the configured table.

    Histories and events are joined by the customers' own names; from here on customers are called by their pseudonyms,
    if ``data.pseudonymise`` names a key.

    Args:
        data: One of the data configurations.
        seed: Of the run; simulated customers are drawn with it unless they have their own.
        max_steps: Newest steps of a history that are gathered from a long table.
        progress: Of event tables.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    pseudonyms = configured_pseudonyms(data)
    sources = _Sources()
    table = _read_configured(data, sources, seed=seed, max_steps=max_steps)
    gathered = join_events(table.frame, data, sources, progress=progress)
    frame = gathered.frame
    if pseudonyms is not None:
        frame = pseudonyms.frame(frame, check_id(data.id, frame.columns))
    said = (*sources.said(), *table.said, *gathered.said)
    return LoadedTable(frame, table.truth, said, tuple(sources.facts))


def configured_pseudonyms(data: DataConfig) -> Pseudonyms | None:
    """Return the pseudonyms that the configuration asks for, None if it asks for none.

    Raises:
        ConfigError: If there is no such key.
    """
    return read_pseudonyms(**asdict(data.pseudonymise))


def _read_configured(data: DataConfig, sources: _Sources, *, seed: int, max_steps: int) -> LoadedTable:
    if isinstance(data, SimulatorConfig):
        from churnlib.data.simulator import simulate

        drawn = simulate(
            data.n_customers,
            seed=seed if data.seed is None else data.seed,
            n_snapshots=data.n_snapshots,
            history_months=data.history_months,
            treatment_share=data.treatment_share,
        )
        return LoadedTable(drawn.table, drawn.churn_probability, ())
    if isinstance(data, ReferenceConfig):
        from churnlib.data.reference import load_reference

        return LoadedTable(load_reference(data.reference), None, ())
    if isinstance(data, TableConfig):
        from churnlib.data.sources import read_table

        if not data.path:
            raise ConfigError("data.path is missing; give a file or an address, such as data.path=customers.csv")
        frame = read_table(data.path, **sources.pinned("data.path", data.path, data))
        return LoadedTable(join_history(frame, data, sources, max_steps=max_steps), None, ())
    if isinstance(data, SqlConfig):
        from churnlib.data.sources.sql import read_sql

        return LoadedTable(read_sql(data.query or "", **data.reading()), None, ())
    if isinstance(data, JoinedConfig):
        with reading_table(data) as folder:
            joined = join_configured(data, folder)
            frame = joined.table.collect(engine="streaming")
        return LoadedTable(join_history(frame, data, sources, max_steps=max_steps), None, joined.said)
    raise ConfigError(f"data={data.name} is not a table; choose simulator, table, sql, joined, telco, mlc or isp")


def join_configured(data: JoinedConfig, folder: Path | None) -> Joined:
    """Return the table of ``data=joined``, with its keys checked and the rows of its files not read.

    Args:
        data: The sources.
        folder: Where the rows of databases are put down, as :func:`reading_table` gives it.

    Raises:
        ChurnlibError: If the sources cannot be joined.
    """
    from churnlib.data.joined import join_sources

    assert data.base is not None and data.id is not None
    sources = dict(data.sources)
    for name, source in sources.items():
        if source.query is not None:
            from churnlib.data.sources.sql import fetch_sql

            assert folder is not None
            fetch_sql(source.query, folder / name, **source.querying())
            sources[name] = replace(source, path=str(folder / name), query=None)
    format_ = data.columns[data.time].format if data.time in data.columns else None
    return join_sources(sources, base=data.base, id=data.id, time=data.time, format=format_)


def scan_configured(
    data: DataConfig,
    *,
    seed: int,
    max_steps: int = 36,
    say: Callable[[str], None] | None = None,
    remember: Remember | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> pl.LazyFrame:
    """Return the configured table without holding its rows; histories and events are joined in memory.

    Args:
        data: One of the data configurations.
        seed: Of the run.
        max_steps: Newest steps of a history that are gathered from a long table.
        say: Called with sentences on what is read and joined, and on events that are not used.
        remember: Called for each file.
        folder: Where the rows of a database may be put down, as :func:`reading_table` gives it; in memory without.
        progress: Of event tables.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    say, remember = say or _ignored, remember or _ignored
    lazy = None if data.events else _scan(data, folder, say, remember)
    if lazy is not None:
        pseudonyms = configured_pseudonyms(data)
        return lazy if pseudonyms is None else pseudonyms.scan(lazy, check_id(data.id, lazy.collect_schema().names()))
    table = load_table(data, seed=seed, max_steps=max_steps, progress=progress)
    for line in table.said:
        say(line)
    for facts in table.sources:
        remember(facts)
    return table.frame.lazy()


def _ignored(_: object) -> None:
    pass


def _scan(data: DataConfig, folder: Path | None, say: Callable[[str], None], remember: Remember) -> pl.LazyFrame | None:
    """Return the table as the source has it, where it can be read bit by bit."""
    if isinstance(data, TableConfig) and data.path and data.history.path is None:
        from churnlib.data.sources import scan_table

        sources = _Sources()
        lazy = scan_table(data.path, **sources.pinned("data.path", data.path, data))
        for line in sources.said():
            say(line)
        for facts in sources.facts:
            remember(facts)
        return lazy
    if isinstance(data, SqlConfig) and folder is not None:
        from churnlib.data.sources.sql import fetch_sql

        return fetch_sql(data.query or "", folder / "rows", **data.reading())
    if isinstance(data, JoinedConfig) and data.history.path is None and (folder is not None or not data.queries):
        joined = join_configured(data, folder)
        for line in joined.said:
            say(line)
        return joined.table
    return None


def describe_source(data: DataConfig, *, seed: int) -> dict[str, Any]:
    """Return where the configured table comes from, JSON-ready, for whoever finds what was made of it.

    No secrets: addresses without the parts that may hold some, and of databases the name of the variable.
    """
    values: dict[str, Any] = {"data": data.name}
    if isinstance(data, SimulatorConfig):
        drawn = {"n_customers": data.n_customers, "n_snapshots": data.n_snapshots}
        values |= {**drawn, "history_months": data.history_months, "seed": seed if data.seed is None else data.seed}
    elif isinstance(data, TableConfig):
        values["path"] = _address(data.path)
    elif isinstance(data, SqlConfig):
        values |= {"query": data.query, "url_env": data.url_env}
    elif isinstance(data, JoinedConfig):
        values["base"] = data.base
        values["sources"] = {name: _described(one) for name, one in data.sources.items()}
    if isinstance(data, TableConfig | JoinedConfig) and data.history.path is not None:
        values["history"] = _address(data.history.path)
    if data.events:
        values["events"] = {name: _address(table.path) for name, table in data.events.items()}
    return values


def _described(source: SourceConfig) -> dict[str, Any]:
    if source.query is not None:
        return {"query": source.query, "url_env": source.url_env, "join": source.kind}
    return {"path": _address(source.path), "join": source.kind}


def _address(path: str | None) -> str | None:
    """Return a path or an address without signatures and without a user's name and password."""
    return None if path is None else re.sub(r"://[^/@]*@", "://", path.partition("?")[0])


@contextmanager
def reading_table(data: DataConfig) -> Iterator[Path | None]:
    """Turn what goes wrong with a file into one sentence, around the reading of :func:`scan_configured`.

    Yields:
        A folder for the rows of databases, gone at the end; None for other sources.
    """
    if isinstance(data, SqlConfig) or (isinstance(data, JoinedConfig) and data.queries):
        with TemporaryDirectory(prefix="churnlib-sql-") as folder, _explained(data):
            yield Path(folder)
    else:
        with _explained(data):
            yield None


@contextmanager
def _explained(data: DataConfig) -> Iterator[None]:
    """Turn what goes wrong with files into one sentence."""
    if isinstance(data, JoinedConfig):
        from churnlib.data.joined import reading_sources

        with reading_sources({name: one for name, one in data.sources.items() if one.query is None}):
            yield
    elif isinstance(data, TableConfig) and data.path:
        from churnlib.data.sources import reading

        with reading(data.path, **data.reading()):
            yield
    else:
        yield


def join_history(
    frame: pl.DataFrame, data: TableConfig | JoinedConfig, sources: _Sources, *, max_steps: int
) -> pl.DataFrame:
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


def table_spec(data: DataConfig) -> TableSpec:
    """Return what a data configuration says of its table.

    Raises:
        ConfigError: If it names no target, or asks for impossible events.
    """
    if not data.target:
        raise ConfigError("data.target is missing; name the column that says who left, such as data.target=churn")
    return TableSpec(
        target=data.target,
        positive=data.positive,
        id=data.id,
        time=data.time,
        drop=data.drop,
        columns={name: asdict(column) for name, column in data.columns.items()},
        events=event_definitions(data),
        rules=data.rules,
        latest=data.latest,
        show_unreadable=data.show_unreadable,
        about=data.about(),
    )


def event_definitions(data: DataConfig) -> tuple[EventDefinition, ...]:
    """Return what ``data.events`` asks for.

    Raises:
        ConfigError: If it is impossible.
    """
    return tuple(read_definition(name, table.definition()) for name, table in data.events.items())


def join_events(
    frame: pl.DataFrame, data: DataConfig, sources: _Sources, *, progress: Progress | None = None
) -> GatheredEvents:
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
        progress=progress,
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
