"""How sure a figure is: 95 % intervals for the ROC AUC, for the log loss, and for F1 at a fixed threshold.

They say how far the figure of this test set may lie from that of all such customers. They do not cover the luck of
one training run; train with several seeds for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.evaluation.inputs import check_binary
from churnlib.evaluation.probabilities import row_losses

Interval = tuple[float, float]


def confidence_intervals(
    label: ArrayLike, probability: ArrayLike, metrics: Mapping[str, Any], *, seed: int
) -> dict[str, list[float]]:
    """Collect the 95 % intervals that belong beside a set of metrics, in the form ``metrics_table`` reads.

    Args:
        label: ``(n,)`` labels, as given to ``evaluate``.
        probability: ``(n,)`` or ``(n, k)``, as given to ``evaluate``.
        metrics: What ``evaluate`` returned for them.
        seed: Seed of the bootstrap of F1.

    Returns:
        ``{"f1": [low, high], "log_loss": [low, high], "roc_auc": [low, high]}``, without those that cannot be estimated
        (the ROC AUC of several classes, or of fewer than two rows in a class).
    """
    found = {"f1": f1_interval(metrics["confusion"], seed=seed), "log_loss": log_loss_interval(label, probability)}
    if np.ndim(probability) == 1:
        found["roc_auc"] = roc_auc_interval(label, probability)
    return {name: list(interval) for name, interval in found.items() if interval is not None}


def roc_auc_interval(label: ArrayLike, probability: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Estimate the interval of the ROC AUC from one set of rows, without resampling.

    DeLong, DeLong and Clarke-Pearson 1988 give the variance, Sun and Xu 2014 its computation from midranks in
    ``O(n log n)``. The interval is taken on the logit scale (Pepe 2003, section 5.2.2), which keeps it inside [0, 1]
    and covers better than the symmetric one where the AUC is high or churners are few.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` probability of class 1.
        confidence: Fraction in (0, 1) of such intervals that hold the true value.

    Returns:
        ``(low, high)``, or None when a class has fewer than two rows. Where every pair is in the right order the
        variance is zero and both are 1.0.
    """
    truth, score = check_binary(label, probability)
    positive, negative = score[truth == 1], score[truth == 0]
    if min(len(positive), len(negative)) < 2:
        return None
    ranks = _midranks(score)
    # the share of negatives that each positive row beats, and the share of positives that beat each negative row
    beaten = (ranks[truth == 1] - _midranks(positive)) / len(negative)
    beating = 1.0 - (ranks[truth == 0] - _midranks(negative)) / len(positive)
    area = float(beaten.mean())
    deviation = math.sqrt(beaten.var(ddof=1) / len(positive) + beating.var(ddof=1) / len(negative))
    if deviation == 0.0 or not 0.0 < area < 1.0:
        return area, area
    centre = math.log(area / (1.0 - area))
    half = NormalDist().inv_cdf((1.0 + confidence) / 2.0) * deviation / (area * (1.0 - area))
    return 1.0 / (1.0 + math.exp(half - centre)), 1.0 / (1.0 + math.exp(-half - centre))


def log_loss_interval(label: ArrayLike, probability: ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """Estimate the interval of the log loss, which is a mean: by the spread of the rows' losses within each class.

    The shares of the classes count as given, as in the other intervals: test rows are drawn class by class.

    Args:
        label: ``(n,)`` 0/1 or class indices.
        probability: ``(n,)`` probability of class 1, or ``(n, k)``.
        confidence: Fraction in (0, 1) of such intervals that hold the true value.

    Returns:
        ``(low, high)``, or None when a class among the labels has one row only.

    >>> low, high = log_loss_interval([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])
    >>> low < 0.198 < high
    True
    """
    truth, losses = np.asarray(label), row_losses(label, probability)
    of_classes = [losses[truth == index] for index in np.unique(truth)]
    if min(map(len, of_classes)) < 2:
        return None
    # (n_k / n)^2 * s_k^2 / n_k, summed over the classes
    deviation = math.sqrt(sum(len(part) * part.var(ddof=1) for part in of_classes)) / len(losses)
    half = NormalDist().inv_cdf((1.0 + confidence) / 2.0) * deviation
    centre = float(losses.mean())
    return max(0.0, centre - half), centre + half


def f1_interval(
    confusion: Mapping[str, Any], *, seed: int, confidence: float = 0.95, replicates: int = 10_000
) -> Interval | None:
    """Estimate the interval of F1 at a fixed threshold from the confusion counts.

    The percentile bootstrap stratified by the true class, as the test rows were drawn. F1 needs only counts, and
    resampling the rows of a class draws its counts from a multinomial distribution, so this is that bootstrap, with
    many replicates at no cost.

    Args:
        confusion: ``{"tn", "fp", "fn", "tp"}``, or ``{"classes", "matrix"}`` for several classes (macro F1 then).
        seed: Seed of the resampling.
        confidence: Fraction in (0, 1) of such intervals that hold the true value.
        replicates: Number of resampled test sets.

    Returns:
        ``(low, high)``, or None when no row belongs to the positive class.

    >>> low, high = f1_interval({"tn": 900, "fp": 140, "fn": 110, "tp": 260}, seed=0)
    >>> low < 2 * 260 / (2 * 260 + 140 + 110) < high
    True
    """
    binary = "matrix" not in confusion
    if binary:
        matrix = np.array([[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]])
        if matrix[1].sum() == 0:
            return None
    else:
        matrix = np.array(confusion["matrix"])
    f1 = _f1_of_each_class(_resample(matrix, seed=seed, replicates=replicates))
    scores = f1[:, 1] if binary else np.nanmean(f1, axis=1)
    low, high = np.quantile(scores, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]).tolist()
    return low, high


def wilson_interval(positives: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> tuple[Any, Any]:
    """Estimate the interval of a share from counts (Wilson 1927): sound for few rows, and for shares near 0 and 1.

    Args:
        positives: Number of rows that are counted, of any shape.
        n: Number of all rows, likewise.
        confidence: Fraction in (0, 1) of such intervals that hold the true share.

    Returns:
        ``(low, high)``, float64 of that shape; ``(0, 1)`` where there are no rows.

    >>> low, high = wilson_interval(10, 20)
    >>> round(float(low), 4), round(float(high), 4)
    (0.2993, 0.7007)
    """
    count, total = np.asarray(positives, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    rows = np.maximum(total, 1.0)
    share = count / rows
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    empty = total == 0
    return np.where(empty, 0.0, np.maximum(centre - half, 0.0)), np.where(empty, 1.0, np.minimum(centre + half, 1.0))


def _resample(matrix: NDArray[np.int64], *, seed: int, replicates: int) -> NDArray[np.int64]:
    """Draw ``(replicates, k, k)`` confusion matrices with the rows' sums kept."""
    generator = np.random.default_rng(seed)
    drawn = [generator.multinomial(row.sum(), row / max(row.sum(), 1), size=replicates) for row in matrix]
    return np.stack(drawn, axis=1)


def _f1_of_each_class(matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class, ``(replicates, k)``; NaN for a class that occurs neither among labels nor decisions."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    occurrences = matrices.sum(axis=1) + matrices.sum(axis=2)
    return np.where(occurrences > 0, 2.0 * hits / np.maximum(occurrences, 1), np.nan)


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]
