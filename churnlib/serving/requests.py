"""From the bytes of an HTTP request to one customer's row, refusing everything doubtful before any queue.

JSON is read strictly (RFC 8259 with no liberties): valid UTF-8 without a byte order mark, neither ``NaN`` nor
``Infinity``, no key twice in one object, no lone surrogates, at most :data:`MAX_DEPTH` levels, no number outside the
range of a 64-bit float. Python's own parser lets most of these through, and each would surface later as a 500 or a
silently wrong row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from churnlib.serving.problems import refuse

MAX_DEPTH = 8
"""Levels of objects and arrays, the row itself being the first."""

_INTEGER_DIGITS = 308
"""Longest integer that always fits a 64-bit float (its largest is 1.8e308)."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def parse_row(body: bytes) -> dict[str, Any]:
    r"""Return the JSON object of a request body.

    Args:
        body: The raw bytes, already below the size limit.

    Raises:
        RequestError: 400 if the bytes are not strict JSON, 422 if they are JSON but not an object.

    >>> parse_row(b'{"tenure": 12}')
    {'tenure': 12}
    """
    if not body.strip():
        raise refuse(400, "malformed_json", "the body is empty; expected a JSON object with the customer's columns")
    try:
        row = json.loads(body.decode(), **_STRICT)
    except UnicodeDecodeError:
        raise refuse(400, "malformed_json", "the body is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise refuse(400, "malformed_json", f"the body is not valid JSON: {_reason(error)} {where}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(row, dict):
        raise refuse(422, "not_an_object", f"expected a JSON object with the customer's columns, got {_kind(row)}")
    _check(row, depth=1)
    return row


def check_content(headers: Mapping[bytes, bytes]) -> None:
    """Refuse bodies that are not plain JSON.

    A request without a content type is read as JSON, since simple clients send none; ``curl -d`` announces a form and
    is refused with the header to add.

    Args:
        headers: Request headers, names in lower case.

    Raises:
        RequestError: 415 for another media type, another charset, or a compressed body.
    """
    media, _, parameters = headers.get(b"content-type", b"application/json").decode("latin-1").lower().partition(";")
    if media.strip() != "application/json":
        raise refuse(415, "unsupported_media_type", "expected the header Content-Type: application/json")
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters)
    if charset and charset.group(1) not in ("utf-8", "utf8", "us-ascii"):
        raise refuse(415, "unsupported_media_type", "JSON is read as UTF-8; leave the charset out")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
        raise refuse(415, "unsupported_encoding", "compressed bodies are not read; send the JSON as it is")


def check_length(announced: bytes, limit: int) -> None:
    """Refuse by the announced length what would be too large anyway; a missing or odd length is counted while reading.

    Raises:
        RequestError: 413 if ``Content-Length`` is above ``limit`` bytes.
    """
    if announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        raise too_large(limit)


def shorter(milliseconds: bytes, seconds: float) -> float:
    """Return the time that a client gives its request, which is never more than the server's own.

    Args:
        milliseconds: The header ``x-request-timeout-ms``.
        seconds: What the server allows.

    Raises:
        RequestError: 400 if it is no whole number of milliseconds.

    >>> shorter(b"250", 2.0), shorter(b"60000", 2.0)
    (0.25, 2.0)
    """
    if not (milliseconds.isdigit() and len(milliseconds) <= 9):
        raise refuse(400, "invalid_header", "x-request-timeout-ms must be a whole number of milliseconds")
    return min(int(milliseconds) / 1000.0, seconds)


def too_large(limit: int) -> Exception:
    """Return the 413 of a body above ``limit`` bytes."""
    return refuse(413, "body_too_large", f"the body is larger than {limit:,} bytes")


def request_id(sent: str) -> str:
    """Return the client's ``x-request-id`` if it is 1 to 64 letters, digits, ``_`` and ``-``, else an empty text."""
    return sent if _REQUEST_ID.fullmatch(sent) else ""


def _integer(token: str) -> int:
    if len(token.lstrip("-")) > _INTEGER_DIGITS:
        raise _out_of_range()
    return int(token)


def _float(token: str) -> float:
    number = float(token)
    if not math.isfinite(number):
        raise _out_of_range()
    return number


def _constant(token: str) -> float:
    raise refuse(400, "malformed_json", f"the body is not valid JSON: {token} is no JSON number; send null for missing")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise refuse(400, "duplicate_field", "a field is there twice; which one counts is not defined", field=name)
    return row


_STRICT: dict[str, Any] = {
    "parse_int": _integer,
    "parse_float": _float,
    "parse_constant": _constant,
    "object_pairs_hook": _object,
}


def _check(value: Any, *, depth: int) -> None:
    """Walk what was parsed: depth and text; no column holds a nested value, so this is mostly one pass over a row."""
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, dict):
            for name in value:
                _check_text(name)
            value = list(value.values())
        for item in value:
            _check(item, depth=depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refuse(400, "malformed_json", "the body holds half a surrogate pair, which is no character") from None


def _reason(error: json.JSONDecodeError) -> str:
    """Return the parser's reason: fixed words of the standard library, never text of the body."""
    return error.msg[:1].lower() + error.msg[1:].split(": ")[0]


def _kind(value: Any) -> str:
    names = {list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _out_of_range() -> Exception:
    return refuse(400, "number_out_of_range", "a number is outside the range of a 64-bit float")


def _too_deep() -> Exception:
    return refuse(400, "nested_too_deep", f"the body is nested deeper than {MAX_DEPTH} levels")
