"""What one customer costs the model on this machine, by which ``engine=auto`` chooses."""

from __future__ import annotations

import time
from dataclasses import dataclass

from churnlib.serving.answering.endpoint import Endpoint

SLOW_SECONDS = 0.0005
"""A model that takes longer for one customer gets a thread of its own, so that the loop keeps reading."""


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


__all__ = ["SLOW_SECONDS", "Timing"]
