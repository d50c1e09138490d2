"""``pseudonymise``: a table with keyed pseudonyms in place of the customers' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("pseudonymise", _run, refuse_sweep("pseudonymise", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.data.pseudonyms import read_pseudonyms
    from churnlib.privacy.tables import pseudonymise_table

    pseudonyms = read_pseudonyms(
        key_env=config.key_env,
        key_file=config.key_file,
        key_id=config.key_id,
        tenant=config.tenant,
        purpose=config.purpose,
    )
    assert pseudonyms is not None  # the configuration has made sure of it
    rows = pseudonymise_table(config.input, config.output, column=config.id, pseudonyms=pseudonyms, **config.reading())
    told = f"{rows:,} rows with pseudonyms of the key {config.key_id} in {config.id!r}: {config.output}"
    Console().print(told, highlight=False, markup=False, soft_wrap=True)
