"""MySQL and MariaDB through connectorx, whose complaints of a connection come on standard error (see :mod:`.fetch`)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from connectorx import read_sql

from churnlib.data.sources.sql import statement as sql_text
from churnlib.data.sources.sql.job import Job

BATCH_ROWS = 50_000

_KIND = "mysql"


class MySQL:
    """A session that reads; each of its statements sees the rows as they are when it begins."""

    decimals: frozenset[str] = frozenset()

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        # Servers read what is between the marks of their kind only: MySQL counts in milliseconds, MariaDB in seconds.
        limits = f"/*!50708 max_execution_time={round(seconds * 1000)}*/ /*M! max_statement_time={math.ceil(seconds)}*/"
        self._first = ["SET SESSION TRANSACTION READ ONLY", f"SET SESSION {limits}"]

    def __enter__(self) -> MySQL:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def statements(self, job: Job) -> list[str]:
        """Return what to ask: the query itself, which keeps its order, or its ranges."""
        if job.partition_on is None:
            return [job.sql]
        column = sql_text.quoted(job.partition_on, _KIND)
        with self.reading(sql_text.derived(job.sql, f"MIN({column}) AS low, MAX({column}) AS high")) as reader:
            (low, high) = reader.read_all().to_pylist()[0].values()
        if not isinstance(low, int | dt.date | None):
            raise RuntimeError(f"the column {job.partition_on!r} to partition on holds {type(low).__name__}")
        conditions = sql_text.range_conditions(column, low, high, job.partitions)
        return [sql_text.derived(job.sql, where=where) for where in conditions]

    @contextmanager
    def reading(self, statement: str) -> Iterator[pa.RecordBatchReader]:
        """Ask for rows."""
        yield read_sql(
            self._url, statement, return_type="arrow_stream", batch_size=BATCH_ROWS, pre_execution_query=self._first
        )
