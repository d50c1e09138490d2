"""Dynamic batching without a timer: wait for the first request, then take along what else is already there."""

from __future__ import annotations

from typing import Any

from litserve import LitAPI
from litserve.loops.simple_loops import BatchedLoop

_IDLE_SECONDS = 1.0


class GatherLoop(BatchedLoop):
    """LitServe's batching loop that sleeps until a request comes.

    LitServe 0.2.19 opens its batch window when the loop turns, not when a request arrives: every lone request waits the
    window out, and a window of 0 polls without a pause (44 % of a core when idle). Here the loop blocks on the queue
    for the first request; the window (``batch_timeout`` seconds, 0 for "what is there now") opens with it. All other
    rules (size limit, expired requests, stopping) stay LitServe's.
    """

    def get_batch_requests(self, lit_api: LitAPI, request_queue: Any, transport: Any) -> tuple[list, list]:
        """Return ``(requests, expired)`` as LitServe's loop expects them; both empty after a second without any."""
        first = self.get_request(request_queue, timeout=_IDLE_SECONDS)
        if first is None:
            return [], []
        queue: Any = _PutBack(first, request_queue)
        return super().get_batch_requests(lit_api, queue, transport)


class _PutBack:
    """A queue whose first item was already taken."""

    def __init__(self, first: Any, queue: Any) -> None:
        self._first = first
        self._queue = queue

    def get(self, timeout: float | None = None) -> Any:
        first, self._first = self._first, None
        return self._queue.get(timeout=timeout) if first is None else first

    def get_nowait(self) -> Any:
        first, self._first = self._first, None
        return self._queue.get_nowait() if first is None else first
