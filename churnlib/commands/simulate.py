"""``simulate``: a file of customers whose true churn probabilities are known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("simulate", _run, refuse_sweep("simulate", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console
    from rich.progress import Progress

    config = from_hydra(composed)
    from churnlib.data.simulator import simulate_to_parquet

    console = Console()
    started = time.perf_counter()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("customers", total=config.n_customers)
        rows = simulate_to_parquet(
            config.output,
            config.n_customers,
            seed=config.seed,
            n_snapshots=config.n_snapshots,
            truth=config.truth,
            progress=lambda drawn: bar.update(task, completed=min(drawn, config.n_customers)),
        )
    seconds = time.perf_counter() - started
    console.print(f"{rows:,} rows in {seconds:.1f} s  {config.output}", soft_wrap=True, highlight=False, markup=False)
