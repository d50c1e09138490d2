"""What each address answers, whoever dispatches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from churnlib.serving.answering import requests
from churnlib.serving.answering.jobs import PATH
from churnlib.serving.answers import Answer
from churnlib.serving.http.intake import body_of
from churnlib.serving.http.request import Request
from churnlib.serving.problems import DRAINING, NOT_READY, RequestError

if TYPE_CHECKING:
    from churnlib.serving.answering.engines import Engine
    from churnlib.serving.http.front import Front

STARTING, READY, DRAINING_STATE = "starting", "ready", "draining"
"""What a server can be doing."""

Handler = Callable[["Front", Request], Awaitable[Answer]]
"""Answers a request with what the front holds: its engine, its limits, its state."""


async def predict(front: Front, request: Request) -> Answer:
    """Answer for one customer, with reasons where the query asks for them."""
    if request.query_string and "reasons" in request.query():
        return await _job_on(front, "explain", request)
    engine, limits, admission = _engine(front), front.limits, front.admission
    shorter = request.headers.get(b"x-request-timeout-ms")
    admission.check(limits.timeout if shorter is None else requests.shorter(shorter, limits.timeout))
    body = await body_of(request, limits.max_body_bytes, limits.timeout)
    entered, answered = admission.enter(), False
    try:
        answer = await engine.predict(body, request.deadline, request.id, request.is_gone)
        answered = answer.status < 500
        return answer
    finally:
        admission.leave(entered, answered=answered)


def job(name: str) -> Handler:
    """Return a handler that has a job done."""

    async def handle(front: Front, request: Request) -> Answer:
        return await _job_on(front, name, request)

    return handle


def bulk(name: str, *, needs: Sequence[str] = ()) -> Handler:
    """Return a handler that has a job for many customers done.

    Args:
        name: Of the job.
        needs: Headers that it looks at; with ``content-type`` among them it takes other bodies than JSON.
    """

    async def handle(front: Front, request: Request) -> Answer:
        limits, is_json = front.limits, "content-type" not in needs
        with front.reading:
            body = await body_of(request, limits.max_bulk_bytes, limits.bulk_timeout, is_json=is_json)
        with front.bulk:
            query = request.query()
            for header in needs:
                query[header] = request.headers.get(header.encode(), b"").decode("latin-1")
            query[PATH] = request.path
            return await _engine(front).run(name, body, query, request.deadline, request.id)

    return handle


def order(word: str) -> Handler:
    """Return a handler that passes an operator's order on."""

    async def handle(front: Front, request: Request) -> Answer:
        assert front.admin is not None
        body = await body_of(request, front.limits.max_body_bytes, front.limits.bulk_timeout)
        return await front.admin(word, body)

    return handle


async def ready(front: Front, request: Request) -> Answer:
    """Say which model answers, or 503 while none does."""
    if front.state == DRAINING_STATE:
        raise RequestError(DRAINING)
    if front.state != READY or not _engine(front).is_ready:
        raise RequestError(NOT_READY)
    identity = front.identity()
    return Answer(200, {"status": "ready", **{name: identity[name] for name in ("model", "model_version")}})


async def alive(front: Front, request: Request) -> Answer:
    """Say that the process answers."""
    return Answer(200, {"status": "alive"})


def protocol_is(word: str, probe: Handler) -> Handler:
    """Return a probe that answers as the Open Inference Protocol has it."""

    async def handle(front: Front, request: Request) -> Answer:
        await probe(front, request)
        return Answer(200, {word: True})

    return handle


async def metrics(front: Front, request: Request) -> Answer:
    """Return the numbers of all processes."""
    accept = request.headers.get(b"accept", b"").decode("latin-1")
    content, media_type = await asyncio.to_thread(front.watching.metrics, accept)
    return Answer(200, content, (("content-type", media_type),))


async def _job_on(front: Front, name: str, request: Request) -> Answer:
    limits = front.limits
    body = b""
    if request.method == "POST":
        body = await body_of(request, limits.max_body_bytes, limits.bulk_timeout)
    else:
        request.deadline = request.started + limits.bulk_timeout
    query = {**request.query(), PATH: request.path}
    return await _engine(front).run(name, body, query, request.deadline, request.id)


def _engine(front: Front) -> Engine:
    if front.engine is None:
        raise RequestError(NOT_READY)
    return front.engine


__all__ = [
    "DRAINING_STATE",
    "READY",
    "STARTING",
    "Handler",
    "alive",
    "bulk",
    "job",
    "metrics",
    "order",
    "predict",
    "protocol_is",
    "ready",
]
