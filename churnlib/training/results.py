"""How the model did: beside a logistic regression on the same rows, and beside the best anybody could do."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from churnlib.config import ThresholdConfig
from churnlib.data.customers import Customers
from churnlib.decision import probability_from_logits
from churnlib.evaluation.intervals import confidence_intervals
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.thresholds import best_expected_f1
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.predictor import Predictor
from churnlib.training.baselines import rows_of, task_of
from churnlib.training.calibrating import calibrate


def side_metrics(customers: Customers, side: str, predictor: Predictor) -> dict[str, Any] | None:
    """Return the metrics of a side's rows at the predictor's threshold; None if the side is empty."""
    rows = customers.rows(side)
    if not len(rows):
        return None
    probability = predictor.probabilities(customers.frame[rows])
    return _evaluate(customers, side, probability, predictor.threshold)


def baseline_metrics(customers: Customers, threshold: ThresholdConfig, calibration: str) -> dict[str, Any] | None:
    """Fit ``model=logistic`` as it comes, treat it like the run's model, and return its test metrics."""
    if not len(customers.rows("test")):
        return None
    rows = {side: rows_of(customers, side) for side in customers.encoded}
    task = task_of(customers, class_weights=[1.0] * len(customers.schema.classes))
    model = LogisticRegression().fit(rows["train"], rows["validation"], task)
    logits = {side: model.logits(rows[side].numeric, rows[side].codes) for side in ("validation", "test")}
    temperature, cut = calibrate(logits["validation"], customers.labels("validation"), threshold, calibration)
    return _evaluate(customers, "test", probability_from_logits(logits["test"], temperature), cut)


def limit_metrics(customers: Customers) -> dict[str, Any] | None:
    """Return the test metrics of the true probabilities, at the threshold that is best for the validation rows."""
    if customers.truth is None or not len(customers.rows("test")):
        return None
    threshold, _ = best_expected_f1(customers.truth[customers.rows("validation")])
    return _evaluate(customers, "test", customers.truth[customers.rows("test")], threshold)


def _evaluate(customers: Customers, side: str, probability: np.ndarray, threshold: float | None) -> dict[str, Any]:
    label = customers.labels(side)
    metrics = evaluate(label, probability, threshold=threshold, classes=list(customers.schema.classes))
    return {**metrics, "intervals": confidence_intervals(label, probability, metrics, seed=0)}


def write_predictions(customers: Customers, predictor: Predictor, path: Path) -> None:
    """Write the test rows with label, probability and decision as Parquet, whole or not at all."""
    rows = customers.rows("test")
    answers = predictor.predict(customers.frame[rows])
    table = pl.DataFrame([customers.customer_ids("test"), pl.Series("label", customers.labels("test"))])
    table = pl.concat([table, answers.drop("customer_id")], how="horizontal")
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    table.write_parquet(temporary)
    temporary.replace(path)
