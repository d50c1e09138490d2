"""Reading a query's rows: the process that does it, its time limit, and a folder that has all rows or none."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import polars as pl

from churnlib.config.data import URL_ENV
from churnlib.data.sources.sql.address import Address, read_address
from churnlib.data.sources.sql.complaints import explain
from churnlib.data.sources.sql.job import Job
from churnlib.data.sources.sql.statement import one_select, read_query
from churnlib.data.sources.tables import scan_table
from churnlib.errors import ConfigError, DataError, MissingPackageError

GRACE_SECONDS = 5.0
"""How much later than the server the time is up for the process that reads."""

NEEDED = {"postgresql": ("adbc_driver_postgresql", "pyarrow"), "mysql": ("connectorx", "pyarrow")}
"""Packages of each kind of database."""


def fetch_sql(
    query: str,
    folder: str | os.PathLike[str],
    *,
    url_env: str = URL_ENV,
    partition_on: str | None = None,
    partitions: int = 4,
    timeout_seconds: float = 3600,
) -> pl.LazyFrame:
    """Read the rows of a query into a folder of Parquet files, in memory that does not grow with them.

    Args:
        query: One SELECT, or the path of a ``.sql`` file with one.
        folder: Where the files go; it must not exist yet, and does only once all rows are there.
        url_env: Name of the environment variable with the address of the database.
        partition_on: Column of the query, of whole numbers or dates, whose ranges are read at once; rows without a
            value in it are read too. Every range is a query of its own: the column should have an index.
        partitions: How many ranges.
        timeout_seconds: After which the read has failed, from connecting to the last row.

    Returns:
        The table, column names normalised, lazy: it reads the folder.

    Raises:
        ConfigError: If an argument is wrong, or the environment holds no address.
        DataError: If the database cannot be reached, refuses the query, or does not answer to the end.
        MissingPackageError: If the database's driver is not installed.
    """
    target = Path(folder)
    if target.exists() or not target.absolute().parent.is_dir():
        raise ConfigError(f"{target} cannot be written; give a new folder in one that exists")
    with _all_or_nothing(target) as parts:
        _fetch(query, parts, url_env, partition_on, partitions, timeout_seconds)
    return scan_table(target)


def read_sql(
    query: str,
    *,
    url_env: str = URL_ENV,
    partition_on: str | None = None,
    partitions: int = 4,
    timeout_seconds: float = 3600,
    allow_empty: bool = False,
) -> pl.DataFrame:
    """Read the rows of a query into memory.

    Args:
        query: One SELECT, or the path of a ``.sql`` file with one.
        url_env: See :func:`fetch_sql`.
        partition_on: See :func:`fetch_sql`.
        partitions: See :func:`fetch_sql`.
        timeout_seconds: See :func:`fetch_sql`.
        allow_empty: Whether a table without rows is fine.

    Raises:
        ConfigError: If an argument is wrong, or the environment holds no address.
        DataError: If the rows cannot be had, or there are none.
        MissingPackageError: If the database's driver is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="churnlib-sql-") as parts:
        _fetch(query, Path(parts), url_env, partition_on, partitions, timeout_seconds)
        frame = scan_table(parts).collect()
    if frame.is_empty() and not allow_empty:
        raise DataError(f"the query gives {frame.width} columns but no rows; does its condition leave any?")
    return frame


def _fetch(
    query: str, folder: Path, url_env: str, partition_on: str | None, partitions: int, timeout_seconds: float
) -> None:
    address = read_address(url_env)
    sql = one_select(read_query(query), address.kind)
    check_packages(address.kind)
    job = Job(address.kind, address.url, sql, str(folder), partition_on, partitions, timeout_seconds)
    problem, rows = _run(job, address)
    if problem is not None:
        raise DataError(explain(address.without_secrets(problem), address, rows=rows, seconds=timeout_seconds))


def check_packages(kind: str) -> None:
    """Refuse a database whose driver is not there.

    Raises:
        MissingPackageError: With the extra that brings it.
    """
    for package in NEEDED[kind]:
        if find_spec(package) is None:
            raise MissingPackageError(
                f"reading from {kind} needs the package {package.replace('_', '-')}; add it with: "
                "pip install 'churnlib[sql]'"
            )


@contextmanager
def _all_or_nothing(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside the target, which takes the target's name at the end, or goes."""
    temporary = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    temporary.mkdir(mode=0o700)
    try:
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# --- the process that reads -----------------------------------------------------------------------------------------


def _run(job: Job, address: Address) -> tuple[str | None, int]:
    """Return what went wrong, if anything, and how many rows have come."""
    # -P: files of the working directory are none of its modules.
    words = [sys.executable, "-P", "-m", "churnlib.data.sources.sql.reader"]
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(address),
        start_new_session=True,  # the Ctrl-C of a terminal is ours to handle
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    heard = _Listener(process, Path(job.folder))
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(job)) + "\n")
            process.stdin.flush()
        process.stdout.readline()  # ready, or gone
        process.wait(job.seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return "timed out", 0
    finally:
        process.kill()
        process.wait()
        heard.join()
        with suppress(BrokenPipeError):
            process.stdin.close()
        said = process.stdout.read()
        process.stdout.close()
        process.stderr.close()
    if heard.refused is not None:
        return heard.refused, 0
    try:
        answer = json.loads(said)
    except ValueError:
        return f"the reader ended with {process.returncode} ({heard.last})", 0
    return answer.get("error"), answer["rows"]


def _environment(address: Address) -> dict[str, str]:
    """Return the environment of the process: it finds this package, and the address is not in it."""
    here = str(Path(__file__).parents[4])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    told = {"PYTHONPATH": os.pathsep.join(paths), "RUST_LOG": "r2d2=error", "RUST_BACKTRACE": "0"}
    return {**{name: value for name, value in os.environ.items() if name != address.variable}, **told}


class _Listener(threading.Thread):
    """Listens to a process's standard error.

    connectorx tries a refused connection again for half a minute, which locks accounts: the first refusal ends it.
    Where rows have come already, the reader itself says what has become of them.

    Attributes:
        refused: What the driver said of a connection that it did not get.
        last: The last line heard.
    """

    def __init__(self, process: subprocess.Popen[str], parts: Path) -> None:
        super().__init__(daemon=True)
        self.refused: str | None = None
        self.last = ""
        self._process, self._parts = process, parts
        self.start()

    def run(self) -> None:
        """Listen to the end."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = re.search(r"ERROR r2d2\] (.*)", line)
            if found and self.refused is None and not any(self._parts.iterdir()):
                self.refused = found[1]
                self._process.kill()
            self.last = line.strip() or self.last
