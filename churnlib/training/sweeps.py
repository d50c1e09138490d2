"""Many runs of one command: what became of each, kept in files until the last one is done.

Each run writes its outcome into a folder that only the sweep knows, because a launcher may run jobs in processes of
their own; at the end the outcomes become ``sweep.json`` and a table. ``sweep.json`` holds

    runs             every run: the fields of :class:`Outcome`, and ``comparison``, null if the run did not finish:
        rank, best       of its configuration by mean log loss on validation rows, from 1; whether it is the first
        pareto           whether no other is better in validation log loss, p50_ms and fit_seconds at once
        quality          validation_log_loss; of the test rows log_loss, roc_auc, f1 and their 95 % intervals; and
                         log_loss_minus_best: to_run, value, interval (null for the best, and on other test rows)
        interpretability shows, because: what can be read off such a model, and why
        training         fit_seconds, rows_per_second
        inference        p50_ms, p95_ms (one customer), rows_per_second (in batches), backend (onnx, or torch for the
                         model as it was trained)
        scale            bundle_bytes, training_grows_with
    configurations   runs that differ in nothing but their seed, the best first: runs (numbers), model, overrides, rank,
                     best, pareto, mean and sd of each figure over the runs
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from churnlib.errors import ConfigError
from churnlib.training.run_folder import holds_run, write_json

if TYPE_CHECKING:
    from churnlib.evaluation.paired import ScoredRows

SWEEP = "sweep.json"
FINISHED = "finished"
PREDICTIONS = "predictions.parquet"


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
    from churnlib.evaluation.comparison import compare, entries, summaries
    from churnlib.evaluation.sweep_tables import ComparisonTable, runs_table

    rows = [outcome.row() for outcome in outcomes]
    configurations = compare(rows, _scored(outcomes))
    if any(len(configuration.runs) > 1 for configuration in configurations):
        console.print(runs_table(rows, title="Test rows, run by run"))
        console.print()
    console.print(ComparisonTable(configurations, rows))
    if root.is_dir():
        compared = entries(configurations)
        runs = [{**asdict(outcome), "comparison": compared.get(outcome.number)} for outcome in outcomes]
        write_json(root / SWEEP, {"runs": runs, "configurations": summaries(configurations)})
        console.print(f"All runs  {root}", soft_wrap=True, highlight=False, markup=False)
        if configurations:
            best = root / str(configurations[0].runs[0]["number"])
            console.print(f"Report    churnlib report run={best}", soft_wrap=True, highlight=False, markup=False)


def _scored(outcomes: Sequence[Outcome]) -> dict[int, ScoredRows]:
    """Return the test rows of the runs that have written some, by the run's number."""
    import polars as pl

    from churnlib.evaluation.paired import ScoredRows

    paths = {outcome.number: Path(outcome.folder) / PREDICTIONS for outcome in outcomes if outcome.state == FINISHED}
    read = {number: pl.read_parquet(path) for number, path in paths.items() if path.exists()}
    # Rows of a run that learned when customers leave are known up to their own times, and are not compared in pairs.
    read = {number: table for number, table in read.items() if "duration" not in table.columns}
    return {number: ScoredRows.from_predictions(table) for number, table in read.items() if len(table)}
