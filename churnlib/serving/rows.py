"""From a JSON object to one customer: the id, the columns that the model reads, and what is unusual about them.

Requests that are predicted together become one table, and a table's columns take one type from all their cells. So that
a customer's answer never depends on who shares the batch, each row is brought here, on its own, to exactly the columns
that the model reads; what else it has is settled before the table is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

ABSENT = "is absent"
"""Warning of an optional field that is not there."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What the fields of a row, or the columns of a table, are to the model.

    Attributes:
        names: By the model's name of a column (or of the customer's name) the field as the client spells it.
        warnings: ``(field, message)`` for columns that are unknown or absent.
    """

    names: dict[str, str]
    warnings: list[tuple[str, str]]


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

    Attributes:
        columns: Names of the columns that the model reads, in table order.
        required: Those of them that must be there.
        worth: The column of a customer's worth, read too where it is there.
        id_names: Fields that may hold what the client calls the customer, the one that counts first.

    Args:
        schema: The model's schema.
        refuse_unknown: Refuse fields that are no columns of the model, instead of naming them in a warning.
        worth: Column that says what a customer is worth, by which his threshold follows (``threshold=value``).
    """

    def __init__(self, schema: Schema, *, refuse_unknown: bool = False, worth: str | None = None) -> None:
        self._schema, self.worth = schema, worth
        self._refuse_unknown = refuse_unknown
        self._kinds = {column.name: column.kind for column in read_columns(schema)}
        self._optional = set(self._kinds) - set(schema.required())
        self.columns = tuple(self._kinds)
        self.required = tuple(name for name in self.columns if name not in self._optional)
        self.id_names = [name for name in (CUSTOMER_ID, schema.id) if name is not None and name not in self._kinds]

    def kind(self, column: str) -> Kind | None:
        """Return what the cells of a column are; None of the columns with the customers' names."""
        return self._kinds.get(column)

    def customer(self, request: Mapping[str, Any]) -> Customer:
        """Read one object.

        Raises:
            RequestError: 422 if a field that is read holds an object, or an array where no sequence belongs, or is
                there under two spellings; or is unknown, where such are refused.
        """
        fields = self.fields(request)
        known = {column: self.scalar(column, request[name]) for column, name in fields.names.items()}
        row = {name: known.get(name) for name in self.columns}
        if self.worth in known:
            row[self.worth] = known[self.worth]
        return Customer(self.id_of(known), row, fields.warnings)

    def fields(self, names: Iterable[str]) -> Fields:
        """Say what the fields of a row, or the columns of a table, are to the model.

        Raises:
            RequestError: 422 if one is there under two spellings, or is unknown where such are refused.
        """
        known: dict[str, str] = {}
        unknown: list[str] = []
        for name in names:
            column = normalize_name(name)
            if column in self._kinds or column in self.id_names or column == self.worth:
                if column in known:
                    raise refuse(422, "duplicate_field", f"{shown(column)} is there under two spellings", field=column)
                known[column] = name
            elif column not in self._schema:
                unknown.append(name)
        if unknown and self._refuse_unknown:
            raise refuse(422, "unknown_field", f"{shown(unknown[0])} is not a column of this model", field=unknown[0])
        warnings = [(shown(name), NOT_READ) for name in unknown]
        warnings += [(shown(name), ABSENT) for name in self.columns if name in self._optional and name not in known]
        return Fields(known, warnings)

    def id_of(self, known: Mapping[str, Any]) -> Any:
        """Return what the client calls a customer: the first of the names' columns that has something in it."""
        return next((known[name] for name in self.id_names if known.get(name) is not None), None)

    def scalar(self, column: str, value: Any) -> Any:
        """Return a value that reads alike alone and in a column of others.

        Raises:
            RequestError: 422 if it is an object, or an array where no sequence belongs.
        """
        if isinstance(value, list) and self._kinds.get(column) is Kind.sequence:
            return value
        if isinstance(value, dict | list):
            message = f"{shown(column)} must be text, a number, true, false or null, not an object or array"
            raise refuse(422, "invalid_field", message, field=column)
        if isinstance(value, bool) and self._kinds.get(column) is Kind.numeric:
            return int(value)  # among numbers, true would become the text "true"
        return value
