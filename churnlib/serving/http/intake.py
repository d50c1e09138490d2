"""How much of a request is taken in, and for how long: its body is read within these limits or refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from churnlib.serving.answering import requests
from churnlib.serving.http.request import Receive, Request
from churnlib.serving.problems import Disconnected, refuse


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


async def body_of(request: Request, limit: int, seconds: float, *, is_json: bool = True) -> bytes:
    """Read the body, counting as it comes: the announced length may be missing or wrong. Sets the request's deadline.

    Args:
        request: Whose.
        limit: Most bytes.
        seconds: Longest time from the request's first byte to its answer; the client may ask for less.
        is_json: Whether it must be announced as JSON.

    Raises:
        RequestError: 400, 408, 413 or 415, if it is not to be read.
        Disconnected: If the client leaves meanwhile.
    """
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
        return await _rest(request, message, request.receive, limit)
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message.get("body", b"")


async def _rest(request: Request, message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
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


__all__ = ["Intake", "body_of"]
