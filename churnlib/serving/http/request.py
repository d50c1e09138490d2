"""One HTTP request, and where its answer goes."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from churnlib.serving.seeing.tracing import Trace

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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


def request_ids() -> Iterator[str]:
    """Yield ids that no other process and no other start makes: random digits and a count."""
    start = os.urandom(12).hex()
    return (f"{start}{number:08x}" for number in itertools.count(1))


__all__ = ["Exchange", "Receive", "Request", "Scope", "Send", "request_ids"]
