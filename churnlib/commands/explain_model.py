"""``explain-model``: what a finished run's model goes by on the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("explain-model", _run, refuse_sweep("explain-model", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console
    from rich.markup import escape

    config = from_hydra(composed)
    from churnlib.explanation.overall.tables import importance_table, overall_lines
    from churnlib.training.explained import GLOBAL, explain_run

    console = Console()
    with console.status("reading the table") as status:
        done = explain_run(config, say=status.update)
    console.print(importance_table(done.found, top=config.top, currency=done.currency))
    for line in overall_lines(done.found):
        console.print(f"[yellow]•[/] {escape(line)}", highlight=False, soft_wrap=True)
    console.print(f"All figures  {escape(str(done.folder / GLOBAL))}, and tables beside it", soft_wrap=True)
