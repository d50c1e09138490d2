"""How fast each key may ask: a token bucket, kept as the one number that a bucket needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from churnlib.config.checks import check_range
from churnlib.serving.problems import Problem, RequestError

_MOST_NAMES = 10_000
"""Buckets kept at once; a megabyte or two."""


class Rate:
    """A bucket of ``burst`` tokens for each name, into which ``per_second`` of them flow; a request takes one.

    Kept is the moment at which the bucket will be full again: it moves by ``1 / per_second`` with each request, and
    how far it lies ahead tells how many tokens are gone (the generic cell rate algorithm). A full bucket is one that
    nobody remembers, so that names which no longer ask cost nothing.

    Args:
        per_second: Requests a second in the long run. The limit holds in this process: of ``n`` that share a port,
            each is given an ``n``-th.
        burst: Requests at once after a pause; by default those of one second, and at least one.
        clock: Seconds of a clock that never goes back.

    Raises:
        ConfigError: If one of the numbers is out of its range.

    >>> rate = Rate(2.0, clock=lambda: 0.0)
    >>> rate.check("crm"), rate.check("crm")
    (None, None)
    >>> rate.check("crm")
    Traceback (most recent call last):
        ...
    churnlib.serving.problems.RequestError: this key has asked too often; come back after the pause in Retry-After
    """

    def __init__(
        self, per_second: float, burst: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        check_range("rate_limit", per_second, low=0, open_low=True)
        check_range("burst", burst, low=1)
        self._gap = 1.0 / per_second
        self._slack = (max(per_second, 1.0) if burst is None else burst) * self._gap
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def check(self, name: str) -> None:
        """Take a token from a name's bucket.

        Raises:
            RequestError: 429 with ``Retry-After`` in whole seconds if there is none; nothing is taken then.
        """
        now = self._clock()
        full_at = max(self._full_at.get(name, 0.0), now) + self._gap
        missing = full_at - now - self._slack
        if missing > 1e-9 * self._slack:  # the last token of a burst is a sum of many fractions
            raise RequestError(_too_often(missing))
        self._full_at[name] = full_at
        if len(self._full_at) > _MOST_NAMES:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full; if too many are not, also the half that will be full soonest."""
        waiting = sorted((full_at, name) for name, full_at in self._full_at.items() if full_at > now)
        self._full_at = {name: full_at for full_at, name in waiting[-_MOST_NAMES // 2 :]}


def _too_often(seconds: float) -> Problem:
    message = "this key has asked too often; come back after the pause in Retry-After"
    return Problem(429, "rate_limited", message, headers=(("Retry-After", str(max(1, math.ceil(seconds)))),))
