"""HTTP as it comes over the wire: uvicorn's protocol with an end to its patience.

uvicorn 0.54 waits for ever for the rest of a head or a body and for clients that do not read their answer, takes heads
of any size, and closes a connection so quickly that a client which is still sending never sees why. Here all of that
has a limit. A request that arrives in one piece, as nearly all do, passes through with a few comparisons: time is
watched from outside, by one look a second at all connections.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from churnlib.serving.problems import Problem

_MALFORMED = Problem(400, "malformed_http", "this is no HTTP/1.1 request that can be read")
_HEAD_TOO_LARGE = Problem(431, "headers_too_large", "the request's headers are too many or too long")
_TOO_SLOW = Problem(408, "request_timeout", "the request did not arrive in time")
_CROWDED = Problem(503, "overloaded", "too many connections are open", headers=(("Retry-After", "1"),))

_LINGER_SECONDS = 2.0
"""How long a refused client is still listened to, so that its system does not discard the answer unread."""

_LINGER_BYTES = 64_000_000
_FRAMING = 8
"""Bytes around each byte of a body that are let pass: a body in chunks of one byte has five."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What a client may do to a connection.

    Attributes:
        head_seconds: Until the head of a request is there, from the connection's start or the head's.
        body_seconds: Until its body is there; above the longest timeout of the server, which answers by itself.
        write_seconds: For which a client may leave an answer unread.
        head_bytes: Largest head: request line and headers. What one read brings (256 kB at most) is looked at once
            it is complete.
        headers: Most headers, trailers of a chunked body among them.
        connections: Most open ones in a process; to let one more in, an idle one is closed.
    """

    head_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 30.0
    head_bytes: int = 32_768
    headers: int = 100
    connections: int = 10_000


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    guards: ClassVar[Guards] = Guards()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfinished = 0  # bytes of the present request's head and framing; 0 between requests
        self._body_bytes = 0
        self._piece = 0  # bytes of what the parser is being fed
        self._discarded: int | None = None  # bytes that came after the last that count; None while all count
        self._earlier: list[Any] = []  # requests that were not answered when the next ones came
        self._wrong = _MALFORMED
        self._watched: tuple[str, object] | None = None  # what the client is waited for, and since when
        self._since = 0.0

    # --- from the network -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if need be in place of an idle one."""
        super().connection_made(transport)
        _Watch.over(self.server_state, self.loop, self.guards).start()
        if len(self.connections) > self.guards.connections and not self._close_idle():
            self._discarded = 0
            self._answer(_CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who are at work for this client that it has gone; uvicorn tells the last of them."""
        super().connection_lost(exc)
        for cycle in self._earlier:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and count what is not finished."""
        if self._discarded is not None:
            self._discard(data)
            return
        if self._unfinished:
            self._go_on(data)
            return
        self._feed(data)
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope or cycle.more_body:
            self._begin()

    # --- from the parser --------------------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large, before anything is done about it."""
        self._check_head()
        known = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self._earlier = [each for each in (*self._earlier, known) if not each.response_complete]

    def _check_head(self) -> None:
        most = self.guards.head_bytes
        in_pieces = self._unfinished or self._piece > most
        if len(self.headers) > self.guards.headers or (in_pieces and self._head_size() > most):
            self._wrong = _HEAD_TOO_LARGE
            raise ValueError(_HEAD_TOO_LARGE.code)

    def send_400_response(self, msg: str) -> None:
        """Answer in the one shape of all errors; a request before this one is answered first."""
        self._refuse(self._wrong)

    # --- what is not finished ---------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._piece = len(data)
        try:
            self.parser.feed_data(data)  # type: ignore[union-attr] - it is there while data comes
        except httptools.HttpParserError:
            self._refuse(self._wrong)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self.cycle is not None:  # answered as if it had not asked; the parser reads no further
                self.cycle.keep_alive = False
                self._discarded = 0

    def _begin(self) -> None:
        """Note that the rest of a request is to come."""
        self._unfinished = 1  # not more: with pipelining, most of the data may belong to requests before it
        self._body_bytes = 0
        if not self._in_head():
            self.cycle.transport = _Lingering(self, self.cycle)  # type: ignore[assignment]

    def _go_on(self, data: bytes) -> None:
        """Feed the parser more of a request that has begun."""
        known, in_head = self.cycle, self._in_head()
        before = 0 if known is None else len(known.body)
        self._feed(data)
        cycle = self.cycle
        if self._in_head():
            self._unfinished = self._unfinished + len(data) if in_head else 1
            if self._unfinished > self.guards.head_bytes:
                self._refuse(_HEAD_TOO_LARGE)
        elif cycle is not known:
            self._unfinished = 0
            if cycle.more_body:
                self._begin()
        elif not cycle.more_body:
            self._unfinished = 0
        elif not cycle.response_complete:
            body = len(cycle.body) - before
            self._body_bytes += body
            self._unfinished += len(data) - body
            if self._unfinished > self.guards.head_bytes + _FRAMING * self._body_bytes:
                self._refuse(_MALFORMED)

    def _in_head(self) -> bool:
        """Return whether the head of the next request is not complete."""
        return self.cycle is None or self.cycle.scope is not self.scope

    def _head_size(self) -> int:
        return len(self.url) + sum([len(name) + len(value) for name, value in self.headers])

    # --- ending it --------------------------------------------------------------------------------------------------

    def _refuse(self, problem: Problem) -> None:
        """Read no further and close: with an answer, unless that to a request before this one comes next."""
        if self._discarded is not None or self.transport.is_closing():
            return
        self._discarded = 0
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._answer(problem)
        elif not cycle.more_body or cycle.scope is not self.scope:
            cycle.keep_alive = False  # it is complete: closed after its answer
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.disconnected = True  # whoever waits for its body waits no more
            cycle.message_event.set()
            self._answer(problem)

    def _answer(self, problem: Problem) -> None:
        body = json.dumps(problem.envelope(), separators=(",", ":")).encode()
        headers = [
            *self.server_state.default_headers,
            *((name.lower().encode(), value.encode()) for name, value in problem.headers),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        self.linger()

    def linger(self) -> None:
        """Close for writing, and for reading once the client has seen it.

        A socket that is closed while data comes in is reset, and the other side then loses what it has not read yet:
        the answer that would have told it to stop.
        """
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        self._discarded = self._discarded or 0
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _discard(self, data: bytes) -> None:
        self._discarded = (self._discarded or 0) + len(data)
        if self._discarded > _LINGER_BYTES:
            self.transport.close()

    def _close_idle(self) -> bool:
        """Close a connection that waits for its next request, if there is one."""
        idle = next((each for each in self.connections if getattr(each, "timeout_keep_alive_task", None)), None)
        if idle is None:
            return False
        idle.transport.close()
        return True

    # --- seen from outside ------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Give up a client that is waited for too long; called about once a second.

        A wait is known by what it is for and the last request: one that is the same at two looks has lasted between.
        """
        reason = self._waits_for()
        watched = (reason, self.cycle)
        if not reason:
            self._watched = None
        elif self._watched is None or self._watched[0] != reason or self._watched[1] is not self.cycle:
            self._watched, self._since = watched, now
        elif now - self._since >= getattr(self.guards, f"{reason}_seconds"):
            self._give_up(reason)

    def _waits_for(self) -> str:
        if self.transport.is_closing() or self.flow.write_paused:
            return "write"
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return "" if self.timeout_keep_alive_task else "head"
        return "body" if cycle.more_body and not self.flow.read_paused else ""

    def _give_up(self, reason: str) -> None:
        if reason == "write":
            self.transport.abort()
        elif reason == "head" and not self._unfinished:
            self.transport.close()  # nothing was asked
        else:
            self._refuse(_TOO_SLOW)
            self._watched = None


class _Lingering:
    """The transport of a request whose body is still coming; what closes it does so gently."""

    def __init__(self, protocol: GuardedProtocol, cycle: Any) -> None:
        self._protocol, self._cycle, self._transport = protocol, cycle, protocol.transport
        self.write, self.is_closing = self._transport.write, self._transport.is_closing

    def close(self) -> None:
        if self._cycle.more_body:
            self._protocol.linger()
        else:
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Watch:
    """Looks at all connections of a server from time to time, as long as there are any."""

    _all: ClassVar[WeakKeyDictionary[ServerState, _Watch]] = WeakKeyDictionary()

    def __init__(self, connections: set[Any], loop: asyncio.AbstractEventLoop, guards: Guards) -> None:
        self._connections, self._loop = connections, loop
        self._pause = min(1.0, min(guards.head_seconds, guards.body_seconds, guards.write_seconds) / 5)
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def over(cls, state: ServerState, loop: asyncio.AbstractEventLoop, guards: Guards) -> _Watch:
        """Return the watch over a server's connections."""
        watch = cls._all.get(state)
        if watch is None:
            watch = cls._all[state] = cls(state.connections, loop, guards)
        return watch

    def start(self) -> None:
        """Look after the next pause, if that is not planned yet."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for each in list(self._connections):
            if isinstance(each, GuardedProtocol):
                each.look(now)
        if self._connections:
            self.start()


__all__ = ["GuardedProtocol", "Guards"]
