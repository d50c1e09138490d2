"""The JSON of requests that are more than one customer's row."""

from __future__ import annotations

from typing import Any

import msgspec

from churnlib.serving.problems import Problem, RequestError, refuse

MAX_ROWS = 10_000
"""Customers of one request, unless the server was told otherwise."""


def parse_document(body: bytes) -> Any:
    """Return what a body says in JSON.

    Raises:
        RequestError: 400 if it is no JSON, or no JSON that a customer's values could be in.
    """
    if not body.strip():
        raise refuse(400, "malformed_json", "the body is empty; expected a JSON object")
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise refuse(400, "malformed_json", "the body is not valid UTF-8") from None
    except msgspec.ValidationError:  # of a body without a type only numbers are validated
        raise refuse(400, "number_out_of_range", "a number is outside the range of a 64-bit float") from None
    except msgspec.DecodeError:
        raise refuse(400, "malformed_json", "the body is not valid JSON") from None
    except RecursionError:
        raise refuse(400, "nested_too_deep", "the body is nested too deeply") from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is.

    Raises:
        RequestError: 400 if it is no JSON, 422 if it is no object.
    """
    document = parse_document(body)
    if not isinstance(document, dict):
        raise refuse(422, "not_an_object", "expected a JSON object")
    return document


def check_rows(n: int, most: int) -> None:
    """Refuse a request of too many customers.

    Raises:
        RequestError: 413.
    """
    if n > most:
        message = f"the request has more than {most:,} customers; send them in several requests"
        raise RequestError(Problem(413, "too_many_rows", message))


__all__ = ["MAX_ROWS", "check_rows", "parse_document", "parse_object"]
