"""``export``: a trained model for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra, say
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("export", _run, refuse_sweep("export", words)))


def _run(composed: DictConfig) -> None:
    from pathlib import Path

    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.bundle import read_bundle
    from churnlib.exporting.formats import INT8, export

    if config.format == "torchscript":
        say("Warning: PyTorch has deprecated TorchScript; format=torch_export is what it puts in its place.")
    bundle = read_bundle(config.bundle, trust=config.trust)
    done = export(bundle, Path(config.bundle), Path(config.output), kind=config.format)
    console = Console(highlight=False)
    console.print(f"{bundle.name} {bundle.version}: {done.path} ({done.bytes / 1e6:,.2f} MB)", soft_wrap=True)
    console.print(f"{len(bundle.golden)} golden rows: probabilities differ by up to {done.difference:.2g}")
    if config.format == INT8:
        console.print(f"Expected rise of the log loss: {done.divergence:.2g}")
