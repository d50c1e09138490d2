"""From a JSON object to one customer: the id, the columns that the model reads, and what is unusual about them.

Each row is read on its own and brought to exactly the columns that the model reads, so that a customer's answer never
depends on who shares the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from churnlib.data.coercion import read_columns
from churnlib.data.names import normalize_name
from churnlib.errors import DataError, RowErrors
from churnlib.row_predictor import ReadRow, RowPredictor
from churnlib.schema import Kind
from churnlib.serving.answering.usual_body import UsualBodies
from churnlib.serving.answers import problems_by_row
from churnlib.serving.problems import NOT_READ, RequestError, refuse, shown

if TYPE_CHECKING:
    from churnlib.predictor import Predictor

CUSTOMER_ID = "customer_id"
"""Key of the customer's name in requests and answers, whatever the table called it."""

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


class Customer(NamedTuple):
    """One decoded request.

    Attributes:
        id: What the client calls the customer, echoed as sent; ``None`` if it sent nothing.
        row: As the model reads it.
        warnings: ``(field, message)``: columns that are unknown or absent, values that training has not seen.
        request_id: For the record.
    """

    id: str | int | float | bool | None
    row: ReadRow
    warnings: Sequence[tuple[str, str]] = ()
    request_id: str = ""


class RowReader:
    """Takes customers out of JSON objects, and asks the model about them.

    Attributes:
        columns: Names of the columns that the model reads, in table order.
        required: Those of them that must be there.
        worth: The column of a customer's worth, read too where it is there.
        id_names: Fields that may hold what the client calls the customer, the one that counts first.

    Args:
        predictor: The model.
        refuse_unknown: Refuse fields that are no columns of the model, instead of naming them in a warning.
        most_bytes: Longest body that is read in the shortest way; no more than characters of one text.
    """

    def __init__(self, predictor: Predictor, *, refuse_unknown: bool = False, most_bytes: int = 4096) -> None:
        self._schema = predictor.schema
        own = predictor.bundle.own_threshold
        self.worth = None if own is None else own.column
        self._refuse_unknown = refuse_unknown
        self._rows = RowPredictor(predictor, ignored=[CUSTOMER_ID])
        self._kinds = {column.name: column.kind for column in read_columns(self._schema)}
        self._optional = set(self._kinds) - set(self._schema.required())
        self.columns = tuple(self._kinds)
        self.required = tuple(name for name in self.columns if name not in self._optional)
        self.id_names = [n for n in (CUSTOMER_ID, self._schema.id) if n is not None and n not in self._kinds]
        self._known = frozenset((*self.columns, *self.id_names)) | ({self.worth} if self.worth else set())
        self._bodies = UsualBodies.of(
            self._rows, self.columns, id_names=self.id_names, worth=self.worth, most_bytes=most_bytes
        )

    def kind(self, column: str) -> Kind | None:
        """Return what the cells of a column are; None of the columns with the customers' names."""
        return self._kinds.get(column)

    def usual(self, body: bytes, *, request_id: str = "") -> Customer | None:
        """Read one object from its bytes; None where anything is unusual, which :meth:`customer` then says."""
        found = None if self._bodies is None else self._bodies.read(body)
        return None if found is None else Customer(*found, (), request_id)

    def customer(self, request: Mapping[str, Any], *, request_id: str = "") -> Customer:
        """Read one object.

        Raises:
            RequestError: 422 if a cell cannot be read, a required one is missing or a rule of the schema is broken; if
                a field holds an object, or an array where no sequence belongs, or is there under two spellings; or is
                unknown, where such are refused.
        """
        warnings: list[tuple[str, str]] = []
        if request.keys() <= self._known:  # spelled as the model spells them
            cells = request
        else:
            fields = self.fields(request)
            cells = {column: request[name] for column, name in fields.names.items()}
            warnings = [warned for warned in fields.warnings if warned[1] == NOT_READ]
        name = self.id_of(cells)
        if type(name) in (dict, list):
            self.scalar(CUSTOMER_ID if cells.get(CUSTOMER_ID) is name else self.id_names[-1], name)
        try:
            row = self._rows.read(cells)
        except RowErrors:
            for column, value in cells.items():
                self.scalar(column, value)
            raise
        except DataError:  # there is no column at all
            row = self._rows.read(dict.fromkeys(self.columns))
        if row.errors:
            raise RequestError(next(iter(problems_by_row(row.errors).values())))
        if row.warnings:
            warnings += [(shown(name), problem) for name, problem in row.warnings if name not in self.id_names]
        return Customer(name, row, warnings, request_id)

    def answers(self, customers: Sequence[Customer]) -> list[dict[str, Any]]:
        """Return what the model says of each, together: the columns of ``Predictor.predict`` but for the id."""
        return self._rows.answers([customer.row for customer in customers])

    def fields(self, names: Iterable[str]) -> Fields:
        """Say what the fields of a row, or the columns of a table, are to the model.

        Raises:
            RequestError: 422 if one is there under two spellings, or is unknown where such are refused.
        """
        known: dict[str, str] = {}
        unknown: list[str] = []
        for name in names:
            column = normalize_name(name)
            if column in self._known:
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
        for name in self.id_names:
            value = known.get(name)
            if value is not None:
                return value
        return None

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
