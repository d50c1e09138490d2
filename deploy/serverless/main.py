"""Google Cloud Functions (Cloud Run functions), which look for ``main.py``: ``--entry-point answer``, any route."""

from __future__ import annotations

import os
from typing import Any

from bridge import Application

from churnlib.serving import asgi

APPLICATION = Application(asgi(os.environ.get("CHURNLIB_BUNDLE", "bundle")))


def answer(request: Any) -> tuple[bytes, int, dict[str, str]]:
    """Answer one request, which comes as Flask's."""
    status, headers, body = APPLICATION.ask(
        request.method, request.path, request.query_string.decode(), request.headers.items(), request.get_data()
    )
    return body, status, headers
