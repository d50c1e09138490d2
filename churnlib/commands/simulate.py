"""``simulate``: a file of customers whose true churn probabilities are known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.console import memory_words, row_bar

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("simulate", _run, refuse_sweep("simulate", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config, console = from_hydra(composed), Console()
    drawn = {"seed": config.seed, "n_snapshots": config.n_snapshots}
    files = {"usage": config.usage_events, "tickets": config.ticket_events}
    write_customers(
        config.output,
        config.n_customers,
        console=console,
        history_months=config.history_months,
        event_days=config.event_days if any(files.values()) else 0,
        truth=config.truth,
        **drawn,
    )
    for table, output in files.items():
        if output:
            write_events(output, config.n_customers, table, console=console, event_days=config.event_days, **drawn)


def write_customers(output: str | Path, n_customers: int, *, console: Console, **options: Any) -> int:
    """Simulate customers into a Parquet file, show how far it is, and print what was written.

    Args:
        output: File to write.
        n_customers: Distinct customers.
        console: Where to print. The bar is drawn on terminals only.
        options: Keyword arguments of :func:`churnlib.data.simulator.simulate_to_parquet` except ``progress``.

    Returns:
        Number of rows written.

    Raises:
        ConfigError: An option is outside its range.
        DataError: The file cannot be written.
    """
    import polars as pl

    from churnlib.data.simulator import DUPLICATE_SHARE, simulate_to_parquet

    start = time.perf_counter()
    repeated = options.get("duplicate_share", DUPLICATE_SHARE)
    with row_bar("customers", console, total=n_customers * (1 + repeated)) as advance:
        rows = simulate_to_parquet(output, n_customers, progress=advance, **options)
    seconds = time.perf_counter() - start
    churners = pl.scan_parquet(output).select((pl.col("churn") == "yes").mean()).collect().item()
    _say(console, f"{output}: {rows:,} rows in {seconds:.1f} s, churn rate {churners:.1%}")
    return rows


def write_events(output: str | Path, n_customers: int, table: str, *, console: Console, **options: Any) -> int:
    """Simulate an event table of the same customers into a Parquet file, and print what was written.

    Args:
        output: File to write.
        n_customers: Distinct customers.
        table: ``usage`` or ``tickets``.
        console: Where to print.
        options: Keyword arguments of :func:`churnlib.data.simulator.simulate_events_to_parquet` except ``progress``.

    Returns:
        Number of events written.

    Raises:
        ConfigError: An option is outside its range.
        DataError: The file cannot be written.
    """
    from churnlib.data.simulator import simulate_events_to_parquet

    start = time.perf_counter()
    with row_bar(table, console) as advance:
        rows = simulate_events_to_parquet(output, n_customers, table, progress=advance, **options)
    _say(console, f"{output}: {rows:,} events in {time.perf_counter() - start:.1f} s")
    return rows


def _say(console: Console, line: str) -> None:
    """Print a line with the memory that was needed so far."""
    console.print(f"{line}{memory_words()}", highlight=False, markup=False, soft_wrap=True)
