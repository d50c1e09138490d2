"""How the model did: beside a logistic regression on the same rows, and beside the best anybody could do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from churnlib.answers import answers_table
from churnlib.config import MoneyConfig, ThresholdConfig
from churnlib.data.customers import Customers
from churnlib.data.values import numbers_in
from churnlib.decision import OwnThreshold, decide
from churnlib.evaluation.binary import LAYERS, PROFIT
from churnlib.evaluation.bootstrap import REPLICATES
from churnlib.evaluation.intervals import confidence_intervals
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.thresholds import best_expected_f1, threshold_band
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.predictor import Predictor
from churnlib.training.baselines import rows_of, task_of
from churnlib.training.calibrating import calibrate, held_out_probability
from churnlib.training.fitted import HeldOut, Trained
from churnlib.training.money import campaign_of, own_threshold_of, values_of
from churnlib.training.survival import survival_metrics, within_horizon

SUBJECTS = "subjects.parquet"
"""File of a run folder: the customers, by pseudonym, and the side on which each stood."""

MOST_WEIGHTS, MOST_RECHOSEN = 10**8, 10**6
"""Rows times resampled sets, for the intervals of the test figures and of the threshold: seconds at most."""

SPREAD = ("roc_auc", "average_precision", "log_loss", "brier", "f1")
"""Figures that are given for each of several models."""


def side_metrics(
    customers: Customers, side: str, predictor: Predictor, *, money: MoneyConfig | None = None
) -> dict[str, Any] | None:
    """Return the metrics of a side's rows at the predictor's threshold; None if the side is empty.

    Args:
        customers: The rows.
        side: Name of the side.
        predictor: What answers.
        money: What a campaign costs; with it everything is measured, and each figure has its interval.
    """
    rows = customers.rows(side)
    if not len(rows):
        return None
    if predictor.bundle.hazards is not None:
        logits = predictor.logits(predictor.read(customers.frame[rows]).typed)
        return _of_hazards(customers, rows, logits, predictor, money)
    return _figures(
        customers, rows, customers.label[rows], predictor.probabilities(customers.frame[rows]), predictor, money
    )


def _figures(
    customers: Customers,
    rows: np.ndarray,
    label: np.ndarray,
    probability: np.ndarray,
    predictor: Predictor,
    money: MoneyConfig | None,
) -> dict[str, Any]:
    """Return the metrics of rows at the predictor's decisions: with money all of them, each with its interval."""
    own = predictor.bundle.own_threshold
    if money is None:
        return _evaluate(customers, rows, probability, predictor.threshold, own, label=label)
    values = values_of(money, customers)
    metrics = evaluate(
        label,
        probability,
        threshold=predictor.threshold,
        prediction=_own_decisions(customers, rows, probability, own),
        classes=list(customers.schema.classes),
        layers=LAYERS,
        campaign=campaign_of(money, customers),
        value=None if values is None else values[rows],
        customers=customers.ids(rows),
        replicates=n_replicates(len(rows)),
        stratified=customers.split.by == "random" and customers.lifetimes is None,
    )
    if PROFIT in metrics:
        metrics[PROFIT]["currency"] = money.currency
    return metrics


def _of_hazards(
    customers: Customers, rows: np.ndarray, logits: np.ndarray, predictor: Predictor, money: MoneyConfig | None = None
) -> dict[str, Any]:
    """Return the metrics of hazards: of leaving within the horizon, and of the curves.

    The former are about the rows of which it is known whether they left within it; ``survival.unknown_at_horizon``
    counts the others, and is all there is where nothing is known of anybody.
    """
    curve = predictor.hazards("metrics")
    known, label, gone = within_horizon(customers, rows, logits, curve)
    found = _figures(customers, rows[known], label, gone, predictor, money) if known.any() else {}
    told = survival_metrics(customers, rows, logits, curve)
    intervals = {**found.get("intervals", {}), "concordance": told["concordance_interval"]}
    return {**found, "survival": told, "intervals": intervals}


def n_replicates(n_rows: int) -> int:
    """Return how many resampled sets of so many rows are drawn: 1,000, and fewer of more than 100,000 rows."""
    return int(np.clip(MOST_WEIGHTS / n_rows, 100, REPLICATES))


def threshold_interval(
    customers: Customers, held_out: HeldOut, predictor: Predictor, threshold: ThresholdConfig, money: MoneyConfig
) -> list[float] | None:
    """Return where the threshold might have fallen; None if no row decided it, or there are classes or many rows."""
    replicates = int(min(100, MOST_RECHOSEN / len(held_out.rows)))
    decided = predictor.bundle.hazards is None and threshold.rule not in ("fixed", "value")
    if predictor.threshold is None or not decided or replicates < 20:
        return None
    label = customers.label[held_out.rows]
    probability = held_out_probability(held_out.logits, label, predictor.bundle.calibration)
    band = threshold_band(
        label,
        probability,
        customers=customers.ids(held_out.rows),
        replicates=replicates,
        campaign=campaign_of(money, customers),
        **asdict(threshold),
    )
    return list(band)


def held_out_metrics(customers: Customers, held_out: HeldOut, predictor: Predictor) -> dict[str, Any]:
    """Return the metrics of what was said about held-out rows, at the predictor's calibration and threshold."""
    if predictor.bundle.hazards is not None:
        return _of_hazards(customers, held_out.rows, held_out.logits, predictor)
    label = customers.label[held_out.rows]
    probability = held_out_probability(held_out.logits, label, predictor.bundle.calibration)
    return _evaluate(customers, held_out.rows, probability, predictor.threshold, predictor.bundle.own_threshold)


def parts_metrics(trained: Trained, predictor: Predictor) -> dict[str, Any]:
    """Return what each of several models did on its own held-out rows, and mean and standard deviation by kind."""
    parts = []
    for part in trained.parts:
        own = held_out_metrics(trained.customers, part.held_out, predictor)
        how = {"epochs": part.fit.epochs, "fit_seconds": part.fit.seconds}
        parts.append(
            {"model": part.model, "fold": part.fold, "seed": part.seed, **how, **{k: own.get(k) for k in SPREAD}}
        )
    kinds = {}
    for name in dict.fromkeys(part["model"] for part in parts):
        group = [part for part in parts if part["model"] == name]
        kinds[name] = {
            "n": len(group),
            "weight": trained.blend.get(name, 1.0),
            **{k: _spread(group, k) for k in SPREAD},
        }
    return {"kinds": kinds, "parts": parts}


def _spread(group: Sequence[Mapping[str, Any]], key: str) -> dict[str, float | None]:
    values = [part[key] for part in group if part.get(key) is not None]
    return {
        "mean": float(np.mean(values)) if values else None,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }


def baseline_metrics(
    customers: Customers, threshold: ThresholdConfig, calibration: str, money: MoneyConfig
) -> dict[str, Any] | None:
    """Fit ``model=logistic`` as it comes, treat it like the run's model, and return its test metrics."""
    if not len(customers.rows("test")):
        return None
    rows = {side: rows_of(customers, side) for side in customers.encoded}
    task = task_of(customers, class_weights=[1.0] * len(customers.schema.classes))
    model = LogisticRegression().fit(rows["train"], rows["validation"], task)
    logits = {side: model.logits(rows[side].numeric, rows[side].codes) for side in ("validation", "test")}
    campaign = campaign_of(money, customers)
    fitted, cut = calibrate(logits["validation"], customers.labels("validation"), threshold, calibration, campaign)
    own = own_threshold_of(threshold, money, customers)
    return _evaluate(customers, customers.rows("test"), fitted.probabilities(logits["test"]), cut, own)


def limit_metrics(customers: Customers) -> dict[str, Any] | None:
    """Return the test metrics of the true probabilities, at the threshold that is best for the validation rows."""
    if customers.truth is None or not len(customers.rows("test")):
        return None
    threshold, _ = best_expected_f1(customers.truth[customers.rows("validation")])
    rows = customers.rows("test")
    return _evaluate(customers, rows, customers.truth[rows], threshold)


def _evaluate(
    customers: Customers,
    rows: np.ndarray,
    probability: np.ndarray,
    threshold: float | None,
    own: OwnThreshold | None = None,
    *,
    label: np.ndarray | None = None,
) -> dict[str, Any]:
    label = customers.label[rows] if label is None else label
    classes = list(customers.schema.classes)
    prediction = _own_decisions(customers, rows, probability, own)
    metrics = evaluate(label, probability, threshold=threshold, prediction=prediction, classes=classes)
    return {**metrics, "intervals": confidence_intervals(label, probability, metrics, seed=0)}


def _own_decisions(
    customers: Customers, rows: np.ndarray, probability: np.ndarray, own: OwnThreshold | None
) -> np.ndarray | None:
    """Return the decisions where each customer has a threshold of his own; None where one holds for all."""
    if own is None:
        return None
    return decide(probability, own.thresholds(numbers_in(customers.frame[rows], own.column)))


def write_predictions(customers: Customers, predictor: Predictor, path: Path) -> None:
    """Write the test rows with label, probability and decision as Parquet, whole or not at all."""
    rows = customers.rows("test")
    answers = predictor.predict(customers.frame[rows]).drop("customer_id")
    _write_rows(customers.customer_ids("test"), customers.label[rows], _with_times(answers, customers, rows), path)


def write_held_out(trained: Trained, predictor: Predictor, path: Path) -> None:
    """Write the rows that were held out like the predictions, as answered by models that did not learn from them."""
    customers, held_out = trained.customers, trained.held_out
    label, curve = customers.label[held_out.rows], predictor.bundle.hazards
    if curve is None:
        probability = held_out_probability(held_out.logits, label, predictor.bundle.calibration)
    else:
        elapsed = None if curve.elapsed is None else customers.typed[curve.elapsed][held_out.rows].to_numpy()
        probability = curve.probabilities(held_out.logits, elapsed)
    answers = answers_table(probability, predictor.thresholds(customers.frame[held_out.rows]), predictor.classes)
    _write_rows(customers.ids(held_out.rows), label, _with_times(answers, customers, held_out.rows), path)


def _with_times(answers: pl.DataFrame, customers: Customers, rows: np.ndarray) -> pl.DataFrame:
    """Return answers with how long each customer was followed, where it was learned when they leave."""
    times = customers.lifetimes
    if times is None:
        return answers
    return answers.with_columns(pl.Series("duration", times.duration[rows]), pl.Series("entry", times.entry[rows]))


def write_subjects(customers: Customers, path: Path) -> None:
    """Write on which side each customer stood, so that one who is forgotten learns which models learned from them.

    Only where the names are pseudonyms: a list of names in clear beside every model would be one more copy to protect.
    """
    sides = [
        pl.DataFrame([customers.customer_ids(side), pl.Series("side", [side] * len(customers.rows(side)), pl.String)])
        for side in customers.split.sides()
    ]
    write_table(pl.concat(sides), path)


def _write_rows(ids: pl.Series, label: np.ndarray, answers: pl.DataFrame, path: Path) -> None:
    table = pl.concat([pl.DataFrame([ids, pl.Series("label", label)]), answers], how="horizontal")
    write_table(table, path)


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write Parquet whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    table.write_parquet(temporary)
    temporary.replace(path)
