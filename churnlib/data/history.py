"""A long table (one row per customer and month, or per event) gathered into list columns, one row per customer.

What a row may know ends at its own snapshot: where rows carry the date they were taken at, later events are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import polars as pl

from churnlib.data.sources import TableOptions, read_table
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Kind, parsing, unknown_column
from churnlib.schema.kinds import Cells, date_formats

KEY, MOMENT, ROW = "\0key", "\0moment", "\0row"
"""Columns of our own beside those of the tables, whose names have no NUL."""


@dataclass(frozen=True, slots=True)
class EventTable:
    """A long table whose columns are found and typed.

    Attributes:
        frame: The customer's name as a category (``KEY``), the time (``MOMENT``, Datetime or Float64) and each of the
            columns (Float64), in the order of time; rows without a customer or a time are left out.
        columns: Names of the columns.
        time: Name of the time column, for messages.
    """

    frame: pl.DataFrame
    columns: tuple[str, ...]
    time: str

    @property
    def dated(self) -> bool:
        """Whether the times are dates, rather than numbers."""
        return self.frame.schema[MOMENT] == pl.Datetime("us")


def read_events(
    table: str | pl.DataFrame,
    *,
    id: str | None,  # noqa: A002 - the field's and the configuration's name
    time: str | None,
    columns: Sequence[str],
    format: str | None = None,  # noqa: A002 - the option's name
    **options: Unpack[TableOptions],
) -> EventTable:
    """Read a long table.

    Args:
        table: A path or address, as :func:`churnlib.data.sources.scan_table` takes it, or a polars frame.
        id: Column that names the customer.
        time: Column that orders a customer's rows: dates, or numbers (a month's number); rows of one time keep the
            order of the file.
        columns: Columns of numbers; each becomes a list column of that name.
        format: strftime pattern of dates that come as text or whole numbers.
        **options: How its files are read, see :class:`churnlib.data.sources.TableOptions`.

    Raises:
        ConfigError: If an option is missing or names no column.
        DataError: If the file cannot be read, or a column does not hold what it should.
    """
    wanted = {"id": [id], "time": [time], "columns": [*columns]}
    for option, names in wanted.items():
        if not names or None in names:
            raise ConfigError(f"data.history.{option} is missing; a history needs path, id, time and columns")
    frame = table if isinstance(table, pl.DataFrame) else read_table(table, **options)
    for option, names in wanted.items():
        for name in names:
            if name not in frame.columns:
                raise ConfigError(unknown_column(str(name), frame.columns, option=f"data.history.{option}"))
    assert id is not None and time is not None
    dtypes = dict(frame.schema)
    typed = frame.select(
        parsing.as_kind(parsing.cell_of(id), dtypes[id], Kind.categorical).alias(KEY),
        _moments(frame[time], format, name=time).alias(MOMENT),
        *(parsing.as_kind(parsing.cell_of(name), dtypes[name], Kind.numeric).alias(name) for name in columns),
    )
    for name in columns:
        if typed[name].null_count() == len(typed):
            raise DataError(f"data.history.columns names {name!r}, which holds no number; name columns of numbers")
    typed = typed.drop_nulls([KEY, MOMENT]).sort(MOMENT, maintain_order=True)
    return EventTable(typed, tuple(columns), time)


def _moments(values: pl.Series, date_format: str | None, *, name: str) -> pl.Series:
    """Return times as ``Datetime("us")`` if they are dates, as Float64 if they are numbers."""
    formats = (date_format,) if date_format else _formats(values)
    if formats is not None:
        read = values.to_frame().select(parsing.moment(pl.first(), values.dtype, formats)).to_series()
        if read.null_count() < len(read):
            return read
    if date_format is None:
        number = values.to_frame().select(parsing.number(pl.first(), values.dtype)).to_series()
        if number.null_count() < len(number):
            return number
    raise DataError(
        f"data.history.time names {name!r}, which holds neither dates nor numbers; set data.history.format=..."
    )


def _formats(values: pl.Series) -> tuple[str, ...] | None:
    """Return the date formats that a column needs besides ISO 8601, None if it holds no dates."""
    return () if values.dtype.is_temporal() else date_formats(Cells(values))


def with_history(
    frame: pl.DataFrame,
    events: EventTable,
    *,
    id: str | None,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    formats: Sequence[str] | None = None,
    most: int = 36,
) -> pl.DataFrame:
    """Return a customer table with a list column for each column of a long table, oldest step first.

    A customer without events has an empty list. Rows stay in their order.

    Args:
        frame: One row per customer, or per customer and date.
        events: The long table.
        id: Column of ``frame`` that names the customer.
        time: Column of ``frame`` with the date at which each row was taken; events after it are left out, and all
            where it is missing. None: a customer's rows get all of them.
        formats: Date formats of ``time`` besides ISO 8601; found when None.
        most: Newest steps that are kept.

    Raises:
        ConfigError: If a column is missing or there already, or the two times cannot be compared.

    >>> events = read_events(
    ...     pl.DataFrame({"who": ["a", "a", "b"], "month": [2, 1, 1], "gb": [20.0, 10.0, 5.0]}),
    ...     id="who", time="month", columns=["gb"],
    ... )
    >>> with_history(pl.DataFrame({"who": ["b", "a", "c"]}), events, id="who").rows()
    [('b', [5.0]), ('a', [10.0, 20.0]), ('c', [])]
    """
    _check(frame, events, id=id, time=time)
    assert id is not None
    dtypes = frame.schema
    rows = frame.select(parsing.category(parsing.cell_of(id), dtypes[id]).alias(KEY)).with_row_index(ROW)
    joined = rows.lazy().join(events.frame.lazy(), on=KEY, how="inner")
    if time is not None:
        formats = _formats(frame[time]) if formats is None else formats
        snapshot = frame.select(parsing.moment(parsing.cell_of(time), dtypes[time], formats or ())).to_series()
        rows = rows.with_columns(snapshot.alias("\0snapshot"))
        joined = (
            rows.lazy().join(events.frame.lazy(), on=KEY, how="inner").filter(pl.col(MOMENT) <= pl.col("\0snapshot"))
        )
    lists = (
        # A stable order by time within each row: a join promises none.
        joined.sort(ROW, MOMENT, maintain_order=True)
        .group_by(ROW, maintain_order=True)
        .agg(parsing.cell_of(name).tail(most) for name in events.columns)
        .collect()
    )
    none = pl.Series([[]], dtype=pl.List(pl.Float64))
    gathered = rows.select(ROW).join(lists, on=ROW, how="left", maintain_order="left").drop(ROW)
    return frame.with_columns(gathered.select(pl.all().fill_null(none)))


def _check(frame: pl.DataFrame, events: EventTable, *, id: str | None, time: str | None) -> None:  # noqa: A002
    if id is None:
        raise ConfigError("a history needs the column that names the customer: set data.id=COLUMN")
    for option, name in (("data.id", id), ("data.time", time)):
        if name is not None and name not in frame.columns:
            raise ConfigError(unknown_column(name, frame.columns, option=option))
    there = [name for name in events.columns if name in frame.columns]
    if there:
        raise ConfigError(
            f"data.history.columns names {there[0]!r}, which the customer table has too; rename it in one of them"
        )
    if time is not None and not events.dated:
        raise ConfigError(
            f"data.history.time={events.time} holds numbers, which cannot be compared with the dates of "
            f"data.time={time}; write dates there, or say how to read them with data.history.format=%Y%m%d"
        )
