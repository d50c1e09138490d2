"""The process that talks to the database: ``python -m churnlib.data.sources.sql.reader``.

It takes a job, one line of JSON with the address in it, from its standard input, which its parent holds open: when that
ends, so does this process. On its standard output it says ``ready`` once everything is loaded, and in the end one line
of JSON, ``{"rows": N}`` or ``{"error": TEXT, "rows": N}``; what the drivers print goes to standard error, where the
parent listens. Each statement's rows go into a Parquet file of the job's folder.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from churnlib.data.sources.sql.job import READY, Job
from churnlib.data.sources.sql.tidying import refuse_twice, tidy

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

CONNECTIONS = 4
"""Ranges read at once."""

LONGEST = 10_000
"""Characters of an error: some repeat the query, and the parent does not listen before the end."""


class Session(Protocol):
    """What a database does for a job; closed at the end of a ``with``.

    Attributes:
        decimals: Columns that come as text and hold numbers.
    """

    decimals: frozenset[str]

    def __enter__(self) -> Session: ...

    def __exit__(self, *_: object) -> None: ...

    def statements(self, job: Job) -> list[str]:
        """Return what to ask: one statement for each range of the rows."""
        ...

    def reading(self, statement: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Ask, in a connection of its own; may be called from several threads."""
        ...


def main() -> None:
    """Do the job that stands on standard input and say on standard output how it went."""
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    counts: list[int] = []
    answer: dict[str, object] = {}
    try:
        database = _database(job.kind)
        _say(READY)
        _read(database, job, counts)
    except BaseException as error:  # a panic of native code is no Exception
        answer = {"error": f"{type(error).__name__}: {error}"[:LONGEST]}
    _say(json.dumps({**answer, "rows": sum(counts)}))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _database(kind: str) -> Callable[[str, float], Session]:
    """Load a database's driver."""
    if kind == "postgresql":
        from churnlib.data.sources.sql.postgresql import PostgreSQL

        return PostgreSQL
    from churnlib.data.sources.sql.mysql import MySQL

    return MySQL


def _read(database: Callable[[str, float], Session], job: Job, counts: list[int]) -> None:
    """Read all ranges, some at once, and append the rows of each batch to ``counts``; the first failure ends all."""
    with database(job.url, job.seconds) as session:
        statements = session.statements(job)
        numbers = count()  # handed out to the threads one by one
        done: SimpleQueue[pl.Schema | BaseException] = SimpleQueue()

        def work() -> None:
            try:
                while (part := next(numbers)) < len(statements):
                    path = Path(job.folder) / f"part-{part:05d}.parquet"
                    done.put(_write(session, statements[part], path, counts))
            except BaseException as error:
                done.put(error)

        for _ in range(min(len(statements), CONNECTIONS)):
            # A thread that waits for the server must not keep the process alive once another one has failed.
            threading.Thread(target=work, daemon=True).start()
        schemas: list[pl.Schema] = []
        for _ in statements:
            outcome = done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            schemas.append(outcome)
            if outcome != schemas[0]:
                raise RuntimeError("the columns changed while they were read")


def _write(session: Session, statement: str, path: Path, counts: list[int]) -> pl.Schema:
    """Write the rows of one statement as they come; return their schema."""

    def table(batch: pa.RecordBatch | pa.Table) -> pa.Table:
        frame = tidy(pl.DataFrame(batch), session.decimals)
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest())

    with session.reading(statement) as reader:
        refuse_twice(reader.schema.names)
        empty = reader.schema.empty_table()
        with pq.ParquetWriter(path, table(empty).schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_table(table(batch))
                counts.append(batch.num_rows)
    return tidy(pl.DataFrame(empty), session.decimals).schema


if __name__ == "__main__":
    main()
