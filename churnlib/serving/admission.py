"""Who may wait: a customer who would wait too long is told so at once, while a client can still do something with it.

A queue that is longer than the patience of those in it helps nobody: the model works for clients who have left. So the
wait is estimated for everybody who comes, from what the server has measured of itself.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import replace

from churnlib.serving.problems import FULL, RequestError

_WINDOW = 256
"""Answers over which the seconds of one customer are averaged; several of the largest usual batch."""


class Admission:
    """Counts the customers who wait for the model, and estimates how long one more would.

    Args:
        max_waiting: Customers who may wait.
        max_wait: Seconds that a customer may have to wait for the others.
        in_loop: Whether the model runs in the event loop. All who come in one turn of it are answered at its end, so
            that the wait is the turn's age and what the model needs for those in it; elsewhere the pace of the answers
            tells of it, which in a loop that is busy with refusals would say nothing about the model.
    """

    def __init__(self, max_waiting: int, max_wait: float, *, in_loop: bool = False) -> None:
        self.max_waiting, self.max_wait, self.in_loop = max_waiting, max_wait, in_loop
        self.seconds_per_customer = 0.0
        self._entered: OrderedDict[int, float] = OrderedDict()  # a dict finds its first slowly when many before it left
        self._number = self._answers = 0
        self._last = 0.0

    @property
    def waiting(self) -> int:
        """Customers that are waiting now."""
        return len(self._entered)

    @property
    def wait(self) -> float:
        """Seconds that the next customer would wait for the others."""
        if not self.in_loop:
            return len(self._entered) * self.seconds_per_customer
        if not self._entered:
            return 0.0
        age = time.monotonic() - next(iter(self._entered.values()))
        return age + len(self._entered) * self.seconds_per_customer

    def check(self, seconds: float) -> None:
        """Refuse a customer who has so many seconds, if the wait would be longer.

        Raises:
            RequestError: 503, with the estimate as ``Retry-After``.
        """
        wait = self.wait
        if len(self._entered) >= self.max_waiting or wait > min(self.max_wait, seconds):
            raise RequestError(replace(FULL, headers=(("Retry-After", str(max(1, math.ceil(wait)))),)))

    def enter(self) -> int:
        """Count a customer; returns the number for :meth:`leave`."""
        self._number += 1
        self._entered[self._number] = time.monotonic()
        return self._number

    def leave(self, number: int, *, answered: bool) -> None:
        """Count a customer no more.

        Args:
            number: What :meth:`enter` has returned.
            answered: Whether the model has answered: the time since the answer before was spent on this one.
        """
        entered = self._entered.pop(number)
        if answered and not self.in_loop:
            now = time.monotonic()
            self._average(now - max(self._last, entered))
            self._last = now

    def computed(self, customers: int, seconds: float) -> None:
        """Note what the model has needed for customers together."""
        if self.in_loop:
            self._average(seconds / customers)

    def _average(self, seconds: float) -> None:
        self._answers = min(self._answers + 1, _WINDOW)
        seconds = min(seconds, self.max_wait)  # longer: nobody was there, which is no pace
        self.seconds_per_customer += (seconds - self.seconds_per_customer) / self._answers
