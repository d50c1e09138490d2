"""From the bytes of an HTTP request to one customer's row, refusing everything doubtful before any queue.

JSON is read strictly (:mod:`churnlib.serving.answering.strict_json`). Python's own parser lets through most of what is
refused here, and each would surface later as a 500 or a silently wrong row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from churnlib.serving.answering import strict_json
from churnlib.serving.answering.limits import Limits
from churnlib.serving.problems import Problem, RequestError, refuse

LIMITS = Limits()

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def parse_row(body: bytes, limits: Limits = LIMITS) -> dict[str, Any]:
    r"""Return the JSON object of a request body.

    Args:
        body: The raw bytes, already below the size limit.
        limits: How much may be in it.

    Raises:
        RequestError: 400 if the bytes are not strict JSON, 422 if they are JSON but not an object or hold too much.

    >>> parse_row(b'{"tenure": 12}')
    {'tenure': 12}
    """
    row = _row_of(body, limits)
    if row is not None:
        return row
    row = strict_json.read(body)
    problem = strict_json.find_flaw(row, limits)
    if problem is None and not isinstance(row, dict):
        told = f"expected a JSON object with the customer's columns, got {strict_json.kind_of(row)}"
        problem = Problem(422, "not_an_object", told)
    if problem is not None:
        raise RequestError(problem)
    return row


def _row_of(body: bytes, limits: Limits) -> dict[str, Any] | None:
    """Return a row that is read fast, None if it must be read the slow way."""
    short = len(body) <= limits.text
    try:
        row = limits.decode_row(body) if short else limits.decode_long_row(body)
    except (ValueError, RecursionError):
        return None
    fits = short or limits.keys_fit(row)
    return row if fits and strict_json.each_key_once(body, len(row), row, row.values()) else None


def check_content(headers: Mapping[bytes, bytes], *, is_json: bool = True) -> None:
    """Refuse bodies that are not plain JSON.

    A request without a content type is read as JSON, since simple clients send none; ``curl -d`` announces a form and
    is refused with the header to add.

    Args:
        headers: Request headers, names in lower case.
        is_json: Whether the body must be JSON; only the encoding is looked at otherwise.

    Raises:
        RequestError: 415 for another media type, another charset, or a compressed body.
    """
    media, _, parameters = headers.get(b"content-type", b"application/json").decode("latin-1").lower().partition(";")
    if is_json and media.strip() != "application/json":
        raise refuse(415, "unsupported_media_type", "expected the header Content-Type: application/json")
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters)
    if is_json and charset and charset.group(1) not in ("utf-8", "utf8", "us-ascii"):
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
