"""``subject-report``: everything that churnlib has stored about a customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.errors import DataError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("subject-report", _run, refuse_sweep("subject-report", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.commands.persons import person_of, show_found
    from churnlib.privacy.forget import nobody, search
    from churnlib.privacy.subject import subject_report, write_report

    person = person_of(config)
    _, found = search(person, config.folders, id_columns=config.id_columns)
    if not found.rows:
        raise DataError(nobody(found, config.folders))
    write_report(subject_report(person.name, found), config.output)
    console = Console()
    show_found(console, found)
    console.print(f"Everything found: {config.output}", highlight=False, markup=False, soft_wrap=True)
    if found.unsearched:
        raise DataError(
            f"{len(found.unsearched)} tables could not be searched, and may hold more; they are named above with what "
            "is wanting"
        )
