"""``scorecard``: an additive model as points that a person can add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("scorecard", _run, refuse_sweep("scorecard", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.explanation.scorecard import scorecard, write_scorecard
    from churnlib.predictor import load

    predictor = load(config.bundle, trust=config.trust)
    card = scorecard(predictor, points_to_double=config.points_to_double, decimals=config.decimals)
    console = Console()
    console.print(card.table())
    if config.output is not None:
        write_scorecard(card, config.output)
        console.print(f"{len(card.rows()):,} choices of {len(card.terms)} terms: {config.output}", soft_wrap=True)
