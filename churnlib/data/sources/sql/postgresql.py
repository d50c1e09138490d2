"""PostgreSQL through its ADBC driver: rows come as Arrow by ``COPY``, errors as the server words them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from adbc_driver_manager.dbapi import Connection, Cursor
from adbc_driver_postgresql.dbapi import connect

from churnlib.data.sources.sql import statement as sql_text
from churnlib.data.sources.sql.job import Job
from churnlib.data.sources.sql.tidying import refuse_twice

KEPT = {"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar"}
"""Types that are read as they are, and their arrays."""

MOMENTS = {"date", "timestamp", "timestamptz"}
"""Types that can be infinite, which no column of dates here can."""

RANGES = {"int2", "int4", "int8", *MOMENTS}
"""Types of columns whose ranges are read one by one."""

_TYPE, _KIND = b"POSTGRESQL:type", "postgresql"


class PostgreSQL:
    """A session that reads; all its connections see the same rows, as they were when it began."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._leader = self._connect()
        self._snapshot: str | None = None
        self.decimals: frozenset[str] = frozenset()

    def __enter__(self) -> PostgreSQL:
        return self

    def __exit__(self, *_: object) -> None:
        self._leader.close()

    def statements(self, job: Job) -> list[str]:
        """Return what to ask, with each column cast to a type that Arrow knows too."""
        with self._leader.cursor() as cursor:
            if sql_text.orders_rows(job.sql):  # rows that several workers gather lose their order on the way to us
                cursor.execute("SET max_parallel_workers_per_gather = 0")
            types = _types(cursor, job.sql)
            self.decimals = frozenset(name for name, type_ in types.items() if type_ in ("numeric", "money"))
            columns = ", ".join(_column(name, type_) for name, type_ in types.items())
            if job.partition_on is None:
                return [sql_text.derived(job.sql, columns)]
            conditions = self._ranges(cursor, job, types)
        return [sql_text.derived(job.sql, columns, where) for where in conditions]

    @contextmanager
    def reading(self, statement: str) -> Iterator[pa.RecordBatchReader]:
        """Ask for rows, in the snapshot of the first connection."""
        connection = self._leader if self._snapshot is None else self._connect(self._snapshot)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                yield cursor.fetch_record_batch()
        finally:
            if connection is not self._leader:
                connection.close()

    def _connect(self, snapshot: str | None = None) -> Connection:
        first = [
            f"SET statement_timeout = {round(self._seconds * 1000)}",
            "SET idle_in_transaction_session_timeout = 0",
            # Else a scan may begin in the middle of a table, where another one is: rows in another order each time.
            "SET synchronize_seqscans = off",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ]
        if snapshot is not None:
            first.append(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        connection = connect(self._url, autocommit=True)
        with connection.cursor() as cursor:
            for statement in first:
                cursor.execute(statement)
        return connection

    def _ranges(self, cursor: Cursor, job: Job, types: dict[str, str]) -> list[str]:
        name = job.partition_on or ""
        if name not in types:
            raise RuntimeError(f"the query has no column {name!r} to partition on")
        if types[name] not in RANGES:
            raise RuntimeError(f"the column {name!r} to partition on holds {types[name]}")
        column = sql_text.quoted(name, _KIND)
        finite = f"FILTER (WHERE isfinite({column}))" if types[name] in MOMENTS else ""
        cursor.execute(sql_text.derived(job.sql, f"min({column}) {finite} AS low, max({column}) {finite} AS high"))
        (low, high) = cursor.fetch_arrow_table().to_pylist()[0].values()
        cursor.execute("SELECT pg_export_snapshot() AS name")
        self._snapshot = cursor.fetch_arrow_table().to_pylist()[0]["name"]
        return sql_text.range_conditions(column, low, high, job.partitions)


def _types(cursor: Cursor, sql: str) -> dict[str, str]:
    """Return the server's name of each column's type; nothing is run for it."""
    schema = cursor.adbc_execute_schema(sql)
    refuse_twice(schema.names)
    return {field.name: (field.metadata or {}).get(_TYPE, b"").decode() for field in schema}


def _column(name: str, type_: str) -> str:
    """Return the expression of one column.

    >>> _column("paid", "numeric"), _column("id", "int8")
    ('"paid"::text AS "paid"', '"id"')
    """
    column = sql_text.quoted(name, _KIND)
    element = type_.removeprefix("_")
    if element in KEPT:
        return column
    if type_ in MOMENTS:
        return f"CASE WHEN isfinite({column}) THEN {column} END AS {column}"
    if type_ == "bytea":
        return f"encode({column}, 'hex') AS {column}"
    if type_ == "money":
        return f"{column}::numeric::text AS {column}"
    array = "" if element == type_ else "[]"
    wanted = "float8" if array and element == "numeric" else "text"
    return f"{column}::{wanted}{array} AS {column}"
