"""Many customers in columns of Python values, for a server's bulk requests: few of them ever become a table.

It says of them what :class:`~churnlib.predictor.Predictor` says. Only the customers in whom anything is unusual are put
into a table, together; what Python's and polars' types make of one another's cells therefore never reaches the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from churnlib.answers import answers_table
from churnlib.data.names import normalize_name
from churnlib.data.preparation import Encoded
from churnlib.data.profile import trained_ranges
from churnlib.data.usual_columns import UsualColumnsReader
from churnlib.data.values import numbers_in
from churnlib.errors import CellError, RowErrors
from churnlib.predictor import Predictor
from churnlib.reading import OUTSIDE, CellWarning, Reading
from churnlib.staying import elapsed_of


@dataclass(frozen=True, slots=True)
class ReadColumns:
    """Customers as the model reads them, and all that is wrong or unusual about them.

    Attributes:
        encoded: The inputs.
        beside: Numbers beside the inputs, by column: how long customers have been there, what they are worth.
        bad: ``(n,)`` bool, customers who cannot be scored, or break a rule of the schema.
        errors: Every cell that keeps its row from being scored, in row order.
        warnings: What the model has to make do with.
    """

    encoded: Encoded
    beside: dict[str, np.ndarray]
    bad: np.ndarray
    errors: list[CellError]
    warnings: list[CellWarning]

    def __len__(self) -> int:
        return len(self.encoded)


class ColumnPredictor:
    """Scores many customers at once.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        bundle = predictor.bundle
        self._elapsed = None if bundle.hazards is None else bundle.hazards.elapsed
        self._own = bundle.own_threshold
        beside = {name for name in (self._elapsed, self._own and self._own.column) if name is not None}
        names = {column.name for column in bundle.schema.columns} | beside
        can = UsualColumnsReader.can_read(bundle.schema, bundle.preparation, beside=beside)
        can = can and all(normalize_name(name) == name for name in names)
        self._ranges = trained_ranges(bundle.profile, bundle.schema)
        self._usual = (
            UsualColumnsReader(bundle.schema, bundle.preparation, known=names, beside=beside, ranges=self._ranges)
            if can
            else None
        )

    def read(self, columns: Mapping[str, Any]) -> ReadColumns:
        """Read customers and find what is wrong with them; nothing is scored.

        Args:
            columns: Cells by the names of the columns; see :meth:`churnlib.predictor.Predictor.read`.

        Raises:
            DataError: If they make no table.
            RowErrors: If cells hold what no table can.
        """
        found = None if self._usual is None else self._usual.read(columns)
        if found is None:
            reading = self.predictor.read(columns)
            return ReadColumns(*self._inputs(reading), reading.bad, reading.errors, reading.warnings)
        outside = [CellWarning(row, name, OUTSIDE) for name in self._ranges for row in found.outside[name].tolist()]
        rows = np.flatnonzero(found.unusual).tolist()
        if not rows:
            return ReadColumns(found.encoded, found.beside, found.unusual, [], outside)
        try:
            reading = self.predictor.read({name: [cells[row] for row in rows] for name, cells in columns.items()})
        except RowErrors as error:
            raise RowErrors([replace(one, row=rows[one.row]) for one in error.errors]) from None
        encoded, beside = self._inputs(reading)
        found.encoded.numeric[rows], found.encoded.codes[rows] = encoded.numeric, encoded.codes
        for name, numbers in beside.items():
            found.beside[name][rows] = numbers
        bad = np.zeros(len(found.unusual), dtype=bool)
        bad[rows] = reading.bad
        errors = [replace(error, row=rows[error.row]) for error in reading.iter_errors()]
        warnings = [
            warning if warning.row is None else replace(warning, row=rows[warning.row]) for warning in reading.warnings
        ]
        return ReadColumns(found.encoded, found.beside, bad, errors, self._in_order(warnings, outside))

    def answers(self, read: ReadColumns, *, horizon: float | None = None) -> dict[str, list[Any]]:
        """Return the answers of customers by the columns of :meth:`churnlib.predictor.Predictor.predict`, but the id.

        Args:
            read: What :meth:`read` returned.
            horizon: See :meth:`churnlib.predictor.Predictor.probabilities`.
        """
        elapsed = None if self._elapsed is None else np.maximum(read.beside[self._elapsed], 0.0)
        probability = self.predictor.calibrated(self.predictor.logits_of(read.encoded), elapsed, horizon=horizon)
        probability[read.bad] = np.nan
        own = self._own
        threshold = self.predictor.threshold if own is None else own.thresholds(read.beside[own.column])
        return answers_table(probability, threshold, self.predictor.classes).to_dict(as_series=False)

    def _in_order(self, warnings: list[CellWarning], outside: list[CellWarning]) -> list[CellWarning]:
        """Return the warnings of unusual customers with those of the usual ones, as they come from one table."""
        if not outside:
            return warnings
        others = [one for one in warnings if one.problem != OUTSIDE]
        place = {name: place for place, name in enumerate(self._ranges)}
        outside = outside + [one for one in warnings if one.problem == OUTSIDE]
        return others + sorted(outside, key=lambda one: (place[one.column], one.row))

    def _inputs(self, reading: Reading) -> tuple[Encoded, dict[str, np.ndarray]]:
        bundle, beside = self.predictor.bundle, {}
        if bundle.hazards is not None and self._elapsed is not None:
            beside[self._elapsed] = elapsed_of(reading.typed, bundle.hazards)
        if self._own is not None:
            name = self._own.column
            there = name in reading.frame.columns
            beside[name] = numbers_in(reading.frame, name) if there else np.full(len(reading), np.nan)
        return bundle.preparation.encode(reading.typed), beside


__all__ = ["ColumnPredictor", "ReadColumns"]
