"""Who is told of each request: metrics, log, traces; nobody by default.

All of it happens on the event loop, beside the answers: each of these appends or adds and returns; threads do the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from churnlib.serving.problems import refuse

if TYPE_CHECKING:
    from churnlib.serving.answers import Answer
    from churnlib.serving.http.request import Request
    from churnlib.serving.options import ServeOptions
    from churnlib.serving.seeing.recording import Recorder


class Watching(Protocol):
    """Is told of each request, on the event loop: it must be quick."""

    def arrived(self, request: Request) -> None:
        """A request begins; what the answer's headers need is known from here."""
        ...

    def answered(self, request: Request, answer: Answer) -> None:
        """A request was answered."""
        ...

    def left(self, request: Request) -> None:
        """A client left before it was answered."""
        ...

    def batch(self, queue_seconds: Sequence[float], model_seconds: float) -> None:
        """The model has answered customers together, who had waited so long."""
        ...

    def state(self, state: str, identity: dict[str, Any]) -> None:
        """The process has become ready, or is ending; or serves another model."""
        ...

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return what ``GET /metrics`` answers, and its media type; in a thread."""
        ...

    def close(self) -> None:
        """Write what is still to be written."""
        ...


class Unwatched:
    """Nobody is told."""

    def arrived(self, request: Request) -> None:
        """Do nothing."""

    def answered(self, request: Request, answer: Answer) -> None:
        """Do nothing."""

    def left(self, request: Request) -> None:
        """Do nothing."""

    def batch(self, queue_seconds: Sequence[float], model_seconds: float) -> None:
        """Do nothing."""

    def state(self, state: str, identity: dict[str, Any]) -> None:
        """Do nothing."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Say that there is nothing."""
        raise refuse(404, "not_found", "this server counts nothing")

    def close(self) -> None:
        """Do nothing."""


class Watched:
    """Metrics, log and traces of one HTTP process.

    Args:
        options: Of the server.
        routes: Labels of the addresses.
        in_flight: Returns how many customers wait.
        recorder: Keeps the predictions of this process; None for no record.
    """

    def __init__(
        self,
        options: ServeOptions,
        routes: Sequence[str],
        in_flight: Callable[[], int],
        recorder: Recorder | None = None,
    ) -> None:
        from churnlib.serving.seeing.logs import JsonHandler, Log
        from churnlib.serving.seeing.metrics import Metrics
        from churnlib.serving.seeing.spans import Spans

        self._metrics = Metrics(routes)
        self._metrics.watch("in_flight_rows", in_flight)
        if recorder is not None:
            self._metrics.watch_record(recorder)
        self._log = Log(options.log_file or None) if options.log == "json" else None
        self._spans = Spans(options.tracing) if options.tracing else None
        if self._log is not None:
            log = self._log
            self._metrics.watch("log_dropped_total", lambda: log.dropped)
            logger = logging.getLogger("churnlib")
            logger.handlers, logger.propagate = [JsonHandler(log)], False
        if self._spans is not None:
            spans = self._spans
            self._metrics.watch("spans_dropped_total", lambda: spans.dropped)
        for part in (self._metrics, self._log, self._spans):
            if part is not None:
                part.start()

    def arrived(self, request: Request) -> None:
        """Find the request's place in its trace, where there is one."""
        sent = request.headers.get(b"traceparent")
        if sent is not None or self._spans is not None:
            from churnlib.serving.seeing.tracing import trace

            request.trace = trace(sent, sampled=self._spans is not None)

    def answered(self, request: Request, answer: Answer) -> None:
        """Count, log and trace an answer."""
        seconds = time.monotonic() - request.started
        route, status, metrics = request.route, answer.status, self._metrics
        metrics.request(route, status, seconds, answer.version, answer.decisions)
        if answer.problem is not None:
            metrics.rejected(answer.problem.code)
        if answer.warned or answer.refused:
            for kind, amount in answer.warned:
                metrics.warned(kind, amount)
            for code, amount in answer.refused:
                metrics.rejected(code, amount)
        trace = request.trace
        if self._log is not None:
            self._log.request(
                request.id,
                request.method,
                route,
                status,
                seconds,
                rows=len(answer.decisions) + sum(amount for _, amount in answer.refused) or 1,
                trace_id="" if trace is None else trace.trace_id,
                key=request.key,
                model_version=answer.version,
            )
        if self._spans is not None and trace is not None:
            self._spans.request(trace, request.method, route, status, seconds, model_version=answer.version)

    def left(self, request: Request) -> None:
        """Count a client who did not wait."""
        self._metrics.rejected("disconnected")

    def batch(self, queue_seconds: Sequence[float], model_seconds: float) -> None:
        """Count customers that were predicted together."""
        self._metrics.batch(len(queue_seconds), queue_seconds, model_seconds)

    def state(self, state: str, identity: dict[str, Any]) -> None:
        """Note that the process has become ready, or is ending, or serves another model."""
        self._metrics.ready(state == "ready")
        if identity:
            backend = identity.get("backend", "")
            self._metrics.model(identity["model"], identity["model_version"], backend)
        if self._log is not None:
            self._log.event(state, **identity)

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the numbers of all processes."""
        return self._metrics.render(accept)

    def close(self) -> None:
        """Write what is still to be written."""
        for part in (self._spans, self._log, self._metrics):
            if part is not None:
                part.close()
