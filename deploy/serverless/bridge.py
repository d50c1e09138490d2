"""Asks an ASGI application without a server: what a cloud's function is handed goes in, the answer comes out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class Application:
    """An ASGI application, started once for all the requests that this copy of the function will see.

    Its event loop has a thread of its own, so that requests may be asked from several threads.

    Args:
        app: Any ASGI 3 application.

    Raises:
        RuntimeError: If the application says that it cannot start.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="asgi", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def ask(
        self, method: str, path: str, query: str = "", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        """Return the answer to one request."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "client": None,
            "server": None,
        }
        return asyncio.run_coroutine_threadsafe(self._ask(scope, body), self._loop).result()

    async def _start(self) -> None:
        """Run the lifespan up to its start; its end never comes: a cloud freezes the copy, then drops it."""
        started: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        messages = iter([{"type": "lifespan.startup"}])

        async def receive() -> dict[str, Any]:
            return next(messages, None) or await self._loop.create_future()

        async def send(message: dict[str, Any]) -> None:
            if not started.done():
                started.set_result(message)

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self._lifespan = self._loop.create_task(self._app(scope, receive, send))
        await asyncio.wait([self._lifespan, started], return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            self._lifespan.result()  # raises what kept the application from starting
        elif (message := started.result())["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the application cannot start: {message.get('message', 'it gives no reason')}")

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])
        status, headers, parts = 500, {}, []

        async def receive() -> dict[str, Any]:
            return next(messages, None) or await self._loop.create_future()  # the client does not hang up

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                pairs = message.get("headers", ())
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, headers, b"".join(parts)
