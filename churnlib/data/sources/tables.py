"""Opening a table: which files it has, how each is read, and how they become one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.data.names import normalize_names
from churnlib.data.sources.delimited import Header, delimiter, is_remote, read_header
from churnlib.data.sources.diagnosis import explain
from churnlib.data.sources.parts import find_parts, is_ingested, table_format
from churnlib.data.sources.quotes import quote_mark
from churnlib.data.tables import nan_is_missing
from churnlib.errors import DataError

__all__ = ["read_table", "reading", "scan_table"]


def scan_table(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Open a table without reading its rows.

    The header of every part is read and checked here; what is wrong with the rows shows when they are collected, for
    which :func:`reading` turns errors of polars into one sentence.

    Args:
        path: A CSV or Parquet file, a glob (``exports/2024-*.csv``), a folder of such files or one that ``churnlib
            ingest`` has written, or an address that polars reads (``s3://``, ``gs://``, ``az://``, ...), which may be a
            glob too.
        separator: Delimiter of CSV files; found from the header when left out.
        storage_options: Credentials and settings of the object store, as polars takes them; without them polars looks
            in the environment.

    Returns:
        The table with normalised column names; CSV cells are text, Parquet cells as typed in the file.

    Raises:
        DataError: If there is no such file, or it cannot be such a table.
        ConfigError: If the separator is no delimiter.
    """
    source = _source(path)
    separator = None if separator is None else delimiter(separator)
    options = dict(storage_options) if storage_options else None
    parts = [source] if is_remote(source) else find_parts(source)
    scanned: list[pl.LazyFrame] = []
    for part in parts:
        with reading(part, separator=separator):
            scanned.append(_scan_part(part, separator, options))
    if not is_remote(source) and is_ingested(source):
        return pl.concat(scanned, how="diagonal_relaxed")
    return _joined(parts, scanned)


def read_table(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    allow_empty: bool = False,
) -> pl.DataFrame:
    """Read a whole table into memory.

    Args:
        path: See :func:`scan_table`.
        separator: Delimiter of CSV files; found from the header when left out.
        storage_options: Credentials and settings of the object store.
        allow_empty: Whether a table with columns but without rows is fine.

    Raises:
        DataError: If the table cannot be read, or has no rows.
        ConfigError: If the separator is no delimiter.
    """
    lazy = scan_table(path, separator=separator, storage_options=storage_options)
    with reading(path, separator=separator):
        frame = lazy.collect()
    if frame.is_empty() and not allow_empty:
        raise DataError(f"{os.fspath(path)} has {frame.width} columns but no rows; export it again with its customers")
    return frame


@contextmanager
def reading(path: str | os.PathLike[str], *, separator: str | None = None) -> Iterator[None]:
    """Turn the errors of reading a table into one sentence; to be put around every ``collect`` of a scanned table.

    Args:
        path: The path given to :func:`scan_table`; its local files are looked at again to find the line that is wrong.
        separator: The separator given to :func:`scan_table`.

    Raises:
        DataError: For any error of polars or of the operating system inside the block.
    """
    try:
        yield
    except (OSError, ValueError, ImportError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        source = _source(path)
        files = [source] if is_remote(source) else find_parts(source)
        raise DataError(explain(error, files, separator=separator)) from error


def _source(path: str | os.PathLike[str]) -> str:
    source = os.fspath(path)
    return source if is_remote(source) else str(Path(source).expanduser()) if source else ""


# --- one part, many parts -----------------------------------------------------------------------------------------


def _scan_part(part: str, separator: str | None, options: dict[str, Any] | None) -> pl.LazyFrame:
    kind = table_format(part)
    if kind == "Parquet":
        lazy = pl.scan_parquet(part, glob=is_remote(part), storage_options=options)
        names = lazy.collect_schema().names()
        return nan_is_missing(lazy.rename(dict(zip(names, normalize_names(names, table=part), strict=True))))
    if kind is None:
        raise DataError(
            f"{part} is not named like a table; name its files with a glob such as {part.rstrip('/')}/*.csv"
        )
    default = "\t" if separator is None and _is_tab_separated(part) else separator
    return _scan_csv(part, read_header(part, separator=default, storage_options=options), options)


def _scan_csv(part: str, header: Header, options: dict[str, Any] | None) -> pl.LazyFrame:
    layout: dict[str, Any] = {
        "separator": header.separator,
        "eol_char": header.end_of_line,
        "skip_lines": header.lines_above,
        "quote_char": '"' if is_remote(part) else quote_mark(part, header.separator),
        "null_values": "",  # quoted empty cells are missing too
        "storage_options": options,
        "glob": is_remote(part),
    }
    names = pl.scan_csv(part, infer_schema=False, **layout).collect_schema().names()
    if len(names) != len(header.names):
        raise DataError(f"the header of {part} cannot be read; put names that hold quotes or the delimiter in quotes")
    # The schema makes polars check the columns of each file behind an address that is a glob.
    lazy = pl.scan_csv(part, schema=dict.fromkeys(names, pl.String), **layout)
    lazy = lazy.rename(dict(zip(names, header.names, strict=True)))
    if len(names) == 1:
        return lazy
    # As a lazy filter this takes 10 s for 1,000 columns (polars 2.1); on the batch at hand it takes none.
    return lazy.map_batches(
        _without_empty_rows,
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
        streamable=True,
    )


def _without_empty_rows(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.filter(pl.any_horizontal(pl.all().is_not_null()))


def _is_tab_separated(part: str) -> bool:
    return part.lower().removesuffix(".gz").endswith(".tsv")


def _joined(parts: Sequence[str], scanned: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the parts as one table, one below the other, with the columns in the order of the first."""
    if len(parts) == 1:
        return scanned[0]
    names = scanned[0].collect_schema().names()
    for part, lazy in zip(parts[1:], scanned[1:], strict=True):
        own = lazy.collect_schema().names()
        lacking, extra = [n for n in names if n not in own], [n for n in own if n not in names]
        if lacking or extra:
            differs = [f"lacks {', '.join(map(repr, lacking[:5]))}"] if lacking else []
            differs += [f"also has {', '.join(map(repr, extra[:5]))}"] if extra else []
            raise DataError(
                f"{part} {' and '.join(differs)}, compared with {Path(parts[0]).name}; parts of one table have the "
                "same columns"
            )
    # Whole numbers in one part and fractions in the next are common: a column with missing cells is float in pandas.
    return pl.concat([lazy.select(names) for lazy in scanned], how="vertical_relaxed")
