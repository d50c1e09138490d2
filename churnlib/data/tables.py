"""From what a Python program holds (data frames, dicts, lists of dicts) to one polars table."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.data.names import is_name, is_unicode, normalize_name, normalize_names
from churnlib.errors import CellError, DataError, RowErrors

NUMPY_KINDS = "biufmM"
"""Kinds of numpy arrays that polars takes as they are: truth values, numbers, times."""

INT64 = range(-(2**63), 2**63)

PLAIN = {str, int, float, bool, type(None)}
"""Types of cells that need no look at each one."""

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

NESTED = (Mapping, list, tuple, set, frozenset, bytes, bytearray, memoryview, np.ndarray, pl.Series, pl.DataFrame)
"""Types of which a cell cannot be, but for lists of numbers in a column of their own."""

LISTS = (list, tuple, np.ndarray, pl.Series)
"""Types of a cell that holds the steps of a sequence."""


def table_from(data: Any, *, sequences: Collection[str] | None = None) -> pl.DataFrame:
    """Return the customers that a Python program holds as a polars table.

    Column names are normalised (:func:`~churnlib.data.names.normalize_name`), NaN is missing. A column of Python values
    keeps its type where all its values agree (whole and other numbers agree on float64); where they do not, it becomes
    text, for the schema to read: ``[1, "1", None, 2.5]`` is ``["1", "1", None, "2.5"]``.
    A column whose given cells are all lists of numbers is one of sequences.

    Args:
        data: A polars ``DataFrame`` or ``LazyFrame``; a pandas ``DataFrame`` (its index is left out); a list of dicts,
            one per customer, in which a missing key is a missing value; or a dict of equally long columns.
        sequences: Names of the only columns that may hold lists, where the schema is known; what is no list of numbers
            there is left for the schema to refuse. None lets the cells decide.

    Returns:
        The table, rows in the order given, columns in the order of first appearance.

    Raises:
        DataError: If two columns have one name, or columns differ in length.
        RowErrors: If cells hold lists, dicts or bytes; one error for each such cell.
        TypeError: If ``data`` is none of these.

    >>> table_from([{"tenure": 1, "plan": "a"}, {"tenure": 2.5}]).rows()
    [(1.0, 'a'), (2.5, None)]
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        return nan_is_missing(renamed(data))
    if _is_pandas(data, "DataFrame"):
        names = normalize_names(data.columns)
        return _from_columns(names, [data.iloc[:, place] for place in range(len(names))], sequences)
    if isinstance(data, Mapping):
        return _from_columns(normalize_names(data), list(data.values()), sequences)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _from_rows(data, sequences)
    raise TypeError(
        f"expected a polars or pandas DataFrame, a list of dicts or a dict of columns, got {type(data).__name__}"
        f"{'; read a file with churnlib.data.sources.read_table' if isinstance(data, str) else ''}"
    )


def renamed(frame: pl.DataFrame, *, table: str = "the table") -> pl.DataFrame:
    """Return the frame with normalised column names."""
    return frame.rename(dict(zip(frame.columns, normalize_names(frame.columns, table=table), strict=True)))


def nan_is_missing(frame: Frame) -> Frame:
    """Return the frame with null in place of NaN, the one mark of a missing number from here on."""
    return frame.with_columns(cs.float().fill_nan(None))


def _is_pandas(value: Any, kind: str) -> bool:
    """Whether the value is of this pandas class; pandas is never imported for the question."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, kind))


def _from_rows(rows: Sequence[Any], sequences: Collection[str] | None) -> pl.DataFrame:
    """Build the table of a list of dicts: columns are the keys of all rows."""
    if not set(map(type, rows)) <= {dict}:
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise DataError(f"row {number} is of type {type(row).__name__}; give each customer as a dict")
    columns = _columns_at_once(rows) or _columns_row_by_row(rows)
    if rows and not columns:
        raise DataError("none of the rows holds a value; give each customer as a dict of its columns")
    return _from_columns(list(columns), list(columns.values()), sequences)


def _columns_at_once(rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[Any]] | None:
    """Return the columns of rows that write each column's name alike; None if some may not."""
    keys = list(rows[0]) if rows else []
    alike = set(map(type, rows)) == {dict} and set(map(len, rows)) == {len(keys)}
    if alike:
        try:
            columns = [list(map(itemgetter(key), rows)) for key in keys]
        except KeyError:
            alike = False
    if not alike:
        keys = list(dict.fromkeys(chain.from_iterable(rows)))
        columns = [[row.get(key) for row in rows] for key in keys]
    names = [normalize_name(key) for key in keys]
    if len(set(names)) < len(names) or not all(name and is_name(name) for name in names):
        return None
    return dict(zip(names, columns, strict=True))


def _columns_row_by_row(rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[Any]]:
    """Return the columns of rows that may write a name in several ways."""
    columns: dict[str, list[Any]] = {}
    named: dict[tuple[Any, ...], list[str]] = {}  # most rows have the same keys
    for number, row in enumerate(rows):
        keys = tuple(row)
        if keys not in named:
            named[keys] = normalize_names(keys, table=f"row {number}")
            columns.update({name: [None] * len(rows) for name in named[keys] if name not in columns})
        for name, value in zip(named[keys], row.values(), strict=True):
            columns[name][number] = value
    return columns


def _from_columns(names: Sequence[str], columns: Iterable[Any], sequences: Collection[str] | None) -> pl.DataFrame:
    errors: list[CellError] = []
    series = [_column(name, values, errors, sequences) for name, values in zip(names, columns, strict=True)]
    if errors:
        raise RowErrors(sorted(errors, key=lambda error: error.row))
    lengths = {column.name: len(column) for column in series}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"the columns differ in length ({shortest!r} has {lengths[shortest]:,} values, {longest!r} has "
            f"{lengths[longest]:,}); give every column one value per customer"
        )
    return nan_is_missing(pl.DataFrame(series))


def _column(name: str, values: Any, errors: list[CellError], sequences: Collection[str] | None) -> pl.Series:
    """Return one column; what is wrong with its cells is appended to ``errors``."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if _is_pandas(values, "Series"):
        # Only numpy's own types convert without pyarrow; the others go through Python values.
        if isinstance(values.dtype, np.dtype) and values.dtype.kind in NUMPY_KINDS:
            return pl.Series(name, values.to_numpy())
        values = values.astype(object).where(values.notna(), None).tolist()
    elif isinstance(values, np.ndarray) and values.ndim == 1:
        if values.dtype.kind in NUMPY_KINDS:
            return pl.Series(name, values)
        values = values.tolist()
    elif isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(
            f"the column {name!r} is of type {type(values).__name__}; give a list with one value per customer "
            "(one customer alone is a list of one dict)"
        )
    cells = values if type(values) is list else list(values)
    kinds = set(map(type, cells))
    if not kinds <= PLAIN:
        cells = [_cell(value) for value in cells]
        nested = [row for row, value in enumerate(cells) if isinstance(value, NESTED)]
        if nested and sequences is not None and name in sequences:
            return _declared_sequences(name, cells, errors)
        if nested and sequences is None and all(value is None or isinstance(value, LISTS) for value in cells):
            found = [None if value is None else _steps(value) for value in cells]
            if any(found):
                wrong = [row for row in nested if found[row] is None]
                errors += [CellError(row, name, "must be a list of finite numbers", cells[row]) for row in wrong]
                return pl.Series(name, found, dtype=pl.List(pl.Float64))
        errors += [CellError(row, name, f"must be one value, not a {type(cells[row]).__name__}") for row in nested]
        for row in nested:
            cells[row] = None
        kinds = set(map(type, cells))
    return _series(name, cells, kinds, errors)


def _declared_sequences(name: str, cells: list[Any], errors: list[CellError]) -> pl.Series:
    """Return a column of the schema's sequences; as text, where only the schema can say what is wrong with a cell."""
    steps = [_steps(value) if isinstance(value, LISTS) else None for value in cells]
    if all(found is not None or value is None for found, value in zip(steps, cells, strict=True)):
        return pl.Series(name, steps, dtype=pl.List(pl.Float64))
    texts = [
        json.dumps(found) if found is not None else None if value is None else _text(value)
        for found, value in zip(steps, cells, strict=True)
    ]
    return _series(name, texts, set(map(type, texts)), errors)


def _steps(value: Any) -> list[float | None] | None:
    """Return the steps of one sequence, missing ones None; None if they are not all numbers."""
    steps = [_cell(step) for step in value] if isinstance(value, list | tuple | pl.Series) or value.ndim == 1 else [""]
    if not all(step is None or type(step) in (int, float) for step in steps):
        return None
    try:
        return [None if step is None else float(step) for step in steps]
    except OverflowError:
        return None


def _series(name: str, cells: list[Any], kinds: set[type], errors: list[CellError]) -> pl.Series:
    """Return plain Python values of these types as a column; text that is no Unicode (half a character) is an error."""
    try:
        return _typed(name, cells, kinds)
    except UnicodeEncodeError:
        broken = {row for row, cell in enumerate(cells) if isinstance(cell, str) and not is_unicode(cell)}
        errors += [CellError(row, name, "must be valid Unicode text") for row in broken]
        return _typed(name, [None if row in broken else cell for row, cell in enumerate(cells)], kinds)


def _cell(value: Any) -> Any:
    """Return the cell as a plain Python value; NaN and the marks of pandas (NA, NaT) are None."""
    if isinstance(value, str):
        return str(value)  # the member of a text enumeration, or numpy's text
    if isinstance(value, np.generic):
        return _cell(value.item())
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # the member of an enumeration of numbers
    if _is_missing(value) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, dt.datetime) and type(value) is not dt.datetime:
        return dt.datetime.combine(value.date(), value.time(), value.tzinfo)  # a Timestamp of pandas
    return value


def _typed(name: str, cells: list[Any], types: set[type]) -> pl.Series:
    """Return the cells as a column of one type, or as text where they do not agree on one."""
    kinds: set[Any] = types - {type(None)}
    if kinds == {str}:
        return pl.Series(name, cells, dtype=pl.String)
    if not kinds <= PLAIN or (int in kinds and not _fit_int64(cells)):
        kinds = {_kind(value) for value in cells if value is not None}
    if kinds and kinds <= {int, float}:
        return pl.Series(name, cells, dtype=pl.Int64 if kinds == {int} else pl.Float64, strict=False)
    if len(kinds) == 1 and str not in kinds:
        return pl.Series(name, cells)
    return pl.Series(name, [None if _is_missing(value) else _text(value) for value in cells], dtype=pl.String)


def _fit_int64(cells: list[Any]) -> bool:
    whole = [cell for cell in cells if type(cell) is int]
    return min(whole) in INT64 and max(whole) in INT64


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _kind(value: Any) -> object:
    """Return what a cell has in common with those it can share a typed column with; ``str`` if only text is left."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, int):
        return int if value in INT64 else str
    if isinstance(value, dt.datetime):
        return dt.datetime if value.tzinfo is None else "datetime of a time zone"
    for kind in (float, dt.date, dt.time, dt.timedelta, decimal.Decimal):
        if isinstance(value, kind):
            return kind
    return str


def _text(value: Any) -> str:
    """Return the cell as a CSV file would hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
