"""Customers who wait for the model in this process, and how all who have come are answered together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE

if TYPE_CHECKING:
    from churnlib.serving.answering.rows import Customer

Observed = Callable[[Sequence[float], float], None]
"""Told of each batch: seconds that each request waited, seconds that the model took."""

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


__all__ = ["Observed", "Settle", "Waiting", "answered"]
