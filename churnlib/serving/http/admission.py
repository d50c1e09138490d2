"""Who may wait: a customer who would wait too long is told so at once, while a client can still do something with it.

A queue that is longer than the patience of those in it helps nobody: the model works for clients who have left. So the
wait is estimated for everybody who comes, from what the server has measured of itself.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Protocol

from churnlib.serving.problems import FULL, RequestError

_WINDOW = 256
"""Answers over which the seconds of one customer are averaged; several of the largest usual batch."""


class Turn(Protocol):
    """The customers whom the event loop answers at the end of its present turn."""

    @property
    def waiting(self) -> int:
        """How many there are."""
        ...

    @property
    def since(self) -> float:
        """When the first of them came, on the monotonic clock."""
        ...


class Places:
    """So many may be within a block at the same time; who finds no place is told to come back.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            RequestError: 503 if there is none.
        """
        if not self._left:
            raise RequestError(FULL)
        self._left -= 1

    def __exit__(self, *_: object) -> None:
        """Leave it to others."""
        self._left += 1


class Admission:
    """Counts the customers who wait for the model, and estimates how long one more would.

    Args:
        max_waiting: Customers who may wait.
        max_wait: Seconds that a customer may have to wait for the others.

    Attributes:
        turn: Where the model runs in the event loop: all who come in one turn of it are answered at its end, so that
            the wait is the turn's age and what the model needs for those in it. None elsewhere; there the pace of the
            answers tells of it, which in a loop that is busy with refusals would say nothing about the model.
    """

    def __init__(self, max_waiting: int, max_wait: float) -> None:
        self.max_waiting, self.max_wait = max_waiting, max_wait
        self.turn: Turn | None = None
        self.seconds_per_customer = 0.0
        self._waiting = self._answers = 0
        self._last = 0.0

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        return self._waiting if self.turn is None else self.turn.waiting

    @property
    def wait(self) -> float:
        """Seconds that the next customer would wait for the others."""
        waiting = self.waiting
        return self._wait_for(waiting) if waiting else 0.0

    def check(self, seconds: float) -> None:
        """Refuse a customer who has so many seconds, if the wait would be longer.

        Raises:
            RequestError: 503, with the estimate as ``Retry-After``.
        """
        waiting = self.waiting
        if not waiting:
            return
        wait = self._wait_for(waiting)
        if waiting >= self.max_waiting or wait > self.max_wait or wait > seconds:
            raise RequestError(replace(FULL, headers=(("Retry-After", str(max(1, math.ceil(wait)))),)))

    def enter(self) -> float:
        """Count a customer; returns the moment for :meth:`leave`."""
        self._waiting += 1
        return time.monotonic()

    def leave(self, entered: float, *, answered: bool) -> None:
        """Count a customer no more.

        Args:
            entered: What :meth:`enter` has returned.
            answered: Whether the model has answered: the time since the answer before was spent on this one.
        """
        self._waiting -= 1
        if answered and self.turn is None:
            now = time.monotonic()
            self._average(now - max(self._last, entered))
            self._last = now

    def computed(self, customers: int, seconds: float) -> None:
        """Note what the model has needed for customers together."""
        if self.turn is not None:
            self._average(seconds / customers)

    def _wait_for(self, waiting: int) -> float:
        wait = waiting * self.seconds_per_customer
        return wait if self.turn is None else wait + time.monotonic() - self.turn.since

    def _average(self, seconds: float) -> None:
        self._answers = min(self._answers + 1, _WINDOW)
        seconds = min(seconds, self.max_wait)  # longer: nobody was there, which is no pace
        self.seconds_per_customer += (seconds - self.seconds_per_customer) / self._answers
