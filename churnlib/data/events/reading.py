"""An event table of any size: read in a stream, typed, and joined to the rows that its events belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Unpack

import polars as pl

from churnlib.data.dates import TRIED_ROWS, find_formats
from churnlib.data.events.aggregate import AGE, DAY, ROW, Value, values_of
from churnlib.data.events.definition import EventDefinition
from churnlib.data.sources import TableOptions, reading, scan_table
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Kind, parsing, unknown_column

KEY, MOMENT, SNAPSHOT, FIRST, LAST = "\0key", "\0moment", "\0snapshot", "\0first", "\0last"
"""Customer and time of an event; of a customer's row its date, whether it is his first, and the last of his dates."""

BATCH_ROWS = 2_000_000
"""Events that are read and joined at once."""


@dataclass(slots=True)
class EventCount:
    """What became of the events of a table.

    Attributes:
        rows: Events in the table.
        unreadable: Those without a customer or a date that can be read.
        known: Those of customers in the customer table.
        later: Of those, the ones after the last snapshot of their customer.
    """

    rows: int = 0
    unreadable: int = 0
    known: int = 0
    later: int = 0

    def lines(self, name: str) -> list[str]:
        """Return one sentence for each kind of event that is not used."""
        unknown = self.rows - self.unreadable - self.known
        counts = (
            (self.later, "after the last snapshot of their customer are not used"),
            (unknown, "of customers who are not in the table are not used"),
            (self.unreadable, "without a readable customer or date are not used"),
        )
        return [f"events.{name}: {count:,} of {self.rows:,} events {what}" for count, what in counts if count]


class EventReader:
    """One event table, for the rows of some customers.

    Args:
        definition: What is wanted from it.
        table: A path or address, as :func:`churnlib.data.sources.scan_table` takes it, or a frame.
        id: Its column that names the customer, where the definition does not say.
        **options: How its files are read, see :class:`churnlib.data.sources.TableOptions`.

    Raises:
        ConfigError: If the table lacks a column.
        DataError: If it cannot be read, or a column does not hold what it should.
    """

    def __init__(
        self,
        definition: EventDefinition,
        table: str | pl.DataFrame | pl.LazyFrame,
        *,
        id: str | None = None,  # noqa: A002 - the field's and the configuration's name
        **options: Unpack[TableOptions],
    ) -> None:
        self.definition = definition
        self._path, self._options = (table if isinstance(table, str) else None), options
        self._table = scan_table(table, **options) if isinstance(table, str) else table.lazy()
        self._where = f"data.events.{definition.name}"
        self._dtypes = dict(self._table.collect_schema())
        named = definition.id or id
        if named is None:
            raise ConfigError(f"{self._where}.id is missing; name the column with the customer of each event")
        self._id = named
        self.values = values_of(definition)
        self._check_columns()
        with self.reading():
            head = self._table.select(*self._needed()).head(TRIED_ROWS).collect()
            self.n_events = int(self._table.select(pl.len()).collect(engine="streaming").item())
        self._formats = self._find_formats(head[definition.time])
        self._check_numbers(head)

    def reading(self) -> AbstractContextManager[None]:
        """Turn errors of reading the file into one sentence."""
        return nullcontext() if self._path is None else reading(self._path, **self._options)

    def joined(
        self, rows: pl.DataFrame, count: EventCount, *, progress: Callable[[int], None] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield ``ROW``, ``AGE`` and the values of each event within reach of a row, in no order, batch by batch.

        A row gets the events of its customer that are no later than its own snapshot. Batches are joined one at a
        time, so that no more than one batch of joined events is in memory.

        Args:
            rows: ``ROW``, ``KEY``, ``SNAPSHOT``, ``FIRST`` and ``LAST`` of the customers.
            count: Where to count; complete once all batches are read.
            progress: Called with the number of events of each batch.
        """
        needed, typed = self._needed(), self._typed()
        with self.reading():
            for batch in self._batches(self._table.select(needed)):
                readable = batch.select(typed).drop_nulls([KEY, MOMENT])
                known = readable.join(rows, on=KEY, how="inner")
                first = known.filter(FIRST)
                count.unreadable += len(batch) - len(readable)
                count.known += len(first)
                count.later += int((first[MOMENT] > first[LAST]).sum())
                yield self._in_reach(known)
                if progress is not None:
                    progress(len(batch))

    def _batches(self, table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        """Yield the table in batches.

        Slices hold one batch in memory. A CSV file would be read from its beginning for each, so it is streamed: polars
        then reads ahead of whoever takes the batches, by some hundred MiB however long the file is.
        """
        if self._path is not None and all(dtype == pl.String for dtype in self._dtypes.values()):
            yield from table.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False)
            return
        for start in range(0, self.n_events, BATCH_ROWS):
            yield table.slice(start, BATCH_ROWS).collect()

    @property
    def types(self) -> dict[str, pl.DataType]:
        """Columns of what :meth:`joined` yields."""
        return {ROW: pl.UInt32(), AGE: pl.Int64(), **{name: _dtype(value) for value, name in self.values.items()}}

    def _in_reach(self, known: pl.DataFrame) -> pl.DataFrame:
        reach = self.definition.reach
        age = (pl.col(SNAPSHOT) - pl.col(MOMENT)).dt.total_microseconds()
        counts = pl.col(AGE) >= 0 if reach is None else pl.col(AGE).is_between(0, round(reach * DAY), closed="left")
        return known.lazy().with_columns(age.alias(AGE)).filter(counts).select(list(self.types)).collect()

    def _typed(self) -> list[pl.Expr]:
        time, cell, dtypes = self.definition.time, parsing.cell_of, self._dtypes
        columns = [
            parsing.category(cell(self._id), dtypes[self._id]).alias(KEY),
            parsing.moment(cell(time), dtypes[time], self._formats).alias(MOMENT),
        ]
        for value, name in self.values.items():
            kind = Kind.numeric if value.form == "number" else Kind.categorical
            read = parsing.as_kind(cell(value.column), dtypes[value.column], kind)
            columns.append((read == _as_category(value.category) if value.form == "is" else read).alias(name))
        return columns

    def _needed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([self._id, self.definition.time, *(value.column for value in self.values)]))

    def _check_columns(self) -> None:
        wanted = [("id", self._id), ("time", self.definition.time)]
        wanted += [("columns", value.column) for value in self.values]
        for option, name in wanted:
            if name not in self._dtypes:
                raise ConfigError(unknown_column(name, list(self._dtypes), option=f"{self._where}.{option}"))
            if not parsing.is_plain(self._dtypes[name]):
                raise DataError(
                    f"{self._where}.{option} names {name!r}, which holds {self._dtypes[name]}, not single values"
                )

    def _find_formats(self, times: pl.Series) -> tuple[str, ...]:
        """Return the date formats of the time column besides ISO 8601."""
        return find_formats(
            times, self.definition.format, option=f"{self._where}.time", remedy=f"{self._where}.format"
        )  # fmt: skip

    def _check_numbers(self, head: pl.DataFrame) -> None:
        for name in dict.fromkeys(value.column for value in self.values if value.form == "number"):
            cells = head[name]
            read = cells.to_frame().select(parsing.number(pl.first(), cells.dtype)).to_series()
            if cells.drop_nulls().len() and read.null_count() == len(read):
                raise DataError(
                    f"{self._where} asks for numbers of {name!r}, which holds none in its first {len(head):,} rows; "
                    "ask for distinct, or for the share of a category"
                )


def _dtype(value: Value) -> pl.DataType:
    return {"number": pl.Float64(), "category": pl.String()}.get(value.form, pl.Boolean())


def _as_category(text: str | None) -> str | None:
    """Return a category as cells are read: " 1.0" is "1"."""
    return pl.Series([text], dtype=pl.String).to_frame().select(parsing.category(pl.first(), pl.String())).item()


__all__ = ["FIRST", "KEY", "LAST", "MOMENT", "SNAPSHOT", "EventCount", "EventReader"]
