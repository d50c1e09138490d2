"""The metrics that the server has: names, labels and the values that a label may take, in one table.

A label's values are fixed here, or come from the server itself (routes, statuses, a bundle's version and classes) and
are counted: what is beyond goes to ``other``. Nothing that a client sends becomes a label.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OTHER = "other"
"""Value of a label for everything that the table does not know, unknown paths among it."""

MOST_VALUES = 64
"""Different values of a label that is not fixed here (versions, decisions), per process."""

REASONS = (
    "malformed_json", "not_an_object", "duplicate_field", "number_out_of_range", "nested_too_deep",
    "unsupported_media_type", "unsupported_encoding", "body_too_large", "too_many_rows", "request_timeout",
    "missing_field", "unknown_field", "invalid_field", "opted_out", "not_found", "method_not_allowed",
    "missing_key", "invalid_key", "expired_key", "insufficient_scope", "keys_unavailable", "rate_limited",
    "too_many_fields", "text_too_long", "not_a_bulk", "not_an_array", "unequal_lengths", "invalid_tensor",
    "invalid_parameter", "invalid_header", "malformed_csv", "not_explained", "not_recorded", "not_changed",
    "malformed_http", "headers_too_large", "overloaded", "draining", "not_ready", "worker_lost", "deadline_exceeded",
    "disconnected", "internal_error", OTHER,
)  # fmt: skip
"""Codes of :class:`~churnlib.serving.problems.Problem`, and ``disconnected`` for clients that did not wait."""

KINDS = ("unseen", "absent", "unknown", "out_of_range", OTHER)
"""What an answer's warning is about."""

PROCESSES = ("http", "worker", OTHER)
RESULTS = ("ok", "refused", "failed", OTHER)

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of a request's histogram."""

SHORT_SECONDS = (0.00005, 0.0001, 0.00025, *SECONDS)
"""Bounds where most values are fractions of a millisecond: the wait for a batch, and the model."""

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 10_000)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its series.

    Attributes:
        kind: What Prometheus calls its type.
        text: Help text.
        labels: Names of the labels, in order.
        bounds: Upper bounds of a histogram's buckets, without infinity.
        over_processes: How gauges of several processes become one: ``livesum`` or ``livemax``, of those that live.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = field(default=(), repr=False)
    over_processes: str = ""

    @property
    def base(self) -> str:
        """Name without the ``_total`` of a counter, by which prometheus_client knows the family."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


_ALL = (
    Family("churnlib_requests_total", "counter", "Requests answered.", ("route", "code")),
    Family("churnlib_request_seconds", "histogram", "First byte to answer.", ("route",), SECONDS),
    Family("churnlib_rejected_total", "counter", "Requests and rows refused, by the code of the error.", ("reason",)),
    Family("churnlib_predictions_total", "counter", "Customers predicted.", ("model_version", "decision")),
    Family("churnlib_batch_rows", "histogram", "Customers predicted together.", (), ROWS),
    Family("churnlib_queue_seconds", "histogram", "Wait of a request for its batch.", (), SHORT_SECONDS),
    Family("churnlib_model_seconds", "histogram", "Time of the model for one batch.", (), SHORT_SECONDS),
    Family("churnlib_warnings_total", "counter", "Warnings in answers.", ("kind",)),
    Family("churnlib_in_flight_rows", "gauge", "Customers admitted and not answered.", (), (), "livesum"),
    Family("churnlib_ready", "gauge", "HTTP processes that are ready.", (), (), "livesum"),
    Family(
        "churnlib_model_info", "gauge", "1 for what is served, 0 for what was.", ("model", "model_version", "backend"),
        (), "livemax",
    ),
    Family("churnlib_reloads_total", "counter", "Attempts to load another bundle.", ("result",)),
    Family("churnlib_restarts_total", "counter", "Child processes started again.", ("process",)),
    Family("churnlib_log_dropped_total", "counter", "Log lines lost: too many, or not writable."),
    Family("churnlib_recorded_total", "counter", "Predictions handed to the record's sink."),
    Family("churnlib_record_dropped_total", "counter", "Predictions lost to the record: too many, or a failing sink."),
    Family("churnlib_record_failures_total", "counter", "Failures of the record's sink."),
    Family("churnlib_spans_dropped_total", "counter", "Spans lost: too many, or no collector."),
)  # fmt: skip

FAMILIES = {family.name.removeprefix("churnlib_"): family for family in _ALL}
"""By name without the common ``churnlib_``."""
