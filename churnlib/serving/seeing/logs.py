r"""The server's log: one JSON object per line, made and written by a thread, never by a request.

A request appends a tuple to a bounded queue, and that is all it does. The thread makes the lines and writes them, each
0.1 s, to standard error or to a file. Is the queue full, because whoever reads standard error has stopped, the oldest
entries go and are counted, and the log says how many it lost.

A line holds names that the server knows, numbers and ids, never a customer's value, a key or a query. Everything is
written in ASCII with JSON's escapes, so that no text can begin a line of its own or steer a terminal::

    {"time":"2026-11-27T15:45:01.250Z","level":"info","event":"request","process":412,"request_id":"5f0c",...}
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any

from churnlib.serving.seeing.background import Background
from churnlib.serving.seeing.lines import Lines

CAPACITY = 10_000
"""Entries that wait for the thread; more lose the oldest."""

FLUSH_SECONDS = 0.1

LONGEST_MESSAGE = 2000
"""Characters of a message of :mod:`logging` that are kept."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that a line names; another one is client-made text and becomes ``other``."""

_MOST_PARTS = 256
"""Kinds of requests whose part of the lines is kept."""

_FAULTS = frozenset({500, 504})
"""Statuses that are this server's fault; a 503 is not, and probes would fill the log with it."""


class Log:
    """The log of one process.

    Args:
        path: File to append to; None is standard error. A file is rotated, see
            :class:`~churnlib.serving.seeing.lines.Lines`.
        capacity: Entries that wait for the thread.
        rotate_bytes: Size from which a file is put aside.
        keep: Files put aside that stay.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        capacity: int = CAPACITY,
        rotate_bytes: int = 100_000_000,
        keep: int = 5,
    ) -> None:
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=capacity)
        self._number = itertools.count()  # atomic in CPython: the thread sees by the gaps what was pushed out
        self._next = 0
        self._lines = Lines(path, rotate_bytes=rotate_bytes, keep=keep)
        self._pid = os.getpid()
        self._parts: dict[tuple[Any, ...], tuple[str, str, str]] = {}
        self._second = -1
        self._second_text = ""
        self._background = Background("churnlib-log", FLUSH_SECONDS, self.flush)
        self._told = 0
        self.dropped = 0
        """Entries lost so far."""

    def start(self) -> None:
        """Begin to write; call it in the process that logs."""
        self._pid = os.getpid()
        self._parts.clear()
        self._background.start()

    def close(self, timeout: float = 2.0) -> bool:
        """Write what waits and end.

        Args:
            timeout: Seconds to wait where nobody takes the lines.

        Returns:
            Whether everything was handed over.
        """
        written = self._background.stop(timeout)
        if written:
            self._lines.close()
        return written

    def request(
        self,
        request_id: str,
        method: str,
        route: str,
        status: int,
        seconds: float,
        *,
        rows: int = 1,
        trace_id: str = "",
        key: str = "",
        model_version: str = "",
    ) -> None:
        """Log an answer.

        Args:
            request_id: As the client has it in its answer.
            method: HTTP method.
            route: Route of the server's table, not the path as sent.
            status: HTTP status.
            seconds: From its first byte to its answer.
            rows: Customers in it.
            trace_id: Of its ``traceparent``.
            key: Name of the key in the key file, never the key.
            model_version: Of the model that answered.
        """
        entry = (next(self._number), time.time(), request_id, method, route, status, seconds, rows, trace_id, key,
                 model_version)  # fmt: skip
        self._waiting.append(entry)

    def event(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Log that something has happened to the server.

        Args:
            event: What, in a fixed word (``ready``, ``reload``).
            level: ``info``, ``warning`` or ``error``.
            fields: JSON-ready values of the server's own; of a client only what went through ``problems.shown``.
        """
        self._waiting.append((next(self._number), time.time(), event, level, fields))

    def flush(self) -> None:
        """Write what waits; for the thread, and for whoever has ended it."""
        lost = self._lines.write(self._taken())
        self.dropped += lost
        if self.dropped > self._told and not lost:
            line = self._event_line(time.time(), "log_dropped", "warning", {"dropped": self.dropped - self._told})
            if self._lines.write([line.encode("ascii")]) == 0:
                self._told = self.dropped

    def _taken(self) -> Iterator[bytes]:
        """Take the entries out and make their lines; one at a time, so that no request waits for many of them."""
        while self._waiting:
            entry = self._waiting.popleft()
            self.dropped += entry[0] - self._next
            self._next = entry[0] + 1
            yield self._line(entry).encode("ascii")

    def _line(self, entry: tuple[Any, ...]) -> str:
        if len(entry) == 5:
            return self._event_line(*entry[1:])
        _, moment, request_id, method, route, status, seconds, rows, trace_id, key, version = entry
        known = (method, route, status, key, version)
        parts = self._parts.get(known)
        if parts is None:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            parts = self._parts[known] = self._parts_of(*known)
        begin, middle, end = parts
        return (
            f'{{"time":"{self._time(moment)}"{begin}{quoted(request_id)},"trace_id":'
            f'{quoted(trace_id) if trace_id else "null"}{middle}{seconds * 1e3:.3f},"rows":{rows}{end}'
        )

    def _parts_of(self, method: str, route: str, status: int, key: str, version: str) -> tuple[str, str, str]:
        """Return what the lines of like requests have in common, around what each has of its own."""
        level = "error" if status in _FAULTS else "info"
        named = f'"key":{quoted(key) if key else "null"},"method":"{method if method in METHODS else "other"}"'
        return (
            f',"level":"{level}","event":"request","process":{self._pid},"request_id":',
            f',{named},"route":{quoted(route)},"status":{status},"ms":',
            f',"model_version":{quoted(version) if version else "null"}}}\n',
        )

    def _event_line(self, moment: float, event: str, level: str, fields: dict[str, Any]) -> str:
        head = {"time": self._time(moment), "level": level, "event": event, "process": self._pid}
        return json.dumps({**head, **fields}, default=_plain, separators=(",", ":")) + "\n"

    def _time(self, moment: float) -> str:
        """Return UTC as ISO 8601 with milliseconds; the text of a second is made once."""
        second = int(moment)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((moment - second) * 1000):03d}Z"


class JsonHandler(logging.Handler):
    """Brings what libraries log with :mod:`logging` into the same log.

    Of an error it keeps the kind and the places, not the text, which may quote a customer's values.

    Args:
        log: The log.
        level: Least level that is kept.
    """

    def __init__(self, log: Log, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over."""
        try:
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()[:LONGEST_MESSAGE]}
        except Exception:  # wrong arguments for the message: what it was about is still worth a line
            fields = {"logger": record.name, "message": str(record.msg)[:LONGEST_MESSAGE]}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= _failure(record.exc_info[1])
        self._log.event("log", level=record.levelname.lower(), **fields)


def _failure(error: BaseException) -> dict[str, Any]:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def _plain(value: Any) -> str:
    """Stand in for what JSON does not know, by its kind; its text could be anything."""
    return f"<{type(value).__name__}>"


__all__ = ["CAPACITY", "JsonHandler", "Log"]
