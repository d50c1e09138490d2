"""A table as a model reads it: typed columns, and all that is wrong or unusual about its rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.bundle import Bundle
from churnlib.data.coercion import PROBLEMS, cell_value, coerce, read_columns
from churnlib.data.profile import trained_ranges
from churnlib.data.tables import table_from
from churnlib.data.validation.masks import broken
from churnlib.data.values import numbers_in
from churnlib.decision import OwnThreshold
from churnlib.errors import CellError
from churnlib.schema import Kind, Schema
from churnlib.schema.parsing import cell_of
from churnlib.schema.rules import Check, Rule

REQUIRED = "is required and missing"
"""What is wrong with a cell without the value that it must have."""

ABSENT = "is absent"
UNKNOWN = "is not a column of this model"
UNSEEN = "has a value that training did not see"
OUTSIDE = "is a number outside the range that training saw"
UNUSUAL = "says that this customer is unlike those of training in several columns together"
"""Of whom the flag of an isolation forest is 1."""


@dataclass(frozen=True, slots=True)
class CellWarning:
    """Something about a cell that the model had to make do with.

    Attributes:
        row: Number of the row, counted from 0; None if it concerns all rows.
        column: Name of the column.
        problem: What it is, without the value.
    """

    row: int | None
    column: str
    problem: str

    def __str__(self) -> str:
        return f"{self.column!r} {self.problem}"


@dataclass(frozen=True, slots=True)
class Reading:
    """A table as the model reads it, with all that is wrong or unusual about it.

    Attributes:
        frame: The table as it came.
        typed: Its columns with the types of the schema.
        bad: ``(n,)`` bool, rows that cannot be scored, or that break a rule of the schema.
        warnings: Unseen categories, numbers beyond those of training, absent optional columns, unknown columns,
            customers whom a forest finds unusual.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    bad: np.ndarray
    warnings: list[CellWarning]
    _unreadable: pl.DataFrame = field(repr=False)
    _missing: pl.DataFrame = field(repr=False)
    _broken: pl.DataFrame = field(repr=False)
    _schema: Schema = field(repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def errors(self) -> list[CellError]:
        """Every cell that keeps its row from being scored, in row order."""
        return list(self.iter_errors())

    def iter_errors(self) -> Iterator[CellError]:
        """Yield every cell that keeps its row from being scored, in row order."""
        for row in np.flatnonzero(self.bad).tolist():
            for column in read_columns(self._schema):
                name = column.name
                if name in self._unreadable.columns and self._unreadable[name][row]:
                    yield CellError(row, name, PROBLEMS[column.kind], cell_value(self.frame[name], row))
                elif name in self._missing.columns and self._missing[name][row]:
                    yield CellError(row, name, REQUIRED)
            for rule in self._schema.rules:
                if rule.name in self._broken.columns and self._broken[rule.name][row]:
                    yield from rule_error(rule, row, self._missing.columns, self._value)

    def _value(self, column: str, row: int) -> object:
        return cell_value(self.frame[column], row)


def rule_error(
    rule: Rule, row: int, required: Collection[str], value: Callable[[str, int], object]
) -> Iterator[CellError]:
    """Yield what is said of a row that breaks a rule.

    Args:
        rule: The rule.
        row: Number of the row.
        required: Columns whose missing cells are errors anyway.
        value: Returns the cell of a column and row as it came.
    """
    if rule.check is Check.required:
        if rule.column not in required:  # which says so already
            yield CellError(row, rule.column, rule.problem)
    elif rule.check is Check.holds:  # of several columns: the value of the first may be right
        yield CellError(row, rule.column, rule.problem)
    else:
        yield CellError(row, rule.column, rule.problem, value(rule.column, row))


class TableReader:
    """Reads tables for a model.

    Args:
        bundle: The model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._schema, self._preparation, self._own = bundle.schema, bundle.preparation, bundle.own_threshold
        self._worth = None if bundle.own_threshold is None else bundle.own_threshold.column
        self._sequences = {column.name for column in bundle.schema.columns if column.kind is Kind.sequence}
        self._ranges = trained_ranges(bundle.profile, bundle.schema)

    def read(self, table: Any, *, rules: bool = True) -> Reading:
        """Read a table and find what is wrong with it; see :meth:`churnlib.predictor.Predictor.read`."""
        frame = table_from(table, sequences=self._sequences)
        coerced = coerce(frame, self._schema)
        required = set(self._schema.required())
        gappy = [column.name for column in coerced.typed if column.name in required and column.null_count()]
        missing = coerced.typed.select(cs.by_name(*gappy).is_null())
        unreadable = coerced.unreadable
        bad = np.zeros(len(frame), dtype=bool)
        breaks = broken(coerced.typed, self._schema.rules if rules else ())
        for mask in (*missing, *unreadable, *breaks):
            bad |= mask.to_numpy()
        warnings = [CellWarning(None, name, ABSENT) for name in coerced.absent if name not in required]
        warnings += self._worth_warnings(frame)
        warnings += [
            CellWarning(None, name, UNKNOWN)
            for name in frame.columns
            if name not in self._schema and name != self._worth
        ]
        for name, rows in self._preparation.unseen(coerced.typed).items():
            warnings += [CellWarning(int(row), name, UNSEEN) for row in rows]
        outside = coerced.typed.select(
            ((cell_of(name) < low) | (cell_of(name) > high)).fill_null(False)
            for name, (low, high) in self._ranges.items()
        )
        warnings += [CellWarning(row, mask.name, OUTSIDE) for mask in outside for row in mask.arg_true().to_list()]
        for name, rows in self._preparation.flagged(coerced.typed).items():
            warnings += [CellWarning(int(row), name, UNUSUAL) for row in rows]
        return Reading(frame, coerced.typed, bad, warnings, unreadable, missing, breaks, self._schema)

    def _worth_warnings(self, frame: pl.DataFrame) -> Iterator[CellWarning]:
        """Yield where a customer's threshold is that of an assumed value."""
        if self._own is None:
            return
        column = self._own.column
        if column not in frame.columns:
            if column not in self._schema:  # else it is named already
                yield CellWarning(None, column, worth_is_absent(self._own))
            return
        for row in np.flatnonzero(np.isnan(numbers_in(frame, column))).tolist():
            yield CellWarning(row, column, worth_is_no_number(self._own))


def worth_is_absent(own: OwnThreshold) -> str:
    """Return what is said of a table without the column that says what a customer is worth."""
    return f"{ABSENT}; {_assumed(own)}"


def worth_is_no_number(own: OwnThreshold) -> str:
    """Return what is said of a cell that does not say what a customer is worth."""
    return f"holds no number; {_assumed(own)}"


def _assumed(own: OwnThreshold) -> str:
    return f"the threshold is that of a customer worth {own.otherwise:g}"


__all__ = [
    "ABSENT", "OUTSIDE", "REQUIRED", "UNKNOWN", "UNSEEN", "UNUSUAL", "CellWarning", "Reading", "TableReader",
    "rule_error", "worth_is_absent", "worth_is_no_number",
]  # fmt: skip
