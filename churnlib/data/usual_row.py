"""The shortest way of a customer who has nothing unusual: every column there, every cell of the usual kind and known.

Most customers that a server is asked about are such, and a few microseconds bring them to a model's inputs: whole
groups of cells are looked at by one call of the interpreter each, a category is one look into a dict. Whatever is not
certain to be usual is left to :class:`~churnlib.data.one_row.OneRowReader`, with which this reader agrees wherever it
answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import gt, lt
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl

from churnlib.data.coercion import coerce, read_columns
from churnlib.data.inputs import FIRST_KNOWN, MICROSECONDS_PER_DAY, MISSING
from churnlib.data.names import is_unicode
from churnlib.data.one_cell import ODD, READERS, UNREADABLE, category, moment, number, sequence, truth
from churnlib.data.one_row import last_steps
from churnlib.data.preparation import Preparation
from churnlib.data.tables import INT64, PLAIN
from churnlib.schema import Column, Kind, Schema
from churnlib.schema.parsing import FALSE_WORDS, TRUE_WORDS

LARGEST = 2.0**53
"""Sum of the sizes of a row's numbers up to which none of them is rounded, clipped or infinite."""

NUMBERS = frozenset({int, float})
_READ_AS_NUMBERS = frozenset({str, bool})
CODED = frozenset({str, int, bool, type(None)})


class UsualRow(NamedTuple):
    """A customer as a model reads it.

    Attributes:
        numbers: The numeric inputs, NaN for missing.
        codes: The categorical inputs.
        elapsed: How long the customer has been there, of a model that answers by it; else 0.
    """

    numbers: list[float]
    codes: list[int]
    elapsed: float


class UsualRows:
    """Reads customers who have nothing unusual.

    Args:
        schema: The model's schema; what its rules ask is not looked at.
        preparation: The model's preparation, which has no steps.
        known: Names of columns that are not read and may be there.
        elapsed: Numeric column that says how long a customer has been there, of a model that answers by it.
        ranges: Lowest and highest usual number by numeric column; any number where a column is not named.

    Attributes:
        names: Of the columns that are read, in the order of :meth:`read_cells`.
    """

    def __init__(
        self,
        schema: Schema,
        preparation: Preparation,
        *,
        known: Collection[str],
        elapsed: str | None = None,
        ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        columns = {column.name: column for column in read_columns(schema)}
        required = set(schema.required())
        n_plain = len(preparation.numeric) - sum(history.n_steps for history in preparation.histories)
        numbers = [statistics.name for statistics in preparation.numeric[:n_plain]]
        measured = numbers if elapsed is None else [*numbers, elapsed]
        coded = [vocabulary.name for vocabulary in preparation.categorical]
        rest = [name for name in columns if name not in {*measured, *coded}]
        self.names = names = (*measured, *coded, *rest)
        self._n_numbers, self._n_coded = len(measured), len(measured) + len(coded)
        self._has_elapsed = elapsed is not None
        bounds = [ranges.get(name, (-math.inf, math.inf)) for name in measured]
        self._lowest, self._highest = [low for low, _ in bounds], [high for _, high in bounds]
        self._gaps = frozenset(place for place, name in enumerate(numbers) if name not in required)
        self._codes = [
            codes_of(columns[one.name], one.values, nullable=one.name not in required)
            for one in preparation.categorical
        ]
        kinds = [(place, columns[name]) for place, name in enumerate(numbers)]
        self._ranks = [
            (at, ranks_of(one, preparation.orders[one.name])) for at, one in kinds if one.kind is Kind.ordinal
        ]
        self._dates = [place for place, column in kinds if column.kind is Kind.datetime]
        self._time = None if preparation.time is None else names.index(preparation.time)
        self._histories = [(names.index(h.name), h.n_steps, h.name not in required) for h in preparation.histories]
        lists = {one.name for one in preparation.histories}
        self._rest = [(names.index(name), _is_usual(columns[name].kind)) for name in rest if name not in lists]
        self._read, self._known = frozenset(names), frozenset(known).difference(names)

    def read(self, row: Mapping[str, Any]) -> UsualRow | None:
        """Read one customer.

        Args:
            row: Cells by the names of the columns, in any order.

        Returns:
            None of a row in which anything is unusual.
        """
        found = self.read_cells(list(map(row.get, self.names)))
        return found if found is not None and self._has_known_columns(row) else None

    def read_cells(self, cells: list[Any]) -> UsualRow | None:
        """Read one customer who has all columns that are read.

        Args:
            cells: Those of :attr:`names`.

        Returns:
            None of cells in which anything is unusual.
        """
        coded = cells[self._n_numbers : self._n_coded]
        if not CODED.issuperset(map(type, coded)):
            return None
        codes: list[Any] = list(map(dict.get, self._codes, coded))
        if None in codes:
            codes = self._of_whole_numbers(codes, coded)
        if None in codes:
            return None
        numbers: list[Any] = cells[: self._n_numbers]
        if (self._ranks or self._dates) and not self._become_numbers(numbers, cells):
            return None
        plain = NUMBERS.issuperset(map(type, numbers))
        if not (_are_exact(numbers) if plain else self._are_filled(numbers)):
            return None
        if any(map(lt, numbers, self._lowest)) or any(map(gt, numbers, self._highest)):  # of a missing one neither
            return None
        if self._rest and not all(is_usual(cells[place]) for place, is_usual in self._rest):
            return None
        elapsed = numbers.pop() if self._has_elapsed else 0.0
        for place, n_steps, nullable in self._histories:
            steps = None if cells[place] is None else sequence(cells[place])
            if type(steps) is not list and not (nullable and steps is None):
                return None
            numbers += last_steps(steps, n_steps)
        return UsualRow(numbers, codes, elapsed)

    def _has_known_columns(self, row: Mapping[str, Any]) -> bool:
        """Whether all columns that are read are there, and no others than may be, with cells that tables can hold."""
        others = row.keys() - self._read
        if len(row) - len(others) != len(self.names) or not others <= self._known:
            return False
        for name in others:
            cell = row[name]
            if type(cell) not in PLAIN or (type(cell) is str and not (cell.isascii() or is_unicode(cell))):
                return False
        return True

    def _become_numbers(self, numbers: list[Any], cells: Sequence[Any]) -> bool:
        """Replace the ordered categories and the dates that are there by numbers; False if one is unusual."""
        for place, ranks in self._ranks:
            cell = numbers[place]
            if cell is None:
                continue
            rank = ranks.get(str(cell)) if type(cell) is str or (type(cell) is int and cell in INT64) else None
            if rank is None:
                return False
            numbers[place] = rank
        time = None if self._time is None else moment(cells[self._time])
        if self._time is not None and type(time) is not int:
            return False
        for place in self._dates:
            if numbers[place] is None:
                continue
            date = moment(numbers[place])
            if type(date) is not int:
                return False
            numbers[place] = (date if time is None else time - date) / MICROSECONDS_PER_DAY
        return True

    def _are_filled(self, numbers: list[Any]) -> bool:
        """Read numbers that come as text, and put NaN where one may be missing; False if anything else is there."""
        gaps = []
        for place, cell in enumerate(numbers):
            if type(cell) in NUMBERS:
                continue
            found = number(cell) if type(cell) in _READ_AS_NUMBERS else cell
            if found is None and place in self._gaps:
                gaps.append(place)
                found = 0.0
            if type(found) is not float:
                return False
            numbers[place] = found
        exact = _are_exact(numbers)
        for place in gaps:
            numbers[place] = math.nan
        return exact

    def _of_whole_numbers(self, codes: Sequence[Any], cells: Sequence[Any]) -> list[Any]:
        """Return the codes, those of whole numbers that name a category among them."""
        return [
            known.get(str(cell)) if code is None and type(cell) is int and cell in INT64 else code
            for known, code, cell in zip(self._codes, codes, cells, strict=True)
        ]


def _are_exact(numbers: list[Any]) -> bool:
    """Whether no number is too large, infinite or NaN."""
    try:
        return sum(map(abs, numbers)) <= LARGEST
    except OverflowError:  # a whole number beyond all floats
        return False


def codes_of(column: Column, values: Sequence[str], *, nullable: bool) -> dict[Any, int]:
    """Return the codes of a column's cells as they come, of those that are certain to mean just this.

    Keys are texts, and of truth values the four that equal one another in Python as they do in a table: a whole number
    that names a category is not among them, since True equals 1.
    """
    code = {value: FIRST_KNOWN + place for place, value in enumerate(values)}
    codes: dict[Any, int] = {None: MISSING} if nullable else {}
    codes |= {value: code[value] for value in _plain(column, values)}
    if column.kind is Kind.boolean:
        words = [form for word in (*TRUE_WORDS, *FALSE_WORDS) for form in (word, word.capitalize(), word.upper())]
        codes |= {word: code[truth(word)] for word in (*words, True, False) if truth(word) in code}
    return codes


def ranks_of(column: Column, order: Sequence[str]) -> dict[str, float]:
    """Return the ranks of an ordinal column's cells, of those that are certain to mean just this."""
    ranks = {value: float(rank) for rank, value in enumerate(order)}
    return {value: ranks[value] for value in _plain(column, order)}


def _plain(column: Column, values: Sequence[str]) -> list[str]:
    """Return the values that a cell with just this text is read as."""
    read = READERS.get(column.kind, category)
    found = {value: read(value) for value in values}
    odd = [value for value in values if found[value] is ODD]
    if odd:
        typed = coerce(pl.DataFrame({column.name: odd}, schema={column.name: pl.String}), Schema((column,))).typed
        found |= dict(zip(odd, typed[column.name].to_list(), strict=True))
    return [value for value in values if value == found[value]]


def _is_usual(kind: Kind) -> Callable[[Any], bool]:
    """Return what says of the cells of a column that is no input whether they are there and can be read."""
    read = READERS.get(kind, category)
    unusual = (None, ODD, UNREADABLE)

    def is_usual(cell: Any) -> bool:
        return cell is not None and read(cell) not in unusual

    return is_usual


__all__ = ["CODED", "LARGEST", "NUMBERS", "UsualRow", "UsualRows", "codes_of", "ranks_of"]
