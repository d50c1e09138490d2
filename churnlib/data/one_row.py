"""One customer, from a dict to a model's two arrays, without building a table.

polars reads a million rows in a second, and one row in milliseconds: nearly all of it is spent on telling it of each
column. The reader here is compiled from the same schema and preparation. A cell of the usual kind is read in plain
Python; any other (odd numbers in text, dates in other formats, lists as text) is handed to
:func:`~churnlib.data.coercion.coerce`, and rows for whose columns the user has named steps go through these as a table
of one row. Tests compare both ways on many thousands of random rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.coercion import coerce, read_columns
from churnlib.data.inputs import FIRST_KNOWN, MICROSECONDS_PER_DAY, MISSING, NUMBER_KINDS, UNSEEN
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.scaling import FLOAT32_MAX
from churnlib.data.tables import INT64, table_from
from churnlib.data.validation.one_row import OneRowRules
from churnlib.schema import Column, Kind, Rule, Schema
from churnlib.schema.parsing import FALSE_WORDS, MISSING_WORDS, TRUE_WORDS

UNREADABLE = object()
"""Stands for a cell in which there is something, but not what it should be."""

_ODD = object()
"""Stands for a cell that is left to polars."""

_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_SECOND = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])")
_WHOLE = re.compile(r"-?[0-9]+\.0+")
_TRUTH = {**dict.fromkeys(TRUE_WORDS, "true"), **dict.fromkeys(FALSE_WORDS, "false"), **dict.fromkeys(MISSING_WORDS)}
_EPOCH = date(1970, 1, 1).toordinal()
_DTYPES = {Kind.numeric: pl.Float64(), Kind.datetime: pl.Datetime("us"), Kind.sequence: pl.List(pl.Float64)}

Value = float | int | str | list[float | None] | None
"""A typed cell: a number, microseconds since 1970, a text, the steps of a sequence, or nothing."""


@dataclass(frozen=True, slots=True)
class OneRow:
    """A customer as a model reads it, and what is wrong or unusual about it.

    Attributes:
        encoded: One row.
        unreadable: Columns whose cell holds something that cannot be read; it counts as missing in ``encoded``.
        missing: Required columns without a value.
        unseen: Columns with a value that the training rows did not have.
        broken: Rules of the schema that the row breaks.
        typed: The cells by column: a number, microseconds since 1970, a text, a list of numbers, or None.
    """

    encoded: Encoded
    unreadable: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    broken: tuple[Rule, ...] = ()
    typed: Mapping[str, Value] = field(default_factory=dict, repr=False)


class OneRowReader:
    """Reads customers one at a time.

    Args:
        schema: The model's schema.
        preparation: The model's preparation.
    """

    def __init__(self, schema: Schema, preparation: Preparation) -> None:
        self._preparation = preparation
        self._columns = read_columns(schema)
        self._readers = [(column.name, _READERS.get(column.kind, _category), column) for column in self._columns]
        self._required = frozenset(schema.required())
        known = {v.name: v.values for v in preparation.vocabularies} | (
            {} if preparation.has_steps else dict(preparation.orders)
        )
        self._known = [(name, frozenset(values)) for name, values in known.items()]
        self._dtypes = {column.name: _DTYPES.get(column.kind, pl.String()) for column in self._columns}
        self._rules = OneRowRules(schema.rules, self._dtypes)
        if not preparation.has_steps:
            self._compile(schema)

    def read(self, row: Mapping[str, Any]) -> OneRow:
        """Read one customer.

        Args:
            row: Cells by the schema's names of the columns: text, numbers, truth values, None, dates, lists of numbers
                for sequences; others are not looked at. What is absent is missing.

        Raises:
            RowErrors: If a cell holds a list, a dict or bytes where none belongs.
        """
        typed: dict[str, Value] = {}
        unreadable, missing = [], []
        for name, read, column in self._readers:
            cell = row.get(name)
            value: Any = None if _nothing(cell) else read(cell)
            if value is _ODD:
                value = _by_polars(column, cell)
            if value is UNREADABLE:
                unreadable.append(name)
                value = None
            if value is None and name in self._required:
                missing.append(name)
            typed[name] = value
        unseen = [name for name, values in self._known if typed[name] is not None and typed[name] not in values]
        broken = self._rules.broken(typed)
        return OneRow(self._encode(typed), tuple(unreadable), tuple(missing), tuple(unseen), broken, typed)

    def _compile(self, schema: Schema) -> None:
        """Note where each input comes from."""
        kinds = {column.name: column.kind for column in schema.features if column.kind in NUMBER_KINDS}
        n_plain = len(self._preparation.numeric) - sum(h.n_steps for h in self._preparation.histories)
        ranks = {n: {v: float(r) for r, v in enumerate(order)} for n, order in self._preparation.orders.items()}
        self._numbers = [(s.name, kinds[s.name], ranks.get(s.name, {})) for s in self._preparation.numeric[:n_plain]]
        self._codes = [
            (v.name, {value: FIRST_KNOWN + place for place, value in enumerate(v.values)})
            for v in self._preparation.categorical
        ]

    def _encode(self, typed: Mapping[str, Any]) -> Encoded:
        if self._preparation.has_steps:
            return self._preparation.encode(self._table(typed))
        time = None if self._preparation.time is None else typed[self._preparation.time]
        numbers = [self._number(typed[name], kind, ranks, time) for name, kind, ranks in self._numbers]
        for history in self._preparation.histories:
            numbers += _steps(typed[history.name], history.n_steps)
        codes = [MISSING if typed[name] is None else code.get(typed[name], UNSEEN) for name, code in self._codes]
        return Encoded(
            np.array([numbers], dtype=np.float32).reshape(1, -1), np.array([codes], dtype=np.int64).reshape(1, -1)
        )

    def _number(self, value: Any, kind: Kind, ranks: Mapping[str, float], time: int | None) -> float:
        if value is None:
            return math.nan
        if kind is Kind.numeric:
            return min(max(value, -FLOAT32_MAX), FLOAT32_MAX)
        if kind is Kind.ordinal:
            return ranks.get(value, math.nan)
        if self._preparation.time is None:
            return value / MICROSECONDS_PER_DAY
        return math.nan if time is None else (time - value) / MICROSECONDS_PER_DAY

    def _table(self, typed: Mapping[str, Value]) -> pl.DataFrame:
        """Return the typed row as a table, for the steps of the user."""
        return pl.DataFrame(
            [
                pl.Series(name, [typed[name]], dtype=pl.Int64).cast(dtype)
                if isinstance(dtype, pl.Datetime)
                else pl.Series(name, [typed[name]], dtype=dtype)
                for name, dtype in self._dtypes.items()
            ]
        )


def _steps(steps: list[float | None] | None, n: int) -> list[float]:
    """Return the last ``n`` steps, oldest first; those that are not there are NaN."""
    last = [math.nan if step is None else min(max(step, -FLOAT32_MAX), FLOAT32_MAX) for step in (steps or [])[-n:]]
    return [math.nan] * (n - len(last)) + last


# --- cells of the usual kind ----------------------------------------------------------------------------------------


def _nothing(cell: Any) -> bool:
    kind = type(cell)
    return cell is None or (kind is str and not cell.strip(" \t\r\n")) or (kind is float and cell != cell)


def _number(cell: Any) -> Any:
    kind = type(cell)
    if kind is float:
        return cell if math.isfinite(cell) else UNREADABLE
    if kind is str:
        return float(cell) if _NUMBER.fullmatch(cell) else _ODD
    return float(cell) if kind is int and cell in INT64 else _ODD


def _category(cell: Any) -> Any:
    kind = type(cell)
    if kind is str:
        plain = cell.isascii() and cell[:1] > " " and cell[-1:] > " " and cell[-1:] != "\x7f"
        return cell if plain and not (cell[-1] == "0" and _WHOLE.fullmatch(cell)) else _ODD
    if kind is bool:
        return "true" if cell else "false"
    return str(cell) if kind is int and cell in INT64 else _ODD


def _truth(cell: Any) -> Any:
    text = _category(cell)
    return text if text is _ODD else _TRUTH.get(text.lower(), text)


def _moment(cell: Any) -> Any:
    if type(cell) is not str:
        return _ODD
    match = _DAY.fullmatch(cell) or _SECOND.fullmatch(cell)
    if not match:
        return _ODD
    parts = [int(part) for part in match.groups()]
    try:
        day = datetime(*parts[:3]).toordinal()  # type: ignore[arg-type]
    except ValueError:
        return _ODD
    seconds = (parts[3] * 60 + parts[4]) * 60 + parts[5] if len(parts) > 3 else 0
    return ((day - _EPOCH) * 86_400 + seconds) * 1_000_000


def _sequence(cell: Any) -> Any:
    if type(cell) is not list or not {type(step) for step in cell} <= {int, float, type(None)}:
        return _ODD
    steps = [None if step is None or step != step else float(step) for step in cell]
    return UNREADABLE if any(step is not None and math.isinf(step) for step in steps) else steps


_READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.numeric: _number,
    Kind.datetime: _moment,
    Kind.boolean: _truth,
    Kind.sequence: _sequence,
}
"""How the usual cells of a kind are read; texts of the other kinds are categories."""


def _by_polars(column: Column, cell: Any) -> Any:
    """Read a cell as any table is read."""
    frame = table_from([{column.name: cell}], sequences={column.name} if column.kind is Kind.sequence else ())
    read = coerce(frame, Schema((column,)))
    if read.unreadable.width:
        return UNREADABLE
    value = read.typed[column.name]
    if column.kind is Kind.datetime:
        return value.to_physical()[0]
    return value.to_list()[0]


__all__ = ["UNREADABLE", "OneRow", "OneRowReader"]
