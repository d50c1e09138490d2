"""The server's face: a raw ASGI application that refuses bad requests early and gives every answer one shape.

No framework stands between the HTTP parser and the model, since each layer of one costs more than the model does. What
is not one of the addresses, not JSON, too large or too much is answered here, before any queue; each error leaves in
the one envelope of the contract, with the request's id, without traceback or values.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from churnlib.serving.answering import requests
from churnlib.serving.answering.engines import Engine, Inline
from churnlib.serving.answering.jobs import PATH
from churnlib.serving.answers import Answer, in_protocol
from churnlib.serving.http.admission import Admission
from churnlib.serving.problems import DRAINING, FULL, INTERNAL, NOT_READY, Disconnected, Problem, RequestError, refuse
from churnlib.serving.seeing.watching import Unwatched, Watching

if TYPE_CHECKING:
    from churnlib.serving.seeing.tracing import Trace

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[["Request"], Awaitable[Answer]]

STARTING, READY, DRAINING_STATE = "starting", "ready", "draining"

_JSON = (b"content-type", b"application/json")

_LONG_WAY = frozenset({b"content-encoding", b"x-request-timeout-ms"})
"""Headers that ask for more than the shortest way looks at."""

_PROTOCOL_HEADERS = ("content-type", "inference-header-content-length")

_MOST_READING, _MOST_BULK = 32, 4
"""Bulk requests of one process whose bodies are being read, and that may wait; more are told to come back."""

_log = logging.getLogger(__name__)


class Exchange(Protocol):
    """A request that came whole, and its answer, which goes out whole."""

    disconnected: bool
    """Whether the client has left."""

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the answer; nothing happens if the client has left."""
        ...


class Request:
    """One HTTP request.

    Attributes:
        method: Of HTTP.
        path: Without the query.
        headers: Names in lower case; the last of a repeated header counts.
        query_string: As it came.
        receive: Of ASGI.
        id: Of the client, or made here.
        started: On the monotonic clock, seconds.
        deadline: Until then it must be answered.
        route: Name of the address.
        key: Name of the key that it came with.
        trace: Its place in a trace; None where it belongs to none.
    """

    __slots__ = (
        "deadline", "headers", "id", "key", "method", "path", "query_string", "receive", "route", "started", "trace"
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        request_id: str,
        *,
        query_string: bytes = b"",
        receive: Receive | None = None,
    ) -> None:
        self.method, self.path, self.headers, self.id = method, path, headers, request_id
        self.query_string, self.receive = query_string, receive
        self.started = time.monotonic()
        self.deadline = self.started
        self.route, self.key = "other", ""
        self.trace: Trace | None = None

    def is_gone(self) -> bool:
        """Whether the client has left, as far as uvicorn's own object knows; the ASGI interface cannot be asked."""
        return getattr(getattr(self.receive, "__self__", None), "disconnected", False)

    def query(self) -> dict[str, str]:
        """Return the words of the address; the last of a repeated one counts."""
        raw = self.query_string
        return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


@dataclass(frozen=True, slots=True)
class Route:
    """What one address answers.

    Attributes:
        name: Label of logs and metrics.
        handlers: By method.
        scope: What a key must be for: predict, metrics, admin; None for everybody.
    """

    name: str
    handlers: Mapping[str, Handler]
    scope: str | None = "predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """How much is taken in.

    Attributes:
        timeout: Seconds a request may take, from its first byte to the answer.
        bulk_timeout: The same for many customers and for jobs.
        max_body_bytes: Largest body for one customer.
        max_bulk_bytes: Largest body for many.
        max_waiting: Customers of this process that may wait for the model; more are told to come back.
        max_wait: Seconds that a customer may have to wait for the others; who would wait longer is told to come back.
    """

    timeout: float = 2.0
    bulk_timeout: float = 30.0
    max_body_bytes: int = 1_000_000
    max_bulk_bytes: int = 16_000_000
    max_waiting: int = 1024
    max_wait: float = 1.0


class Front:
    """The ASGI application.

    Args:
        limits: How much is taken in.
        watching: Is told of each request.
        holder: Returns the name of the key that headers come with, or raises; None lets everybody in.
        admin: Does what an operator asks for: a word and the body; None for servers that take no orders.
        routes: Further addresses.
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
        self.state = STARTING
        self.admission = Admission(self.limits.max_waiting, self.limits.max_wait)
        self._reached: Engine | None = None
        self._inline: Inline | None = None
        self.identity: Callable[[], dict[str, Any]] = dict
        self.on_startup: Callable[[], Awaitable[None]] | None = None
        self.on_shutdown: Callable[[], Awaitable[None]] | None = None
        self._holder, self._admin = holder, admin
        self._places = {"reading": 0, "bulk": 0}
        self._active = 0
        self._ids = _request_ids()
        self._routes = self._table()
        self._protocol_infer = Route("v2_infer", {"POST": self.bulk("infer", needs=_PROTOCOL_HEADERS)})
        self._protocol = Route("v2", _get(self.job("protocol")))
        self._protocol_ready = Route("v2", _get(self.job("protocol")), None)

    def add_platform(self, ready: Sequence[str], jobs: Mapping[str, str]) -> None:
        """Answer the addresses that a cloud asks for.

        Args:
            ready: Answered as ``/readyz``.
            jobs: Names of jobs by address.
        """
        for path in ready:
            self._routes[path] = Route("readyz", _get(self._ready), None)
        for path, job in jobs.items():
            self._routes[path] = Route(job, {"POST": self.bulk(job, needs=("content-type",))})

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
    def paths(self) -> frozenset[str]:
        """All addresses but those of the models of the Open Inference Protocol."""
        return frozenset(self._routes)

    @property
    def names(self) -> Sequence[str]:
        """Labels of all addresses."""
        routes = (*self._routes.values(), self._protocol, self._protocol_infer)
        return tuple(dict.fromkeys(route.name for route in routes))

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
                answer = await self._handler(request)(request)
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

    # --- what each address answers ----------------------------------------------------------------------------------

    def _table(self) -> dict[str, Route]:
        table = {
            "/predict": Route("predict", {"POST": self._predict}),
            "/predict/batch": Route("batch", {"POST": self.bulk("batch")}),
            "/explain": Route("explain", {"POST": self.job("explain")}),
            "/feedback": Route("feedback", {"POST": self.job("feedback")}),
            "/health": Route("health", _get(self._ready), None),
            "/readyz": Route("readyz", _get(self._ready), None),
            "/livez": Route("livez", _get(self._alive), None),
            "/v2": Route("v2", _get(self.job("protocol")), None),
            "/v2/health/live": Route("livez", _get(self._protocol_is("live", self._alive)), None),
            "/v2/health/ready": Route("readyz", _get(self._protocol_is("ready", self._ready)), None),
            "/metadata": Route("metadata", _get(self.job("metadata"))),
            "/openapi.json": Route("openapi", _get(self.job("openapi"))),
            "/docs": Route("docs", _get(self.job("docs"))),
            "/metrics": Route("metrics", _get(self._metrics), "metrics"),
        }
        if self._admin is not None:
            for word in ("reload", "rollback"):
                table[f"/admin/{word}"] = Route("admin", {"POST": self._order(word)}, "admin")
        return table

    def _handler(self, request: Request) -> Handler:
        path = request.path
        route = self._routes.get(path)
        if route is None and path.startswith("/v2/"):
            asked = path.rpartition("/")[2]
            route = {"infer": self._protocol_infer, "ready": self._protocol_ready}.get(asked, self._protocol)
        if route is None:
            raise refuse(404, "not_found", "no such address; GET /openapi.json lists them")
        request.route = route.name
        if self._holder is not None and route.scope is not None:
            request.key = self._holder(request.headers, route.scope)
        handler = route.handlers.get(request.method)
        if handler is None:
            allowed = ", ".join(route.handlers)
            message = f"this address answers {allowed}"
            raise RequestError(Problem(405, "method_not_allowed", message, headers=(("Allow", allowed),)))
        return handler

    async def _predict(self, request: Request) -> Answer:
        if request.query_string and "reasons" in request.query():
            return await self._job_on("explain", request)
        engine, limits, admission = self._engine(), self.limits, self.admission
        shorter = request.headers.get(b"x-request-timeout-ms")
        admission.check(limits.timeout if shorter is None else requests.shorter(shorter, limits.timeout))
        body = await self._body(request, limits.max_body_bytes, limits.timeout)
        entered, answered = admission.enter(), False
        try:
            answer = await engine.predict(body, request.deadline, request.id, request.is_gone)
            answered = answer.status < 500
            return answer
        finally:
            admission.leave(entered, answered=answered)

    def job(self, name: str) -> Handler:
        """Return a handler that has a job done."""

        async def handle(request: Request) -> Answer:
            return await self._job_on(name, request)

        return handle

    def bulk(self, name: str, *, needs: Sequence[str] = ()) -> Handler:
        """Return a handler that has a job for many customers done.

        Args:
            name: Of the job.
            needs: Headers that it looks at; with ``content-type`` among them it takes other bodies than JSON.
        """

        async def handle(request: Request) -> Answer:
            limits, is_json = self.limits, "content-type" not in needs
            with self._place("reading", _MOST_READING):
                body = await self._body(request, limits.max_bulk_bytes, limits.bulk_timeout, is_json=is_json)
            with self._place("bulk", _MOST_BULK):
                query = request.query()
                for header in needs:
                    query[header] = request.headers.get(header.encode(), b"").decode("latin-1")
                query[PATH] = request.path
                return await self._engine().run(name, body, query, request.deadline, request.id)

        return handle

    async def _job_on(self, name: str, request: Request) -> Answer:
        limits = self.limits
        body = b""
        if request.method == "POST":
            body = await self._body(request, limits.max_body_bytes, limits.bulk_timeout)
        else:
            request.deadline = request.started + limits.bulk_timeout
        query = {**request.query(), PATH: request.path}
        return await self._engine().run(name, body, query, request.deadline, request.id)

    async def _ready(self, request: Request) -> Answer:
        if self.state == DRAINING_STATE:
            raise RequestError(DRAINING)
        if self.state != READY or self.engine is None or not self.engine.is_ready:
            raise RequestError(NOT_READY)
        identity = self.identity()
        return Answer(200, {"status": "ready", **{name: identity[name] for name in ("model", "model_version")}})

    async def _alive(self, request: Request) -> Answer:
        return Answer(200, {"status": "alive"})

    def _protocol_is(self, word: str, probe: Handler) -> Handler:
        """Return a probe that answers as the Open Inference Protocol has it."""

        async def handle(request: Request) -> Answer:
            await probe(request)
            return Answer(200, {word: True})

        return handle

    async def _metrics(self, request: Request) -> Answer:
        accept = request.headers.get(b"accept", b"").decode("latin-1")
        content, media_type = await asyncio.to_thread(self.watching.metrics, accept)
        return Answer(200, content, (("content-type", media_type),))

    def _order(self, word: str) -> Handler:
        async def handle(request: Request) -> Answer:
            assert self._admin is not None
            body = await self._body(request, self.limits.max_body_bytes, self.limits.bulk_timeout)
            return await self._admin(word, body)

        return handle

    def _engine(self) -> Engine:
        if self.engine is None:
            raise RequestError(NOT_READY)
        return self.engine

    @contextmanager
    def _place(self, what: str, most: int) -> Iterator[None]:
        """Within the block one of so many places is taken; who finds none is told to come back."""
        if self._places[what] >= most:
            raise RequestError(FULL)
        self._places[what] += 1
        try:
            yield
        finally:
            self._places[what] -= 1

    # --- a request's bytes ------------------------------------------------------------------------------------------

    def _id_of(self, headers: Mapping[bytes, bytes]) -> str:
        sent = headers.get(b"x-request-id")
        return next(self._ids) if sent is None else requests.request_id(sent.decode("latin-1")) or next(self._ids)

    async def _body(self, request: Request, limit: int, seconds: float, *, is_json: bool = True) -> bytes:
        """Read the body, counting as it comes: the announced length may be missing or wrong."""
        headers = request.headers
        shorter = headers.get(b"x-request-timeout-ms")
        if shorter is not None:
            seconds = requests.shorter(shorter, seconds)
        request.deadline = request.started + seconds
        if headers.get(b"content-type") != b"application/json" or b"content-encoding" in headers:
            requests.check_content(headers, is_json=is_json)
        length = headers.get(b"content-length")
        if length is not None:
            requests.check_length(length, limit)
        assert request.receive is not None
        message = await request.receive()
        if message.get("more_body"):
            return await self._rest(request, message, request.receive, limit)
        if message["type"] == "http.disconnect":
            raise Disconnected
        return message.get("body", b"")

    async def _rest(self, request: Request, message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
        chunks, size = [message.get("body", b"")], len(message.get("body", b""))
        try:
            async with asyncio.timeout(request.deadline - time.monotonic()):
                while message.get("more_body"):
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > limit:
                        raise requests.too_large(limit)
        except TimeoutError:
            raise refuse(408, "request_timeout", "the body did not arrive in time") from None
        return b"".join(chunks)

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


def _get(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _request_ids() -> Iterator[str]:
    """Yield ids that no other process and no other start makes: random digits and a count."""
    start = os.urandom(12).hex()
    return (f"{start}{number:08x}" for number in itertools.count(1))
