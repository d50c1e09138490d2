"""One customer, from a dict to a model's two arrays, without building a table.

polars reads a million rows in a second, and one row in milliseconds: nearly all of it is spent on telling it of each
column. The reader here is compiled from the same schema and preparation. Cells are read in plain Python
(:mod:`churnlib.data.one_cell`); rows for whose columns the user has named steps go through these as a table. Tests
compare both ways on many thousands of random rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

import numpy as np
import polars as pl

from churnlib.data.coercion import read_columns
from churnlib.data.inputs import FIRST_KNOWN, MICROSECONDS_PER_DAY, MISSING, UNSEEN
from churnlib.data.one_cell import DTYPES, ODD, READERS, UNREADABLE, Value, category, read_by_polars
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.scaling import FLOAT32_MAX
from churnlib.data.validation.one_row import OneRowRules
from churnlib.schema import Kind, Rule, Schema


class Row(Protocol):
    """A customer who has been read."""

    @property
    def typed(self) -> Mapping[str, Value]:
        """The cells by column: a number, microseconds since 1970, a text, a list of numbers, or None."""
        ...

    @property
    def numbers(self) -> Sequence[float]:
        """The numeric inputs, NaN for missing; none of a preparation with steps, whose inputs only they can say."""
        ...

    @property
    def codes(self) -> Sequence[int]:
        """The categorical inputs; none of a preparation with steps."""
        ...


@dataclass(frozen=True, slots=True)
class OneRow:
    """A customer as a model reads it, and what is wrong or unusual about it; see :class:`Row`.

    Attributes:
        typed: The cells; one that cannot be read counts as missing.
        numbers: The numeric inputs.
        codes: The categorical inputs.
        unreadable: Columns whose cell holds something that cannot be read.
        missing: Required columns without a value.
        unseen: Columns with a value that the training rows did not have.
        broken: Rules of the schema that the row breaks.
        reader: That read it.
    """

    typed: Mapping[str, Value] = field(repr=False)
    numbers: Sequence[float]
    codes: Sequence[int]
    unreadable: tuple[str, ...]
    missing: tuple[str, ...]
    unseen: tuple[str, ...]
    broken: tuple[Rule, ...]
    reader: OneRowReader = field(repr=False)

    @property
    def encoded(self) -> Encoded:
        """The row as a network reads it."""
        return self.reader.encode([self])


class OneRowReader:
    """Reads customers one at a time.

    Args:
        schema: The model's schema.
        preparation: The model's preparation.
    """

    def __init__(self, schema: Schema, preparation: Preparation) -> None:
        self._preparation = preparation
        columns = read_columns(schema)
        self._required = frozenset(schema.required())
        self._readers = [
            (column.name, READERS.get(column.kind, category), column, column.name in self._required)
            for column in columns
        ]
        known = {v.name: v.values for v in preparation.vocabularies} | (
            {} if preparation.has_steps else dict(preparation.orders)
        )
        self._known = [(name, frozenset([None, *values])) for name, values in known.items()]
        self._dtypes = {column.name: DTYPES.get(column.kind, pl.String()) for column in columns}
        self._rules = OneRowRules(schema.rules, self._dtypes)
        self._numbers, self._codes = ([], []) if preparation.has_steps else _inputs(schema, preparation)

    def read(self, row: Mapping[str, Any]) -> OneRow:
        """Read one customer.

        Args:
            row: Cells by the schema's names of the columns: text, numbers, truth values, None, dates, lists of numbers
                for sequences; others are not looked at. What is absent is missing.

        Raises:
            RowErrors: If a cell holds a list, a dict or bytes where none belongs.
        """
        typed: dict[str, Value] = {}
        unreadable: list[str] = []
        missing: list[str] = []
        for name, read, column, required in self._readers:
            cell = row.get(name)
            value: Any = None if cell is None else read(cell)
            if value is ODD:
                value = read_by_polars(column, cell)
            if value is UNREADABLE:
                unreadable.append(name)
                value = None
            if value is None and required:
                missing.append(name)
            typed[name] = value
        unseen = tuple([name for name, values in self._known if typed[name] not in values])
        broken = self._rules.broken(typed)
        numbers, codes = ((), ()) if self._preparation.has_steps else self._encoded(typed)
        return OneRow(typed, numbers, codes, tuple(unreadable), tuple(missing), unseen, broken, self)

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """Return customers as a network reads them."""
        if self._preparation.has_steps:
            return self._preparation.encode(self.table(rows))
        n, n_numeric, n_codes = len(rows), len(self._preparation.numeric), len(self._preparation.categorical)
        numbers = chain.from_iterable([row.numbers for row in rows])
        codes = chain.from_iterable([row.codes for row in rows])
        return Encoded(
            np.fromiter(numbers, dtype=np.float32, count=n * n_numeric).reshape(n, n_numeric),
            np.fromiter(codes, dtype=np.int64, count=n * n_codes).reshape(n, n_codes),
        )

    def table(self, rows: Sequence[Row]) -> pl.DataFrame:
        """Return customers as :func:`churnlib.data.coercion.coerce` types them."""
        typed = [row.typed for row in rows]
        return pl.DataFrame(
            [
                pl.Series(name, [one[name] for one in typed], dtype=pl.Int64).cast(dtype)
                if isinstance(dtype, pl.Datetime)
                else pl.Series(name, [one[name] for one in typed], dtype=dtype)
                for name, dtype in self._dtypes.items()
            ]
        )

    def _encoded(self, typed: Mapping[str, Any]) -> tuple[list[float], list[int]]:
        time = None if self._preparation.time is None else typed[self._preparation.time]
        numbers = [self._number(typed[name], kind, ranks, time) for name, kind, ranks in self._numbers]
        for history in self._preparation.histories:
            numbers += last_steps(typed[history.name], history.n_steps)
        return numbers, [code.get(typed[name], UNSEEN) for name, code in self._codes]

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


def _inputs(
    schema: Schema, preparation: Preparation
) -> tuple[list[tuple[str, Kind, dict[str, float]]], list[tuple[str, dict[str | None, int]]]]:
    """Return where each numeric input comes from, with the ranks of an ordinal one, and the codes of the others."""
    n_plain = len(preparation.numeric) - sum(history.n_steps for history in preparation.histories)
    ranks = {n: {v: float(r) for r, v in enumerate(order)} for n, order in preparation.orders.items()}
    numbers = [(s.name, schema[s.name].kind, ranks.get(s.name, {})) for s in preparation.numeric[:n_plain]]
    codes = [
        (v.name, {None: MISSING, **{value: FIRST_KNOWN + place for place, value in enumerate(v.values)}})
        for v in preparation.categorical
    ]
    return numbers, codes


def last_steps(steps: Sequence[float | None] | None, n: int) -> list[float]:
    """Return the last ``n`` steps, oldest first, in the range of float32; those that are not there are NaN."""
    last = [math.nan if step is None else min(max(step, -FLOAT32_MAX), FLOAT32_MAX) for step in (steps or [])[-n:]]
    return [math.nan] * (n - len(last)) + last


__all__ = ["UNREADABLE", "OneRow", "OneRowReader", "Row", "last_steps"]
