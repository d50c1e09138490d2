"""How requests reach the model: in the event loop's own turn, on a thread beside it, or in a process of its own.

All engines ask the same endpoints, so that they answer alike; they differ in who waits for whom. None uses a timer to
gather a batch: what came in together is predicted together.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answering.jobs import QUICK
from churnlib.serving.answering.models import Models
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE, INTERNAL, Disconnected

if TYPE_CHECKING:
    from churnlib.serving.answering.rows import Customer

Observed = Callable[[Sequence[float], float], None]
"""Told of each batch: seconds that each request waited, seconds that the model took."""

_SWEEP_SECONDS = 0.05
_SHADOW_SECONDS = 10.0

SLOW_SECONDS = 0.0005
"""A model that takes longer for one customer gets a thread of its own, so that the loop keeps reading."""


Settle = Callable[[Answer | None], Any]
"""Takes an answer; None says that the client has left, and the model was not asked."""


class Waiting:
    """A customer who waits for an answer."""

    __slots__ = ("customer", "deadline", "endpoint", "is_gone", "settle", "since")

    def __init__(
        self, endpoint: Endpoint, customer: Customer, settle: Settle, deadline: float, is_gone: Callable[[], bool]
    ) -> None:
        self.endpoint, self.customer, self.settle = endpoint, customer, settle
        self.deadline, self.is_gone = deadline, is_gone
        self.since = time.monotonic()


class Overdue:
    """Gives up what is late: whoever should answer may hang, and no client waits for that."""

    def __init__(self) -> None:
        self._watched: dict[asyncio.Future[Any], float] = {}
        self._task = asyncio.create_task(self._sweep())

    def watch(self, future: asyncio.Future[Any], deadline: float) -> None:
        """Let the future fail with ``TimeoutError`` if it is not done by then."""
        self._watched[future] = deadline

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for future, deadline in list(self._watched.items()):
                if future.done():
                    del self._watched[future]
                elif deadline < now:
                    del self._watched[future]
                    future.set_exception(TimeoutError())

    def close(self) -> None:
        """Watch no more."""
        self._task.cancel()


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


class Shadow:
    """Lets the challenger score the customers whom the champion answers, beside the answers and for the record alone.

    Args:
        jobs: Does it.
        most: Customers whom it may lag behind; more are left out.
    """

    def __init__(self, jobs: Jobs, most: int = 256) -> None:
        self._jobs, self._most = jobs, most
        self._tasks: set[asyncio.Task[Answer]] = set()

    def score(self, body: bytes, request_id: str) -> None:
        """Have a customer scored when there is time."""
        if len(self._tasks) < self._most:
            deadline = time.monotonic() + _SHADOW_SECONDS
            task = asyncio.create_task(self._jobs.run("shadow", body, {}, deadline, request_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Inline:
    """Predicts in the event loop: all requests of one turn of the loop together.

    Args:
        models: What is served.
        max_rows: Most customers of one call of the model.
        jobs: Does everything but single customers.
        observed: Told of each batch.
        shadow: Whether the challenger scores the champion's customers, too.
    """

    name = "inline"

    def __init__(self, models: Models, *, max_rows: int, jobs: Jobs, observed: Observed, shadow: bool = False) -> None:
        self.models, self.max_rows, self.jobs, self._observed = models, max_rows, jobs, observed
        self._shadow = Shadow(jobs) if shadow else None
        self._loop = asyncio.get_running_loop()
        self._items: list[Waiting] = []

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        return len(self._items)

    @property
    def since(self) -> float:
        """When the first of them came."""
        return self._items[0].since

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return self.models.loaded

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

    def _flush(self) -> None:
        items, self._items = self._items, []
        for item, answer in answered(items, self.max_rows, self._observed):
            item.settle(answer)


class Threaded:
    """Predicts on one thread, which takes all that has come while it was busy.

    Args:
        models: What is served.
        max_rows: Most customers of one call of the model.
        jobs: Does everything but single customers.
        observed: Told of each batch.
        shadow: Whether the challenger scores the champion's customers, too.
    """

    name = "thread"

    def __init__(self, models: Models, *, max_rows: int, jobs: Jobs, observed: Observed, shadow: bool = False) -> None:
        self._inline = Inline(models, max_rows=max_rows, jobs=jobs, observed=observed, shadow=shadow)
        self._observed = observed
        self._loop = asyncio.get_running_loop()
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
        return self._inline.is_ready and self._thread.is_alive()

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        """Answer for one customer."""
        future: asyncio.Future[Answer | None] = self._loop.create_future()

        def nobody_waits() -> bool:  # who was given up as late, or whose task has ended, costs the model nothing
            return future.done() or is_gone()

        item = self._inline.decode(body, deadline, request_id, nobody_waits, partial(_settle, future))
        if isinstance(item, Answer):
            return item
        self._overdue.watch(future, deadline)
        self._queue.append(item)
        self._wanted.set()
        try:
            return _of_somebody_there(await future)
        except TimeoutError:
            return Answer.refusal(DEADLINE)

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job, where that does not keep the loop waiting."""
        return await self._inline.run(job, body, query, deadline, request_id)

    def _work(self) -> None:
        loop, max_rows, observed = self._loop, self._inline.max_rows, self._observed
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


def answered(items: Sequence[Waiting], max_rows: int, observed: Observed) -> list[tuple[Waiting, Answer | None]]:
    """Predict for all who still wait, in batches of one model each; who left or is late costs the model nothing."""
    begun = time.monotonic()
    found: list[tuple[Waiting, Answer | None]] = []
    by_model: dict[Endpoint, list[Waiting]] = {}
    for item in items:
        if item.deadline <= begun:
            found.append((item, Answer.refusal(DEADLINE)))
        elif item.is_gone():
            found.append((item, None))
        else:
            by_model.setdefault(item.endpoint, []).append(item)
    for endpoint, group in by_model.items():
        for start in range(0, len(group), max_rows):
            part = group[start : start + max_rows] if len(group) > max_rows else group
            answers = endpoint.predict([item.customer for item in part])
            ended = time.monotonic()
            observed([begun - item.since for item in part], ended - begun)
            begun = ended
            found.extend(zip(part, answers, strict=True))
    return found


# --- everything but single customers ----------------------------------------------------------------------------------


class Jobs(Protocol):
    """Does jobs off the event loop."""

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job; a refusal once the deadline is over."""
        ...


class JobThread:
    """Does jobs on one thread of this process, for servers without worker processes.

    Args:
        models: What is served.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        """Do a job; a refusal once the deadline is over."""
        late = deadline - time.monotonic()
        if late <= 0:
            return Answer.refusal(DEADLINE)
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._do, job, body, query, deadline, request_id)
        try:
            return await asyncio.wait_for(work, late)
        except TimeoutError:
            return Answer.refusal(DEADLINE)

    def _do(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        if time.monotonic() >= deadline:
            return Answer.refusal(DEADLINE)
        return self.models.run(job, body, query, request_id)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one customer costs the model, measured when it was warmed.

    Attributes:
        seconds: Median of a few calls.
    """

    seconds: float

    @classmethod
    def of(cls, endpoint: Endpoint, rounds: int = 7) -> Timing:
        """Ask the model about a made-up customer a few times."""
        from churnlib.serving.answering.metadata import example_row

        customer = endpoint.decode_request(example_row(endpoint.predictor))
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            endpoint.predict([customer])
            times.append(time.perf_counter() - begun)
        return cls(sorted(times)[rounds // 2])


__all__ = ["DEADLINE", "INTERNAL", "Engine", "Inline", "JobThread", "Jobs", "Threaded", "Timing", "answered"]
