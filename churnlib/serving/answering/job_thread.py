"""Everything but single customers: jobs, done off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from churnlib.serving.answering.models import Models
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE


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


__all__ = ["JobThread", "Jobs"]
