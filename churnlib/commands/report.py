"""``report``: what a run has to tell, as one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("report", _run, refuse_sweep("report", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console
    from rich.markup import escape

    config = from_hydra(composed)
    if config.out is not None and not (folder := Path(config.out).absolute().parent).is_dir():
        raise ConfigError(f"out={config.out} cannot be written: there is no folder {folder}; create it first")
    from churnlib.training.display import show_verdict
    from churnlib.training.reporting import report

    console = Console()
    with console.status("writing the report"):
        limits = {"budget": config.budget, "capacity": config.capacity}
        made = report(config.run, out=config.out, refresh=config.refresh, levers=config.levers, **limits)
    show_verdict(console, made.document["verdict"])
    size = made.path.stat().st_size / 1024
    console.print(f"{escape(str(made.path))} ({size:,.0f} kB)", highlight=False, soft_wrap=True)
