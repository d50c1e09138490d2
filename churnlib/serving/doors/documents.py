"""The JSON of requests that are neither one customer's row nor a bulk of them."""

from __future__ import annotations

from typing import Any

import msgspec

from churnlib.serving.answering import strict_json
from churnlib.serving.answering.limits import Limits
from churnlib.serving.problems import RequestError, refuse

_LIMITS = Limits()
_NESTED = {dict, list}


def parse_document(body: bytes) -> Any:
    """Return what a body says in JSON, as strictly read as a customer's row is.

    Raises:
        RequestError: 400 if it is no JSON, or no JSON that is to be served.
    """
    try:
        document = msgspec.json.decode(body)
        members, keys, cells = _told(document)
        if strict_json.each_key_once(body, members, keys, cells):
            return document
    except (ValueError, RecursionError):
        pass
    document = strict_json.read(body)
    problem = strict_json.find_flaw(document, _LIMITS)
    if problem is not None:
        raise RequestError(problem)
    return document


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        RequestError: 400 if it is no JSON, 422 if it is no object.
    """
    document = parse_document(body)
    if not isinstance(document, dict):
        raise refuse(422, "not_an_object", f"expected a JSON object, got {strict_json.kind_of(document)}")
    return document


def check_rows(n: int, most: int) -> None:
    """Refuse a request of too many customers.

    Raises:
        RequestError: 413.
    """
    if n > most:
        raise refuse(413, "too_many_rows", f"more than {most:,} customers; send them in several requests")


def _told(document: Any) -> tuple[int, list[str], list[Any]]:
    """Return how many members the objects of a document have, their keys, and the values that hold no others."""
    members, keys, cells, left = 0, [], [], [document]
    while left:
        value = left.pop()
        if type(value) is dict:
            members += len(value)
            keys += value
            left += value.values()
        elif type(value) is list and not _NESTED.isdisjoint(map(type, value)):
            left += value
        elif type(value) is list:
            cells += value
        else:
            cells.append(value)
    return members, keys, cells


__all__ = ["check_rows", "parse_document", "parse_object"]
