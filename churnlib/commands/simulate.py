"""``simulate``: a file of customers whose true churn probabilities are known."""

from __future__ import annotations

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

    config = from_hydra(composed)
    from churnlib.data.simulator_command import write_customers, write_events

    console = Console()
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
