"""``profile``: a readable report of a customer table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.console import row_bars
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from churnlib.config import ProfileConfig

MARKS = {"alarm": "[bold red]alarm[/]", "look": "[yellow]look[/] ", "note": "[dim]note[/] "}


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("profile", _run, refuse_sweep("profile", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    folder = Path(config.output).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"output={config.output} cannot be written: there is no folder {folder}; create it first")
    from churnlib.profiling.page import write_profile

    console = Console()
    profile = describe(config, console)
    figures = write_profile(profile, config.output)
    show(console, profile)
    size = Path(config.output).stat().st_size / 1024
    console.print(f"{config.output} ({size:,.0f} kB); its figures: {figures}", highlight=False, soft_wrap=True)


def describe(config: ProfileConfig, console: Console) -> dict[str, Any]:
    """Read the configured table and describe it."""
    from churnlib.data.customers import prepare_customers
    from churnlib.profiling.profile import profile_rows
    from churnlib.profiling.rows import read_rows
    from churnlib.training.tables import load_table, table_spec

    spec = table_spec(config.data)
    with console.status("reading the table") as status, row_bars(console) as progress:
        most = config.preprocess.max_steps
        loaded = load_table(config.data, seed=config.seed, max_steps=most, progress=progress)
        frame = loaded.frame
        for line in loaded.said:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return profile_rows(
            read_rows(frame, spec),
            name=config.data.name,
            customers=lambda: prepare_customers(
                frame, spec, split=asdict(config.split), preprocess=asdict(config.preprocess), seed=config.seed
            ),
            quasi_identifiers=config.quasi_identifiers,
            fewest=config.fewest,
            sample_rows=config.sample_rows,
            seed=config.seed,
            progress=lambda what: status.update(f"profile: {what}"),
        )


def show(console: Console, profile: Mapping[str, Any]) -> None:
    """Print the findings, and the columns that tell most."""
    from rich.markup import escape
    from rich.table import Table

    told = profile["table"]
    rate = f", {told['rate']:.1%} leave ({told['low']:.1%}–{told['high']:.1%})" if "rate" in told else ""
    console.print(f"[bold]{escape(told['name'])}[/]: {told['rows']:,} rows, {told['features']} features{rate}")
    for one in profile["findings"]:
        console.print(f"{MARKS[one['level']]} {escape(one['text'])}")
    table = Table(title="Columns that tell most about leaving", title_justify="left")
    for header in ("column", "kind"):
        table.add_column(header, overflow="fold")
    for header in ("missing", "tells"):
        table.add_column(header, justify="right")
    table.add_column("most leave where", overflow="fold")
    for column in profile["columns"][:10]:
        cells = [cell for cell in column["cells"] if cell.get("rate") is not None and cell["n"] >= 50]
        worst = max(cells, key=lambda cell: cell["low"], default=None)
        where = "" if worst is None else f"{worst['label']} ({worst['rate']:.0%} of {worst['n']:,})"
        missing = f"{column['missing']['share']:.1%}" if column["missing"]["n"] else ""
        table.add_row(escape(column["name"]), column["kind"], missing, f"{column['strength']:.2f}", escape(where))
    console.print(table)
