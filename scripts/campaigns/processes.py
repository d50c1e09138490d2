"""Processes as ``/proc`` shows them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from scripts.bench_serving import descendants


def resident(pid: int) -> int:
    """Return the memory of a process and of all below it, in bytes."""
    return sum(resident_of(each) for each in (pid, *descendants(pid)))


def resident_of(pid: int) -> int:
    """Return the memory of one process, in bytes; 0 if it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def name_of(pid: int) -> str:
    """Return what a process calls itself: ``churn http``, ``load worker``; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def is_alive(pid: int) -> bool:
    """Whether a process has not ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


__all__ = ["descendants", "is_alive", "name_of", "resident", "resident_of"]
