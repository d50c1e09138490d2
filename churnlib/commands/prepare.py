"""``prepare``: a table of any size, cleaned and prepared into a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.console import memory_words, row_bars

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from churnlib.config import PrepareConfig
    from churnlib.data.prepared_table import PreparedTable


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("prepare", _run, refuse_sweep("prepare", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    from churnlib.data.validation import BrokenRules

    config = from_hydra(composed)
    console = Console()
    try:
        prepared = _prepare(config, console)
    except BrokenRules as error:
        console.print(error.validated.report.render())
        raise
    show(console, prepared, config)


def _prepare(config: PrepareConfig, console: Console) -> PreparedTable:
    from churnlib.data.prepared_table import prepare_table
    from churnlib.training.tables import reading_table, scan_configured, table_spec

    data = config.data
    steps, sources = config.preprocess.max_steps, []
    with row_bars(console) as advance, reading_table(data) as folder:
        advance("rows", 0)
        table = scan_configured(
            data, seed=config.seed, max_steps=steps, say=console.print, remember=sources.append, folder=folder,
            progress=advance,
        )  # fmt: skip
        return prepare_table(
            table,
            config.output or "",
            table_spec(data),
            shares=(config.split.train, config.split.validation, config.split.test),
            preprocess=asdict(config.preprocess),
            seed=config.seed,
            sample_rows=config.sample_rows,
            progress=partial(advance, "rows"),
            sources=sources,
        )


def show(console: Console, prepared: PreparedTable, config: PrepareConfig) -> None:
    """Print what was written."""
    from churnlib.data.prepared_table import SIDE, TABLE

    lines = [*prepared.said]
    if prepared.validated is not None:
        console.print(prepared.validated.report.render())
        lines += prepared.validated.report.lines()
    if prepared.left_out:
        lines.append(f"{prepared.left_out:,} rows without a target value left out")
    lines += [f"{count:,} unreadable cells of {name!r} count as missing" for name, count in prepared.unreadable.items()]
    sides = ", ".join(f"{prepared.sides.get(side, 0):,} {side}" for side in ("train", "validation", "test"))
    written = f"{prepared.rows:,} rows ({sides}), {len(prepared.columns)} features"
    took = f"{prepared.seconds:.1f} s{memory_words()}; learned from {prepared.sampled:,} training rows"
    path = prepared.folder / TABLE
    onward = f"data=table data.path={path} data.target={config.data.target} split.by=column split.column={SIDE}"
    lines += [f"{path}: {written} in {took}", f"Train on it  churnlib train {onward}"]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
