"""From many customers in one request, as rows or as columns, to the one table that is scored.

What is decided per customer in :mod:`churnlib.serving.answering.rows` is decided here per spelling of the fields (rows
mostly have the same ones) and per column, so that a customer gets the same answer and ten thousand of them cost little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from churnlib.schema import Kind
from churnlib.serving.answering.rows import RowReader
from churnlib.serving.problems import Problem, RequestError, refuse, shown

SCALARS = {str, int, float, type(None)}
"""Types of cells that read alike alone and in a column of others, whatever the column is."""

Alike = tuple[tuple[str, ...], Sequence[int], dict[str, list[Any]]]
"""Names of the fields, places of the rows, and the cells of each field."""

NOT_AN_OBJECT = Problem(422, "not_an_object", "expected a JSON object with the customer's columns")


@dataclass(frozen=True, slots=True)
class Warned:
    """Something unusual about customers.

    Attributes:
        field: Name of the field, safe to show.
        message: What it is, without any value.
        rows: Whom it concerns, in order; None for all of the request.
    """

    field: str
    message: str
    rows: list[int] | None = None


@dataclass(slots=True)
class CustomerTable:
    """Customers of one request, by the columns that the model reads.

    Attributes:
        ids: What the client calls each, as sent; None where nothing was sent.
        columns: The cells of each column, ``len(ids)`` of them; None of rows that are refused.
        problems: By place who is refused before the model is asked.
        warnings: Columns that are unknown or absent.
    """

    ids: list[Any]
    columns: dict[str, list[Any]]
    problems: dict[int, Problem] = field(default_factory=dict)
    warnings: list[Warned] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)


def table_of_rows(
    reader: RowReader, rows: Sequence[Any], *, problems: Mapping[int, Problem] | None = None
) -> CustomerTable:
    """Read customers who come as a JSON object each; who is wrong about a field is refused alone.

    Args:
        reader: Knows the model's columns.
        rows: The customers.
        problems: By place who is refused already.
    """
    n = len(rows)
    table = CustomerTable([None] * n, {}, dict(problems or {}))
    cells: dict[str, list[Any]] = {}
    for names, places, columns in _spelled_alike(rows, table.problems):
        try:
            fields = reader.fields(names)
        except RequestError as error:
            table.problems |= dict.fromkeys(places, error.problem)
            continue
        table.warnings += [Warned(name, message, list(places)) for name, message in fields.warnings]
        for column, name in fields.names.items():
            _put(cells, column, columns[name], places, n)
    _fill(table, reader, cells)
    return table


def _spelled_alike(rows: Sequence[Any], problems: dict[int, Problem]) -> Iterator[Alike]:
    """Yield the rows that have the same fields, with their places and cells; who is no row is put into ``problems``."""
    if rows and not problems and set(map(type, rows)) == {dict} and len(set(map(len, rows))) == 1:
        try:  # of rows with as many fields as the first, those that have all of its fields have no others
            yield tuple(rows[0]), range(len(rows)), {name: list(map(itemgetter(name), rows)) for name in rows[0]}
            return
        except KeyError:
            pass
    spelled: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if type(row) is not dict:
            problems.setdefault(place, NOT_AN_OBJECT)
        elif place not in problems:
            spelled.setdefault(tuple(row), []).append(place)
    for names, places in spelled.items():
        yield names, places, {name: [rows[place][name] for place in places] for name in names}


def _put(cells: dict[str, list[Any]], column: str, values: list[Any], places: Sequence[int], n: int) -> None:
    """Put the cells of some rows into their column."""
    if len(places) == n:
        cells[column] = values
        return
    kept = cells.setdefault(column, [None] * n)
    for place, value in zip(places, values, strict=True):
        kept[place] = value


def table_of_columns(
    reader: RowReader, columns: Mapping[str, Any], *, problems: Mapping[int, Problem] | None = None
) -> CustomerTable:
    """Read customers who come as columns.

    Args:
        reader: Knows the model's columns.
        columns: Values by name.
        problems: By place who is refused already.

    Raises:
        RequestError: 422 if a column is no array, or they differ in length; if one is there under two spellings, is
            unknown where such are refused, or is required and not there: that concerns all customers.
    """
    length = None
    for name, values in columns.items():
        if type(values) is not list:
            raise refuse(422, "invalid_field", f"{shown(name)} must be an array with a value per customer", field=name)
        if length is not None and len(values) != length:
            raise refuse(422, "unequal_lengths", "the columns are not all of one length", field=name)
        length = len(values)
    fields = reader.fields(columns)
    absent = next((name for name in reader.required if name not in fields.names), None)
    if absent is not None and length:
        raise refuse(422, "invalid_field", f"{shown(absent)} is required and missing", field=absent)
    table = CustomerTable([None] * (length or 0), {}, dict(problems or {}))
    table.warnings += [Warned(name, message) for name, message in fields.warnings]
    _fill(table, reader, {column: columns[name] for column, name in fields.names.items()})
    return table


def _fill(table: CustomerTable, reader: RowReader, cells: Mapping[str, list[Any]]) -> None:
    """Settle what each cell is, and whose it is that is none."""
    checked = {name: _settled(reader, name, values, table.problems) for name, values in cells.items()}
    for name in reversed(reader.id_names):  # the first counts most
        if name in checked:
            given = checked[name]
            table.ids = [old if new is None else new for old, new in zip(table.ids, given, strict=True)]
    empty = [None] * len(table.ids)
    table.columns = {name: checked.get(name, empty) for name in reader.columns}
    if reader.worth in checked:
        table.columns[reader.worth] = checked[reader.worth]


def _settled(reader: RowReader, name: str, values: list[Any], problems: dict[int, Problem]) -> list[Any]:
    """Return cells that read alike alone and among the others; where one cannot, its customer is refused."""
    kinds = set(map(type, values))
    plain = SCALARS if reader.kind(name) is Kind.numeric else {*SCALARS, bool}
    if kinds <= plain:
        return values
    settled = list(values)
    for place, value in enumerate(values):
        if type(value) in plain:
            continue
        try:
            settled[place] = reader.scalar(name, value)
        except RequestError as error:
            problems.setdefault(place, error.problem)
            settled[place] = None
    return settled


def chunks(table: CustomerTable, size: int) -> Iterator[tuple[int, CustomerTable]]:
    """Yield a table in parts of at most ``size`` customers, each with its first place; their warnings stay behind."""
    if len(table) <= size:
        yield 0, table
        return
    for start in range(0, len(table), size):
        end = start + size
        columns = {name: values[start:end] for name, values in table.columns.items()}
        problems = {place - start: problem for place, problem in table.problems.items() if start <= place < end}
        yield start, CustomerTable(table.ids[start:end], columns, problems)


__all__ = ["CustomerTable", "Warned", "chunks", "table_of_columns", "table_of_rows"]
