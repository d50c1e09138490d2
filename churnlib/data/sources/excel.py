"""Excel and OpenDocument sheets (.xlsx, .xlsm, .xls, .xlsb, .ods), read whole: a sheet has a million rows at most."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from churnlib.data.names import normalize_names
from churnlib.data.sources.options import TableOptions
from churnlib.data.sources.packages import reader
from churnlib.errors import DataError

HEAD_ROWS = 64
"""Rows in which the names are looked for."""

OLE = b"\xd0\xcf\x11\xe0"
"""How old .xls files start, and new ones that are under a password."""


def read_sheet(file: str, options: TableOptions) -> pl.DataFrame:
    """Read one sheet of a local file.

    Numbers, dates and truth values are typed where a column holds nothing else; a column of several kinds is text, as
    in a CSV file. Formulas are the values they had when the file was saved; cells with an error (``#DIV/0!``) are
    missing. Rows without any value are no rows, columns without a name and without any value no columns.

    Args:
        file: Path.
        options: ``sheet`` and ``header_row`` count.

    Raises:
        MissingPackageError: If ``fastexcel`` is not installed.
        DataError: If the file is none of these, there is no such sheet, or nothing is in it.
    """
    with _opened(file) as book:
        name = _chosen(file, book, options.get("sheet"))
        head = book.load_sheet(name, header_row=None, skip_rows=0, n_rows=HEAD_ROWS, dtypes="string").to_polars()
        if not head.width:
            raise DataError(f"sheet {name!r} of {file} is empty{_others(book, name)}")
        given = options.get("header_row")
        place = _header_place(head, file, name) if given is None else given - 1
        found = book.load_sheet(name, header_row=None, skip_rows=place, n_rows=1, dtypes="string").to_polars()
        # Without an earlier row that fixes the number of columns both are as wide as the sheet.
        rows = book.load_sheet(name, header_row=None, skip_rows=place + 1, schema_sample_rows=None).to_polars()
    return _table(found.row(0), rows, f"sheet {name!r} of {file}")


def sheets(file: str, options: TableOptions) -> tuple[str, list[str]]:
    """Return the sheet that is read and the other visible ones.

    Raises:
        MissingPackageError: If ``fastexcel`` is not installed.
        DataError: If the file is none of these, or there is no such sheet.
    """
    with _opened(file) as book:
        name = _chosen(file, book, options.get("sheet"))
        return name, [other for other in _visible(book) if other != name]


def _table(names: tuple[str | None, ...], rows: pl.DataFrame, where: str) -> pl.DataFrame:
    rows = rows.with_columns(cs.string().replace("", None), cs.datetime().cast(pl.Datetime("us")))
    kept = [place for place, name in enumerate(names) if name or rows.to_series(place).null_count() < len(rows)]
    named = normalize_names([names[place] or "" for place in kept], table=where)
    table = rows.select(rows.columns[place] for place in kept)
    table = table.rename(dict(zip(table.columns, named, strict=True)))
    # A column without values has no type; one of text can be joined with what other parts hold.
    table = table.with_columns(cs.by_dtype(pl.Null).cast(pl.String))
    return table.filter(pl.any_horizontal(pl.all().is_not_null()))


def _header_place(head: pl.DataFrame, file: str, name: str) -> int:
    """Return the number, from 0, of the first row with anything in it."""
    filled = [sum(bool(cell) for cell in row) for row in head.iter_rows()]
    place = next((number for number, count in enumerate(filled) if count), 0)
    fuller = next((number for number, count in enumerate(filled) if count > 1 and number > place), None)
    if filled[place] == 1 and fuller is not None:
        title = next(cell for cell in head.row(place) if cell)
        raise DataError(
            f"row {place + 1} of sheet {name!r} of {file} has a single cell {title!r:.80}, row {fuller + 1} has "
            f"{filled[fuller]}: say where the column names stand, such as data.header_row={fuller + 1}"
        )
    return place


def _visible(book: Any) -> list[str]:
    """Return the sheets that a person sees something on; charts are not among them."""
    if len(book.sheet_names) == 1:
        return book.sheet_names
    loaded = {name: book.load_sheet(name, header_row=None, n_rows=1, dtypes="string") for name in book.sheet_names}
    return [name for name, sheet in loaded.items() if sheet.visible == "visible" and sheet.total_height]


def _others(book: Any, name: str) -> str:
    others = [repr(other) for other in _visible(book) if other != name]
    return f"; its other sheets are {', '.join(others[:8])}: choose with data.sheet" if others else ""


def _chosen(file: str, book: Any, sheet: str | None) -> str:
    if sheet is None:
        return next(iter(_visible(book)), book.sheet_names[0])
    if sheet not in book.sheet_names:
        raise DataError(f"{file} has no sheet {sheet!r}; it has {', '.join(map(repr, book.sheet_names[:8]))}")
    return sheet


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """Open a workbook; what is wrong with it is one sentence."""
    fastexcel = reader("fastexcel", extra="excel", what="Excel files")
    # They warn of every column without a value, and of charts.
    logs = {log: log.level for log in map(logging.getLogger, ("fastexcel", "calamine"))}
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield fastexcel.read_excel(file)
    except fastexcel.FastExcelError as error:
        raise DataError(_problem(file, error)) from error
    finally:
        for log, level in logs.items():
            log.setLevel(level)


def _problem(file: str, error: Exception) -> str:
    path = Path(file)
    try:
        with path.open("rb") as opened:
            start = opened.read(4)
    except PermissionError:
        return f"{file} may not be read by this user; change its permissions"
    if not start:
        return f"{file} is empty; copy or export it again"
    if start == OLE and path.suffix.lower() != ".xls":
        return f"{file} is protected by a password, or an old .xls file; save it as .xlsx without a password"
    if start[:2] != b"PK" and start != OLE:
        return f"{file} is not an Excel file, whatever its name; name it .csv if it is text"
    reason = str(error).splitlines()[0].removeprefix("calamine error: ").rstrip(" .")
    if "password" in reason.lower():
        return f"{file} is protected by a password; save it without one"
    if "skipped" in reason:
        return f"{file} has fewer rows than data.header_row says; check the number"
    return f"{file} is damaged or not an Excel file ({reason}); save it again"
