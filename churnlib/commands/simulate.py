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
    from churnlib.data.simulator_command import write_customers

    write_customers(
        config.output,
        config.n_customers,
        console=Console(),
        seed=config.seed,
        n_snapshots=config.n_snapshots,
        history_months=config.history_months,
        truth=config.truth,
    )
