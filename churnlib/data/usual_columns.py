"""Many customers in columns of Python values, as far as there is nothing unusual about them.

What :mod:`churnlib.data.usual_row` does for one customer, for thousands: a column of categories is one look into a dict
for each cell, a column of numbers one array, and no table is built of either. The customers in whom anything is unusual
are told, for a table to be made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from churnlib.data.coercion import read_columns
from churnlib.data.inputs import FIRST_KNOWN, MICROSECONDS_PER_DAY
from churnlib.data.names import is_unicode
from churnlib.data.one_cell import READERS, category, moment, number
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.tables import INT64, PLAIN
from churnlib.data.usual_row import CODED, LARGEST, NUMBERS, codes_of, ranks_of
from churnlib.schema import Column, Kind, Schema

ReadCell = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class UsualColumns:
    """Customers as a model reads them.

    Attributes:
        encoded: The inputs; anything of unusual customers.
        beside: ``(n,)`` float64 of each column whose numbers are wanted beside the inputs.
        unusual: ``(n,)`` bool.
        outside: By column the rows whose numbers are outside the range of training, usual in all else.
    """

    encoded: Encoded
    beside: dict[str, np.ndarray]
    unusual: np.ndarray
    outside: dict[str, np.ndarray]


class UsualColumnsReader:
    """Reads the usual ones among many customers.

    Args:
        schema: The model's schema; what its rules ask is not looked at.
        preparation: The model's preparation, without steps.
        known: Names of columns that are not read and may be there.
        beside: Columns whose numbers are wanted beside the inputs.
        ranges: Lowest and highest number of training by numeric column.
    """

    def __init__(
        self,
        schema: Schema,
        preparation: Preparation,
        *,
        known: Collection[str],
        beside: Collection[str] = (),
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        columns = {column.name: column for column in read_columns(schema)}
        required = set(schema.required())
        self._numbers = [
            (one.name, _reader(columns[one.name], preparation), one.name not in required) for one in preparation.numeric
        ]
        self._codes = [
            (
                one.name,
                codes_of(columns[one.name], one.values, nullable=one.name not in required),
                {value: FIRST_KNOWN + place for place, value in enumerate(one.values)},
                READERS.get(columns[one.name].kind, category),
            )
            for one in preparation.categorical
        ]
        self._beside = tuple(beside)
        self._ranges = dict(ranges)
        inputs = {statistics.name for statistics in preparation.numeric} | {v.name for v in preparation.categorical}
        self._read = frozenset(columns) | frozenset(beside)
        self._unread = frozenset(known) - inputs - frozenset(beside)
        self._known = self._read | self._unread

    @staticmethod
    def can_read(schema: Schema, preparation: Preparation, *, beside: Collection[str] = ()) -> bool:
        """Whether every column of a model is one of those that this reader knows how to read."""
        inputs = {statistics.name for statistics in preparation.numeric} | {v.name for v in preparation.categorical}
        names = {column.name for column in read_columns(schema)}
        plain = not (preparation.has_steps or preparation.histories or preparation.time or schema.rules)
        return plain and names <= inputs | set(beside)

    def read(self, columns: Mapping[str, Any]) -> UsualColumns | None:
        """Read the usual customers.

        Args:
            columns: Lists of cells by the names of the columns.

        Returns:
            None if these are no lists of one length, a column is absent, or one is unknown.
        """
        if not (columns.keys() <= self._known and self._read <= columns.keys()):
            return None
        lengths = {len(cells) if type(cells) is list else -1 for cells in columns.values()}
        n = lengths.pop()
        if lengths or n < 0:
            return None
        unusual = np.zeros(n, dtype=bool)
        outside: dict[str, np.ndarray] = {}
        numeric = np.empty((n, len(self._numbers)), dtype=np.float32)
        for place, (name, read, nullable) in enumerate(self._numbers):
            values = _numbers(columns[name], read, unusual, nullable=nullable)
            numeric[:, place] = values
            self._find_outside(name, values, outside)
        codes = np.empty((n, len(self._codes)), dtype=np.int64)
        for place, (name, known, code, read) in enumerate(self._codes):
            codes[:, place] = _coded(columns[name], known, code, read, unusual)
        beside = {name: _numbers(columns[name], number, unusual, nullable=False) for name in self._beside}
        for name, values in beside.items():
            self._find_outside(name, values, outside)
        for name in columns.keys() & self._unread:
            _check_plain(columns[name], unusual)
        rows = {name: np.flatnonzero(mask & ~unusual) for name, mask in outside.items()}
        return UsualColumns(Encoded(numeric, codes), beside, unusual, rows)

    def _find_outside(self, name: str, numbers: np.ndarray, outside: dict[str, np.ndarray]) -> None:
        """Note which of a column's numbers are beyond its range; of a missing one that is not said."""
        if name in self._ranges:
            low, high = self._ranges[name]
            outside[name] = (numbers < low) | (numbers > high)


def _reader(column: Column, preparation: Preparation) -> ReadCell:
    """Return what reads the cells of a number's column that are no numbers; None of cells that are unusual."""
    if column.kind is Kind.numeric:
        return number
    if column.kind is Kind.datetime:
        return _days
    ranks = ranks_of(column, preparation.orders[column.name])
    return lambda cell: ranks.get(str(cell)) if type(cell) is str or (type(cell) is int and cell in INT64) else None


def _days(cell: Any) -> float | None:
    found = moment(cell)
    return found / MICROSECONDS_PER_DAY if type(found) is int else None


def _numbers(cells: Sequence[Any], read: ReadCell, unusual: np.ndarray, *, nullable: bool) -> np.ndarray:
    """Return a column's numbers, ``(n,)`` float64, NaN for missing; the unusual ones are marked."""
    if read is not number or not NUMBERS.issuperset(map(type, cells)):
        return _numbers_one_by_one(cells, read, unusual, nullable=nullable)
    try:
        values = np.fromiter(cells, dtype=np.float64, count=len(cells))
    except OverflowError:  # a whole number beyond all floats
        return _numbers_one_by_one(cells, read, unusual, nullable=nullable)
    within = np.abs(values) <= LARGEST  # nor NaN
    if not within.all():
        unusual |= ~within
        values[~within] = 0.0
    return values


def _numbers_one_by_one(cells: Sequence[Any], read: ReadCell, unusual: np.ndarray, *, nullable: bool) -> np.ndarray:
    values = np.zeros(len(cells))
    for place, cell in enumerate(cells):
        found = None if cell is None else read(cell)
        if found is None and nullable and (cell is None or read is number):  # else it is a date or a rank, and unusual
            values[place] = np.nan
        elif type(found) is float and abs(found) <= LARGEST:
            values[place] = found
        else:
            unusual[place] = True
    return values


def _coded(
    cells: Sequence[Any], known: Mapping[Any, int], code: Mapping[str, int], read: ReadCell, unusual: np.ndarray
) -> np.ndarray:
    """Return a column's codes, ``(n,)`` int64; the unusual ones are marked."""
    if CODED.issuperset(map(type, cells)):
        try:
            return np.fromiter(map(known.get, cells), dtype=np.int64, count=len(cells))
        except TypeError:  # None stands for a cell that is not known
            pass
    values = np.zeros(len(cells), dtype=np.int64)
    for place, cell in enumerate(cells):
        found = known.get(cell) if type(cell) in CODED else None
        if found is None and cell is not None:
            text = read(cell)
            found = code.get(text) if type(text) is str else None
        if found is None:
            unusual[place] = True
        else:
            values[place] = found
    return values


def _check_plain(cells: Sequence[Any], unusual: np.ndarray) -> None:
    """Mark the cells of a column that is not read which no table can hold."""
    kinds = set(map(type, cells))
    if kinds <= PLAIN and (str not in kinds or (kinds == {str} and all(map(str.isascii, cells)))):
        return
    for place, cell in enumerate(cells):
        if type(cell) not in PLAIN or (type(cell) is str and not is_unicode(cell)):
            unusual[place] = True


__all__ = ["UsualColumns", "UsualColumnsReader"]
