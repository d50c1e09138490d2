"""Why a table could not be read: polars' errors turned into one sentence with file, line and remedy.

polars does not say in which file, on which line or why; the local files are looked at again here, once it has failed.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import polars as pl

from churnlib.data.sources.delimited import MAGIC, read_header
from churnlib.data.sources.ndjson import broken_line
from churnlib.data.sources.parts import table_format
from churnlib.data.sources.stores import from_store, is_remote, store_problem, without_query

BINARY_BYTES = 4096
"""Bytes at the start of a file in which a NUL means that it is no text."""


def explain(error: BaseException, files: Sequence[str], *, separator: str | None = None) -> str:
    """Return the sentence about a table that could not be read.

    Args:
        error: What polars or the operating system raised.
        files: The files of the table, or one address.
        separator: The delimiter that the user gave.
    """
    reason = _first_sentence(error)
    if is_remote(files[0]):
        shown = without_query(files[0])
        about_store = from_store(error) or isinstance(error, FileNotFoundError | PermissionError)
        if about_store or not isinstance(error, pl.exceptions.PolarsError):
            return f"cannot read {shown}: {store_problem(error)}"
        return f"cannot read {shown}: {reason}; copy it to this machine to learn which line or part is wrong"
    if Path(files[0]).is_dir():
        return f"cannot read {files[0]}: {reason}; restore the table"
    found = fault(files, separator)
    if found is not None:
        return found
    where = files[0] if len(files) == 1 else f"one of {files[0]} ... {files[-1]}"
    return f"cannot read {where}: {reason}; export it again"


def fault(files: Sequence[str], separator: str | None = None) -> str | None:
    """Return what is wrong with the first of some local files with which something is; None if nothing is."""
    for file in files:
        found = _unreadable(file) or _broken(file, separator)
        if found:
            return found
    return None


def _broken(file: str, separator: str | None) -> str | None:
    """Return what is wrong with a file of the format that its name says."""
    kind = table_format(file)
    if kind == "Parquet":
        return _broken_parquet(file)
    if kind == "NDJSON":
        number = None if file.lower().endswith(".zst") else _line_not_utf8(file)
        return broken_line(file) if number is None else _not_utf8(file, number)
    return _broken_text(file, separator) if kind == "CSV" else None


def _not_utf8(file: str, number: int) -> str:
    return f"line {number} of {file} is not UTF-8 text; save the file as UTF-8 (such as iconv -f latin1 -t utf-8)"


def _first_sentence(error: BaseException) -> str:
    """Return the first line of an error and its deepest cause; the rest is polars' advice about its own options."""
    first, *below = str(error).strip().splitlines() or [type(error).__name__]
    # The path that polars puts at the end may be that of an earlier request to the same store.
    sentence = re.sub(r" \(path: .*\)$", "", without_query(first)[:300]).rstrip(" .;:")
    caused = [re.sub(r"^\s*\d+: ", "", line) for line in below[-1:] if "Caused by:" in below]
    return ", ".join([sentence, *caused])


@contextmanager
def _open(file: str) -> Iterator[IO[bytes]]:
    """Open a file for its bytes, unpacked; like polars, by its first bytes and not by its name."""
    with Path(file).open("rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=opened) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            yield opened


def _unreadable(file: str) -> str | None:
    """Return what keeps the bytes of a file from being read: rights, or a cut-off archive."""
    try:
        with _open(file) as opened:
            while opened.read(1 << 20):  # a damaged archive fails here
                pass
    except PermissionError:
        return f"{file} may not be read by this user; change its permissions"
    except (EOFError, OSError, ValueError) as broken:
        return f"{file} is cut off or damaged ({_first_sentence(broken)}); copy it again"
    return None


def _broken_parquet(file: str) -> str | None:
    """Return why a Parquet file alone cannot be read."""
    with _open(file) as opened:
        head = opened.read(4)
    if not head:
        return f"{file} is empty; copy or export it again"
    if head != b"PAR1":
        return f"{file} is not a Parquet file, whatever its name; name it .csv if it is text"
    try:
        pl.scan_parquet(file, glob=False).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        return f"{file} is a damaged or unfinished Parquet file ({_first_sentence(error)}); copy or export it again"
    return None


def _no_text(file: str) -> str | None:
    """Return what a file named like text holds instead."""
    with _open(file) as opened:
        head = opened.read(BINARY_BYTES)
    if not head.strip():
        return f"{file} is empty; it must have a header line with the column names"
    for start, meaning in MAGIC.items():
        if head.startswith(start.encode()):
            return f"{file} is not a CSV file but {meaning}"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{file} is UTF-16 text, not UTF-8; save it as UTF-8 (iconv -f utf-16 -t utf-8)"
    return None


def _broken_text(file: str, separator: str | None) -> str | None:
    """Return the first line of a CSV file that cannot be read, and why."""
    found = _no_text(file)
    if found:
        return found
    number = _line_not_utf8(file)
    if number is not None:
        with _open(file) as opened:
            binary = b"\0" in opened.read(BINARY_BYTES)
        if binary:
            return f"{file} is not a text file; export the table as CSV in UTF-8"
        return _not_utf8(file, number)
    try:
        header = read_header(file, separator=separator)
    except pl.exceptions.PolarsError:  # the error to explain is in the header itself, and none of the usual ones
        return None
    place = 0
    try:
        for place, cells in _records(file, header.separator):
            if len(cells) > len(header.names):
                blank = not any(cells[len(header.names) :])
                remedy = "end the line sooner" if blank else f"put values that hold {header.separator!r} in quotes"
                return f"line {place} of {file} has {len(cells)} cells, its header has {len(header.names)}; {remedy}"
    except csv.Error as error:
        return f"{file} cannot be read below line {place} ({error}); are all quotes closed?"
    return None


def _line_not_utf8(file: str) -> int | None:
    """Return the number of the first line, from 1, that is not UTF-8."""
    with _open(file) as opened:
        for number, line in enumerate(opened, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _records(file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line on which each record ends, from 1, and its cells."""
    with _open(file) as opened:
        lines = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
        reader = csv.reader(lines, delimiter=separator, strict=True)
        for cells in reader:
            yield reader.line_num, cells
