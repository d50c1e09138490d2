"""What decisions are right and wrong: precision, recall, F-beta, MCC and the like, from counts alone.

Counts may be arrays of any shape, one entry per replicate of a bootstrap; a ratio without a denominator is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.evaluation.inputs import Floats

CELLS = ("tn", "fp", "fn", "tp")


def decision_figures(tn: ArrayLike, fp: ArrayLike, fn: ArrayLike, tp: ArrayLike) -> dict[str, Any]:
    """Return ``f1``, ``precision``, ``recall``, ``accuracy``, ``mcc``, ``balanced_accuracy``, ``specificity``.

    The MCC is ``(tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))``, the balanced accuracy the mean of
    recall and specificity.

    Args:
        tn: Stayers left alone.
        fp: Stayers that were predicted to leave.
        fn: Churners that were missed.
        tp: Churners that were found.

    >>> found = decision_figures(tn=1, fp=1, fn=0, tp=2)
    >>> found["f1"], found["balanced_accuracy"]
    (0.8, 0.75)
    """
    tn, fp, fn, tp = (np.asarray(count, dtype=np.float64) for count in (tn, fp, fn, tp))
    recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    # two roots: with ten million rows the product under one would lose digits
    spread = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    found = {
        "f1": f_beta(fp, fn, tp),
        "precision": ratio(tp, tp + fp),
        "recall": recall,
        "accuracy": ratio(tp + tn, tn + fp + fn + tp),
        "mcc": ratio(tp * tn - fp * fn, spread),
        "balanced_accuracy": (recall + specificity) / 2.0,
        "specificity": specificity,
    }
    return {name: plain(value) for name, value in found.items()}


def f_beta(fp: ArrayLike, fn: ArrayLike, tp: ArrayLike, beta: float = 1.0) -> Floats:
    """Return the F-beta score: recall counts ``beta`` times as much as precision (van Rijsbergen 1979).

    ``(1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp)``, 0 where there is neither a churner nor a decision.

    Raises:
        ValueError: If beta is not a number above 0.
    """
    if not 0.0 < beta < float("inf"):
        raise ValueError(f"beta must be a number above 0, got {beta!r}")
    fp, fn, tp = (np.asarray(count, dtype=np.float64) for count in (fp, fn, tp))
    squared = beta**2
    return ratio((1.0 + squared) * tp, (1.0 + squared) * tp + squared * fn + fp)


def row_percent(confusion: Mapping[str, int]) -> dict[str, float | None]:
    """Return each count of ``{"tn", "fp", "fn", "tp"}`` as percent of its true class; None for a class without rows.

    >>> row_percent({"tn": 3, "fp": 1, "fn": 0, "tp": 0})
    {'tn': 75.0, 'fp': 25.0, 'fn': None, 'tp': None}
    """
    stayed, left = confusion["tn"] + confusion["fp"], confusion["fn"] + confusion["tp"]
    totals = {"tn": stayed, "fp": stayed, "fn": left, "tp": left}
    return {cell: 100.0 * confusion[cell] / totals[cell] if totals[cell] else None for cell in CELLS}


def macro_figures(matrix: NDArray[Any]) -> dict[str, Any]:
    """Return the figures of decisions among several classes from ``(..., k, k)`` counts, a row per true class.

    ``f1``, ``precision`` and ``recall`` are means over the classes that occur among labels or decisions,
    ``balanced_accuracy`` is the mean recall of the classes that occur among labels, ``weighted_f1`` weighs each class
    by its rows, and ``mcc`` is Gorodkin's R_K (2004, "Comparing two K-category assignments by a K-category correlation
    coefficient").
    """
    counts = np.asarray(matrix, dtype=np.float64)
    hits, actual, decided = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    total = actual.sum(axis=-1)
    occurs, present = (actual + decided) > 0, actual > 0
    f1, recall = ratio(2.0 * hits, actual + decided), ratio(hits, actual)
    covariance = hits.sum(axis=-1) * total - (actual * decided).sum(axis=-1)
    spread = np.sqrt(total**2 - (decided**2).sum(axis=-1)) * np.sqrt(total**2 - (actual**2).sum(axis=-1))
    found = {
        "f1": _mean(f1, occurs),
        "precision": _mean(ratio(hits, decided), occurs),
        "recall": _mean(recall, occurs),
        "accuracy": hits.sum(axis=-1) / total,
        "mcc": ratio(covariance, spread),
        "balanced_accuracy": _mean(recall, present),
        "weighted_f1": ratio((f1 * actual).sum(axis=-1), total),
    }
    return {name: plain(value) for name, value in found.items()}


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide; 0 where the denominator is 0."""
    below = np.asarray(denominator, dtype=np.float64)
    return np.where(below != 0, numerator / np.where(below != 0, below, 1.0), 0.0)


def plain(value: Floats) -> Any:
    """Return a single number as a float, an array as it is."""
    return float(value) if np.ndim(value) == 0 else value


def _mean(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    return np.where(counted, values, 0.0).sum(axis=-1) / counted.sum(axis=-1)
