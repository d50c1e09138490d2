"""``forget``: a customer's rows removed from everything that churnlib has stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.errors import DataError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from churnlib.config import ForgetConfig
    from churnlib.privacy.forget import Forgotten


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("forget", _run, refuse_sweep("forget", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    from churnlib.commands.persons import keys_of, person_of
    from churnlib.privacy.forget import forget, read_records
    from churnlib.privacy.persons import Erased

    wanted = (
        person_of(config)
        if config.reapply is None
        else Erased.from_records(read_records(config.reapply), keys_of(config))
    )
    done = forget(
        wanted, config.folders, record=config.record, id_columns=config.id_columns, dry_run=config.dry_run
    )  # fmt: skip
    show(Console(), done, config)
    if done.found.unsearched:
        raise DataError(
            f"{len(done.found.unsearched)} tables could not be searched, and may still hold the customer; they are "
            "named above with what is wanting"
        )


def show(console: Console, done: Forgotten, config: ForgetConfig) -> None:
    """Print what was removed, and what is still to be done by hand."""
    from churnlib.commands.persons import show_found

    show_found(console, done.found)
    lines = []
    if config.dry_run:
        lines.append("Dry run: nothing was removed")
    elif done.record is not None:
        lines.append(f"{sum(done.removed.values()):,} rows removed; recorded in {config.record}")
        if config.reapply is None and not config.keys:
            lines.append(
                "Without keys=[...] the record does not say whom it concerned, and cannot be re-applied when a backup "
                "is restored"
            )
    else:
        lines.append("Nobody of the records is in these tables; nothing to remove")
    if any(model.concerned for model in done.found.models):
        lines.append(
            "A model that learned from the customer keeps what it learned: train it again on the source table, from "
            "which the customer must be removed too, and delete the old bundle"
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
