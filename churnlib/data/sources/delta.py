"""Delta Lake tables: a folder, or a prefix in a store, with a ``_delta_log``.

One version of the table is read, whatever is written to it meanwhile: the one that is asked for, or the one that is the
newest when the table is opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from churnlib.data.sources.options import TableOptions
from churnlib.data.sources.packages import reader
from churnlib.data.sources.parts import table_format
from churnlib.data.sources.stores import (
    PATIENCE,
    can_list,
    from_store,
    is_pattern,
    is_remote,
    list_objects,
    store_options,
    store_problem,
    without_query,
)
from churnlib.errors import ConfigError, DataError

LOG = "_delta_log"


def is_delta(source: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Whether a path or an address leads to a Delta table.

    Raises:
        OSError: If a store does not answer, or refuses.
    """
    if not is_remote(source):
        return bool(source) and Path(source, LOG).is_dir()
    # Whoever names an object may have the right to read it, but not to list others.
    if not can_list(source) or is_pattern(source) or table_format(source) is not None:
        return False
    return bool(list_objects(f"{source.rstrip('/')}/{LOG}/*", storage_options))


def delta_version(source: str, options: TableOptions) -> int:
    """Return the number of the version that is read.

    Raises:
        MissingPackageError: If ``deltalake`` is not installed.
        DataError: If there is no such version, or the table cannot be read.
        ConfigError: If the version is neither a number nor a moment.
    """
    return _opened(source, options).version()


def scan_delta(source: str, options: TableOptions) -> pl.LazyFrame:
    """Open one version of a Delta table; rows come in the order of its files, the newest first.

    Raises:
        MissingPackageError: If ``deltalake`` is not installed.
        DataError: If there is no such version, or the table cannot be read.
        ConfigError: If the version is neither a number nor a moment.
    """
    table = _opened(source, options)
    if not is_remote(source):
        _check_files(source, table)
    return pl.scan_delta(table, storage_options=store_options(source, options.get("storage_options")))


def _opened(source: str, options: TableOptions) -> Any:
    deltalake = reader("deltalake", extra="delta", what="Delta tables")
    wanted = _wanted(options.get("delta_version"))
    version = wanted if isinstance(wanted, int) else None
    try:
        table = deltalake.DeltaTable(source, version=version, storage_options=_options(source, options))
        if isinstance(wanted, datetime):
            table.load_as_version(wanted)
            made = table.history(1)[0]["timestamp"] / 1000
            if made > wanted.timestamp():
                raise DataError(f"{without_query(source)} has no version as old as {wanted}; choose a later moment")
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        raise DataError(_problem(source, options, wanted, error)) from error
    return table


def _wanted(version: str | int | None) -> int | datetime | None:
    if version is None or (isinstance(version, int) and version >= 0):
        return version
    text = str(version).strip()
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"data.delta_version must be a version's number or a moment such as 2024-05-01T12:00:00Z, got {version!r}"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _options(source: str, options: TableOptions) -> dict[str, str] | None:
    """Return the options of a store as deltalake takes them: text, with names of its own."""
    if not is_remote(source):
        return None
    patience = {
        "max_retries": str(PATIENCE["max_retries"]),
        "retry_timeout": f"{PATIENCE['retry_timeout_ms'] / 1000:g}s",
        "connect_timeout": PATIENCE["connect_timeout"],
        "timeout": PATIENCE["read_timeout"],
    }
    return patience | {key: str(value) for key, value in (options.get("storage_options") or {}).items()}


def _check_files(source: str, table: Any) -> None:
    """Refuse a local table whose files are not as the log has them: polars stops at them without saying why."""
    logged = pl.DataFrame(table.get_add_actions())
    for name, size in logged.select("path", "size_bytes").iter_rows():
        file = Path(unquote(name)) if name.startswith("/") else Path(source, unquote(name))
        if not file.is_file():
            raise DataError(f"{source} lacks its file {file.name}; restore it, or read another data.delta_version")
        if file.stat().st_size != size:
            raise DataError(f"{file} of the Delta table {source} is cut off or changed; restore it")


def _problem(source: str, options: TableOptions, wanted: int | datetime | None, error: Exception) -> str:
    shown, text = without_query(source), str(error)
    if from_store(error):
        return f"cannot read {shown}: {store_problem(error)}"
    if isinstance(wanted, int) and re.search("LogSegment|version", text):
        newest = delta_version(source, {**options, "delta_version": None})
        return f"{shown} has no version {wanted} (its newest is {newest}); choose another data.delta_version"
    reason = " ".join(text.split("\n   0:")[0].split())[:200].removeprefix("Kernel error: ").rstrip(" .;:")
    return f"the Delta table {shown} cannot be read ({reason}); restore its {LOG}"
