"""``template``: an empty CSV file to be filled in by hand, for a model or for a configured table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from churnlib.config import TemplateConfig
    from churnlib.profiling.template import Field


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("template", _run, refuse_sweep("template", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console
    from rich.table import Table

    config = from_hydra(composed)
    from churnlib.profiling.template import EXAMPLE, write_template

    fields = _of_bundle(config.bundle) if config.bundle is not None else _of_table(config)
    notes = write_template(fields, config.output, separator=config.separator)
    console = Console()
    table = Table("column", "needed", "holds", box=None)
    for one in fields:
        table.add_row(one.name, "yes" if one.needed else "", one.holds)
    console.print(table)
    lines = [f"{config.output}: {len(fields)} columns and a made-up customer, {EXAMPLE}: delete that line", f"{notes}"]
    if config.bundle is not None:
        lines.append(f"Filled in  churnlib score bundle={config.bundle} input={config.output} output=scores.csv")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _of_bundle(folder: str) -> list[Field]:
    from churnlib.bundle import read_bundle
    from churnlib.profiling.template import template_of

    bundle = read_bundle(folder)
    return template_of(bundle.schema, bundle.profile)


def _of_table(config: TemplateConfig) -> list[Field]:
    from dataclasses import replace

    from churnlib.data.profile import build_profile
    from churnlib.errors import ConfigError
    from churnlib.profiling.rows import read_rows
    from churnlib.profiling.template import template_of
    from churnlib.training.tables import load_table, table_spec

    data = replace(config.data, events={})
    if not data.target:
        raise ConfigError("data.target is missing; name the column that says who left, or a model with bundle=DIR")
    frame = load_table(data, seed=config.seed).frame
    rows = read_rows(frame, table_spec(data))
    return template_of(rows.schema, build_profile(rows.typed, rows.schema), labelled=True)
