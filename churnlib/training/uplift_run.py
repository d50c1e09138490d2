"""One run of ``uplift``, from a table with a treatment to a bundle, curves and checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from churnlib.bundle import Bundle, write_bundle
from churnlib.config.uplift import UpliftConfig
from churnlib.console import row_bars
from churnlib.data.background import alike_columns
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.profile import build_profile
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.bootstrap import customer_numbers
from churnlib.evaluation.calibrators import fit_calibration
from churnlib.evaluation.experiment import check_randomisation
from churnlib.evaluation.uplift import curve_band, effect_line, uplift_metrics
from churnlib.models.baselines.recipes import recipe_of
from churnlib.predictor import Predictor
from churnlib.training.packing import complete, model_name
from churnlib.training.run_folder import RunFolder
from churnlib.training.tables import load_table, table_spec
from churnlib.training.uplift import balance_inputs, fit_uplift, propensity_scores, read_treatment, sides_of

SHARES = np.linspace(0.0, 1.0, 101)
"""Where the curves are written."""


@dataclass(frozen=True, slots=True)
class UpliftResult:
    """What a run leaves behind.

    Attributes:
        metrics: The contents of ``metrics.json``.
        folder: The run's folder, with ``bundle/``, ``curve.parquet`` and ``predictions.parquet``.
    """

    metrics: dict[str, Any]
    folder: Path


def uplift_run(config: UpliftConfig, *, console: Console | None = None) -> UpliftResult:
    """Fit an uplift model to an experiment, judge it on the test rows, and write it down.

    Args:
        config: Every option.
        console: Where to print.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If the table is wrong, or holds no experiment.
    """
    console = console or Console(quiet=True)
    recipe = recipe_of(config.model)
    if recipe is None:
        raise ConfigError(
            f"model={model_name(config.model)} is no baseline; churnlib uplift takes model=hist_gradient_boosting, "
            "logistic, lightgbm, ..."
        )
    folder = RunFolder(config.output_dir, latest=None)
    customers, treated = read_experiment(config, console)
    options = {name: getattr(config, name) for name in ("learner", "effects", "propensity", "seed", "threads")}
    model = fit_uplift(recipe, customers, treated, **options)
    predictor = _calibrated(model, customers, treated, name=f"{config.learner}_learner")
    metrics = judge(predictor, customers, treated, replicates=config.replicates, seed=config.seed)
    path = folder.create(config)  # type: ignore[arg-type]
    bundle = complete(predictor, metrics)
    write_bundle(bundle, path / "bundle")
    _write_rows(predictor, customers, treated, path)
    folder.finish({**metrics, "model": model_name(config.model), "learner": config.learner, "seed": config.seed})
    show(console, metrics, path)
    return UpliftResult(metrics, path)


def read_experiment(config: UpliftConfig, console: Console) -> tuple[Customers, np.ndarray]:
    """Read the configured table; return it without the treatment among its features, and who was treated."""
    column = config.treatment or ""
    if column in (config.data.target, config.data.id, config.data.time):
        raise ConfigError(f"treatment={column} is the target, the name or the date of the customers; name another one")
    with row_bars(console) as progress:
        frame = load_table(
            config.data, seed=config.seed, max_steps=config.preprocess.max_steps, progress=progress
        ).frame
    read_treatment(frame, column, config.treated)  # a wrong column is refused before anything is prepared
    spec = table_spec(config.data).without(column)
    split = asdict(config.split)
    if config.split.by == "random" or (config.split.by == "auto" and config.data.time is None):
        split["stratify"] = [*config.split.stratify, column]  # both sides of the experiment in every part
    customers = prepare_customers(frame, spec, split=split, preprocess=asdict(config.preprocess), seed=config.seed)
    if len(customers.schema.classes) != 2:
        raise DataError(f"an uplift model needs a target of two classes, got {len(customers.schema.classes)}")
    return customers, read_treatment(customers.frame, column, config.treated)


def _calibrated(model: Any, customers: Customers, treated: np.ndarray, *, name: str) -> Predictor:
    """Return a predictor whose probabilities are those of customers who are left alone, calibrated on such rows."""
    alone = sides_of(customers, treated, "validation").of(0)
    calibration = fit_calibration(model.logits(alone.numeric, alone.codes), alone.label)
    typed = customers.typed[customers.rows("train")]
    profile = {**build_profile(typed, customers.schema), "alike": alike_columns(typed, customers.schema)}
    return Predictor(
        Bundle(
            schema=customers.schema,
            preparation=customers.preparation,
            model=model,
            calibration=calibration,
            threshold=0.5,
            name=name,
            profile=profile,
        )
    )


def judge(
    predictor: Predictor, customers: Customers, treated: np.ndarray, *, replicates: int, seed: int
) -> dict[str, Any]:
    """Return the figures of the test rows, and the checks of the experiment.

    Raises:
        DataError: If the test rows lack a side of the experiment.
    """
    test = sides_of(customers, treated, "test")
    if len(np.unique(test.treated)) < 2:
        raise DataError("the test rows hold one side of the experiment only; nothing can be measured on them")
    model: Any = predictor.bundle.model
    effect = model.effects(test.rows.numeric, test.rows.codes)
    risk = predictor.bundle.calibration.probabilities(model.logits(test.rows.numeric, test.rows.codes))
    rows = customers.rows("test")
    numbers = customer_numbers(customers.ids(rows[treated[rows] >= 0]), len(effect))
    options = {"customers": numbers, "replicates": replicates, "seed": seed}
    figures = uplift_metrics(test.rows.label, test.treated, effect, **options)
    line = effect_line(test.rows.label, test.treated, effect, risk)
    inputs, names = balance_inputs(customers, treated)
    side = sides_of(customers, treated, "train").treated
    check = check_randomisation(inputs, names, side, propensity_scores(customers, treated, seed=seed), test.treated)
    told = {} if line is None else {"shift": line.shift, "slope": line.slope, "error": line.error.tolist()}
    told |= {} if line is None else {"covariance": line.covariance.tolist()}
    return {"test": figures, "effect_line": told, "checks": {**check.to_dict(), "warnings": check.warnings()}}


def _write_rows(predictor: Predictor, customers: Customers, treated: np.ndarray, path: Path) -> None:
    """Write the test rows with their effects, and the curves."""
    rows = customers.rows("test")
    rows = rows[treated[rows] >= 0]
    frame = customers.frame[rows]
    reading = predictor.read(frame, rules=False)
    effect = predictor.effects(reading)
    table = pl.DataFrame(
        {
            "customer_id": customers.ids(rows),
            "label": customers.label[rows],
            "treated": treated[rows],
            "churn_probability": predictor.probabilities(reading),
            "effect": effect,
        }
    )
    table.write_parquet(path / "predictions.parquet")
    pl.DataFrame(curve_band(customers.label[rows], treated[rows], effect, SHARES)).write_parquet(path / "curve.parquet")


def show(console: Console, metrics: dict[str, Any], path: Path) -> None:
    """Print the figures and the checks."""
    figures = metrics["test"]
    table = Table(title=f"Effects on {figures['n']:,} test rows, {figures['treated']:,} of them treated")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, words in WORDS.items():
        low, high = figures["intervals"][name]
        table.add_row(words, f"{figures[name]:+.4f}", f"{low:+.4f} to {high:+.4f}")
    console.print(table)
    line = metrics["effect_line"]
    if line:
        error = float(np.sqrt(line["covariance"][1][1]))
        console.print(f"Measured effects go up by {line['slope']:.2f} ± {1.96 * error:.2f} where the model says 1")
    for warning in metrics["checks"]["warnings"]:
        console.print(f"[yellow]•[/] {escape(warning)}", soft_wrap=True)
    console.print(f"Run folder  {path}", soft_wrap=True)
    console.print(
        f"Plan with it  churnlib plan ... '++levers.offers.treatment.experiment={path / 'bundle'}'", soft_wrap=True
    )


WORDS = {
    "average_effect": "churn prevented by treating everybody, per customer",
    "top_decile_effect": "among the tenth with the largest effects",
    "auuc": "area under the uplift curve",
    "auuc_random": "of no order",
    "auuc_over_random": "beyond no order",
    "qini": "Qini coefficient",
}

__all__ = ["UpliftResult", "judge", "read_experiment", "uplift_run"]
