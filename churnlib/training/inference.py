"""How fast a model answers and how large it is: part of every run, so that models can be compared by it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from churnlib.data.customers import Customers
from churnlib.models.onnx.running import has_runtime
from churnlib.predictor import Predictor, load

N_ALONE, N_WARM_UP, N_TOGETHER = 60, 5, 8_192
"""Customers asked about one by one, those before them that do not count, and rows of the batch."""

LONGEST = 1.0
"""Seconds for either measurement, from which no further call is made: a table may have 10,000 columns."""

CELLS = 2**20
"""Cells of the batch at most."""


def measure_inference(predictor: Predictor, customers: Customers, bundle: Path) -> dict[str, Any]:
    """Measure what an answer costs, from a customer as the source system sends it to the probability.

    What answers is what would answer behind a server and in scoring: ONNX Runtime on one thread, where it is installed
    and the bundle has a ``model.onnx``.

    Args:
        predictor: Over the bundle as written, with the model as it was trained.
        customers: The table; its first rows are asked about.
        bundle: The bundle's folder.

    Returns:
        ``p50_ms`` and ``p95_ms`` of one customer alone, ``rows_per_second`` of a batch of up to 8,192 rows (a million
        cells at most), ``backend`` (``onnx``, or ``torch`` for the model as it was trained), ``flops`` (operations that
        one customer takes, :attr:`churnlib.predictor.Predictor.flops`) and ``bundle_bytes``.
    """
    if predictor.bundle.onnx is not None and has_runtime():
        predictor = load(bundle, backend="onnx")
    alone = customers.frame.head(N_ALONE).to_dicts()
    seconds = _until_longest(predictor, ([row] for row in [*alone[:N_WARM_UP], *alone]))
    together = customers.frame.head(min(N_TOGETHER, max(1, CELLS // customers.frame.width)))
    batch = min(_until_longest(predictor, [together, together]))
    p50, p95 = np.percentile(seconds[N_WARM_UP:] or seconds, [50, 95]).tolist()
    return {
        "p50_ms": 1e3 * p50,
        "p95_ms": 1e3 * p95,
        "rows_per_second": len(together) / batch,
        "backend": predictor.backend,
        "flops": predictor.flops,
        "bundle_bytes": sum(path.stat().st_size for path in bundle.iterdir()),
    }


def _until_longest(predictor: Predictor, tables: Iterable[Any]) -> list[float]:
    """Score the tables one after the other until time is up; return the seconds of each."""
    seconds: list[float] = []
    for table in tables:
        start = time.perf_counter()
        predictor.probabilities(table)
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > LONGEST:
            break
    return seconds
