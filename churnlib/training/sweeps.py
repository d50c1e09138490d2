"""Many runs of one command: what became of each, kept in files until the last one is done.

Each run writes its outcome into a folder that only the sweep knows, because a launcher may run jobs in processes of
their own; at the end the outcomes become ``sweep.json`` and a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from churnlib.errors import ConfigError
from churnlib.training.run_folder import holds_run, write_json

SWEEP = "sweep.json"
FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run of a sweep.

    Attributes:
        number: Of the run, from 0; also the name of its folder.
        overrides: The words that were given to it.
        model: Name of its model's configuration.
        seed: Its seed.
        state: ``finished``, ``stopped``, or ``failed: <sentence>``.
        seconds: It took.
        folder: Where it wrote, if it came that far.
        metrics: The contents of its ``metrics.json``, empty if it did not finish.
    """

    number: int
    overrides: Sequence[str]
    model: str
    seed: int | None
    state: str
    seconds: float
    folder: str
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keep it for the end of the sweep."""
        write_json(folder / f"{self.number}.json", asdict(self))

    def row(self) -> dict[str, Any]:
        """Return what the closing table shows."""
        return {**asdict(self), "metrics": self.metrics or None}


def read_outcomes(folder: Path) -> list[Outcome]:
    """Return what the runs left in the folder, in the order of their numbers."""
    texts = (path.read_text(encoding="utf-8") for path in folder.glob("*.json"))
    return sorted((Outcome(**json.loads(text)) for text in texts), key=lambda outcome: outcome.number)


def check_root(root: Path) -> None:
    """Refuse a folder that holds a run or a sweep.

    Raises:
        ConfigError: With the folder.
    """
    taken = holds_run(root) or (root / SWEEP).exists() or any(holds_run(path) for path in root.glob("[0-9]*"))
    if taken:
        raise ConfigError(f"output_dir={root} holds runs already; choose another folder or remove that one")


def close_sweep(outcomes: Sequence[Outcome], root: Path, console: Console) -> None:
    """Write ``sweep.json`` and print the closing table; nothing is written if no run came as far as its folder.

    Args:
        outcomes: Of the runs, in order.
        root: The sweep's folder.
        console: Where to print.
    """
    from churnlib.evaluation.tables import runs_table

    console.print(runs_table([outcome.row() for outcome in outcomes], title=f"{len(outcomes)} runs"))
    if root.is_dir():
        write_json(root / SWEEP, {"runs": [asdict(outcome) for outcome in outcomes]})
        console.print(f"All runs  {root}", soft_wrap=True, highlight=False, markup=False)
