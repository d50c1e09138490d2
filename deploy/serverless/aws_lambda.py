"""AWS Lambda behind a function URL or an HTTP API (payload format 2.0): every route of the server, in one function."""

from __future__ import annotations

import base64
import os
from typing import Any

from bridge import Application

from churnlib.serving import asgi

# While Lambda starts this copy: the first customer does not wait for the model.
APPLICATION = Application(asgi(os.environ.get("CHURNLIB_BUNDLE", "bundle")))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request; with a stage other than ``$default`` its name stands before the path and is taken off."""
    http = event["requestContext"]["http"]
    stage = event["requestContext"].get("stage", "$default")
    body = event.get("body") or ""
    status, headers, answer = APPLICATION.ask(
        http["method"],
        event["rawPath"].removeprefix(f"/{stage}"),
        event.get("rawQueryString", ""),
        event.get("headers", {}).items(),
        base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
    )
    return {"statusCode": status, "headers": headers, "body": answer.decode(), "isBase64Encoded": False}
