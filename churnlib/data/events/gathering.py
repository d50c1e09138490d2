"""A customer table in, the same table with columns made from event tables out.

A first pass reads the events batch by batch, joins them to the rows and writes what is in reach into pieces, each with
all events of some of the rows; then one piece after the other is sorted and aggregated. Memory holds one batch or
piece, and the result: it grows with the customers, not with their events.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from churnlib.data.events.aggregate import ROW, aggregate
from churnlib.data.events.definition import EventDefinition
from churnlib.data.events.reading import FIRST, KEY, LAST, SNAPSHOT, EventCount, EventReader
from churnlib.data.sources import TableOptions
from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing, unknown_column
from churnlib.schema.kinds import Cells, date_formats

PIECE = "\0piece"

PIECE_CELLS = 16_000_000
"""Cells of a piece that is aggregated at once (about 0.5 GiB with all that is made of it)."""

MOST_PIECES = 512
"""Beyond as many pieces they grow instead: each batch writes a file for each of them."""


@dataclass(frozen=True, slots=True)
class GatheredEvents:
    """A customer table with columns from its events.

    Attributes:
        frame: The table, the new columns after its own, in the order of the definitions.
        counts: What became of the events, by the name of their table.
        said: Sentences on the events that are not used.
    """

    frame: pl.DataFrame
    counts: Mapping[str, EventCount]
    said: tuple[str, ...]


def gather_events(
    frame: pl.DataFrame,
    definitions: Sequence[EventDefinition],
    tables: Mapping[str, Any],
    *,
    id: str | None,  # noqa: A002 - the field's and the configuration's name
    time: str | None,
    formats: Sequence[str] | None = None,
    options: Mapping[str, TableOptions] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> GatheredEvents:
    """Add the columns that definitions ask for, as of the date of each row.

    An event counts for a row if it is no later than the row's snapshot; a window of 30 days holds the events that are
    less than 30 days older. A snapshot that is a date without a time of day is the beginning of that day. Rows without
    a customer or a date have no events.

    Args:
        frame: One row per customer, or per customer and date.
        definitions: What is wanted.
        tables: By the name of each definition a path or glob of CSV or Parquet files, or a frame.
        id: Column of ``frame`` that names the customer.
        time: Column of ``frame`` with the date of each row.
        formats: Date formats of ``time`` besides ISO 8601; found when None.
        options: How the files of each are read, by name.
        progress: Called with the name, how much is done and how much there is: the events of the table, which are
            counted when they are read, and again as they are aggregated where that goes by pieces.

    Raises:
        ConfigError: If a column is missing or there already, or a table is not given.
        DataError: If a table cannot be read.

    >>> from datetime import date
    >>> from churnlib.data.events import gather_events, read_definition
    >>> usage = pl.DataFrame({"who": ["a", "a", "a"], "day": [date(2024, 1, d) for d in (1, 9, 20)], "gb": [1, 2, 50]})
    >>> grid = {"id": "who", "time": "day", "windows": [7], "aggregations": ["count", "mean"], "columns": ["gb"]}
    >>> customers = pl.DataFrame({"id": ["a", "b"], "taken": [date(2024, 1, 10)] * 2})
    >>> wanted = [read_definition("usage", grid)]
    >>> gather_events(customers, wanted, {"usage": usage}, id="id", time="taken").frame.rows()
    [('a', datetime.date(2024, 1, 10), 1.0, 2.0), ('b', datetime.date(2024, 1, 10), 0.0, None)]
    """
    rows = _rows(frame, id=id, time=time, formats=formats)
    counts: dict[str, EventCount] = {}
    for definition in definitions:
        _check_names(definition, frame.columns)
        if tables.get(definition.name) is None:
            raise ConfigError(
                f"the event table {definition.name!r} is missing; give events.{definition.name}.path=FILE"
            )
        how = (options or {}).get(definition.name, TableOptions())
        reader = EventReader(definition, tables[definition.name], id=id, **how)
        counts[definition.name] = EventCount(reader.n_events)
        gathered = _columns(reader, rows, len(frame), counts[definition.name], progress)
        frame = pl.concat([frame, gathered], how="horizontal")
    said = tuple(line for name, count in counts.items() for line in count.lines(name))
    return GatheredEvents(frame, counts, said)


def _rows(
    frame: pl.DataFrame,
    *,
    id: str | None,  # noqa: A002
    time: str | None,
    formats: Sequence[str] | None,
) -> pl.DataFrame:
    """Return the number, the customer and the date of each row that has both."""
    for option, name in (("data.id", id), ("data.time", time)):
        if name is None:
            what = "names the customer" if option == "data.id" else "says at which date each row was taken"
            raise ConfigError(f"event tables need the column that {what}: set {option}=COLUMN")
        if name not in frame.columns:
            raise ConfigError(unknown_column(name, frame.columns, option=option))
    assert id is not None and time is not None
    dates = frame[time]
    if formats is None:
        formats = () if dates.dtype.is_temporal() else date_formats(Cells(dates)) or ()
    rows = frame.select(
        parsing.category(parsing.cell_of(id), frame.schema[id]).alias(KEY),
        parsing.moment(parsing.cell_of(time), dates.dtype, formats).alias(SNAPSHOT),
    )
    if len(rows) and rows[SNAPSHOT].null_count() == len(rows):
        raise DataError(f"data.time names {time!r}, which holds no dates; set data.columns.{time}.format=...")
    rows = rows.with_row_index(ROW).drop_nulls()
    first = (pl.col(ROW) == pl.col(ROW).min().over(KEY)).alias(FIRST)
    return rows.with_columns(first, pl.col(SNAPSHOT).max().over(KEY).alias(LAST))


def _check_names(definition: EventDefinition, names: Sequence[str]) -> None:
    there = next((name for name in definition.names if name in names), None)
    if there is not None:
        raise ConfigError(
            f"data.events.{definition.name} makes the column {there!r}, which the table has already; rename one of them"
        )


def _columns(
    reader: EventReader,
    rows: pl.DataFrame,
    n_rows: int,
    count: EventCount,
    progress: Callable[[str, int, int], None] | None,
) -> pl.DataFrame:
    """Return the features of all rows, in their order."""
    definition, n_pieces, done = reader.definition, _n_pieces(reader, rows), 0
    work = reader.n_events if n_pieces == 1 else 2 * reader.n_events

    def advance(events: int) -> None:
        nonlocal done
        done += events
        if progress is not None:
            progress(definition.name, done, work)

    events = reader.joined(rows, count, progress=advance)
    if n_pieces == 1:
        parts = [aggregate(pl.concat([pl.DataFrame(schema=reader.types), *events]), definition)]
    else:
        parts = _by_pieces(events, n_pieces, reader, advance)
    numbers = pl.DataFrame({ROW: pl.int_range(n_rows, dtype=pl.UInt32, eager=True)})
    gathered = numbers.join(pl.concat(parts), on=ROW, how="left", maintain_order="left")
    empty = [pl.col(one.name).fill_null(one.empty) for one in definition.features if one.empty is not None]
    return gathered.with_columns(empty).select(definition.names)


def _n_pieces(reader: EventReader, rows: pl.DataFrame) -> int:
    """Return into how many pieces the events are dealt, so that each fits into memory."""
    per_customer = max(1.0, len(rows) / max(1, int(rows[FIRST].sum())))
    cells = reader.n_events * per_customer * (2 + len(reader.values))
    return int(min(MOST_PIECES, max(1, -(-cells // PIECE_CELLS))))


def _by_pieces(
    events: Iterable[pl.DataFrame], n_pieces: int, reader: EventReader, advance: Callable[[int], None]
) -> list[pl.DataFrame]:
    """Deal the events to pieces on disk, all of a row to one, and aggregate each."""
    piece = (pl.col(ROW) % n_pieces).alias(PIECE)
    with TemporaryDirectory(prefix="churnlib-events-") as folder:
        _check_room(folder, reader)
        dealt: dict[int, list[Path]] = {}
        for number, batch in enumerate(events):
            parts = batch.with_columns(piece).partition_by(PIECE, as_dict=True, include_key=False)
            for (place,), part in parts.items():
                path = Path(folder) / f"{place}.{number}.arrow"
                part.write_ipc(path, compression="lz4")
                dealt.setdefault(place, []).append(path)
        gathered = [aggregate(pl.DataFrame(schema=reader.types), reader.definition)]
        for number, paths in sorted(dealt.items()):
            gathered.append(aggregate(_read_piece(paths), reader.definition))
            advance(reader.n_events * (number + 1) // n_pieces - reader.n_events * number // n_pieces)
        return gathered


def _read_piece(paths: Sequence[Path]) -> pl.DataFrame:
    """Read a piece, and take its files away: what comes next needs room too."""
    piece = pl.concat([pl.read_ipc(path) for path in paths])
    for path in paths:
        path.unlink()
    return piece


def _check_room(folder: str, reader: EventReader) -> None:
    """Refuse to begin what a full disk would end; lz4 brings the pieces to half their size, or less."""
    needed, free = 4 * reader.n_events * (2 + len(reader.values)), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"the events of {reader.definition.name!r} need about {needed / 2**30:.1f} GiB in {folder}, which has "
            f"{free / 2**30:.1f} GiB; set TMPDIR to a folder on a larger disk"
        )


__all__ = ["GatheredEvents", "gather_events"]
