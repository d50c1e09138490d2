"""``doctor``: what a table can give, whether it suffices, what would help, and what is too good to be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.console import row_bars
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from churnlib.config import DoctorConfig
    from churnlib.diagnosis.result import Diagnosis


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("doctor", _run, refuse_sweep("doctor", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    output = Path(config.output)
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"output={output} cannot be written: there is no folder {output.absolute().parent}")
    console = Console()
    found = examine(config, console)
    from churnlib.training.run_folder import write_json

    write_json(output, found.to_dict())
    console.print(found)
    console.print(f"All figures: {output}", highlight=False, soft_wrap=True)


def examine(config: DoctorConfig, console: Console) -> Diagnosis:
    """Read the configured table and examine it."""
    from churnlib.diagnosis.doctor import doctor
    from churnlib.evaluation.ceiling.goal import Goal
    from churnlib.evaluation.profit.campaign import Campaign
    from churnlib.training.tables import load_table, table_spec

    spec, money = table_spec(config.data), config.money
    campaign = Campaign(
        value=money.value,
        offer_cost=money.offer_cost,
        offer_share=money.offer_share,
        contact_cost=money.contact_cost,
        alpha=money.alpha,
        beta=money.beta,
        acceptance=money.acceptance,
    )
    with console.status("reading the table") as status, row_bars(console) as progress:
        table = load_table(config.data, seed=config.seed, max_steps=config.preprocess.max_steps, progress=progress)
        return doctor(
            table.frame,
            spec,
            split=asdict(config.split),
            preprocess=asdict(config.preprocess),
            campaign=campaign,
            value_column=money.column,
            value_times=money.times,
            currency=money.currency,
            goal=None if config.goal.metric is None else Goal(**asdict(config.goal)),
            claim=config.claim,
            names=config.leaks.names,
            allow=config.leaks.allow,
            sample_rows=config.sample_rows,
            truth=table.truth,
            name=config.data.name,
            seed=config.seed,
            progress=lambda what: status.update(f"doctor: {what}"),
        )
