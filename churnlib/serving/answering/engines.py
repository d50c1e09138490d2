"""How requests reach the model: in the event loop's own turn, on a thread beside it, or in a process of its own.

All engines ask the same endpoints, so that they answer alike; they differ in who waits for whom. None uses a timer to
gather a batch: what came in together is predicted together. The third is
:class:`~churnlib.serving.answering.pool.Pool`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from churnlib.serving.answering.job_thread import Jobs
from churnlib.serving.answering.jobs import QUICK
from churnlib.serving.answering.models import Models
from churnlib.serving.answering.overdue import Overdue
from churnlib.serving.answering.shadow import Shadow
from churnlib.serving.answering.waiting import Observed, Settle, Waiting, answered
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE, Disconnected

if TYPE_CHECKING:
    from churnlib.serving.answering.rows import Customer


class Engine(Protocol):
    """Answers requests."""

    @property
    def name(self) -> str:
        """Word for it in logs and metrics."""
        ...

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        ...

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        """Answer for one customer.

        Args:
            body: JSON as it came.
            deadline: On the monotonic clock, seconds.
            request_id: For the record.
            is_gone: Returns whether the client has left.

        Raises:
            Disconnected: If it has.
        """
        ...

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job of :data:`~churnlib.serving.answering.jobs.JOBS`."""
        ...


class InProcess:
    """What the engines share that have the model in this process; each adds who predicts.

    Args:
        models: What is served.
        max_rows: Most customers of one call of the model.
        jobs: Does everything but single customers.
        observed: Told of each batch.
        shadow: Whether the challenger scores the champion's customers, too.
    """

    def __init__(self, models: Models, *, max_rows: int, jobs: Jobs, observed: Observed, shadow: bool = False) -> None:
        self.models, self.max_rows, self.jobs, self._observed = models, max_rows, jobs, observed
        self._shadow = Shadow(jobs) if shadow else None
        self._loop = asyncio.get_running_loop()
        self._begin()

    def _begin(self) -> None:
        """Make what an engine has of its own."""

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return self.models.loaded

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job, where that does not keep the loop waiting."""
        if job in QUICK:
            return self.models.run(job, body, query, request_id)
        return await self.jobs.run(job, body, query, deadline, request_id)

    def decode(
        self, body: bytes, deadline: float, request_id: str, is_gone: Callable[[], bool], settle: Settle
    ) -> Waiting | Answer:
        """Return the customer of a body, or the answer that is already certain."""
        endpoint = self.models.champion
        customer = endpoint.decode_request(body, request_id=request_id)
        if type(customer) is Answer:
            return customer
        if self.models.challenger is not None:
            chosen = self.models.choose(cast("Customer", customer).id)
            if chosen is not endpoint:
                endpoint, customer = chosen, chosen.decode_request(body, request_id=request_id)
                if type(customer) is Answer:
                    return customer
        if self._shadow is not None and endpoint is not self.models.challenger:
            self._shadow.score(body, request_id)
        return Waiting(endpoint, cast("Customer", customer), settle, deadline, is_gone)


class Inline(InProcess):
    """Predicts in the event loop: all requests of one turn of the loop together."""

    name = "inline"

    def _begin(self) -> None:
        self._items: list[Waiting] = []

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        return len(self._items)

    @property
    def since(self) -> float:
        """When the first of them came."""
        return self._items[0].since

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        """Answer for one customer."""
        future: asyncio.Future[Answer | None] = self._loop.create_future()
        self.submit(body, deadline, request_id, is_gone, partial(_settle, future))
        return _of_somebody_there(await future)

    def submit(
        self, body: bytes, deadline: float, request_id: str, is_gone: Callable[[], bool], settle: Settle
    ) -> None:
        """Have a customer answered at the end of the loop's present turn; at once where the answer is certain.

        Args:
            body: See :meth:`predict`, as for the others.
            deadline: Of the request.
            request_id: Of the request.
            is_gone: Of the client.
            settle: Is given the answer; it must not raise.
        """
        item = self.decode(body, deadline, request_id, is_gone, settle)
        if type(item) is Answer:
            settle(item)
            return
        if not self._items:
            self._loop.call_soon(self._flush)
        self._items.append(cast("Waiting", item))

    def _flush(self) -> None:
        items, self._items = self._items, []
        for item, answer in answered(items, self.max_rows, self._observed):
            item.settle(answer)


class Threaded(InProcess):
    """Predicts on one thread, which takes all that has come while it was busy."""

    name = "thread"

    def _begin(self) -> None:
        self._queue: deque[Waiting] = deque()
        self._wanted = threading.Event()
        self._busy = 0
        self._overdue = Overdue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        return len(self._queue) + self._busy

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return super().is_ready and self._thread.is_alive()

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        """Answer for one customer."""
        future: asyncio.Future[Answer | None] = self._loop.create_future()

        def nobody_waits() -> bool:  # who was given up as late, or whose task has ended, costs the model nothing
            return future.done() or is_gone()

        item = self.decode(body, deadline, request_id, nobody_waits, partial(_settle, future))
        if isinstance(item, Answer):
            return item
        self._overdue.watch(future, deadline)
        self._queue.append(item)
        self._wanted.set()
        try:
            return _of_somebody_there(await future)
        except TimeoutError:
            return Answer.refusal(DEADLINE)

    def _work(self) -> None:
        loop, max_rows, observed = self._loop, self.max_rows, self._observed
        while True:
            self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                items = [self._queue.popleft() for _ in range(min(len(self._queue), max_rows))]
                self._busy = len(items)
                found = list(answered(items, max_rows, observed))
                self._busy = 0
                try:
                    loop.call_soon_threadsafe(_settle_all, found)
                except RuntimeError:  # the loop has ended, and with it everybody who waited
                    return


def _settle(future: asyncio.Future[Answer | None], answer: Answer | None) -> None:
    if not future.done():
        future.set_result(answer)


def _settle_all(found: Sequence[tuple[Waiting, Answer | None]]) -> None:
    for item, answer in found:
        item.settle(answer)


def _of_somebody_there(answer: Answer | None) -> Answer:
    if answer is None:
        raise Disconnected
    return answer


__all__ = ["Engine", "InProcess", "Inline", "Threaded"]
