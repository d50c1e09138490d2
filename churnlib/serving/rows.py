"""From a JSON object to one customer: the id, the columns that the model reads, and what is unusual about them.

Each row is read on its own and brought to exactly the columns that the model reads, so that a customer's answer never
depends on who shares the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from churnlib.data.coercion import read_columns
from churnlib.data.names import normalize_name
from churnlib.row_predictor import ReadRow, RowPredictor
from churnlib.schema import Kind
from churnlib.serving.answers import problems_by_row
from churnlib.serving.problems import NOT_READ_FIELD, RequestError, refuse, shown

if TYPE_CHECKING:
    from churnlib.predictor import Predictor

CUSTOMER_ID = "customer_id"
"""Key of the customer's name in requests and answers, whatever the table called it."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One decoded request.

    Attributes:
        id: What the client calls the customer, echoed as sent; ``None`` if it sent nothing.
        row: As the model reads it.
        warnings: ``(field, message)``: columns that are unknown or absent, values that training has not seen.
        request_id: For the record.
    """

    id: str | int | float | bool | None
    row: ReadRow
    warnings: list[tuple[str, str]] = field(default_factory=list)
    request_id: str = ""


class RowReader:
    """Takes customers out of JSON objects, and asks the model about them.

    Args:
        predictor: The model.
        refuse_unknown: Refuse fields that are no columns of the model, instead of naming them in a warning.
    """

    def __init__(self, predictor: Predictor, *, refuse_unknown: bool = False) -> None:
        self._schema = predictor.schema
        self._refuse_unknown = refuse_unknown
        self._rows = RowPredictor(predictor)
        self._kinds = {column.name: column.kind for column in read_columns(self._schema)}
        own = predictor.bundle.own_threshold
        self._read = frozenset(self._kinds) | ({own.column} if own is not None else set())
        self._ids = tuple(n for n in (CUSTOMER_ID, self._schema.id) if n is not None and n not in self._kinds)
        self._known = self._read.union(self._ids)

    def customer(self, request: Mapping[str, Any], *, request_id: str = "") -> Customer:
        """Read one object.

        Raises:
            RequestError: 422 if a cell cannot be read, a required one is missing or a rule of the schema is broken; if
                a field holds an object, or an array where no sequence belongs, or is there under two spellings; or is
                unknown, where such are refused.
        """
        unknown: list[str] = []
        cells = request if request.keys() <= self._known else self._sorted_out(request, unknown)
        if unknown and self._refuse_unknown:
            raise refuse(422, "unknown_field", f"{shown(unknown[0])} is not a column of this model", field=unknown[0])
        for name, value in cells.items():
            if type(value) in (dict, list) and not (type(value) is list and self._kinds.get(name) is Kind.sequence):
                message = f"{shown(name)} must be text, a number, true, false or null, not an object or array"
                raise refuse(422, "invalid_field", message, field=name)
        row = self._rows.read(cells or dict.fromkeys(self._kinds))
        if row.errors:
            raise RequestError(next(iter(problems_by_row(row.errors).values())))
        warnings = [(shown(name), NOT_READ_FIELD) for name in unknown]
        if row.warnings:
            warnings += [(shown(name), problem) for name, problem in row.warnings if name not in self._ids]
        return Customer(self._id(cells), row, warnings, request_id)

    def answers(self, customers: Sequence[Customer]) -> list[dict[str, Any]]:
        """Return what the model says of each, together: the columns of ``Predictor.predict`` but for the id."""
        return self._rows.answers([customer.row for customer in customers])

    def _id(self, cells: Mapping[str, Any]) -> Any:
        for name in self._ids:
            value = cells.get(name)
            if value is not None:
                return value
        return None

    def _sorted_out(self, request: Mapping[str, Any], unknown: list[str]) -> dict[str, Any]:
        """Return the cells by the schema's names, without what the model knows in another role; collect the others."""
        cells: dict[str, Any] = {}
        for name, value in request.items():
            column = normalize_name(name)
            if column in self._known:
                if column in cells:
                    raise refuse(422, "duplicate_field", f"{shown(column)} is there under two spellings", field=column)
                cells[column] = value
            elif column not in self._schema:
                unknown.append(name)
        return cells
