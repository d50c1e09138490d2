"""How good probabilities and decisions are: the figures of ``metrics.json``, for two or several classes.

Everything is float64, counts are exact integers, tied probabilities are one step of a curve whatever the order of the
rows, and one sort of the scores serves ROC AUC and average precision, so that ten million rows take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.decision import decide

Metrics = dict[str, Any]

LOG_LOSS_EPS = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [eps, 1 - eps] for the log loss: one certain and wrong answer costs 36, not infinity."""


def evaluate(
    label: ArrayLike, probability: ArrayLike, *, threshold: float | None, classes: Sequence[str] | None = None
) -> Metrics:
    """Measure probabilities of two classes, ``(n,)``, or of several, ``(n, k)``.

    Args:
        label: ``(n,)`` integers, 0/1 or class indices.
        probability: ``(n,)`` probability of the positive class, or ``(n, k)``, one column per class.
        threshold: Decision threshold for ``(n,)``; ignored for ``(n, k)``, where the most probable class is decided.
        classes: Names of the k classes in column order; their indices when left out.

    Returns:
        What :func:`binary_metrics` or :func:`multiclass_metrics` returns.
    """
    values = np.asarray(probability, dtype=np.float64)
    if values.ndim == 2:
        names = [str(index) for index in range(values.shape[1])] if classes is None else classes
        return multiclass_metrics(label, values, classes=names)
    if threshold is None:
        raise ValueError("a threshold is needed to measure the decisions between two classes, got None")
    return binary_metrics(label, values, threshold=threshold)


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
        ``precision``, ``recall``, ``accuracy``, ``mcc``, ``threshold``; counts ``n`` and ``positives``; ``confusion``
        with counts ``tn``, ``fp``, ``fn``, ``tp``. With rows of one class only, ``roc_auc`` and
        ``average_precision`` are None; a ratio without a denominator (precision without a predicted positive) is 0.

    Raises:
        ValueError: If there is no row, shapes disagree, or a label or probability is outside its range or NaN.

    >>> metrics = binary_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], threshold=0.5)
    >>> metrics["roc_auc"], metrics["recall"], metrics["confusion"]
    (0.75, 0.5, {'tn': 2, 'fp': 0, 'fn': 1, 'tp': 1})
    """
    truth, score = check_binary(label, probability)
    decision = decide(score, threshold) if prediction is None else check_binary(prediction, score)[0]
    confusion = {
        "tn": int(np.count_nonzero((truth == 0) & (decision == 0))),
        "fp": int(np.count_nonzero((truth == 0) & (decision == 1))),
        "fn": int(np.count_nonzero((truth == 1) & (decision == 0))),
        "tp": int(np.count_nonzero((truth == 1) & (decision == 1))),
    }
    roc_auc, average_precision = _ranking(truth, score)
    return {
        "roc_auc": roc_auc,
        "average_precision": average_precision,
        "log_loss": float(row_losses(truth, score).mean()),
        "brier": float(np.mean((score - truth) ** 2)),
        **_decision_metrics(**confusion),
        "threshold": float(threshold),
        "n": len(truth),
        "positives": int(truth.sum()),
        "confusion": confusion,
    }


def multiclass_metrics(label: ArrayLike, probability: ArrayLike, *, classes: Sequence[str]) -> Metrics:
    """Measure probabilities of several classes; the decision is the most probable one.

    Args:
        label: ``(n,)`` class indices ``0..k-1``.
        probability: ``(n, k)``; each row sums to 1.
        classes: The k names in column order.

    Returns:
        The keys of :func:`binary_metrics`. ``f1``, ``precision`` and ``recall`` are means over the classes that occur
        among labels or decisions; ``roc_auc`` and ``average_precision`` are means of one class against the rest over
        the classes that occur among the labels, None if only one does; ``brier`` is the squared error summed over
        classes (0 to 2); ``mcc`` is Gorodkin's R_K; ``threshold`` is None; ``positives`` counts the rows of each
        class; ``confusion`` is ``{"classes", "matrix"}``, a row per true and a column per decided class.

    Raises:
        ValueError: If there is no row, shapes disagree, or a label or probability is outside its range or NaN.
    """
    truth, score = _check_multiclass(label, probability, len(classes))
    rows, k = score.shape
    matrix = np.bincount(truth * k + decide(score), minlength=k * k).reshape(k, k)
    counts = matrix.sum(axis=1)
    own = score[np.arange(rows), truth]
    names = [str(name) for name in classes]
    return {
        **_one_vs_rest(truth, score, counts),
        "log_loss": float(row_losses(truth, score).mean()),
        "brier": float(np.mean((score**2).sum(axis=1) - 2.0 * own + 1.0)),
        **_macro_decision_metrics(matrix),
        "threshold": None,
        "n": rows,
        "positives": dict(zip(names, counts.tolist(), strict=True)),
        "confusion": {"classes": names, "matrix": matrix.tolist()},
    }


def row_losses(label: ArrayLike, probability: ArrayLike) -> NDArray[np.float64]:
    """Return minus the logarithm of the probability that each row's own class was given; their mean is the log loss.

    Args:
        label: ``(n,)`` integers, 0/1 or class indices.
        probability: ``(n,)`` probability of class 1, or ``(n, k)``.

    >>> row_losses([1, 0], [0.5, 0.0]).round(3).tolist()
    [0.693, 0.0]
    """
    truth, score = np.asarray(label), np.asarray(probability, dtype=np.float64)
    own = np.where(truth == 1, score, 1.0 - score) if score.ndim == 1 else score[np.arange(len(truth)), truth]
    return -np.log(np.clip(own, LOG_LOSS_EPS, 1.0 - LOG_LOSS_EPS))


def check_binary(label: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return 0/1 labels as ``(n,)`` int64 and probabilities as ``(n,)`` float64, or raise ``ValueError``."""
    truth, score = np.asarray(label), np.asarray(probability, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape or truth.size == 0:
        raise ValueError(f"label and probability must be (n,) with n >= 1, got {truth.shape} and {score.shape}")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("label must be 0 or 1 in every row")
    _check_probability(score)
    return truth.astype(np.int64), score


def threshold_counts(
    label: NDArray[np.int64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count true and false positives at each distinct probability, from the highest down.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` without NaN.

    Returns:
        ``(m,)`` distinct probabilities in falling order, and for each the number of positive and of negative rows
        with that probability or a higher one, ``(m,)`` int64.

    >>> [part.tolist() for part in threshold_counts(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))]
    [[0.7, 0.2], [1, 2], [0, 1]]
    """
    order = np.argsort(probability)[::-1]
    ranked = probability[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last row of each run of equal scores
    true_positives = np.cumsum(label[order])[last]
    return ranked[last], true_positives, last + 1 - true_positives


def _check_probability(score: NDArray[np.float64]) -> None:
    if not ((score >= 0) & (score <= 1)).all():  # NaN fails both comparisons
        raise ValueError("probability must be in [0, 1] in every row; were logits passed, or is one NaN?")


def _check_multiclass(
    label: ArrayLike, probability: ArrayLike, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return class indices as ``(n,)`` int64 and probabilities as ``(n, k)`` float64, or raise ``ValueError``."""
    truth, score = np.asarray(label), np.asarray(probability, dtype=np.float64)
    if k < 2 or truth.ndim != 1 or truth.size == 0 or score.shape != (truth.size, k):
        raise ValueError(
            f"with {k} classes probability must be (n, {k}) and label (n,), n >= 1, got {score.shape} and {truth.shape}"
        )
    indices = truth.astype(np.int64)
    if not (np.array_equal(indices, truth) and indices.min() >= 0 and indices.max() < k):
        raise ValueError(f"label must hold class indices from 0 to {k - 1}")
    _check_probability(score)
    if not np.allclose(score.sum(axis=1), 1.0, rtol=0.0, atol=1e-3):
        raise ValueError("probability must sum to 1 over the classes in every row")
    return indices, score


def _ranking(label: NDArray[np.int64], probability: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """ROC AUC and average precision; None for both when only one class has rows.

    The area is the Mann-Whitney statistic, the share of (positive, negative) pairs in the right order with ties as
    half, in whole numbers: trapezia of twice their area. Average precision is ``sum (R_i - R_{i-1}) P_i`` over the
    distinct scores.
    """
    _, true_positives, false_positives = threshold_counts(label, probability)
    positives, negatives = int(true_positives[-1]), int(false_positives[-1])
    if positives == 0 or negatives == 0:
        return None, None
    new_positives = np.diff(true_positives, prepend=0)
    new_negatives = np.diff(false_positives, prepend=0)
    doubled_area = int((new_negatives * (2 * true_positives - new_positives)).sum())
    precision = true_positives / (true_positives + false_positives)
    return doubled_area / (2 * positives * negatives), float((new_positives * precision).sum() / positives)


def _one_vs_rest(truth: NDArray[np.int64], score: NDArray[np.float64], counts: NDArray[np.int64]) -> Metrics:
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return {"roc_auc": None, "average_precision": None}
    pairs = np.array([_ranking((truth == index).astype(np.int64), score[:, index]) for index in present])
    roc_auc, average_precision = pairs.mean(axis=0).tolist()
    return {"roc_auc": roc_auc, "average_precision": average_precision}


def _decision_metrics(tn: int, fp: int, fn: int, tp: int) -> Metrics:
    # Python integers: with ten million rows the product under the root does not fit in 64 bits
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return {
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "accuracy": _ratio(tp + tn, tn + fp + fn + tp),
        "mcc": _ratio(tp * tn - fp * fn, math.sqrt(spread)),
    }


def _macro_decision_metrics(matrix: NDArray[np.int64]) -> Metrics:
    hits, actual, decided = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = (actual + decided) > 0
    total = int(matrix.sum())
    # Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient"
    covariance = int(hits.sum()) * total - int(actual @ decided)
    spread = (total**2 - int(decided @ decided)) * (total**2 - int(actual @ actual))
    return {
        "f1": float(_ratios(2 * hits, actual + decided)[occurs].mean()),
        "precision": float(_ratios(hits, decided)[occurs].mean()),
        "recall": float(_ratios(hits, actual)[occurs].mean()),
        "accuracy": int(hits.sum()) / total,
        "mcc": _ratio(covariance, math.sqrt(spread)),
    }


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _ratios(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    return numerator / np.maximum(denominator, 1)  # a class that never occurs has numerator 0 as well
