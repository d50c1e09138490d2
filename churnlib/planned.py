"""A plan for a file of customers: they are scored with their offers bit by bit, then offers are chosen for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from rich.console import Console

from churnlib.config.plan import PlanConfig
from churnlib.data.opt_out import OPTED_OUT
from churnlib.errors import ConfigError
from churnlib.explanation.reasons import as_wording
from churnlib.planning.files import check_folder
from churnlib.planning.plan import Plan, Planner
from churnlib.predictor import Predictor
from churnlib.reading import Reading
from churnlib.scoring import score_file


def plan_file(config: PlanConfig, console: Console | None = None) -> Plan:
    """Plan a campaign for the customers of a file, and write it into a folder.

    Args:
        config: Run, input, output, levers, limits and options.
        console: Where to show progress and the plan.

    Raises:
        ConfigError: If an option is wrong.
        BundleError: If the bundle cannot be used.
        DataError: If the folder is there already, the table lacks a column, or (``on_error=raise``) has rows that
            cannot be scored; nothing is written then.
    """
    console = console or Console(quiet=True)
    target = check_folder(config.output or "")
    held_out = _held_out(config)
    planners: list[Planner] = []

    def answering(predictor: Predictor) -> Callable[[Reading], pl.DataFrame]:
        planner = Planner(predictor, config.levers, config.money, held_out=held_out)
        planners.append(planner)

        def answer(reading: Reading) -> pl.DataFrame:
            planner.take(reading)
            return predictor.answers(reading)

        return answer

    with TemporaryDirectory(prefix="churnlib-plan-") as folder:
        scores = Path(folder) / "scores.parquet"
        score_file(replace(config, output=str(scores)), console, answering=answering, announce=False)
        scored = pl.read_parquet(scores)
    if OPTED_OUT in scored.columns:  # who has objected was not asked about, and is not in the plan
        scored = scored.filter(~pl.col(OPTED_OUT))
    with console.status("choosing offers"):
        plan = planners[0].plan(
            scored["customer_id"],
            budget=config.budget,
            capacity=config.capacity,
            segments=config.segments,
            wording=as_wording(asdict(config.reasons)),
            explain=str(config.explain),
            seed=config.seed,
        )
    told: dict[str, Any] = {"bundle": config.bundle, "input": config.input, "money": asdict(config.money)}
    told |= {"levers": asdict(config.levers), "model_version": planners[0].predictor.version}
    plan = replace(plan, summary={**plan.summary, **told})
    plan.write(target)
    console.print(plan.render())
    console.print(f"{target}: plan.parquet, plan.csv, segments.csv, plan.json", highlight=False, soft_wrap=True)
    return plan


def _held_out(config: PlanConfig) -> pl.DataFrame | None:
    """Return the test rows of the run, None without a run.

    Raises:
        ConfigError: If the run has none.
    """
    if config.run is None:
        return None
    path = Path(config.run) / "predictions.parquet"
    if not path.is_file():
        raise ConfigError(
            f"run={config.run} holds no predictions.parquet; give the folder of a finished run, or run=null and "
            "bundle=FOLDER for intervals without the error of the probabilities"
        )
    return pl.read_parquet(path, columns=["label", "churn_probability"])


__all__ = ["plan_file"]
