"""How good probabilities and decisions are: the figures of ``metrics.json``, for two or several classes.

Everything is float64, tied probabilities are one step of a curve whatever the order of the rows, and one sort of the
scores serves all figures and their intervals, so that ten million rows take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from churnlib.decision import decide
from churnlib.evaluation import probabilities
from churnlib.evaluation.binary import CALIBRATION, DECISIONS, LAYERS, PROFIT, RANKING, BinaryRows
from churnlib.evaluation.bootstrap import customer_numbers, intervals_of
from churnlib.evaluation.decisions import row_percent
from churnlib.evaluation.inputs import check_binary, check_multiclass, check_per_row
from churnlib.evaluation.intervals import confidence_intervals
from churnlib.evaluation.multiclass import MulticlassRows
from churnlib.evaluation.profit.campaign import Campaign, payoffs
from churnlib.evaluation.profit.maximum import mpc
from churnlib.evaluation.ranking import TOP_DECILE, lift_ceiling, none_if_nan

Metrics = dict[str, Any]

FIGURES = (
    "roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall", "accuracy", "mcc",
    "balanced_accuracy",
)  # fmt: skip
"""What is measured whatever the layers."""

OF_LAYER = {
    DECISIONS: ("specificity", "f0_5", "f2", "contacted_share"),
    RANKING: ("gini", "ks", "top_decile_lift", "top_decile_capture"),
    CALIBRATION: (
        "ece", "reliability", "resolution", "uncertainty", "brier_skill",
        "calibration_intercept", "calibration_slope", "calibration_in_the_large",
    ),
    PROFIT: ("profit", "mpc", "mpc_share", "empc", "empc_share", "empb", "empb_share", "auepc"),
}  # fmt: skip


def evaluate(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    threshold: float | None,
    classes: Sequence[str] | None = None,
    prediction: ArrayLike | None = None,
    layers: Sequence[str] = (),
    campaign: Campaign | None = None,
    value: ArrayLike | None = None,
    customers: ArrayLike | None = None,
    replicates: int = 0,
    seed: int = 0,
    stratified: bool = True,
) -> Metrics:
    """Measure probabilities of two classes, ``(n,)``, or of several, ``(n, k)``.

    Args:
        label: ``(n,)`` integers, 0/1 or class indices.
        probability: ``(n,)`` probability of the positive class, or ``(n, k)``, one column per class.
        threshold: Decision threshold for ``(n,)``; ignored for ``(n, k)``, where the most probable class is decided.
        classes: Names of the k classes in column order; their indices when left out.
        prediction: ``(n,)`` decisions made in another way, for two classes.
        layers: What to measure beyond the figures of every run, of ``LAYERS``: ``decisions``, ``ranking``,
            ``calibration``, ``profit`` (two classes only). Each adds a key of its name.
        campaign: Costs of the layer profit; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth; adds ``empb`` and ``auepc`` to the layer profit. MPC and
            EMPC then take its mean.
        customers: ``(n,)`` names, where a customer may have several rows: intervals then draw customers, not rows.
        replicates: Resampled sets behind the intervals of all figures, in the key ``intervals``; 0 for none.
        seed: Of the resampling.
        stratified: Whether intervals take the churn rate as given, as where rows were dealt to the test set class by
            class; False lets it vary with the draw, as where the test rows are those of a later time.

    Returns:
        What :func:`binary_metrics` or :func:`multiclass_metrics` returns, with a key for each layer and
        ``intervals``, ``{name: [low, high]}`` of 95 %: DeLong's for ``roc_auc``, by the spread of the losses for
        ``log_loss``, by the counts for ``f1`` (while each row is a customer of its own, and the churn rate is given),
        bootstrapped for the others.

    Raises:
        ValueError: If there is no row, shapes disagree, an argument is impossible, or a label, probability or value is
            outside its range or NaN.

    >>> found = evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], threshold=0.5, layers=["ranking", "profit"])
    >>> found["ranking"]["ks"], found["profit"]["mpc"]
    (0.5, 25.25)
    """
    wanted = _check_layers(layers)
    scores = np.asarray(probability, dtype=np.float64)
    if scores.ndim == 2:
        names = [str(index) for index in range(scores.shape[1])] if classes is None else classes
        drawn = {"customers": customers, "replicates": replicates, "seed": seed, "stratified": stratified}
        return _multiclass(label, scores, names, wanted, **drawn)
    if threshold is None:
        raise ValueError("a threshold is needed to measure the decisions between two classes, got None")
    truth, scores = check_binary(label, scores)
    decision = decide(scores, threshold) if prediction is None else check_binary(prediction, scores)[0]
    worth = None if value is None else check_per_row("value", value, len(truth))
    numbers = customer_numbers(customers, len(truth))
    rows = BinaryRows(truth, scores, decision, campaign or Campaign(), worth, numbers)
    found = {name: none_if_nan(figure[0]) for name, figure in rows.figures(wanted).items()}
    metrics = _binary(rows, found, threshold)
    metrics |= {layer: _layer(layer, rows, found, metrics["confusion"]) for layer in wanted}
    if replicates:
        drawn = rows.replicates(wanted, replicates=replicates, seed=seed, stratified=stratified)
        metrics["intervals"] = intervals_of(found, drawn)
        if numbers is None and stratified:
            metrics["intervals"] |= confidence_intervals(truth, scores, metrics, seed=seed)
    return metrics


def binary_metrics(
    label: ArrayLike, probability: ArrayLike, *, threshold: float, prediction: ArrayLike | None = None
) -> Metrics:
    """Measure probabilities of two classes and the decisions made from them.

    Args:
        label: ``(n,)`` 0 or 1, integers or booleans.
        probability: ``(n,)`` calibrated probability of class 1.
        threshold: Decision threshold, fraction in [0, 1]; a probability equal to it is predicted positive.
        prediction: ``(n,)`` 0 or 1, decisions made in another way (a threshold per customer, say); those of
            ``threshold`` when left out.

    Returns:
        Floats ``roc_auc`` (ties count half), ``average_precision`` (no interpolation), ``log_loss``, ``brier``, ``f1``,
        ``precision``, ``recall``, ``accuracy``, ``mcc``, ``balanced_accuracy``, ``threshold``; counts ``n`` and
        ``positives``; ``confusion`` with counts ``tn``, ``fp``, ``fn``, ``tp``. With rows of one class only,
        ``roc_auc`` and ``average_precision`` are None; a ratio without a denominator (precision without a predicted
        positive) is 0.

    Raises:
        ValueError: If there is no row, shapes disagree, or a label or probability is outside its range or NaN.

    >>> metrics = binary_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], threshold=0.5)
    >>> metrics["roc_auc"], metrics["recall"], metrics["confusion"]
    (0.75, 0.5, {'tn': 2, 'fp': 0, 'fn': 1, 'tp': 1})
    """
    return evaluate(label, probability, threshold=threshold, prediction=prediction)


def multiclass_metrics(label: ArrayLike, probability: ArrayLike, *, classes: Sequence[str]) -> Metrics:
    """Measure probabilities of several classes; the decision is the most probable one.

    Args:
        label: ``(n,)`` class indices ``0..k-1``.
        probability: ``(n, k)``; each row sums to 1.
        classes: The k names in column order.

    Returns:
        The keys of :func:`binary_metrics`. ``f1``, ``precision`` and ``recall`` are means over the classes that occur
        among labels or decisions; ``balanced_accuracy`` is the mean recall of those among the labels; ``roc_auc`` and
        ``average_precision`` are means of one class against the rest over the classes that occur among the labels,
        None if only one does; ``brier`` is the squared error summed over classes (0 to 2); ``mcc`` is Gorodkin's R_K;
        ``threshold`` is None; ``positives`` counts the rows of each class; ``confusion`` is ``{"classes", "matrix"}``,
        a row per true and a column per decided class.

    Raises:
        ValueError: If there is no row, shapes disagree, or a label or probability is outside its range or NaN.
    """
    return evaluate(label, np.asarray(probability, dtype=np.float64), threshold=None, classes=classes)


def _check_layers(layers: Sequence[str]) -> tuple[str, ...]:
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown:
        raise ValueError(f"layers must be some of {', '.join(LAYERS)}, got {unknown[0]!r}")
    return tuple(layer for layer in LAYERS if layer in layers)


def _binary(rows: BinaryRows, found: Metrics, threshold: float) -> Metrics:
    n, positives = len(rows), int(rows.label.sum())
    decided, tp = int(rows.decision.sum()), int(rows.label @ rows.decision)
    fp, fn = decided - tp, positives - tp
    return {
        **{name: found[name] for name in FIGURES},
        "threshold": float(threshold),
        "n": n,
        "positives": positives,
        "confusion": {"tn": n - decided - fn, "fp": fp, "fn": fn, "tp": tp},
    }


def _layer(layer: str, rows: BinaryRows, found: Metrics, confusion: dict[str, int]) -> Metrics:
    figures = {name: found[name] for name in OF_LAYER[layer] if name in found}
    n, positives = len(rows), int(rows.label.sum())
    if layer == DECISIONS:
        return {**figures, "row_percent": row_percent(confusion)}
    if layer == RANKING:
        return {**figures, "top_decile_lift_ceiling": lift_ceiling(n, positives, TOP_DECILE)}
    if layer == CALIBRATION:
        floor = probabilities.calibration_noise_floor(rows.probability)
        missing = {name: None for name in OF_LAYER[layer] if name not in found}
        z = probabilities.spiegelhalter(rows.label, rows.probability)
        return {
            **figures,
            **missing,
            "spiegelhalter_z": z,
            "ece_bins": len(rows.bins),
            "ece_noise_floor": floor._asdict(),
        }
    return {**figures, **_money(rows)}


def _money(rows: BinaryRows) -> Metrics:
    campaign = rows.campaign
    paid = payoffs(rows.label, campaign.values(rows.value, len(rows)), campaign)
    cells = {"tn": (0, 0), "fp": (0, 1), "fn": (1, 0), "tp": (1, 1)}
    best = mpc(rows.label, rows.probability, rows.alike)
    return {
        "mpc_threshold": best.threshold,
        "confusion": {
            cell: float(paid[(rows.label == y) & (rows.decision == 1)].sum()) if decided else 0.0
            for cell, (y, decided) in cells.items()
        },
        "missed": float(paid[(rows.label == 1) & (rows.decision == 0)].sum()),
        "campaign": asdict(rows.alike),
    }


def _multiclass(
    label: ArrayLike,
    probability: np.ndarray,
    classes: Sequence[str],
    layers: tuple[str, ...],
    *,
    customers: ArrayLike | None,
    replicates: int,
    seed: int,
    stratified: bool,
) -> Metrics:
    truth, score = check_multiclass(label, probability, len(classes))
    numbers = customer_numbers(customers, len(truth))
    rows = MulticlassRows(truth, score, numbers)
    found = {name: none_if_nan(figure) for name, figure in rows.figures().items()}
    names = [str(name) for name in classes]
    matrix = rows.matrix().astype(np.int64)
    metrics: Metrics = {
        **{name: found[name] for name in FIGURES},
        "threshold": None,
        "n": len(truth),
        "positives": dict(zip(names, matrix.sum(axis=1).tolist(), strict=True)),
        "confusion": {"classes": names, "matrix": matrix.tolist()},
    }
    if layers:
        metrics["weighted"] = {"f1": found["weighted_f1"], "roc_auc": found["weighted_roc_auc"]}
        metrics["classes"] = rows.of_classes(names, layers)
    if CALIBRATION in layers:
        metrics[CALIBRATION] = {"ece": found["ece"], **rows.brier_parts()}
    if replicates:
        metrics["intervals"] = intervals_of(
            found, rows.replicates(replicates=replicates, seed=seed, stratified=stratified)
        )
        if numbers is None and stratified:
            metrics["intervals"] |= confidence_intervals(truth, score, metrics, seed=seed)
    return metrics
