"""``plan``: a table in, an offer for each customer out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("plan", _run, refuse_sweep("plan", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.planned import plan_file

    plan_file(config, Console())
