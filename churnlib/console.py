"""What long work shows to a person who watches: how far it is, and the memory that it took."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def row_bars(console: Console) -> Iterator[Callable[..., None]]:
    """Show bars on a terminal, elsewhere nothing; they are gone at the end.

    Yields:
        What moves a bar, which is there from its first call: called with what is counted, how many are done and, as far
        as that is known, how many there are.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bars = Progress(
        TextColumn("{task.description}"), *columns, console=console, transient=True, disable=not console.is_terminal
    )
    tasks = {}

    def move(what: str, done: float, of: float | None = None) -> None:
        bars.start()  # once is enough; work without a bar draws nothing
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=None)
        bars.update(tasks[what], total=of, completed=done)

    try:
        yield move
    finally:
        bars.stop()


@contextmanager
def row_bar(what: str, console: Console, *, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show one bar, which pulses until it is known how many there are: the start of the work may take its time.

    Args:
        what: Is counted.
        console: Where.
        total: How many there are; None where that is told later.

    Yields:
        What moves the bar: called with how many are done and, if it is known by then, how many there are.
    """
    with row_bars(console) as move:
        move(what, 0)
        yield lambda done, of=None: move(what, done, total if of is None else of)


def peak_memory() -> int | None:
    """Return the most bytes this process has held in memory so far, or None where the system does not say."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory_words() -> str:
    """Return the memory that was needed so far, to be put behind a line; empty where the system does not say."""
    peak = peak_memory()
    return "" if peak is None else f", peak memory {peak / 2**20:,.0f} MiB"


__all__ = ["memory_words", "peak_memory", "row_bar", "row_bars"]
