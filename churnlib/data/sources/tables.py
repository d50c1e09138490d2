"""Opening a table: which files it has, how each is read, and how they become one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from churnlib.data.names import normalize_names
from churnlib.data.sources.cells import with_cells_read
from churnlib.data.sources.delimited import Header, delimiter, read_header
from churnlib.data.sources.delta import delta_version, is_delta, scan_delta
from churnlib.data.sources.diagnosis import explain
from churnlib.data.sources.excel import read_sheet, sheets
from churnlib.data.sources.ndjson import scan_lines_of_json
from churnlib.data.sources.options import TableOptions, check_format
from churnlib.data.sources.parts import DELTA, find_objects, find_parts, is_ingested, table_format
from churnlib.data.sources.quotes import quote_mark
from churnlib.data.sources.stores import is_remote, store_options, without_query
from churnlib.data.tables import nan_is_missing
from churnlib.errors import DataError
from churnlib.schema.parsing import is_plain

__all__ = ["about_source", "pin_table", "read_table", "reading", "scan_table"]

OPENED_AT_ONCE = 16
"""Objects of a store whose headers are asked for at a time: each takes one round trip or two."""


def scan_table(path: str | os.PathLike[str], **options: Unpack[TableOptions]) -> pl.LazyFrame:
    """Open a table without reading its rows.

    The header of every part is read and checked here; what is wrong with the rows shows when they are collected, for
    which :func:`reading` turns errors of polars into one sentence. Excel sheets are read at once.

    Args:
        path: A file (CSV, Parquet, NDJSON, Excel), a glob (``exports/2024-*.csv``), a folder of such files or one that
            ``churnlib ingest`` has written, the folder of a Delta table, or an address of one of these that polars
            reads (``s3://``, ``gs://``, ``az://``, ...).
        **options: See :class:`TableOptions`.

    Returns:
        The table with normalised column names; CSV cells are text, others as typed in the file.

    Raises:
        DataError: If there is no such file, or it cannot be such a table.
        ConfigError: If an option is wrong.
        MissingPackageError: If a package is missing that reads the format.
    """
    source = _source(path)
    separator = options.get("separator")
    options["separator"] = None if separator is None else delimiter(separator)
    with reading(source, **options):
        if is_delta(source, options.get("storage_options")):
            check_format(options, DELTA, source)
            return with_cells_read(_typed(scan_delta(source, options), source), options)
        parts = _parts(source, options)
    kind = table_format(parts[0]) or ""
    check_format(options, kind, source)

    def opened(part: str) -> pl.LazyFrame:
        with reading(part, **options):
            return _scan_part(part, kind, options)

    if is_remote(source):
        with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
            scanned = list(threads.map(opened, parts))
    else:
        scanned = list(map(opened, parts))
        if is_ingested(source):
            return with_cells_read(pl.concat(scanned, how="diagonal_relaxed"), options)
    return with_cells_read(_joined(parts, scanned, types_were_guessed=kind == "Excel"), options)


def read_table(
    path: str | os.PathLike[str], *, allow_empty: bool = False, **options: Unpack[TableOptions]
) -> pl.DataFrame:
    """Read a whole table into memory.

    Args:
        path: See :func:`scan_table`.
        allow_empty: Whether a table with columns but without rows is fine.
        **options: See :class:`TableOptions`.

    Raises:
        DataError: If the table cannot be read, or has no rows.
        ConfigError: If an option is wrong.
        MissingPackageError: If a package is missing that reads the format.
    """
    lazy = scan_table(path, **options)
    with reading(path, **options):
        frame = lazy.collect()
    if frame.is_empty() and not allow_empty:
        shown = without_query(os.fspath(path))
        raise DataError(f"{shown} has {frame.width} columns but no rows; export it again with its customers")
    return frame


def pin_table(path: str | os.PathLike[str], **options: Unpack[TableOptions]) -> tuple[TableOptions, dict[str, Any]]:
    """Settle what a table leaves open, so that it can be read again, and tell what a run should remember of it.

    Args:
        path: See :func:`scan_table`.
        **options: See :class:`TableOptions`.

    Returns:
        The options, with the version of a Delta table and the sheet of an Excel file; and the facts: ``path`` (without
        a query), ``format``, ``parts`` (their number) or ``delta_version``, ``sheet`` and ``other_sheets``.

    Raises:
        ChurnlibError: As :func:`scan_table` does.
    """
    source = _source(path)
    facts: dict[str, Any] = {"path": without_query(source)}
    with reading(source, **options):
        if is_delta(source, options.get("storage_options")):
            check_format(options, DELTA, source)
            options["delta_version"] = delta_version(source, options)
            return options, {**facts, "format": DELTA, "delta_version": options["delta_version"]}
        parts = _parts(source, options)
    kind = table_format(parts[0]) or ""
    check_format(options, kind, source)
    facts |= {"format": kind, "parts": len(parts)}
    if kind == "Excel" and not is_remote(source):
        facts["sheet"], facts["other_sheets"] = sheets(parts[0], options)
        options["sheet"] = facts["sheet"]
    return options, facts


def about_source(facts: Mapping[str, Any]) -> list[str]:
    """Return sentences on what was chosen without being asked for, from the facts of :func:`pin_table`."""
    if facts["format"] == DELTA:
        return [f"{facts['path']}: version {facts['delta_version']} of the Delta table"]
    if facts.get("other_sheets"):
        others = ", ".join(map(repr, facts["other_sheets"][:8]))
        return [f"{facts['path']}: sheet {facts['sheet']!r}; there are also {others} (data.sheet)"]
    return []


@contextmanager
def reading(path: str | os.PathLike[str], **options: Unpack[TableOptions]) -> Iterator[None]:
    """Turn the errors of reading a table into one sentence; to be put around every ``collect`` of a scanned table.

    Args:
        path: The path given to :func:`scan_table`; its local files are looked at again to find the line that is wrong.
        **options: Those given to :func:`scan_table`.

    Raises:
        DataError: For any error of polars or of the operating system inside the block.
    """
    try:
        yield
    # A panic is a bug of polars in the face of a damaged file; the file is what the user can mend.
    except (OSError, ValueError, ImportError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        source = _source(path)
        files = [source] if is_remote(source) or is_delta(source) else find_parts(source)
        raise DataError(explain(error, files, separator=options.get("separator"))) from error


def _source(path: str | os.PathLike[str]) -> str:
    source = os.fspath(path)
    return source if is_remote(source) else str(Path(source).expanduser()) if source else ""


def _parts(source: str, options: TableOptions) -> list[str]:
    return find_objects(source, options.get("storage_options")) if is_remote(source) else find_parts(source)


# --- one part, many parts -----------------------------------------------------------------------------------------


def _scan_part(part: str, kind: str, options: TableOptions) -> pl.LazyFrame:
    storage = store_options(part, options.get("storage_options"))
    if kind == "Parquet":
        return _typed(pl.scan_parquet(part, glob=False, storage_options=storage), part)
    if kind == "NDJSON":
        return scan_lines_of_json(part, storage)
    if kind == "Excel":
        if is_remote(part):
            raise DataError(f"{without_query(part)} is an Excel file in a store; copy it to this machine")
        return nan_is_missing(read_sheet(part, options)).lazy()
    separator = options.get("separator")
    default = "\t" if separator is None and _is_tab_separated(part) else separator
    return _scan_csv(part, read_header(part, separator=default, storage_options=storage), storage)


def _typed(lazy: pl.LazyFrame, source: str) -> pl.LazyFrame:
    names = lazy.collect_schema().names()
    return nan_is_missing(lazy.rename(dict(zip(names, normalize_names(names, table=source), strict=True))))


def _scan_csv(part: str, header: Header, storage: dict[str, Any] | None) -> pl.LazyFrame:
    layout: dict[str, Any] = {
        "separator": header.separator,
        "eol_char": header.end_of_line,
        "skip_lines": header.lines_above,
        "quote_char": '"' if is_remote(part) else quote_mark(part, header.separator),
        "null_values": "",  # quoted empty cells are missing too
        "storage_options": storage,
        "glob": False,
    }
    names = pl.scan_csv(part, infer_schema=False, **layout).collect_schema().names()
    if len(names) != len(header.names):
        raise DataError(f"the header of {part} cannot be read; put names that hold quotes or the delimiter in quotes")
    # With the types given, polars does not read the beginning of the file once more.
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


def _joined(parts: Sequence[str], scanned: Sequence[pl.LazyFrame], *, types_were_guessed: bool) -> pl.LazyFrame:
    """Return the parts as one table, one below the other, with the columns in the order of the first."""
    if len(parts) == 1:
        return scanned[0]
    schemas = [lazy.collect_schema() for lazy in scanned]
    names = schemas[0].names()
    for part, schema in zip(parts[1:], schemas[1:], strict=True):
        lacking, extra = [n for n in names if n not in schema], [n for n in schema if n not in names]
        if lacking or extra:
            differs = [f"lacks {', '.join(map(repr, lacking[:5]))}"] if lacking else []
            differs += [f"also has {', '.join(map(repr, extra[:5]))}"] if extra else []
            raise DataError(
                f"{part} {' and '.join(differs)}, compared with {Path(parts[0]).name}; parts of one table have the "
                "same columns"
            )
    if types_were_guessed:
        scanned = _with_one_type(scanned, schemas)
    # Whole numbers in one part and fractions in the next are common: a column with missing cells is float in pandas.
    return pl.concat([lazy.select(names) for lazy in scanned], how="vertical_relaxed")


def _with_one_type(scanned: Sequence[pl.LazyFrame], schemas: Sequence[pl.Schema]) -> list[pl.LazyFrame]:
    """Return the parts with text where one of them has text and another has not: its cells only looked like numbers."""
    texts = [
        name
        for name in schemas[0]
        if len({schema[name] for schema in schemas}) > 1
        and any(schema[name] == pl.String for schema in schemas)
        and all(is_plain(schema[name]) for schema in schemas)
    ]
    return [lazy.with_columns(pl.col(texts).cast(pl.String)) if texts else lazy for lazy in scanned]
