"""What an operator asks for over HTTP, and what is answered: ``POST /admin/reload`` and ``POST /admin/rollback``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churnlib.serving.answers import Answer
from churnlib.serving.problems import Problem, refuse
from churnlib.serving.requests import parse_row


def bundle_of(word: str, body: bytes) -> str | None:
    """Return the bundle's folder that an order names; None for the one that is configured.

    Raises:
        RequestError: 422 if the body is anything but ``{"bundle": "..."}`` or nothing.
    """
    if not body.strip():
        return None
    row = parse_row(body)
    bundle = row.get("bundle")
    if word != "reload" or set(row) != {"bundle"} or not isinstance(bundle, str) or not bundle:
        raise refuse(422, "invalid_field", 'the body must be empty, or for a reload {"bundle": "FOLDER"}')
    return bundle


def outcome(message: Mapping[str, Any]) -> Answer:
    """Return what a finished order is answered."""
    if message["ok"]:
        return Answer(200, {"status": "done", "model_version": message["version"]}, version=message["version"])
    return Answer.refusal(Problem(409, "not_changed", f"nothing has changed: {message['message']}"))
