"""A challenger in the shadow of the champion: it scores the same customers, and nobody is told but the record."""

from __future__ import annotations

import asyncio
import time

from churnlib.serving.answering.job_thread import Jobs
from churnlib.serving.answers import Answer

_SHADOW_SECONDS = 10.0
"""Time that the challenger has for a customer."""


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


__all__ = ["Shadow"]
