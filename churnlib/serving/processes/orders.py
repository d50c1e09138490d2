"""What an operator asks for over HTTP, and what is answered: ``POST /admin/reload`` and ``POST /admin/rollback``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DRAINING, Problem, refuse

_AGAIN = (("Retry-After", "1"),)


def bundle_of(word: str, body: bytes) -> str | None:
    """Return the bundle's folder that an order names; None for the one that is configured.

    >>> bundle_of("reload", b'{"bundle": "runs/today/bundle"}'), bundle_of("rollback", b"{}"), bundle_of("reload", b"")
    ('runs/today/bundle', None, None)

    Raises:
        RequestError: 422 if the body is anything but ``{"bundle": "..."}`` or nothing.
    """
    row = parse_row(body) if body.strip() else {}
    if not row:
        return None
    bundle = row.get("bundle")
    if word != "reload" or set(row) != {"bundle"} or not isinstance(bundle, str) or not bundle:
        raise refuse(422, "invalid_field", 'the body must be empty, or for a reload {"bundle": "FOLDER"}')
    return bundle


LATE_SECONDS = 2.0
"""Time beyond an order's own after which its answer cannot be that nothing was done."""

BUSY = Problem(
    503, "overloaded", "another change of the model is under way; nothing of this order was done", None, _AGAIN
)
GOES_ON = Problem(
    504,
    "deadline_exceeded",
    "the change takes longer and goes on; GET /readyz tells what is served",
    None,
    _AGAIN,
)
_REFUSED = {"busy": BUSY, "draining": DRAINING}


def outcome(message: Mapping[str, Any]) -> Answer:
    """Return what an order is answered: what came of it, or that nobody has begun with it."""
    if "refused" in message:
        return Answer.refusal(_REFUSED[message["refused"]])
    if message["ok"]:
        return Answer(200, {"status": "done", "model_version": message["version"]}, version=message["version"])
    return Answer.refusal(Problem(409, "not_changed", f"nothing has changed: {message['message']}"))
