"""How fast a model answers and how large it is: part of every run, so that models can be compared by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from churnlib.data.customers import Customers
from churnlib.predictor import Predictor

N_ALONE, N_WARM_UP, N_TOGETHER = 60, 5, 8_192
"""Customers asked about one by one, those before them that do not count, and rows of the batch."""


def measure_inference(predictor: Predictor, customers: Customers, bundle: Path) -> dict[str, Any]:
    """Measure what an answer costs, from a customer as the source system sends it to the probability.

    Args:
        predictor: Over the bundle as written.
        customers: The table; its first rows are asked about.
        bundle: The bundle's folder.

    Returns:
        ``p50_ms`` and ``p95_ms`` of one customer alone, ``rows_per_second`` of a batch of up to 8,192 rows, and
        ``bundle_bytes``.
    """
    alone = customers.frame.head(N_ALONE).to_dicts()
    for row in alone[:N_WARM_UP]:
        predictor.probabilities([row])
    seconds = [_seconds(lambda row=row: predictor.probabilities([row])) for row in alone]
    together = customers.frame.head(N_TOGETHER)
    batch = min(_seconds(lambda: predictor.probabilities(together)) for _ in range(2))
    p50, p95 = np.percentile(seconds, [50, 95]).tolist()
    return {
        "p50_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        "rows_per_second": len(together) / batch,
        "bundle_bytes": sum(path.stat().st_size for path in bundle.iterdir()),
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
