"""Placeholder until the real one is merged: the same answers by polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class ReadRow:
    cells: dict
    errors: list
    warnings: list


class RowPredictor:
    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    def read(self, row: Mapping[str, Any]) -> ReadRow:
        reading = self._predictor.read([dict(row)])
        return ReadRow(dict(row), reading.errors, [(w.column, w.problem) for w in reading.warnings])

    def answers(self, rows: Sequence[ReadRow]) -> list[dict[str, Any]]:
        reading = self._predictor.read([row.cells for row in rows])
        return self._predictor.answers(reading).drop("customer_id").to_dicts()
