"""From the bytes of a bulk request to many customers' rows: as objects, or as columns.

A body that is no JSON cannot be read in part and is refused whole. What is wrong inside one row (a key twice, a number
too large, no object at all) is that row's own error, and the others are answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from churnlib.serving.answering import strict_json
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.requests import LIMITS
from churnlib.serving.answering.strict_json import Flaw
from churnlib.serving.problems import Problem, RequestError, refuse

_INSTANCES = re.compile(rb'\s*\{\s*"instances"')
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CONTAINERS_PER_ROW = 8
"""Objects and arrays for each row that are parsed at all: an empty one takes 2 bytes of a body and 64 of memory."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """The customers of one request: ``rows`` or ``columns``, whichever came.

    Attributes:
        count: How many there are.
        rows: One row each; an empty one where it is refused.
        columns: Values by column, ``count`` in each; None in the place of one that is refused.
        problems: What is wrong with the refused ones, by their number from 0.
    """

    count: int
    rows: list[dict[str, Any]] | None = None
    columns: dict[str, list[Any]] | None = None
    problems: dict[int, Problem] = field(default_factory=dict)


def parse_bulk(body: bytes, limits: Limits = LIMITS) -> Bulk:
    """Return the customers in ``{"instances": [{...}, ...]}`` or ``{"columns": {name: [...], ...}}``.

    Args:
        body: The raw bytes, already below the size limit.
        limits: How many customers there may be, and how much of each; with columns, how many of them.

    Raises:
        RequestError: 400 if the bytes are not strict JSON, 413 for too many customers, 422 if the body is JSON of
            another shape, or columns are of unequal length.

    >>> parse_bulk(b'{"columns": {"tenure": [1, 2]}}')
    Bulk(count=2, rows=None, columns={'tenure': [1, 2]}, problems={})
    >>> parse_bulk(b'{"instances": [{"tenure": 1}, 7]}').problems[1].message
    "expected an object with the customer's columns, got a number"
    """
    _refuse_swarm(body, limits)
    bulk = _rows_of(body, limits) if _INSTANCES.match(body) else _columns_of(body, limits)
    return bulk or _strictly(strict_json.read(body), limits)


def _rows_of(body: bytes, limits: Limits) -> Bulk | None:
    """Return rows that are read fast, None if they must be read the slow way."""
    try:
        found = limits.decode_rows(body)
    except (ValueError, RecursionError):
        return None
    rows = found.get("instances", [])
    if len(found) != 1 or not limits.keys_fit(chain.from_iterable(rows)):
        return None
    cells = chain.from_iterable(map(dict.values, rows))
    keys = chain(found, chain.from_iterable(rows))
    once = strict_json.each_key_once(body, 1 + sum(map(len, rows)), keys, cells)
    return Bulk(len(rows), rows=rows) if once else None


def _columns_of(body: bytes, limits: Limits) -> Bulk | None:
    """Return columns that are read fast, None if they must be read the slow way."""
    try:
        found = limits.decode_columns(body)
    except (ValueError, RecursionError):
        return None
    columns = found.get("columns", {})
    if len(found) != 1 or len(set(map(len, columns.values()))) != 1 or not limits.keys_fit(columns):
        return None
    cells = chain.from_iterable(columns.values())
    once = strict_json.each_key_once(body, 1 + len(columns), chain(found, columns), cells)
    return Bulk(_length_of(columns), columns=columns) if once else None


def _strictly(found: Any, limits: Limits) -> Bulk:
    """Return what the strict parser read as customers, with each one's flaw."""
    if isinstance(found, Flaw):
        raise RequestError(found.problem)
    if not isinstance(found, dict):
        raise _wrong_shape(f"got {strict_json.kind_of(found)}")
    if "parameters" in found and not found["parameters"]:  # Vertex AI may send one with nothing in it
        del found["parameters"]
    if len(found) != 1 or not found.keys() <= {"instances", "columns"}:
        raise _wrong_shape("one of the two and nothing else")
    [(name, content)] = found.items()
    if isinstance(content, Flaw):
        raise RequestError(content.problem)
    strictly = _rows_strictly if name == "instances" else _columns_strictly
    return strictly(content, limits)


def _rows_strictly(rows: Any, limits: Limits) -> Bulk:
    if not isinstance(rows, list):
        told = f"expected an array of customers, got {strict_json.kind_of(rows)}"
        raise refuse(422, "not_an_array", told, field="instances")
    if len(rows) > limits.rows:
        raise _too_many(limits.rows)
    problems = {}
    for number, row in enumerate(rows):
        problem = strict_json.find_flaw(row, limits)
        if problem is None and not isinstance(row, dict):
            told = f"expected an object with the customer's columns, got {strict_json.kind_of(row)}"
            problem = Problem(422, "not_an_object", told)
        if problem is not None:
            problems[number], rows[number] = problem, {}
    return Bulk(len(rows), rows=rows, problems=problems)


def _columns_strictly(columns: Any, limits: Limits) -> Bulk:
    if not isinstance(columns, dict):
        told = f"expected an object of columns, got {strict_json.kind_of(columns)}"
        raise refuse(422, "not_an_object", told, field="columns")
    problem = strict_json.find_flaw(dict.fromkeys(columns), limits)
    if problem is not None:
        raise RequestError(problem)
    for name, cells in columns.items():
        if not isinstance(cells, list):
            told = f"expected an array of the column's values, got {strict_json.kind_of(cells)}"
            raise refuse(422, "not_an_array", told, field=name)
    count = _length_of(columns)
    if any(len(cells) != count for cells in columns.values()):
        name = next(name for name, cells in columns.items() if len(cells) != count)
        raise refuse(422, "unequal_lengths", "the columns are not all of one length", field=name)
    if count > limits.rows:
        raise _too_many(limits.rows)
    problems: dict[int, Problem] = {}
    for name, cells in columns.items():
        for number, cell in enumerate(cells):
            problem = strict_json.find_flaw({name: cell}, limits)
            if problem is not None:
                problems.setdefault(number, problem)
                cells[number] = None
    return Bulk(count, columns=columns, problems=problems)


def _length_of(columns: Mapping[str, list[Any]]) -> int:
    return len(next(iter(columns.values()), []))


def _refuse_swarm(body: bytes, limits: Limits) -> None:
    """Refuse millions of empty rows before they are parsed: they would take thirty times the body's size."""
    most = 2 + _CONTAINERS_PER_ROW * limits.rows
    if body.count(b"{") + body.count(b"[") <= most:
        return
    bare = _TEXT.sub(b"", body)  # brackets in texts open nothing
    if bare.count(b"{") + bare.count(b"[") > most:
        raise refuse(413, "too_many_rows", f"more objects and arrays than {limits.rows:,} customers have")


def _wrong_shape(what: str) -> RequestError:
    told = 'expected {"instances": [{...}, ...]} or {"columns": {name: [...], ...}}'
    return refuse(422, "not_a_bulk", f"{told}, {what}")


def _too_many(max_rows: int) -> RequestError:
    return refuse(413, "too_many_rows", f"more than {max_rows:,} customers; send them in several requests")


__all__ = ["Bulk", "parse_bulk"]
