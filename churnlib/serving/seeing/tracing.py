"""Traces over several services (W3C Trace Context): ``traceparent`` read, made and passed on, without any package.

A request that comes with a valid ``traceparent`` belongs to its caller's trace; any other begins one of its own, whose
id stands in the log and in the answer's header. Spans that a collector can show are made only where one is configured
(:mod:`churnlib.serving.seeing.spans`).
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

HEADER = b"traceparent"

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16
_bits = random.getrandbits  # seeded anew in each process, also after a fork


class Trace(NamedTuple):
    """Where a request stands in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits, the same in all services.
        span_id: 16 hexadecimal digits, of this request in this server.
        parent_id: Span of the caller; empty where the trace begins here.
        sampled: Whether the trace is recorded: as the caller decided, or where it begins here, as this server does.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool

    @property
    def header(self) -> bytes:
        """Value of ``traceparent`` in the answer, and in requests made for this one."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}".encode()


def trace(traceparent: bytes | None, *, sampled: bool = False) -> Trace:
    """Return the place of a request in its caller's trace, or in a new one.

    Args:
        traceparent: Value of the request's header; None where it has none. What is not valid counts as none, as the
            standard has it; a version to come is read as far as this one goes.
        sampled: Whether a trace that begins here is recorded.

    >>> trace(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").parent_id
    '00f067aa0ba902b7'
    """
    if traceparent is not None:
        found = _TRACEPARENT.fullmatch(traceparent)
        if found is not None:
            version, trace_id, parent_id, flags, more = found.groups()
            known = version != b"ff" and (more is None or version != b"00")
            if known and trace_id != _NO_TRACE and parent_id != _NO_SPAN:
                recorded = flags[1] in b"13579bdf"
                return Trace(trace_id.decode(), _bits(64).to_bytes(8).hex(), parent_id.decode(), recorded)
    ids = _bits(192).to_bytes(24)  # zeros would be no id; they come once in 2^64
    return Trace(ids[:16].hex(), ids[16:].hex(), "", sampled)
