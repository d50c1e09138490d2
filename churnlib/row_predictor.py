"""Customers one at a time, for a server: from a dict to an answer, in microseconds and without a table.

It says of every row what :class:`~churnlib.predictor.Predictor` says of a table of that row: the same errors, the same
warnings, the same answer. A table of one row costs milliseconds, nearly all of which polars spends on being told of
each column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from churnlib.answers import answers_by_row
from churnlib.data.coercion import PROBLEMS, read_columns
from churnlib.data.names import is_unicode, normalize_name, normalize_names
from churnlib.data.one_cell import as_it_came
from churnlib.data.one_row import OneRow, OneRowReader, Value
from churnlib.data.preparation import Encoded
from churnlib.data.profile import trained_ranges
from churnlib.data.tables import PLAIN, table_from
from churnlib.data.usual_row import LARGEST, UsualRows
from churnlib.data.values import number_in
from churnlib.errors import CellError, RowErrors
from churnlib.predictor import Predictor
from churnlib.reading import (
    ABSENT,
    OUTSIDE,
    REQUIRED,
    UNKNOWN,
    UNSEEN,
    UNUSUAL,
    rule_error,
    worth_is_absent,
    worth_is_no_number,
)
from churnlib.schema import Kind

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+(?: [A-Za-z0-9_.-]+)*")
"""Names that are their own normal form."""


class ReadRow:
    """A customer as the model reads it, and all that is wrong or unusual about it.

    Attributes:
        errors: Every cell that keeps the row from being scored; their row is 0.
        warnings: ``(column, problem)`` of what the model has to make do with.
        numbers: The numeric inputs, NaN for missing; none of a model with steps of preparation.
        codes: The categorical inputs.
        elapsed: How long the customer has been there, of a model that answers by it; else 0.
        worth: What the customer is worth, of a model with ``threshold=value``; NaN where the row does not say so.
    """

    __slots__ = ("_reader", "_row", "_typed", "codes", "elapsed", "errors", "numbers", "warnings", "worth")

    def __init__(
        self,
        reader: OneRowReader,
        row: Mapping[str, Any] | Iterable[tuple[str, Any]],
        numbers: Sequence[float],
        codes: Sequence[int],
        *,
        elapsed: float = 0.0,
        worth: float = math.nan,
        typed: Mapping[str, Value] | None = None,
    ) -> None:
        self._reader, self._row, self._typed = reader, row, typed
        self.numbers, self.codes, self.elapsed, self.worth = numbers, codes, elapsed, worth
        self.errors: list[CellError] = []
        self.warnings: list[tuple[str, str]] = []

    @property
    def typed(self) -> Mapping[str, Value]:
        """The cells by column: a number, microseconds since 1970, a text, a list of numbers, or None."""
        if self._typed is None:
            self._typed = self._reader.read(dict(self._row)).typed
        return self._typed

    @property
    def encoded(self) -> Encoded:
        """The row as a network reads it."""
        return self._reader.encode([self])


class RowPredictor:
    """Scores customers who come one at a time.

    Example::

        rows = RowPredictor(churnlib.load("outputs/latest/bundle"))
        read = rows.read({"customer_id": "7590-VHVEG", "tenure": 1, ...})
        rows.answers([read])

    Args:
        predictor: The model.
        ignored: Names that are no columns of the model and that a row may have without a warning.

    Attributes:
        predictor: The model.
        sequences: Columns whose cells are lists of numbers.
    """

    def __init__(self, predictor: Predictor, *, ignored: Collection[str] = ()) -> None:
        self.predictor = predictor
        bundle = predictor.bundle
        self._schema, self._preparation, self._own = bundle.schema, bundle.preparation, bundle.own_threshold
        self._columns = read_columns(bundle.schema)
        self._required = frozenset(bundle.schema.required())
        self._read = frozenset(column.name for column in self._columns)
        self.sequences = frozenset(column.name for column in bundle.schema.columns if column.kind is Kind.sequence)
        self._worth = None if self._own is None else self._own.column
        names = {column.name for column in bundle.schema.columns} | ({self._worth} if self._worth else set())
        self._known = frozenset(names)
        self._ignored = frozenset(ignored) - names
        self._elapsed = None if bundle.hazards is None else bundle.hazards.elapsed
        self._has_flags = any(
            link.fitted.warning_flags()
            for one in (bundle.preparation, *bundle.preparation.branches)
            for link in one.chain.links
        )
        self._reader = OneRowReader(bundle.schema, bundle.preparation)
        self._ranges = trained_ranges(bundle.profile, bundle.schema)
        plain = not bundle.preparation.has_steps and not bundle.schema.rules
        plain = plain and all(normalize_name(name) == name for name in names)
        self._usual = (
            UsualRows(
                bundle.schema,
                bundle.preparation,
                known=names | self._ignored,
                elapsed=self._elapsed,
                ranges=self._ranges,
            )
            if plain
            else None
        )

    def read(self, row: Mapping[str, Any]) -> ReadRow:
        """Read one customer and find what is wrong with it; nothing is scored.

        Args:
            row: Cells by the names of the columns, as :meth:`churnlib.predictor.Predictor.read` takes them.

        Raises:
            DataError: If it is no row: not a mapping, without any column, or with two columns of one name.
            RowErrors: If a cell holds what no table can: a list or a dict where none belongs, text that is no Unicode.
        """
        if self._usual is None or not (type(row) is dict or isinstance(row, Mapping)):
            return self._read_carefully(row)
        found = self._usual.read(row)
        if found is None:
            return self._read_carefully(row)
        worth: Any = math.nan
        if self._worth is not None:
            worth = row.get(self._worth)
            if type(worth) not in (int, float) or not abs(worth) <= LARGEST:
                return self._read_carefully(row)
        return ReadRow(self._reader, row, found.numbers, found.codes, elapsed=found.elapsed, worth=worth)

    @property
    def usual_names(self) -> tuple[str, ...]:
        """Columns whose cells :meth:`read_usual` takes, in that order; none where every row is read with care."""
        return () if self._usual is None else self._usual.names

    def read_usual(self, cells: list[Any], worth: Any = None) -> ReadRow | None:
        """Read the cells of one customer who has all of :attr:`usual_names`, as :meth:`read` reads a row of them.

        Args:
            cells: As they came.
            worth: What the customer is worth, for a model with ``threshold=value``.

        Returns:
            None where anything is unusual, and :meth:`read` is to say what.
        """
        found = None if self._usual is None else self._usual.read_cells(cells)
        if found is None:
            return None
        if self._worth is None:
            worth = math.nan
        elif type(worth) not in (int, float) or not abs(worth) <= LARGEST:
            return None
        row = zip(self.usual_names, cells, strict=True)
        return ReadRow(self._reader, row, found.numbers, found.codes, elapsed=found.elapsed, worth=worth)

    def is_usual(self, row: Mapping[str, Any]) -> bool:
        """Whether a customer is read in the shortest way, there being nothing unusual about the row."""
        return self._usual is not None and self._usual.read(row) is not None

    def encode(self, rows: Sequence[ReadRow]) -> Encoded:
        """Return customers as a network reads them."""
        return self._reader.encode(rows)

    def answers(self, rows: Sequence[ReadRow], *, horizon: float | None = None) -> list[dict[str, Any]]:
        """Return the answers of customers, by one call of the model.

        Args:
            rows: What :meth:`read` returned.
            horizon: See :meth:`churnlib.predictor.Predictor.probabilities`.

        Returns:
            One for each row: ``churn_probability`` (float) and ``churn_prediction`` (0 or 1), or for more classes
            ``probability_<class>`` each and ``prediction``; all None for a row with errors.
        """
        if not rows:
            return []
        predictor = self.predictor
        elapsed = None if self._elapsed is None else np.maximum([row.elapsed for row in rows], 0.0)
        logits = predictor.logits_of(self.encode(rows))
        probability = predictor.calibrated(logits, elapsed, horizon=horizon)
        bad = [place for place, row in enumerate(rows) if row.errors]
        if bad:
            probability[bad] = np.nan
        threshold = predictor.threshold if self._own is None else self._own.thresholds([row.worth for row in rows])
        return answers_by_row(probability, threshold, predictor.classes)

    # --- rows with anything unusual ---------------------------------------------------------------------------------

    def _read_carefully(self, row: Mapping[str, Any]) -> ReadRow:
        if not isinstance(row, Mapping):
            self.predictor.read([row])
        row = {name: cell for name, cell in row.items() if name not in self._ignored}
        if not row:
            self.predictor.read([row])  # says why that is no row
        try:
            named, unknown = self._named(row)
            self._check_unread(named)
            one = self._reader.read(named)
        except RowErrors:
            self.predictor.read([row])  # names every such cell
            raise
        read = ReadRow(self._reader, named, one.numbers, one.codes, typed=one.typed, worth=self._worth_of(named))
        read.errors = self._errors(one, named)
        read.warnings = self._warnings(one, named, unknown, read)
        if self._elapsed is not None:
            read.elapsed = one.typed[self._elapsed] or 0.0  # type: ignore[assignment]
        return read

    def _named(self, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
        """Return the row by the normal form of its names, and those that are unknown."""
        unknown = [name for name in row if name not in self._known]
        if all(type(name) is str and _PLAIN_NAME.fullmatch(name) for name in unknown):
            return row, unknown
        names = normalize_names(row, table="row 0")
        return dict(zip(names, row.values(), strict=True)), [name for name in names if name not in self._known]

    def _check_unread(self, row: Mapping[str, Any]) -> None:
        """Raise RowErrors if a column that is not read holds what no table can."""
        odd = {name: cell for name, cell in row.items() if name not in self._read and not _is_plain(cell)}
        if odd:
            table_from([odd], sequences=self.sequences)

    def _errors(self, one: OneRow, row: Mapping[str, Any]) -> list[CellError]:
        if not (one.unreadable or one.missing or one.broken):
            return []
        errors = []
        for column in self._columns:
            if column.name in one.unreadable:
                came = as_it_came(column, row[column.name])
                errors.append(CellError(0, column.name, PROBLEMS[column.kind], came))
            elif column.name in one.missing:
                errors.append(CellError(0, column.name, REQUIRED))
        for rule in one.broken:
            errors += rule_error(rule, 0, self._required, lambda name, _: as_it_came(self._schema[name], row.get(name)))
        return errors

    def _warnings(
        self, one: OneRow, row: Mapping[str, Any], unknown: Sequence[str], read: ReadRow
    ) -> list[tuple[str, str]]:
        warnings = [
            (column.name, ABSENT)
            for column in self._columns
            if column.name not in row and column.name not in self._required
        ]
        if self._own is not None:
            if self._worth not in row:
                if self._worth not in self._schema:  # else it is named already
                    warnings.append((self._own.column, worth_is_absent(self._own)))
            elif math.isnan(read.worth):
                warnings.append((self._own.column, worth_is_no_number(self._own)))
        warnings += [(name, UNKNOWN) for name in unknown]
        warnings += [(name, UNSEEN) for name in one.unseen]
        for name, (low, high) in self._ranges.items():
            number: Any = one.typed[name]
            if number is not None and not low <= number <= high:
                warnings.append((name, OUTSIDE))
        if self._has_flags:
            warnings += [(name, UNUSUAL) for name in self._preparation.flagged(self._reader.table([read]))]
        return warnings

    def _worth_of(self, row: Mapping[str, Any]) -> float:
        return math.nan if self._worth is None else number_in(row.get(self._worth))


def _is_plain(cell: Any) -> bool:
    return type(cell) in PLAIN and (type(cell) is not str or cell.isascii() or is_unicode(cell))


__all__ = ["ReadRow", "RowPredictor"]
