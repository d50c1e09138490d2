"""Counting for Prometheus: cheap where a request passes, right over several processes and their restarts.

A request appends one tuple to a queue. Whoever looks at the numbers counts what is there. Four times a second, when the
own process is asked for ``/metrics``, and at the end, a thread writes what has changed into prometheus_client's
memory-mapped files, one set per process (:mod:`churnlib.serving.seeing.metric_files`). So an answer of ``/metrics`` is
exact for the process that gives it and up to 0.25 s behind for the others; a process that is killed loses its last
0.25 s. prometheus_client's own objects, which write to the files with every number, cost several times as much per
request (``scripts/bench_seeing.py``).

Without a folder (an ASGI application without a supervisor) the same numbers are shown from memory.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from churnlib.serving.seeing.background import Background
from churnlib.serving.seeing.families import FAMILIES, KINDS, MOST_VALUES, OTHER, PROCESSES, REASONS, RESULTS, Family
from churnlib.serving.seeing.metric_folder import FOLDER_VARIABLE

if TYPE_CHECKING:
    from churnlib.serving.seeing.metric_files import MetricFiles
    from churnlib.serving.seeing.recording import Recorder

FLUSH_SECONDS = 0.25

_MOST_NOTED = 2_000
"""Answers that are put down; more are counted by the request that comes next."""

Sample = tuple[Family, str, tuple[str, ...], float]
"""Family, ending of the name (``_bucket``), label values (the bucket's bound last), value."""


class Histogram:
    """Counts between bounds; not cumulated."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bound is below it, as Prometheus has it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Route:
    __slots__ = ("codes", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.seconds = Histogram(FAMILIES["request_seconds"].bounds)


class Metrics:
    """The numbers of one process; make it in the process that counts, after any fork.

    All methods may be called from any thread and none of them waits for a file, but :meth:`render` and :meth:`flush`.

    Args:
        routes: Paths that have a label of their own; all others are ``other``.
        folder: Where the processes' files are; None takes what the environment says, an empty text is no folder.
    """

    def __init__(self, routes: Iterable[str] = (), *, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = os.fspath(folder if folder is not None else os.environ.get(FOLDER_VARIABLE, ""))
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._changed = self._closed = False
        self._other = _Route()
        self._routes = {OTHER: self._other, **{route: _Route() for route in routes}}
        self._batch = {
            name: Histogram(FAMILIES[name].bounds) for name in ("batch_rows", "queue_seconds", "model_seconds")
        }
        self._batch_rows, self._queue_seconds, self._model_seconds = self._batch.values()
        self._counts: dict[str, dict[tuple[str, ...], float]] = {}
        self._noted: deque[tuple[str, int, float, str, Sequence[Any]]] = deque()
        self._watched: dict[str, Callable[[], float]] = {}
        self._files: MetricFiles | None = None
        self._background = Background("churnlib-metrics", FLUSH_SECONDS, self.flush, at_exit=self.close)

    def start(self) -> None:
        """Begin to write to the folder, if there is one."""
        if self.folder:
            self._background.start()

    def close(self) -> None:
        """Write the last numbers and count no more; what this process has counted stays in the folder."""
        self._background.stop()
        with self._writing:
            self._closed = True
            if self._files is not None:
                self._files.close()

    def request(self, route: str, code: int, seconds: float, version: str = "", decisions: Sequence[Any] = ()) -> None:
        """Count an answer: it is put down, and counted when somebody next looks at the numbers.

        Args:
            route: Path of the request.
            code: Its HTTP status.
            seconds: From its first byte to its answer.
            version: Of the model that was asked.
            decisions: What it has predicted: 0 and 1, or the classes' names.
        """
        self._noted.append((route, code, seconds, version, decisions))
        if len(self._noted) > _MOST_NOTED:
            with self._lock:
                self._count_noted()

    def batch(self, rows: int, queue_seconds: Iterable[float], model_seconds: float) -> None:
        """Count customers that were predicted together.

        Args:
            rows: How many they were.
            queue_seconds: How long each request has waited for the batch.
            model_seconds: Time of the model.
        """
        with self._lock:
            self._batch_rows.observe(rows)
            self._model_seconds.observe(model_seconds)
            for seconds in queue_seconds:
                self._queue_seconds.observe(seconds)
            self._changed = True

    def rejected(self, reason: str, amount: int = 1) -> None:
        """Count refusals by the code of their :class:`~churnlib.serving.problems.Problem`."""
        self._add("rejected_total", (reason if reason in _REASONS else OTHER,), amount)

    def warned(self, kind: str, amount: int = 1) -> None:
        """Count warnings in answers, by one of :data:`~churnlib.serving.seeing.families.KINDS`."""
        self._add("warnings_total", (kind if kind in KINDS else OTHER,), amount)

    def reloaded(self, result: str) -> None:
        """Count an attempt to load another bundle: ``ok``, ``refused`` or ``failed``."""
        self._add("reloads_total", (result if result in RESULTS else OTHER,), 1)

    def restarted(self, process: str) -> None:
        """Count a child that was started again: ``http`` or ``worker``."""
        self._add("restarts_total", (process if process in PROCESSES else OTHER,), 1)

    def ready(self, is_ready: bool) -> None:
        """Tell whether this HTTP process is ready."""
        with self._lock:
            self._counts["ready"] = {(): float(is_ready)}
            self._changed = True

    def model(self, name: str, version: str, backend: str) -> None:
        """Tell what is served now; what was served before is shown with 0."""
        with self._lock:
            served = self._counts.setdefault("model_info", {})
            self._counts["model_info"] = {**dict.fromkeys(served, 0.0), (name, version, backend): 1.0}
            self._changed = True

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Read a number that somebody else keeps whenever the numbers are written; this costs no request anything.

        Args:
            name: Of a family without labels, such as ``in_flight_rows`` or ``log_dropped_total``.
            read: Returns it, at once and from any thread.
        """
        if FAMILIES[name].labels:
            raise ValueError(f"{name} has the labels {', '.join(FAMILIES[name].labels)}; only a lone number is watched")
        self._watched[name] = read

    def watch_record(self, recorder: Recorder) -> None:
        """Read what a recorder of this process has kept, lost and failed to keep."""
        self.watch("recorded_total", lambda: recorder.recorded)
        self.watch("record_dropped_total", lambda: recorder.dropped)
        self.watch("record_failures_total", lambda: recorder.failures)

    def flush(self) -> None:
        """Write what has changed to this process's files."""
        if not self.folder:
            return
        with self._writing:
            if self._closed:
                return
            with self._lock:
                self._count_noted()
                changed, self._changed = self._changed, False
                samples = list(self._samples()) if changed else []
            samples += self._watched_samples()
            if self._files is None:
                from churnlib.serving.seeing.metric_files import MetricFiles

                self._files = MetricFiles(self.folder)
            self._files.write(samples)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return what ``GET /metrics`` answers for all processes.

        Takes some milliseconds and reads files: call it in a thread where an event loop must go on.

        Args:
            accept: Header ``Accept`` of the request; OpenMetrics is spoken where it asks for it.

        Returns:
            The body and its content type.
        """
        from churnlib.serving.seeing import metric_files

        if not self.folder:
            with self._lock:
                self._count_noted()
                samples = [*self._samples(), *self._watched_samples()]
            return metric_files.text(metric_files.from_memory(samples), accept)
        self.flush()
        return metric_files.text(metric_files.collect(self.folder), accept)

    def _count_noted(self) -> None:
        """Count the answers that were put down; the lock is held."""
        predicted: Counter[tuple[str, Any]] = Counter()
        for _ in range(len(self._noted)):
            route, code, seconds, version, decisions = self._noted.popleft()
            found = self._routes.get(route, self._other)
            found.codes[code] = found.codes.get(code, 0) + 1
            found.seconds.observe(seconds)
            for decision in decisions:
                predicted[version, decision] += 1
            self._changed = True
        for (version, decision), amount in predicted.items():
            self._count("predictions_total", (version, str(decision)), amount)

    def _add(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        with self._lock:
            self._count(name, labels, amount)

    def _count(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        counts = self._counts.setdefault(name, {})
        if labels not in counts and len(counts) >= MOST_VALUES:
            labels = (OTHER,) * len(labels)
        counts[labels] = counts.get(labels, 0) + amount
        self._changed = True

    def _samples(self) -> Iterator[Sample]:
        for route, found in self._routes.items():
            if not found.codes:
                continue
            for code, amount in found.codes.items():
                yield FAMILIES["requests_total"], "", (route, str(code)), amount
            yield from _histogram_samples(FAMILIES["request_seconds"], (route,), found.seconds)
        for name, histogram in self._batch.items():
            if any(histogram.counts):
                yield from _histogram_samples(FAMILIES[name], (), histogram)
        for name, counts in self._counts.items():
            for labels, amount in counts.items():
                yield FAMILIES[name], "", labels, amount

    def _watched_samples(self) -> list[Sample]:
        return [(FAMILIES[name], "", (), float(read())) for name, read in self._watched.items()]


_OF_A_BATCH = ("batch_rows", "queue_seconds", "model_seconds")
_REASONS = frozenset(REASONS)


def _histogram_samples(family: Family, labels: tuple[str, ...], histogram: Histogram) -> Iterator[Sample]:
    yield family, "_sum", labels, histogram.total
    for bound, count in zip((*family.bounds, float("inf")), histogram.counts, strict=True):
        yield family, "_bucket", (*labels, _bound_text(bound)), count


def _bound_text(bound: float) -> str:
    """Return a bound as prometheus_client writes it, so that buckets of several processes meet.

    >>> _bound_text(1), _bound_text(5e-05), _bound_text(float("inf"))
    ('1.0', '5e-05', '+Inf')
    """
    return "+Inf" if bound == float("inf") else repr(float(bound))
