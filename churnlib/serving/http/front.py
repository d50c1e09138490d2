"""The server's face: a raw ASGI application that refuses bad requests early and gives every answer one shape.

No framework stands between the HTTP parser and the model, since each layer of one costs more than the model does. What
is not one of the addresses, not JSON, too large or too much is answered here, before any queue; each error leaves in
the one envelope of the contract, with the request's id, without traceback or values.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from churnlib.serving.answering import requests
from churnlib.serving.answering.engines import Engine, Inline
from churnlib.serving.answers import Answer, in_protocol
from churnlib.serving.http.admission import Admission, Places
from churnlib.serving.http.handlers import DRAINING_STATE, READY, STARTING, Handler
from churnlib.serving.http.intake import Intake
from churnlib.serving.http.request import Exchange, Receive, Request, Scope, Send, request_ids
from churnlib.serving.http.routes import Routes
from churnlib.serving.problems import INTERNAL, Disconnected, RequestError
from churnlib.serving.seeing.watching import Unwatched, Watching

_JSON = (b"content-type", b"application/json")

_LONG_WAY = frozenset({b"content-encoding", b"x-request-timeout-ms"})
"""Headers that ask for more than the shortest way looks at."""

_MOST_READING, _MOST_BULK = 32, 4
"""Bulk requests of one process whose bodies are being read, and that may wait; more are told to come back."""

_log = logging.getLogger(__name__)


class Front:
    """The ASGI application.

    Args:
        limits: How much is taken in.
        watching: Is told of each request.
        holder: Returns the name of the key that headers come with, or raises; None lets everybody in.
        admin: Does what an operator asks for: a word and the body; None for servers that take no orders.

    Attributes:
        routes: The addresses.
        state: Whether it starts, is ready or ends.
        admission: Who may wait for the model.
        reading: Places for bulk requests whose bodies are being read.
        bulk: Places for bulk requests that wait for their answers.
        identity: Returns what is served; raises RequestError while nobody may be answered.
        on_startup: Called before the first request, where ASGI's lifespan says so.
        on_shutdown: Called after the last.
    """

    def __init__(
        self,
        limits: Intake | None = None,
        *,
        watching: Watching | None = None,
        holder: Callable[[Mapping[bytes, bytes], str], str] | None = None,
        admin: Callable[[str, bytes], Awaitable[Answer]] | None = None,
    ) -> None:
        self.limits = limits or Intake()
        self.watching = watching or Unwatched()
        self.admin = admin
        self.routes = Routes(admin=admin is not None)
        self.state = STARTING
        self.admission = Admission(self.limits.max_waiting, self.limits.max_wait)
        self.reading, self.bulk = Places(_MOST_READING), Places(_MOST_BULK)
        self.identity: Callable[[], dict[str, Any]] = dict
        self.on_startup: Callable[[], Awaitable[None]] | None = None
        self.on_shutdown: Callable[[], Awaitable[None]] | None = None
        self._reached: Engine | None = None
        self._inline: Inline | None = None
        self._holder = holder
        self._active = 0
        self._ids = request_ids()

    @property
    def engine(self) -> Engine | None:
        """What answers; None until there is a model."""
        return self._reached

    @engine.setter
    def engine(self, engine: Engine | None) -> None:
        self._reached = engine
        self._inline = engine if isinstance(engine, Inline) else None
        self.admission.turn = self._inline

    @property
    def active(self) -> int:
        """Requests that are not answered yet."""
        return self._active

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request = Request(
            scope["method"],
            scope["path"],
            headers,
            self._id_of(headers),
            query_string=scope.get("query_string", b""),
            receive=receive,
        )
        self._active += 1
        self.watching.arrived(request)
        try:
            try:
                answer = await self._handler(request)(self, request)
            except RequestError as error:
                answer = Answer.refusal(error.problem)
                if request.path.startswith("/v2/"):
                    answer = in_protocol(answer)
            body = answer.encode(request.id)
        except Disconnected:
            self._active -= 1
            self.watching.left(request)
            return
        except Exception as error:  # the last line before the client: no traceback passes it
            answer, body = self._failed(request, error)
        try:
            await self._send(send, request, answer, body)
        finally:
            self._active -= 1
            self.watching.answered(request, answer)

    def at_once(self, sent: Sequence[tuple[bytes, bytes]], body: bytes, exchange: Exchange) -> bool:
        """Begin to answer a ``POST /predict`` that came whole, without a task of its own.

        A task, its events and its messages cost about what the model does. What is not the most usual request, or
        comes when the server is not simply ready, goes the long way, which gives the same answer.

        Args:
            sent: Headers, names in lower case.
            body: All of it.
            exchange: Takes the answer.

        Returns:
            Whether the request was taken.
        """
        inline, limits = self._inline, self.limits
        headers = dict(sent)
        if (
            inline is None
            or self.state != READY
            or len(body) > limits.max_body_bytes
            or headers.get(b"content-type") != b"application/json"
            or not _LONG_WAY.isdisjoint(headers)
        ):
            return False
        request = Request("POST", "/predict", headers, self._id_of(headers))
        request.route = "predict"
        request.deadline = request.started + limits.timeout
        self._active += 1
        self.watching.arrived(request)
        settle = partial(self._settle, request, exchange)
        try:
            if self._holder is not None:
                request.key = self._holder(headers, "predict")
            self.admission.check(limits.timeout)
        except RequestError as error:
            settle(Answer.refusal(error.problem))
        else:
            inline.submit(body, request.deadline, request.id, lambda: exchange.disconnected, settle)
        return True

    def _settle(self, request: Request, exchange: Exchange, answer: Answer | None) -> None:
        """Send the answer of a request that was taken at once."""
        self._active -= 1
        if answer is None:
            self.watching.left(request)
            return
        try:
            body = answer.encode(request.id)
        except Exception as error:
            answer, body = self._failed(request, error)
        try:
            exchange.answer(answer.status, self._headers(request, answer, body), body)
        except ValueError as error:  # those who share its batch must get their answers all the same
            answer, body = self._failed(request, error)
            exchange.answer(answer.status, self._headers(request, answer, body), body)
        self.watching.answered(request, answer)

    def _handler(self, request: Request) -> Handler:
        """Return what answers a request, if its key opens that address."""
        route = self.routes.find(request.path)
        request.route = route.name
        if self._holder is not None and route.scope is not None:
            request.key = self._holder(request.headers, route.scope)
        return route.handler(request.method)

    def _id_of(self, headers: Mapping[bytes, bytes]) -> str:
        sent = headers.get(b"x-request-id")
        return next(self._ids) if sent is None else requests.request_id(sent.decode("latin-1")) or next(self._ids)

    async def _send(self, send: Send, request: Request, answer: Answer, body: bytes) -> None:
        headers = self._headers(request, answer, body)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _headers(self, request: Request, answer: Answer, body: bytes) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-length", b"%d" % len(body)), (b"x-request-id", request.id.encode())]
        if request.trace is not None:
            headers.append((b"traceparent", request.trace.header))
        if answer.version:
            headers.append((b"x-model-version", answer.version.encode()))
        is_json = True
        for name, value in answer.headers:
            headers.append((name.lower().encode(), value.encode()))
            is_json = is_json and headers[-1][0] != b"content-type"
        if is_json:
            headers.append(_JSON)
        if self.state == DRAINING_STATE or answer.status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of a refused body was not read
        return headers

    def _failed(self, request: Request, error: Exception) -> tuple[Answer, bytes]:
        _log.error("request %s failed in the server with %s", request.id, type(error).__name__)
        answer = Answer.refusal(INTERNAL)
        return answer, answer.encode(request.id)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and end with whatever runs this application."""
        if scope["type"] != "lifespan":
            return
        await receive()
        try:
            if self.on_startup is not None:
                await self.on_startup()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.state = DRAINING_STATE
        if self.on_shutdown is not None:
            await self.on_shutdown()
        await send({"type": "lifespan.shutdown.complete"})


__all__ = ["Front"]
