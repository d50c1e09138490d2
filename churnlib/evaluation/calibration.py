"""Fitting the temperature: how much a network's logits must be softened to be honest probabilities.

The predictor applies it with :func:`churnlib.decision.probability_from_logits`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.decision import probability_from_logits

MIN_ROWS_PER_CLASS = 10
"""Rows that each of at least two classes needs before a temperature is fitted at all."""

TEMPERATURE_RANGE = (0.05, 20.0)
"""Smallest and largest temperature that is ever returned."""


def fit_temperature(logits: ArrayLike, label: ArrayLike) -> float:
    """Find the temperature T > 0 for which ``logits / T`` gives the best log loss on held-out rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. The loss is convex in ``b = 1 / T``, so
    the minimum is found by a safeguarded Newton search, the same on every run. To the summed log loss a weak penalty
    ``(b - 1)^2 / 2`` is added: it shifts T by well under one percent on a few hundred ordinary rows, but keeps it sane
    where validation rows happen to be separated perfectly; without it T would fall to its bound there, and one
    customer on the wrong side later would cost a log loss of 20 and more.

    Args:
        logits: ``(n,)`` log-odds of the positive class or ``(n, k)``, one column per class; finite.
        label: ``(n,)`` integers, 0/1 or class indices ``0..k-1``.

    Returns:
        A temperature in ``TEMPERATURE_RANGE``; 1.0 when fewer than two classes have ``MIN_ROWS_PER_CLASS`` rows, for
        so few rows say nothing about it.

    Raises:
        ValueError: If shapes disagree, a logit is not finite, or a label names no class.

    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=20_000)
    >>> label = rng.random(20_000) < probability_from_logits(logits)
    >>> round(fit_temperature(3 * logits, label), 1)  # logits three times too extreme
    3.0
    """
    columns, classes = _check(np.asarray(logits, dtype=np.float64), np.asarray(label))
    if np.count_nonzero(np.bincount(classes) >= MIN_ROWS_PER_CLASS) < 2:
        return 1.0
    low, high = TEMPERATURE_RANGE
    return float(np.clip(1.0 / _minimise(columns, classes, low=1.0 / high, high=1.0 / low), low, high))


def _check(logits: NDArray[np.float64], label: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the logits as one column per class, and the labels as class indices."""
    if logits.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)  # the sigmoid is the softmax of (0, z)
    if logits.ndim != 2 or logits.shape[1] < 2 or label.shape != (len(logits),):
        raise ValueError(f"logits must be (n,) or (n, k) and label (n,), got {logits.shape} and {label.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite; a network that answers NaN or infinity cannot be calibrated")
    classes = label.astype(np.int64)
    if not np.array_equal(classes, label) or (classes < 0).any() or (classes >= logits.shape[1]).any():
        raise ValueError(f"label must hold integers from 0 to {logits.shape[1] - 1}")
    return logits, classes


def _minimise(logits: NDArray[np.float64], label: NDArray[np.int64], *, low: float, high: float) -> float:
    """Find where the slope of the penalised log loss in ``b`` is zero: Newton's steps, halving where one leaves."""
    own = logits[np.arange(len(label)), label]
    b = 1.0
    for _ in range(100):
        slope, curvature = _derivatives(logits, own, b)
        low, high = (b, high) if slope < 0 else (low, b)
        step = b - slope / curvature  # the penalty makes the curvature at least 1
        following = step if low < step < high else (low + high) / 2
        if abs(following - b) <= 1e-12 * b:
            break
        b = following
    return b


def _derivatives(logits: NDArray[np.float64], own: NDArray[np.float64], b: float) -> tuple[float, float]:
    """First and second derivative of ``sum(-log softmax(b * logits)[label]) + (b - 1)^2 / 2`` in ``b``.

    They are the summed difference between a row's mean logit under the softmax and its own class's logit, and the
    summed variance of the logits under the softmax.
    """
    probability = probability_from_logits(logits, 1.0 / b)
    mean = (probability * logits).sum(axis=1)
    variance = (probability * (logits - mean[:, None]) ** 2).sum(axis=1)
    return float((mean - own).sum() + b - 1.0), float(variance.sum() + 1.0)
