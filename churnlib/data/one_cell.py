"""One cell in plain Python, read as :func:`~churnlib.data.coercion.coerce` reads a column of them.

What a cell of the usual kind is takes a fraction of a microsecond to say. Any other (numbers in odd notations, dates in
other formats, lists as text) is handed to polars, which takes some hundred.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import polars as pl

from churnlib.data.coercion import cell_value, coerce
from churnlib.data.names import is_unicode
from churnlib.data.tables import INT64, PLAIN, table_from
from churnlib.schema import Column, Kind, Schema
from churnlib.schema.parsing import FALSE_WORDS, MISSING_WORDS, TRUE_WORDS

UNREADABLE = object()
"""Stands for a cell in which there is something, but not what it should be."""

ODD = object()
"""Stands for a cell that is left to polars."""

DTYPES = {Kind.numeric: pl.Float64(), Kind.datetime: pl.Datetime("us"), Kind.sequence: pl.List(pl.Float64)}
"""Types of typed columns by kind; all others are text."""

Value = float | int | str | list[float | None] | None
"""A typed cell: a number, microseconds since 1970, a text, the steps of a sequence, or nothing."""

_BLANKS = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F)))
_BLANKS += "\u205f\u3000"
"""The characters of Unicode's property White_Space, which polars strips; Python's own choice is another."""
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_IN_NO_NUMBER = re.compile(r"[^0-9eE+\-._infatyINFATY\x00-\x20\x7f]")
"""A character that stands in no number, however it is written."""
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_MISSING = frozenset(MISSING_WORDS)
_TRUTH = {**dict.fromkeys(TRUE_WORDS, "true"), **dict.fromkeys(FALSE_WORDS, "false"), **dict.fromkeys(MISSING_WORDS)}
_EPOCH = date(1970, 1, 1).toordinal()


def number(cell: Any) -> Any:
    """Return a finite float, None for a word that means no value, :data:`UNREADABLE` or :data:`ODD`."""
    kind = type(cell)
    if kind is float:
        return cell if math.isfinite(cell) else UNREADABLE if cell == cell else None
    if kind is int or kind is bool:
        return float(cell) if cell in INT64 else ODD
    if kind is not str:
        return ODD
    text = cell.strip(_BLANKS)
    if not text.isascii():
        return UNREADABLE if is_unicode(text) else ODD
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in _MISSING:
        return None
    return UNREADABLE if _IN_NO_NUMBER.search(text) else ODD


def category(cell: Any) -> Any:
    """Return the text of a category, None for a blank one, or :data:`ODD`."""
    kind = type(cell)
    if kind is str:
        text = cell.strip(_BLANKS)
        if not text.isascii():  # digits of other scripts are left to polars
            return ODD if (text[-1] == "0" and "." in text) or not is_unicode(text) else text
        whole = _WHOLE.fullmatch(text) if text[-1:] == "0" else None
        return whole[1] if whole else text or None
    if kind is bool:
        return "true" if cell else "false"
    if kind is int:
        return str(cell) if cell in INT64 else ODD
    if kind is float and abs(cell) < 1e15 and cell and cell.is_integer():  # without zero, which may be a negative one
        return str(int(cell))
    return ODD if cell == cell else None


def truth(cell: Any) -> Any:
    """Return ``"true"``, ``"false"``, None for a word that means no value, any other text, or :data:`ODD`."""
    text = category(cell)
    return _TRUTH.get(text.lower(), text) if type(text) is str else text


def moment(cell: Any) -> Any:
    """Return the microseconds since 1970 of an ISO 8601 date, with seconds or without, None or :data:`ODD`."""
    if type(cell) is not str or cell[4:5] != "-" or cell[7:8] != "-":
        return None if _is_blank(cell) else ODD
    try:
        if len(cell) == 10:
            return (date.fromisoformat(cell).toordinal() - _EPOCH) * 86_400_000_000
        if len(cell) == 19 and cell[10] in "T " and cell[13] == ":" == cell[16] and cell.isascii():
            at = datetime.fromisoformat(cell)
            seconds = (at.hour * 60 + at.minute) * 60 + at.second
            return ((at.toordinal() - _EPOCH) * 86_400 + seconds) * 1_000_000
    except ValueError:
        pass
    return ODD


def sequence(cell: Any) -> Any:
    """Return the steps of a list of numbers, None, :data:`UNREADABLE` or :data:`ODD`."""
    if _is_blank(cell):
        return None
    if type(cell) is not list or not {type(step) for step in cell} <= {int, float, type(None)}:
        return ODD
    if any(type(step) is int and step not in INT64 for step in cell):
        return ODD
    steps = [None if step is None or step != step else float(step) for step in cell]
    return UNREADABLE if any(step is not None and math.isinf(step) for step in steps) else steps


def _is_blank(cell: Any) -> bool:
    kind = type(cell)
    return (kind is str and not cell.strip(_BLANKS)) or (kind is float and cell != cell)


READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.numeric: number,
    Kind.datetime: moment,
    Kind.boolean: truth,
    Kind.sequence: sequence,
}
"""How the usual cells of a kind are read, None left out; texts of the other kinds are categories."""


def read_by_polars(column: Column, cell: Any) -> Any:
    """Return a cell as any table's is read, or :data:`UNREADABLE`.

    Raises:
        RowErrors: If it holds a list, a dict or bytes where none belongs, or text that is no Unicode.
    """
    read = coerce(_frame(column, cell), Schema((column,)))
    if read.unreadable.width:
        return UNREADABLE
    value = read.typed[column.name]
    if column.kind is Kind.datetime:
        return value.to_physical()[0]
    return value.to_list()[0]


def as_it_came(column: Column, cell: Any) -> object:
    """Return a cell as it stands in a table, for the error that says what is wrong with it."""
    if type(cell) in PLAIN and (type(cell) is not int or cell in INT64):
        return cell
    return cell_value(_frame(column, cell)[column.name], 0)


def _frame(column: Column, cell: Any) -> pl.DataFrame:
    return table_from([{column.name: cell}], sequences={column.name} if column.kind is Kind.sequence else ())


__all__ = [
    "DTYPES", "ODD", "READERS", "UNREADABLE", "Value", "as_it_came", "category", "moment", "number",
    "read_by_polars", "sequence", "truth",
]  # fmt: skip
