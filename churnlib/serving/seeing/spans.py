"""Spans for an OpenTelemetry collector, one per request; needs the extra ``otel`` and is off unless configured.

A request appends a tuple; a thread makes OpenTelemetry's spans of them and sends them together each second. They are
made as finished spans, not started and ended around the request, because the SDK's own way costs tens of microseconds
where the request waits. A collector that does not answer costs spans, which are counted, and never a request.
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from churnlib import __version__
from churnlib.errors import ConfigError, MissingPackageError
from churnlib.serving.seeing.background import Background
from churnlib.serving.seeing.logs import METHODS

if TYPE_CHECKING:
    from churnlib.serving.seeing.tracing import Trace

CAPACITY = 4096
"""Spans that wait for the thread; more lose the oldest."""

TOGETHER = 512
"""Spans in one message to the collector."""

EXPORT_SECONDS = 1.0

_PATH = "/v1/traces"


def traces_url(url: str) -> str:
    """Return the address to which spans are sent; a collector's address without a path gets OTLP's own.

    Raises:
        ConfigError: If it is no address of HTTP.
        MissingPackageError: If the packages of the extra ``otel`` are not installed.

    >>> traces_url("http://collector:4318")
    'http://collector:4318/v1/traces'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"tracing must be the address of an OTLP collector (http://collector:4318), got {url!r}")
    for package in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        if not _is_installed(package):
            raise MissingPackageError(
                f"tracing={url} needs the package {package}, which is not installed; add it with: "
                "pip install 'churnlib[otel]'"
            )
    return url.rstrip("/") + _PATH if parts.path in ("", "/") else url


class Spans:
    """Sends a span per request to a collector.

    Headers for it (a token), time limits and compression are taken from OpenTelemetry's own variables
    (``OTEL_EXPORTER_OTLP_HEADERS``), and so are ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``.

    Args:
        url: Address of the collector.
        capacity: Spans that wait for the thread.

    Raises:
        ConfigError, MissingPackageError: See :func:`traces_url`.
    """

    def __init__(self, url: str, *, capacity: int = CAPACITY) -> None:
        self._url = traces_url(url)
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=capacity)
        self._number = itertools.count()
        self._next = 0
        self._exporter: Any = None
        self._background = Background("churnlib-spans", EXPORT_SECONDS, self.flush)
        self.dropped = 0
        """Spans lost so far."""

    def start(self) -> None:
        """Load OpenTelemetry and begin to send; call it in the process that answers requests."""
        self._exporter = _Exporter(self._url)
        self._background.start()

    def close(self, timeout: float = 2.0) -> None:
        """Send what waits, as far as the collector takes it in time, and end."""
        self._background.stop(timeout)
        if self._exporter is not None:
            self._exporter.close()

    def request(
        self,
        trace: Trace,
        method: str,
        route: str,
        status: int,
        seconds: float,
        *,
        rows: int = 1,
        model_version: str = "",
    ) -> None:
        """Note a request that was just answered, if its trace is recorded.

        Args:
            trace: Its place in the trace.
            method: HTTP method.
            route: Route of the server's table, not the path as sent.
            status: HTTP status of the answer.
            seconds: From its first byte to its answer.
            rows: Customers in it.
            model_version: Of the model that answered.
        """
        if trace.sampled:
            entry = (next(self._number), time.time_ns(), trace, method, route, status, seconds, rows, model_version)
            self._waiting.append(entry)

    def flush(self) -> None:
        """Send what waits; for the thread."""
        while self._waiting:
            entries = []
            while self._waiting and len(entries) < TOGETHER:
                entry = self._waiting.popleft()
                self.dropped += entry[0] - self._next
                self._next = entry[0] + 1
                entries.append(entry)
            taken = False
            try:
                taken = self._exporter is not None and self._exporter.send(entries)
            finally:
                self.dropped += 0 if taken else len(entries)


class _Exporter:
    """OpenTelemetry's part: makes its spans and speaks its protocol."""

    def __init__(self, url: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        own = Resource({SERVICE_NAME: "churnlib", SERVICE_VERSION: __version__})
        environment = Resource.create()
        named = {key: value for key, value in environment.attributes.items() if _is_named(key, value)}
        self._resource = own.merge(Resource(named))
        self._scope = InstrumentationScope("churnlib.serving", __version__)
        self._exporter = OTLPSpanExporter(endpoint=url)

    def send(self, entries: list[tuple[Any, ...]]) -> bool:
        """Send spans; waits for the collector, with its retries.

        Returns:
            Whether it took them.
        """
        from opentelemetry.sdk.trace.export import SpanExportResult

        return self._exporter.export([self._span(*entry[1:]) for entry in entries]) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

    def _span(
        self, ended: int, trace: Trace, method: str, route: str, status: int, seconds: float, rows: int, version: str
    ) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        flags, number = TraceFlags(TraceFlags.SAMPLED), int(trace.trace_id, 16)
        parent = (
            SpanContext(number, int(trace.parent_id, 16), is_remote=True, trace_flags=flags)
            if trace.parent_id
            else None
        )
        method = method if method in METHODS else "_OTHER"
        attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "churnlib.rows": rows,
        }
        if version:
            attributes["churnlib.model_version"] = version
        return ReadableSpan(
            f"HTTP {route}" if method == "_OTHER" else f"{method} {route}",
            context=SpanContext(number, int(trace.span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if status >= 500 else StatusCode.UNSET),
            start_time=ended - int(seconds * 1e9),
            end_time=ended,
            instrumentation_scope=self._scope,
        )


def _is_named(key: str, value: Any) -> bool:
    """Tell what somebody has set from what OpenTelemetry assumes."""
    return not (key == "service.name" and str(value).startswith("unknown_service"))


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


__all__ = ["Spans", "traces_url"]
