"""The header of a CSV file: its delimiter and its column names, read before the rows are."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl

from churnlib.data.names import normalize_names
from churnlib.data.sources.stores import store_options
from churnlib.errors import ConfigError, DataError

DELIMITERS = "\t|;,"
"""Delimiters that are looked for; where two split a header equally, the first one is taken."""

HEAD_LINES = 64
"""Lines read to find the header, which may stand below blank lines and hold line breaks in quotes."""

MAGIC = {
    "PAR1": "a Parquet file; name it .parquet",
    "PK\3\4": "a zip or Excel file; name it .xlsx, or export it as CSV",
}
"""How files start that are no CSV file, and what to do with them."""


@dataclass(frozen=True, slots=True)
class Header:
    """How one CSV file is laid out.

    Attributes:
        names: Normalised column names, all different.
        separator: The delimiter, one character.
        end_of_line: LF (which includes CRLF) or, from old Macs, CR.
        lines_above: Lines to skip before the header: a line ``sep=;`` as written for Excel, and blank ones above it.
    """

    names: tuple[str, ...]
    separator: str
    end_of_line: str
    lines_above: int = 0


def delimiter(text: str) -> str:
    r"""Return the delimiter that an option names: one character, or ``tab`` or ``\t`` for the tab.

    Raises:
        ConfigError: If it is not one ASCII character that can stand between cells.
    """
    character = "\t" if text.lower() in ("tab", r"\t") else text
    if len(character) != 1 or not character.isascii() or character in "\"'\r\n" or character < "\t":
        raise ConfigError(f"data.separator must be one character such as ',', ';', '|' or tab, got {text!r}")
    return character


def read_header(
    source: str, *, separator: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Header:
    """Read the header of one CSV file, local or in an object store, plain or compressed.

    Without a separator, the delimiter is the one of tab ``|`` ``;`` ``,`` that splits the header into most names, those
    first that split the line below it into equally many cells.

    Args:
        source: Path or address of one file.
        separator: The delimiter, if known.
        storage_options: Passed to polars for object stores.

    Raises:
        DataError: If the header is no text, its quotes are not closed, a name occurs twice, or the separator given
            splits nothing while another one would.
    """
    lines = _first_lines(source, storage_options)
    above = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    lines = lines[above:]
    end_of_line = "\r" if lines and "\r" in lines[0] else "\n"
    if end_of_line == "\r":
        lines = lines[0].split("\r")
    hint = re.fullmatch(r'"?sep=([^"])"?', lines[0].strip(" "), flags=re.IGNORECASE) if lines else None
    if hint:
        separator, lines = separator or hint[1], lines[1:]
    if not lines:
        raise DataError(f"{source} is empty; it must have a header line with the column names")
    _check_text(lines[0], source)
    likely = _likeliest(lines)
    names = _header_cells(lines, separator or likely, source)
    if len(names) == 1 and len(_header_cells(lines, likely, source)) > 1:
        raise DataError(
            f"{source} has a single column {names[0]!r:.80} when it is split at {separator!r}; its delimiter seems to "
            f"be {likely!r}: set data.separator to that or leave it out"
        )
    lines_above = above + 1 if hint else 0
    return Header(tuple(normalize_names(names, table=source)), separator or likely, end_of_line, lines_above)


def _first_lines(source: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    """Return the first lines of a file, blank ones too.

    polars reads them, as one column split at a character that no text holds, because it reads object stores and
    compressed files the same way.
    """
    head = pl.scan_csv(
        source,
        has_header=False,
        separator="\x01",
        quote_char=None,
        infer_schema=False,
        n_rows=HEAD_LINES,
        truncate_ragged_lines=True,
        glob=False,
        storage_options=store_options(source, storage_options),
    ).collect()
    return head.to_series().fill_null("").to_list()


def _check_text(header: str, source: str) -> None:
    """Refuse files that are no CSV files though polars reads them as one."""
    for start, meaning in MAGIC.items():
        if header.startswith(start):
            raise DataError(f"{source} is not a CSV file but {meaning}")
    if "\0" in header:
        raise DataError(f"{source} is not UTF-8 text (its header holds NUL bytes); save it as CSV in UTF-8")


def _header_cells(lines: Sequence[str], separator: str, source: str) -> list[str]:
    try:
        return next(csv.reader([line + "\n" for line in lines], delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(f"the header of {source} cannot be read ({error}); are its quotes closed?") from None


def _likeliest(lines: Sequence[str]) -> str:
    """Return the delimiter of these lines; the comma where none of them splits the header."""

    def fit(separator: str) -> tuple[bool, int]:
        header, *below = islice(csv.reader(lines, delimiter=separator), 2)
        agrees = all(len(cells) == len(header) for cells in below if cells)
        return (agrees and len(header) > 1, len(header))

    try:
        fits = {separator: fit(separator) for separator in DELIMITERS}
    except csv.Error:  # a header longer than a cell may be: no table
        return ","
    return max(fits, key=fits.__getitem__) if max(names for _, names in fits.values()) > 1 else ","
