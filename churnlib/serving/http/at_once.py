"""The shortest way of a request: one that comes whole is answered whole, with nothing of ASGI between.

For each request uvicorn makes a task, an event and four messages, which cost about what a small model does. A
``POST /predict`` whose body has come with its head needs none of them: it is handed to the front in the parser's last
callback, and its answer is one write. Everything else goes on as uvicorn has it, requests in pieces or in a pipeline,
too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from churnlib.serving.http.protocol import GuardedProtocol, Guards
from churnlib.serving.http.request import Exchange

Taker = Callable[[Sequence[tuple[bytes, bytes]], bytes, Exchange], bool]
"""Takes headers, body and what the answer is for; False if the request is to go the long way."""


def guarded(guards: Guards | None = None, at_once: Taker | None = None) -> type[GuardedProtocol]:
    """Return the class for ``uvicorn.Config(http=...)``; ``ws`` should be ``"none"`` with it.

    Args:
        guards: What a client may do.
        at_once: Takes the requests that came whole, see :meth:`~churnlib.serving.http.front.Front.at_once`; None for
            nobody.
    """
    if at_once is None:
        return type("GuardedProtocol", (GuardedProtocol,), {"guards": guards or Guards()})
    return type("AtOnceProtocol", (AtOnceProtocol,), {"guards": guards or Guards(), "at_once": staticmethod(at_once)})


class AtOnceProtocol(GuardedProtocol):
    """One connection, of which the usual requests are taken at once."""

    at_once: ClassVar[staticmethod[..., bool]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: bytes | None = None  # body of the request whose head uvicorn has not been told of

    def on_message_begin(self) -> None:
        """Begin a request; what ASGI is told of it waits until that is certain to be needed."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {}  # type: ignore[assignment] - uvicorn and the guards look which it is, not what is in it

    def on_headers_complete(self) -> None:
        """Hold the head back if the request may be taken at once."""
        if self.url == b"/predict" and self._may_be_held():
            self._check_head()
            self._held = b""
        else:
            self._describe()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep the body of a request that is held back."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held = self._held + body if self._held else body

    def on_message_complete(self) -> None:
        """Hand the request over; it goes the long way if it is not taken."""
        if self._held is None:
            super().on_message_complete()
            return
        body, before = self._held, self.cycle
        self.cycle = exchange = _Exchange(self)  # type: ignore[assignment] - what uvicorn and the guards ask it, it knows
        if self.at_once(self.headers, body, exchange):
            self._held = None
            return
        self.cycle = before
        self._go_the_long_way()
        super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        super()._feed(data)
        if self._held is not None:
            if self._discarded is None:
                self._go_the_long_way()  # there is more to come
            self._held = None

    def _may_be_held(self) -> bool:
        parser: Any = self.parser  # it is there while it calls back
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self._unfinished
            and not self.expect_100_continue
            and not self.flow.write_paused
            and parser.get_method() == b"POST"
            and not parser.should_upgrade()
            and parser.get_http_version() == "1.1"
        )

    def _go_the_long_way(self) -> None:
        """Tell uvicorn of the request, as far as it has come."""
        body, self._held = self._held, None
        self._describe()
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _describe(self) -> None:
        """Make the description of the request that uvicorn makes at its beginning."""
        headers, url, expects = self.headers, self.url, self.expect_100_continue
        super().on_message_begin()
        self.headers += headers  # the list that the description holds
        self.url, self.expect_100_continue = url, expects


class _Event:
    """Stands for the event that nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


class _Exchange:
    """A request that was taken at once: what uvicorn's ``RequestResponseCycle`` is to the others."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "response_complete", "scope")

    more_body = response_started = False
    body = b""
    message_event = _Event()

    def __init__(self, protocol: AtOnceProtocol) -> None:
        self._protocol, self.scope = protocol, protocol.scope
        self.disconnected = self.response_complete = False
        parser: Any = protocol.parser
        self.keep_alive: bool = parser.should_keep_alive()

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the answer; nothing happens if the client has left.

        Raises:
            ValueError: If a header would begin another.
        """
        if self.disconnected:
            return
        protocol = self._protocol
        if (b"connection", b"close") in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, (b"connection", b"close")]
        headers = [*protocol.server_state.default_headers, *headers]
        head = b"".join([STATUS_LINE[status], *[b"%b: %b\r\n" % header for header in headers], b"\r\n"])
        if head.count(b"\n") != len(headers) + 2:
            raise ValueError("a response header holds a line break")
        self.response_complete = True
        protocol.transport.write(head + body)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


__all__ = ["AtOnceProtocol", "guarded"]
