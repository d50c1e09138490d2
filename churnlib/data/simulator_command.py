"""Writing a file of simulated customers for a person who watches: a progress bar, and what came out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from churnlib.data.simulator import DUPLICATE_SHARE, simulate_to_parquet
from churnlib.data.simulator_event_tables import simulate_events_to_parquet


def peak_memory() -> int | None:
    """Return the most bytes this process has held in memory so far, or None where the system does not say."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def write_customers(
    output: str | Path, n_customers: int = 10_000, *, console: Console | None = None, **options: Any
) -> int:
    """Simulate customers into a Parquet file, show how far it is, and print what was written.

    Args:
        output: File to write.
        n_customers: Distinct customers.
        console: Where to print; standard output when left out. The bar is drawn on terminals only.
        options: Keyword arguments of :func:`churnlib.data.simulator.simulate_to_parquet` except ``progress``.

    Returns:
        Number of rows written.

    Raises:
        ConfigError: An option is outside its range.
        DataError: The file cannot be written.
    """
    console = Console() if console is None else console
    start = time.perf_counter()
    repeated = options.get("duplicate_share", DUPLICATE_SHARE)
    with _progress("customers", n_customers * (1 + repeated), console) as advance:
        rows = simulate_to_parquet(output, n_customers, progress=advance, **options)
    seconds = time.perf_counter() - start
    churners = pl.scan_parquet(output).select((pl.col("churn") == "yes").mean()).collect().item()
    _say(console, f"{output}: {rows:,} rows in {seconds:.1f} s, churn rate {churners:.1%}")
    return rows


def write_events(
    output: str | Path, n_customers: int, table: str, *, console: Console | None = None, **options: Any
) -> int:
    """Simulate an event table of the same customers into a Parquet file, and print what was written.

    Args:
        output: File to write.
        n_customers: Distinct customers.
        table: ``usage`` or ``tickets``.
        console: Where to print; standard output when left out.
        options: Keyword arguments of :func:`churnlib.data.simulator_event_tables.simulate_events_to_parquet` except
            ``progress``.

    Returns:
        Number of events written.

    Raises:
        ConfigError: An option is outside its range.
        DataError: The file cannot be written.
    """
    console = Console() if console is None else console
    start = time.perf_counter()
    with _progress(table, None, console) as advance:
        rows = simulate_events_to_parquet(output, n_customers, table, progress=advance, **options)
    _say(console, f"{output}: {rows:,} events in {time.perf_counter() - start:.1f} s")
    return rows


@contextmanager
def _progress(what: str, total: float | None, console: Console) -> Iterator[Callable[[int], None]]:
    """Show a bar, and give what moves it: called with the rows drawn so far."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda rows: bar.update(task, total=total, completed=rows)


def _say(console: Console, line: str) -> None:
    """Print a line with the memory that was needed so far."""
    peak = peak_memory()
    memory = "" if peak is None else f", peak memory {peak / 2**20:,.0f} MiB"
    console.print(f"{line}{memory}", highlight=False, markup=False, soft_wrap=True)
