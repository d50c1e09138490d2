"""``uplift``: from an experiment to what its treatment prevents, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.config import config_dir
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("uplift", _run, check_model(refuse_sweep("uplift", words))))


def check_model(words: Sequence[str]) -> Sequence[str]:
    """Return words that name no network: the configuration of one asks for groups that this command lacks.

    Raises:
        ConfigError: With the baselines.
    """
    from churnlib.models.baselines import BASELINES

    for word in words:
        group, _, name = word.partition("=")
        if group == "model" and name not in BASELINES and (config_dir() / "model" / f"{name}.yaml").is_file():
            raise ConfigError(f"model={name} is no baseline; churnlib uplift takes model={', '.join(BASELINES)}")
    return words


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.training.uplift_run import uplift_run

    uplift_run(config, console=Console())
