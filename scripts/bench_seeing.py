"""What seeing costs a request: metrics, log, trace, record, beside prometheus_client's own objects.

    python scripts/bench_seeing.py
    python scripts/bench_seeing.py requests=200000 rounds=20 batch=10

Microseconds of processor time: the least of several rounds, since whatever else the machine does only adds.
"request path" is what the request itself waits for, "thread" what a thread does about it later; both take the same
interpreter lock. `batch` requests are predicted together, and costs of a batch are shared among them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="churnlib-bench-")

from prometheus_client import CollectorRegistry, Counter, Histogram

from churnlib.data.pseudonyms import Pseudonyms
from churnlib.serving.seeing.families import SECONDS, SHORT_SECONDS
from churnlib.serving.seeing.logs import CAPACITY, Log
from churnlib.serving.seeing.metrics import Metrics
from churnlib.serving.seeing.record_files import open_record
from churnlib.serving.seeing.spans import Spans, _Exporter
from churnlib.serving.seeing.tracing import trace
from scripts.words import options_of

DEFAULTS = {"requests": "20000", "rounds": "10", "batch": "10"}
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


Job = tuple[str, str, str, Callable[[int], None], int, int]
"""Name, where it runs, of what the cost is told, a function that does it so many times, how many of these one time is,
and on how many requests there is one time of it."""


def main(words: list[str]) -> int:
    """Print the table."""
    options = options_of(words, DEFAULTS, __doc__)
    requests, rounds, batch = (int(options[name]) for name in DEFAULTS)
    table = Table("what", "where", "us", "per")
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            *_comparisons(),
            *_metric_jobs(batch),
            *_log_jobs(Path(folder)),
            *_trace_jobs(),
            *_record_jobs(Path(folder), batch),
        ]
        costs = [[cost(job, requests) for job in jobs] for _ in range(rounds)]  # in turn: the machine's pace changes
    for (what, where, per, *_), each in zip(jobs, zip(*costs, strict=True), strict=True):
        table.add_row(what, where, f"{min(each):.2f}", per)
    Console(width=120).print(table)
    return 0


def cost(job: Job, requests: int) -> float:
    """Return microseconds of processor time."""
    _, _, _, repeat, units, every = job
    times = max(requests // every, 1)
    start = time.thread_time()
    repeat(times)
    return (time.thread_time() - start) / (times * units) * 1e6


def _comparisons() -> list[Job]:
    registry = CollectorRegistry()
    counter = Counter("direct_requests", "x", ["route", "code"], registry=registry)
    seconds = Histogram("direct_seconds", "x", ["route"], buckets=SECONDS, registry=registry)
    waits = Histogram("direct_waits", "x", buckets=SHORT_SECONDS, registry=registry)
    child, timer = counter.labels("/predict", "200"), seconds.labels("/predict")

    def direct(times: int) -> None:
        for _ in range(times):
            child.inc()
            timer.observe(0.0012)
            waits.observe(0.0001)

    def uuids(times: int) -> None:
        for _ in range(times):
            uuid.uuid4().hex  # noqa: B018

    return [
        ("for comparison: uuid.uuid4().hex", "request path", "request", uuids, 1, 1),
        ("prometheus_client's own objects: counter, 2 histograms", "request path", "request", direct, 1, 1),
    ]


def _metric_jobs(batch: int) -> list[Job]:
    metrics = Metrics(["/predict"])
    queue = [0.0001] * batch

    def ours(times: int) -> None:
        for _ in range(times):
            metrics.request("/predict", 200, 0.0012, "v1", (1,))
        metrics.flush()

    def ours_batch(times: int) -> None:
        for _ in range(times):
            metrics.batch(batch, queue, 0.0002)

    def flush(times: int) -> None:
        for _ in range(times):
            metrics.request("/predict", 200, 0.0012)
            metrics.flush()

    def render(times: int) -> None:
        for _ in range(times):
            metrics.render()

    return [
        ("Metrics.request, counted later", "request path", "request", ours, 1, 1),
        (f"Metrics.batch, {batch} together", "request path", "request", ours_batch, batch, batch),
        ("Metrics.flush, 4 times a second", "thread", "flush", flush, 1, 100),
        ("Metrics.render, GET /metrics of one process", "thread", "scrape", render, 1, 1000),
    ]


def _log_jobs(folder: Path) -> list[Job]:
    log = Log(folder / "log", rotate_bytes=10_000_000_000)

    def append(times: int) -> None:
        for _ in range(times):
            log.request("5f0c4bf92f35", "POST", "/predict", 200, 0.0012, trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
                        key="billing", model_version="2026-11-20-a1b2")  # fmt: skip

    def write(times: int) -> None:
        for _ in range(times):
            append(CAPACITY)
            log.flush()

    return [
        ("Log.request", "request path", "request", append, 1, 1),
        ("the same, with its line written", "both", "request", write, CAPACITY, CAPACITY),
    ]


def _trace_jobs() -> list[Job]:
    spans, place = Spans("http://127.0.0.1:9"), trace(TRACEPARENT)
    exporter = _Exporter("http://127.0.0.1:9")
    entry = (time.time_ns(), place, "POST", "/predict", 200, 0.0012, 1, "v1")

    def absent(times: int) -> None:
        for _ in range(times):
            trace(None).header  # noqa: B018

    def followed(times: int) -> None:
        for _ in range(times):
            trace(TRACEPARENT).header  # noqa: B018

    def noted(times: int) -> None:
        for _ in range(times):
            spans.request(place, "POST", "/predict", 200, 0.0012)

    def made(times: int) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        for _ in range(times):
            encode_spans([exporter._span(*entry) for _ in range(512)]).SerializeToString()

    return [
        ("trace() without traceparent, with the answer's header", "request path", "request", absent, 1, 1),
        ("trace() with traceparent, with the answer's header", "request path", "request", followed, 1, 1),
        ("Spans.request", "request path", "request", noted, 1, 1),
        ("a span made and encoded", "thread", "span", made, 512, 512),
    ]


def _record_jobs(folder: Path, batch: int) -> list[Job]:
    pseudonyms = Pseudonyms("bench", _key=b"k" * 32)
    recorder = open_record(folder / "record", pseudonyms=pseudonyms)
    one, many = np.array([0.5]), np.full(batch, 0.5)
    ids, names, decisions = ["r"] * batch, [f"customer {number}" for number in range(batch)], [1] * batch

    def alone(times: int) -> None:
        for _ in range(times):
            recorder.record("v1", ["r"], ["customer"], one, [1])

    def together(times: int) -> None:
        for _ in range(times):
            recorder.record("v1", ids, names, many, decisions)

    def written(times: int) -> None:
        for _ in range(times):
            together(25_000 // batch)
            recorder.flush()

    return [
        ("Recorder.record, one customer", "request path", "request", alone, 1, 1),
        (f"Recorder.record, {batch} together", "request path", "request", together, batch, batch),
        ("the same, with its part of 25,000 written", "both", "request", written, 25_000, 25_000),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
