"""The server's face: a small ASGI layer that refuses bad requests early and gives every answer one shape.

It stands outermost, before LitServe's own routes. What is not one of the endpoints, not JSON, too large or too much is
answered here, before any queue; what passes goes to LitServe with the bytes it came with. Whatever comes back, each
error leaves in the one envelope of the contract, with the request's id, without traceback or values.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.serving import requests
from churnlib.serving.problems import DEADLINE, FULL, INTERNAL, NOT_READY, Problem, RequestError, refuse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FRESH_SECONDS = 1.0
"""Age up to which the worker's last answer counts as a sign of life, so that probes do not queue behind customers."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reply:
    """One HTTP response."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Reply:
        """Return the 200 with these JSON values."""
        return cls(200, json.dumps(values, ensure_ascii=False, allow_nan=False).encode())

    @classmethod
    def refusal(cls, problem: Problem, request_id: str) -> Reply:
        """Return the answer that tells a problem."""
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers]
        return cls(problem.status, json.dumps(problem.envelope(request_id), ensure_ascii=False).encode(), headers)


class Disconnected(Exception):
    """The client left before its request was read; nobody waits for an answer."""


class Front:
    """The ASGI layer around LitServe's application.

    Args:
        app: LitServe's application.
        metadata: Body of ``GET /metadata``; its ``model`` and ``model_version`` also answer ``GET /health``.
        timeout: Seconds a request may take, from its first byte to the model's answer.
        max_body_bytes: Largest body that is read.
        max_waiting: Requests in this process that may wait for the model; more are told to come back.
        probe_seconds: Seconds the model has to answer a health probe.
    """

    def __init__(
        self,
        app: App,
        *,
        metadata: Mapping[str, Any],
        timeout: float = 10.0,
        max_body_bytes: int = 1_000_000,
        max_waiting: int = 256,
        probe_seconds: float = 2.0,
    ) -> None:
        self.app = app
        self.metadata = metadata
        self.timeout = timeout
        self.max_body_bytes = max_body_bytes
        self.max_waiting = max_waiting
        self.probe_seconds = probe_seconds
        self._waiting: set[asyncio.Task[Reply]] = set()
        self._answered = -_FRESH_SECONDS
        self._routes = {
            "/predict": {"POST": self._predict},
            "/health": {"GET": self._health, "HEAD": self._health},
            "/metadata": {"GET": self._metadata, "HEAD": self._metadata},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP (the server's start and end) is LitServe's."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = requests.headers_of(scope["headers"])
        request_id = requests.request_id(headers)
        try:
            reply = await self._route(scope)(scope, headers, receive)
            if reply.status >= 400:
                reply = _in_envelope(reply, request_id)
        except Disconnected:
            return
        except RequestError as error:
            reply = Reply.refusal(error.problem, request_id)
        except Exception as error:  # the last line before the client: no traceback passes it
            _log.error("request %s failed in the server with %s", request_id, type(error).__name__)
            reply = Reply.refusal(INTERNAL, request_id)
        if reply.status in (500, 504):  # a 503 is no fault of this process, and probes would fill the log with them
            _log.error("request %s was answered %d", request_id, reply.status)
        await _send(send, reply, request_id)

    def _route(self, scope: Scope) -> Callable[[Scope, Mapping[str, str], Receive], Awaitable[Reply]]:
        methods = self._routes.get(scope["path"])
        if methods is None:
            raise refuse(404, "not_found", f"no such address; there are {', '.join(self._routes)}")
        if scope["method"] not in methods:
            allowed = ", ".join(methods)
            message = f"this address answers {allowed}"
            raise RequestError(Problem(405, "method_not_allowed", message, headers=(("Allow", allowed),)))
        return methods[scope["method"]]

    async def _predict(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply:
        started = time.monotonic()
        requests.check_content(headers)
        requests.check_length(headers, self.max_body_bytes)
        body = await self._body(receive)
        requests.parse_row(body)
        if len(self._waiting) >= self.max_waiting:
            raise RequestError(FULL)
        return await self._forward(scope, body, timeout=self.timeout - (time.monotonic() - started))

    async def _health(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply:
        if time.monotonic() - self._answered > _FRESH_SECONDS:
            try:
                reply = await self._forward({**scope, "method": "POST"}, b"null", timeout=self.probe_seconds)
            except Exception as error:
                raise RequestError(NOT_READY) from error
            if reply.status != 200:
                raise RequestError(NOT_READY)
        return Reply.of({"status": "ready"} | {key: self.metadata[key] for key in ("model", "model_version")})

    async def _metadata(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply:
        return Reply.of(self.metadata)

    async def _body(self, receive: Receive) -> bytes:
        """Read the body, counting as it comes: the announced length may be missing or wrong."""
        chunks, size, more = [], 0, True
        try:
            async with asyncio.timeout(self.timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    more = message.get("more_body", False)
                    if size > self.max_body_bytes:
                        raise requests.too_large(self.max_body_bytes)
        except TimeoutError:
            raise refuse(408, "request_timeout", "the body did not arrive in time") from None
        return b"".join(chunks)

    async def _forward(self, scope: Scope, body: bytes, *, timeout: float) -> Reply:
        """Let LitServe answer ``POST /predict`` with this body.

        A request that misses its deadline is left to end by itself: LitServe 0.2.19 never forgets a cancelled one.
        """
        task = asyncio.create_task(_ask(self.app, scope, body))
        self._waiting.add(task)
        task.add_done_callback(self._settled)
        done, _ = await asyncio.wait({task}, timeout=max(timeout, 0.0))
        if not done:
            raise RequestError(DEADLINE)
        reply = task.result()
        if reply.status < 500:
            self._answered = time.monotonic()
        return reply

    def _settled(self, task: asyncio.Task[Reply]) -> None:
        self._waiting.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio complains of a failure after the deadline


async def _ask(app: App, scope: Scope, body: bytes) -> Reply:
    """Call an ASGI application with a whole body and collect its whole answer."""
    sent, reply = False, Reply(500, b"")

    async def receive() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
        elif message["type"] == "http.response.body":
            reply.body += message.get("body", b"")

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    inner = {**scope, "path": "/predict", "raw_path": b"/predict", "query_string": b"", "headers": headers}
    await app(inner, receive, send)
    return reply


def _in_envelope(reply: Reply, request_id: str) -> Reply:
    """Write the request's id into an error of our own; replace any other error (LitServe's, FastAPI's) by ours."""
    try:
        values = json.loads(reply.body)
        values["error"]["request_id"] = request_id
    except (ValueError, TypeError, KeyError):
        return Reply.refusal(DEADLINE if reply.status == 504 else INTERNAL, request_id)
    return Reply(reply.status, json.dumps(values, ensure_ascii=False).encode(), reply.headers)


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-request-id", request_id.encode()),
        *reply.headers,
    ]
    if reply.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body was not read
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
