"""Answers that do not come: whoever waits for one is told so when its time is over."""

from __future__ import annotations

import asyncio
import time
from typing import Any

_SWEEP_SECONDS = 0.05
"""Time between two looks at all who wait; a timer for each would cost more than the sweep."""


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


__all__ = ["Overdue"]
