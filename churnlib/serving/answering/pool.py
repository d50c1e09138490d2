"""The HTTP process's end of the workers: who is asked what, and what becomes of a question whose worker has died."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from churnlib.serving.answering.frames import Ask, Frames, Told, frame
from churnlib.serving.answering.jobs import READY
from churnlib.serving.answering.overdue import Overdue
from churnlib.serving.answering.shadow import Shadow
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE, NO_WORKER, WORKER_LOST, Problem, RequestError

_AGAIN_SECONDS = 0.05

_WATCH_SECONDS = 1.0
"""Time between two looks at a worker."""

_PATIENCE_SECONDS = 60.0
"""Time that a worker has to answer such a look: it may have a long job to do."""


class _Question:
    __slots__ = ("deadline", "future", "is_slow", "rows", "since")

    def __init__(self, future: asyncio.Future[Told], deadline: float, is_slow: bool) -> None:
        self.future, self.deadline, self.is_slow = future, deadline, is_slow
        self.since = time.monotonic()


class Link(asyncio.Protocol):
    """One connection to one worker."""

    def __init__(self, on_lost: Callable[[Link], None]) -> None:
        self._on_lost = on_lost
        self._frames = Frames.of_answers()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.questions: dict[int, _Question] = {}
        self.greeting: Told | None = None
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self.slow = 0
        self.backend = ""
        self.unfit: Problem | None = None
        """Why it answers nobody, though it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait for them."""
        for told in self._frames.feed(data):
            if told.number == 0:
                self.greeting = told
                if not self.greeted.done():
                    self.greeted.set_result(None)
                continue
            question = self.questions.pop(told.number, None)
            if question is None:
                continue  # it was given up
            self.slow -= question.is_slow
            if not question.future.done():
                question.future.set_result(told)

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker has died: whoever asked it is told so at once."""
        self.greeting = None  # nobody is to ask it any more, even before the pool has taken it off its list
        lost, self.questions = self.questions, {}
        for question in lost.values():
            if not question.future.done():
                question.future.set_exception(WorkerLostError())
        if not self.greeted.done():
            self.greeted.cancel()
        self._transport = None
        self._on_lost(self)

    def ask(self, message: Ask, question: _Question) -> None:
        """Send a question; all of one turn of the loop leave together."""
        self.questions[message.number] = question
        self.slow += question.is_slow
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame(message))

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None:
            self._transport.write(b"".join(out))


class WorkerLostError(Exception):
    """The worker died with the question."""


class Pool:
    """All workers, as one that can be asked.

    Args:
        paths: Their sockets; who is not there yet is tried again.
        shadow: Whether the challenger scores every customer, too.
    """

    name = "worker"

    def __init__(self, paths: Sequence[str], *, shadow: bool = False) -> None:
        self._paths = tuple(paths)
        self._shadow = Shadow(self) if shadow else None
        self._links: list[Link] = []
        self._number = 0
        self._tasks = [asyncio.create_task(self._keep(path)) for path in self._paths]
        self._overdue = Overdue()
        self._there = asyncio.Event()
        self._version = ""
        self.on_change: Callable[[], None] = lambda: None
        """Called when the workers serve another model."""

    @property
    def waiting(self) -> int:
        """Questions that are not answered yet."""
        return sum(len(link.questions) for link in self._links)

    @property
    def is_ready(self) -> bool:
        """Whether a worker is there."""
        return self.greeting is not None

    @property
    def greeting(self) -> Told | None:
        """What a worker says it serves; None while there is none."""
        return next((link.greeting for link in self._links if link.greeting is not None), None)

    def identity(self) -> dict[str, Any]:
        """Return what tells a health probe which model answers, as the workers have said within the last second.

        Raises:
            RequestError: 503 while every worker says that nobody may be answered.
        """
        links = [link for link in self._links if link.greeting is not None]
        fit = next((link for link in links if link.unfit is None), None)
        if fit is not None and fit.greeting is not None:
            return {"backend": fit.backend, "model": fit.greeting.body.decode(), "model_version": fit.greeting.version}
        if links and links[0].unfit is not None:
            raise RequestError(links[0].unfit)
        return {}

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        """Answer for one customer."""
        if self._shadow is not None:
            self._shadow.score(body, request_id)
        return await self._ask("predict", body, {}, deadline, request_id, is_slow=False)

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job."""
        return await self._ask(job, body, dict(query), deadline, request_id, is_slow=True)

    async def wait_until_there(self, seconds: float | None = None) -> bool:
        """Wait for a first worker, at most so long."""
        try:
            await asyncio.wait_for(self._there.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Leave the workers."""
        self._overdue.close()
        for task in self._tasks:
            task.cancel()
        for link in self._links:
            link.close()

    async def _ask(
        self, job: str, body: bytes, query: dict[str, str], deadline: float, request_id: str, *, is_slow: bool
    ) -> Answer:
        while (link := self._pick(is_slow)) is None:  # it may come and go again
            if not await self.wait_until_there(deadline - time.monotonic()):
                return Answer.refusal(NO_WORKER)
        try:
            told = await self._told(link, job, body, query, deadline, request_id, is_slow=is_slow)
        except WorkerLostError:
            return Answer.refusal(WORKER_LOST)
        except TimeoutError:
            return Answer.refusal(DEADLINE)
        headers = tuple((name, value) for name, value in told.headers)
        problem = Problem(told.status, told.code, "") if told.code else None
        return Answer(told.status, told.body, headers, told.version, problem, told.decisions, told.warned, told.refused)

    async def _told(
        self,
        link: Link,
        job: str,
        body: bytes,
        query: dict[str, str],
        deadline: float,
        request_id: str,
        *,
        is_slow: bool,
    ) -> Told:
        """Ask one worker.

        Raises:
            WorkerLostError: If it dies meanwhile.
            TimeoutError: If it has not answered in time.
        """
        self._number += 1
        question = _Question(asyncio.get_running_loop().create_future(), deadline, is_slow)
        self._overdue.watch(question.future, deadline)
        link.ask(Ask(self._number, job, body, query, deadline, request_id), question)
        return await question.future

    def _pick(self, is_slow: bool) -> Link | None:
        """Return the worker to ask: one without a slow job where there is one, then the one with the least to do."""
        ready = [link for link in self._links if link.greeting is not None]
        if not ready:
            return None
        if is_slow:
            return min(reversed(ready), key=lambda link: (link.slow, len(link.questions)))
        return min(ready, key=lambda link: (link.slow > 0, len(link.questions)))

    async def _keep(self, path: str) -> None:
        """Stay connected to a worker, whoever it is at the moment."""
        loop = asyncio.get_running_loop()
        while True:
            gone: asyncio.Future[None] = loop.create_future()
            try:
                _, link = await loop.create_unix_connection(lambda gone=gone: Link(lambda _: _done(gone)), path)
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            try:
                await asyncio.wait({link.greeted, gone}, return_when=asyncio.FIRST_COMPLETED)
                if link.greeting is not None:
                    self._links.append(link)
                    await self._look_at(link)
                    self._there.set()
                    await self._watch(link, gone)
            finally:
                link.close()
                if link in self._links:
                    self._links.remove(link)
                if not self._links:
                    self._there.clear()

    async def _watch(self, link: Link, gone: asyncio.Future[None]) -> None:
        """Ask a worker now and then whether it answers customers, until it has ended."""
        while not (await asyncio.wait({gone}, timeout=_WATCH_SECONDS))[0]:
            await self._look_at(link)

    async def _look_at(self, link: Link) -> None:
        """Ask a worker whether it answers customers; one that is busy for long keeps the state it was in."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with suppress(WorkerLostError, TimeoutError):
            told = await self._told(link, READY, b"", {}, deadline, "", is_slow=False)
            if told.status == 200:
                link.unfit, link.backend = None, json.loads(told.body)["backend"]
                if told.version != self._version:
                    self._version = told.version
                    self.on_change()
            else:
                error = json.loads(told.body)["error"]
                link.unfit = Problem(told.status, error["code"], error["message"], headers=tuple(told.headers))


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
