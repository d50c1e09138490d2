"""Predictions kept for later: a bounded queue beside the requests, and whatever takes what is in it.

An engine hands over each batch that it has predicted; :meth:`Recorder.record` keeps references and copies and returns.
A thread turns what has gathered over to a sink, any callable that takes a list of :class:`Record`; the one that writes
files is :class:`~churnlib.serving.seeing.record_files.RecordFolder`. A full queue loses its oldest batches, a sink that
fails loses what it was given, both are counted, and neither is ever felt by a request.

By default a record says when, which request, which version, the customer's pseudonym, the probability and the decision.
What the customer is like is recorded only where it is asked for, and a name in clear only with ``ids="clear"``.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from churnlib.config.checks import check_choice
from churnlib.data.recorded import HAND_OVER_SECONDS
from churnlib.errors import ConfigError
from churnlib.serving.seeing.background import Background

if TYPE_CHECKING:
    from churnlib.data.pseudonyms import Pseudonyms

CAPACITY = 50_000
"""Customers that wait for the thread; at half of it the sink is called early."""

FIELDS = (
    "time",
    "request_id",
    "model_version",
    "customer_id",
    "churn_probability",
    "churn_prediction",
    "features",
    "encoded",
)
"""What can be recorded; ``features`` are the cells as sent, ``encoded`` the numbers that the model has read."""

DEFAULT_FIELDS = FIELDS[:6]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """Customers that were predicted together.

    Attributes:
        time: Seconds since 1970, when they were predicted.
        model_version: Of the model.
        request_ids: Of each customer's request.
        customer_ids: Pseudonyms, or names in clear where the recorder was told so; None where there is none.
        probabilities: ``(rows,)`` of churn, or ``(rows, classes)``.
        decisions: 0 and 1, or the classes' names.
        features: Cells of each customer by column, as sent; None unless recorded.
        encoded: ``(rows, columns)`` float32, what the model has read; None unless recorded.
    """

    time: float
    model_version: str
    request_ids: Sequence[str]
    customer_ids: Sequence[Any]
    probabilities: np.ndarray
    decisions: Sequence[Any]
    features: Sequence[Mapping[str, Any]] | None = None
    encoded: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.decisions)

    def take(self, rows: Sequence[int]) -> Record:
        """Return some of its customers."""
        return replace(
            self,
            request_ids=[self.request_ids[row] for row in rows],
            customer_ids=[self.customer_ids[row] for row in rows],
            probabilities=self.probabilities[rows],
            decisions=[self.decisions[row] for row in rows],
            features=None if self.features is None else [self.features[row] for row in rows],
            encoded=None if self.encoded is None else self.encoded[rows],
        )


Sink = Callable[[list[Record]], None]
"""Takes records, never an empty list, in a thread of the recorder; it may be slow, and may raise."""


class Recorder:
    """Hands predictions to a sink, beside the requests.

    Args:
        sink: Takes them.
        fields: What is recorded, of :data:`FIELDS`.
        columns: Columns whose cells are recorded with ``features``; None is all of them.
        rate: Share of the customers that is recorded, at random.
        ids: ``keyed`` for pseudonyms, ``clear`` for names as sent.
        pseudonyms: The key of the pseudonyms; without one, no customer's name is recorded.
        capacity: Customers that wait for the thread; more lose the oldest batches.
        every: Seconds between two calls of the sink.

    Raises:
        ConfigError: If an option is none of these, or columns are named and ``features`` is not recorded.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        fields: Sequence[str] = DEFAULT_FIELDS,
        columns: Sequence[str] | None = None,
        rate: float = 1.0,
        ids: str = "keyed",
        pseudonyms: Pseudonyms | None = None,
        capacity: int = CAPACITY,
        every: float = HAND_OVER_SECONDS,
    ) -> None:
        check_choice("ids", ids, ("keyed", "clear"))
        for name in fields:
            check_choice("fields", name, FIELDS)
        if columns is not None and "features" not in fields:
            raise ConfigError("columns of the record are named, but its fields do not hold features; add it")
        if not 0.0 < rate <= 1.0:
            raise ConfigError(f"rate is the share of customers that are recorded, above 0 and at most 1, got {rate:g}")
        self.fields = frozenset(fields)
        self.recorded = 0
        """Customers handed to the sink so far."""
        self.dropped = 0
        """Customers lost so far."""
        self.failures = 0
        """Times the sink has failed so far."""
        self._sink = sink
        self._columns = None if columns is None else tuple(columns)
        self._rate = rate
        self._ids, self._pseudonyms = ids, pseudonyms
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._rows = 0
        self._random = random.Random()
        self._background = Background("churnlib-record", every, self.flush)
        if ids == "keyed" and pseudonyms is None and "customer_id" in self.fields:
            _log.warning("the record of predictions has no key for pseudonyms, so customers are recorded without names")

    def start(self) -> None:
        """Begin to hand over; call it in the process that predicts."""
        self._background.start()

    def close(self, timeout: float = 5.0) -> bool:
        """Hand over what waits and end.

        Args:
            timeout: Seconds that the sink has for it.

        Returns:
            Whether it has come back.
        """
        return self._background.stop(timeout)

    def record(
        self,
        model_version: str,
        request_ids: Sequence[str],
        customer_ids: Sequence[Any],
        probabilities: np.ndarray,
        decisions: Sequence[Any],
        *,
        features: Sequence[Mapping[str, Any]] | None = None,
        encoded: np.ndarray | None = None,
    ) -> None:
        """Keep what was just predicted. Never waits and never raises for what is in it.

        Arrays are copied, since engines write into theirs again; lists and rows are kept as they are and must not be
        changed afterwards. What is not among the fields need not be given and is not kept.

        Args:
            model_version: Of the model.
            request_ids: Of each customer's request.
            customer_ids: As sent; they become pseudonyms in the thread.
            probabilities: ``(rows,)`` of churn, or ``(rows, classes)``.
            decisions: 0 and 1, or the classes' names.
            features: Cells of each customer, as sent.
            encoded: ``(rows, columns)``, what the model has read.
        """
        keeps = self.fields
        entry = (time.time(), model_version, request_ids, customer_ids, probabilities.copy(), list(decisions),
                 features if "features" in keeps else None,
                 encoded.copy() if encoded is not None and "encoded" in keeps else None)  # fmt: skip
        with self._lock:
            self._waiting.append(entry)
            before = self._rows
            self._rows += len(decisions)
            if self._rows > self._capacity:
                self._lose_oldest()
        if before < self._capacity // 2 <= self._rows:
            self._background.wake()

    def flush(self) -> None:
        """Hand over what waits; for the thread, which logs by kind what the sink raises."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            self._rows = 0
        records = [record for entry in waiting if len(record := self._sampled(Record(*entry)))]
        if not records:
            return
        rows = sum(map(len, records))
        try:
            self._sink(self._finished(records))
        except Exception:
            self.failures += 1
            self.dropped += rows
            raise
        self.recorded += rows

    def _lose_oldest(self) -> None:
        while self._rows > self._capacity:
            lost = len(self._waiting.popleft()[5])
            self._rows -= lost
            self.dropped += lost

    def _sampled(self, record: Record) -> Record:
        if self._rate == 1.0:
            return record
        return record.take([row for row in range(len(record)) if self._random.random() < self._rate])

    def _finished(self, records: Sequence[Record]) -> list[Record]:
        """Return records as a sink may see them: names as pseudonyms, and only the columns that are allowed."""
        names = iter(self.names_of([name for record in records for name in record.customer_ids]))
        return [
            replace(record, customer_ids=list(itertools.islice(names, len(record))), features=self._allowed(record))
            for record in records
        ]

    def names_of(self, customer_ids: Sequence[Any]) -> Sequence[Any]:
        """Return under which names customers are recorded; None of all where there is no key for pseudonyms."""
        if "customer_id" in self.fields and self._ids == "clear":
            return customer_ids
        if "customer_id" in self.fields and self._pseudonyms is not None:
            return _pseudonyms_of(self._pseudonyms, customer_ids)
        return [None] * len(customer_ids)

    def _allowed(self, record: Record) -> Sequence[Mapping[str, Any]] | None:
        if record.features is None or self._columns is None:
            return record.features
        return [{name: row[name] for name in self._columns if name in row} for row in record.features]


def _pseudonyms_of(pseudonyms: Pseudonyms, names: Sequence[Any]) -> list[str | None]:
    """Return the pseudonyms of names as sent: numbers and texts that name the same customer have the same one."""
    import polars as pl

    texts = [None if name is None else str(name).lower() if isinstance(name, bool) else str(name) for name in names]
    return pseudonyms.column(pl.Series("customer_id", texts, dtype=pl.String)).to_list()


__all__ = ["DEFAULT_FIELDS", "FIELDS", "Record", "Recorder", "Sink"]
