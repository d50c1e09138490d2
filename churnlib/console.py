"""What long work shows to a person who watches: how far it is, and the memory that it took."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def row_bar(what: str, console: Console, *, total: float | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar on a terminal, elsewhere nothing; it is gone at the end.

    Args:
        what: Is counted.
        console: Where.
        total: How many there are; None where that is told later.

    Yields:
        What moves the bar: called with how many are done and, if it is known by then, how many there are.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)  # it pulses until the first call: the start may take its time

        def move(done: int, of: float | None = None) -> None:
            bar.update(task, total=total if of is None else of, completed=done)

        yield move


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


__all__ = ["memory_words", "peak_memory", "row_bar"]
