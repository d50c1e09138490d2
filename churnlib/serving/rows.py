"""From a JSON object to one customer: the id, the columns that the model reads, and what is unusual about them.

Requests that are predicted together become one table, and a table's columns take one type from all their cells. So that
a customer's answer never depends on who shares the batch, each row is brought here, on its own, to exactly the columns
that the model reads; what else it has is settled before the table is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.data.coercion import read_columns
from churnlib.data.names import normalize_name
from churnlib.schema import Kind, Schema
from churnlib.serving.problems import refuse, shown

CUSTOMER_ID = "customer_id"
"""Key of the customer's name in requests and answers, whatever the table called it."""

NOT_READ = "is not a column of this model and was not read"
"""Warning of a field that has changed nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One decoded request.

    Attributes:
        id: What the client calls the customer, echoed as sent; ``None`` if it sent nothing.
        row: A value, or None, for each column that the model reads.
        warnings: ``(field, message)`` for columns that are unknown or absent.
    """

    id: str | int | float | bool | None
    row: dict[str, Any]
    warnings: list[tuple[str, str]] = field(default_factory=list)


class RowReader:
    """Takes customers out of JSON objects.

    Args:
        schema: The model's schema.
        refuse_unknown: Refuse fields that are no columns of the model, instead of naming them in a warning.
    """

    def __init__(self, schema: Schema, *, refuse_unknown: bool = False) -> None:
        self._schema = schema
        self._refuse_unknown = refuse_unknown
        self._kinds = {column.name: column.kind for column in read_columns(schema)}
        self._optional = set(self._kinds) - set(schema.required())
        self._ids = [name for name in (CUSTOMER_ID, schema.id) if name is not None and name not in self._kinds]

    def customer(self, request: Mapping[str, Any]) -> Customer:
        """Read one object.

        Raises:
            RequestError: 422 if a field that is read holds an object, or an array where no sequence belongs, or is
                there under two spellings; or is unknown, where such are refused.
        """
        known: dict[str, Any] = {}
        unknown: list[str] = []
        for name, value in request.items():
            column = normalize_name(name)
            if column in self._kinds or column in self._ids:
                if column in known:
                    raise refuse(422, "duplicate_field", f"{shown(column)} is there under two spellings", field=column)
                known[column] = self._scalar(column, value)
            elif column not in self._schema:
                unknown.append(name)
        if unknown and self._refuse_unknown:
            raise refuse(422, "unknown_field", f"{shown(unknown[0])} is not a column of this model", field=unknown[0])
        warnings = [(shown(name), NOT_READ) for name in unknown]
        warnings += [(shown(name), "is absent") for name in self._kinds if name in self._optional and name not in known]
        row = {name: known.get(name) for name in self._kinds}
        return Customer(next((known[name] for name in self._ids if known.get(name) is not None), None), row, warnings)

    def _scalar(self, column: str, value: Any) -> Any:
        """Return a value that reads alike alone and in a column of others."""
        if isinstance(value, list) and self._kinds.get(column) is Kind.sequence:
            return value
        if isinstance(value, dict | list):
            message = f"{shown(column)} must be text, a number, true, false or null, not an object or array"
            raise refuse(422, "invalid_field", message, field=column)
        if isinstance(value, bool) and self._kinds.get(column) is Kind.numeric:
            return int(value)  # among numbers, true would become the text "true"
        return value
