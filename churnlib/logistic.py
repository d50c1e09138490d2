"""Logistic regression with a handful of columns: calibration lines, Platt scaling, smooth cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.decision import probability_from_logits

Floats = NDArray[np.float64]

STEEPEST = 1e4
"""Largest coefficient; beyond it the classes are separated, and there is no best line."""


def fit_logistic(
    design: Floats,
    churners: Floats,
    rows: Floats,
    *,
    start: Floats,
    prior: Floats | None = None,
    offset: Floats | float = 0.0,
) -> Floats | None:
    """Find the weights with the highest likelihood of the churners, by Newton's method.

    Args:
        design: ``(m, k)`` columns.
        churners: ``(m,)`` churners among the rows of each line.
        rows: ``(m,)`` rows of each line.
        start: ``(k,)`` where to begin.
        prior: ``(k,)`` centre of a standard normal prior, which counts about as much as one row and keeps the weights
            finite where the classes are separated; None for plain maximum likelihood.
        offset: ``(m,)`` added to the log-odds.

    Returns:
        ``(k,)`` weights; None without a prior where there is no maximum.
    """
    pull = 0.0 if prior is None else 1.0
    centre = np.zeros(len(start)) if prior is None else prior

    def loss(weights: Floats) -> float:
        logits = offset + design @ weights
        return float(
            rows @ np.logaddexp(0.0, logits) - churners @ logits + pull * ((weights - centre) ** 2).sum() / 2.0
        )

    weights = np.asarray(start, dtype=np.float64)
    current = loss(weights)
    for _ in range(60):
        rate = probability_from_logits(offset + design @ weights)
        slope = design.T @ (rows * rate - churners) + pull * (weights - centre)
        curvature = (design.T * (rows * rate * (1.0 - rate))) @ design + pull * np.eye(len(weights))
        try:
            step = np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError:
            return None
        while (following := loss(weights - step)) > current + 1e-12 * abs(current) and np.abs(step).max() > 1e-12:
            step = step / 2.0  # Newton's step can overshoot where the curve is flat
        weights, current = weights - step, following
        if not np.isfinite(weights).all() or (prior is None and np.abs(weights).max() > STEEPEST):
            return None
        if np.abs(step).max() <= 1e-9 * (1.0 + np.abs(weights).max()):
            return weights
    return weights if prior is not None else None


def fit_platt(scores: ArrayLike, label: ArrayLike, *, unit: float = 1.0) -> tuple[float, tuple[float, ...]]:
    """Find the slope and the shift for which ``slope * scores + shift`` are the most likely log-odds.

    Platt 1999, "Probabilistic outputs for support vector machines"; for several classes one slope for all and a shift
    for each, through the softmax. A prior around slope 1 and shift 0 counts about as much as one row and keeps both
    finite where a cut parts the classes without a mistake.

    Args:
        scores: ``(n,)`` or ``(n, n_classes)``, finite, of rows that the model was not fitted on.
        label: ``(n,)`` integers; each class comes at least once.
        unit: In which scores are measured for the prior: 1 for log-odds, their spread for margins of any scale.

    Returns:
        The slope, which may be negative, and the shift: one number for two classes, else one for each.

    >>> rng = np.random.default_rng(0)
    >>> margin = rng.normal(size=50_000)
    >>> slope, shift = fit_platt(margin, rng.random(50_000) < probability_from_logits(2 * margin - 1))
    >>> round(slope, 1), round(shift[0], 1)
    (2.0, -1.0)
    """
    z, truth = np.asarray(scores, dtype=np.float64) / unit, np.asarray(label).astype(np.int64)
    if z.ndim == 2:
        slope, shift = _fit_softmax(z, truth)
        return slope / unit, shift
    churned, right = truth.astype(np.float64), np.array([0.0, 1.0])
    design = np.stack([np.ones_like(z), z], axis=1)
    weights = fit_logistic(design, churned, np.ones_like(z), start=right, prior=right)
    assert weights is not None  # the prior sees to it
    return float(weights[1]) / unit, (float(weights[0]),)


def _fit_softmax(scores: Floats, label: NDArray[np.int64]) -> tuple[float, tuple[float, ...]]:
    from scipy.optimize import minimize

    n, k = scores.shape
    own, right = np.eye(k)[label], np.append(1.0, np.zeros(k))

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = weights[0] * scores + weights[1:]
        far = logits - logits.max(axis=1, keepdims=True)
        log_share = far - np.log(np.exp(far).sum(axis=1, keepdims=True))
        wrong, away = np.exp(log_share) - own, weights - right
        slopes = np.append((wrong * scores).sum(), wrong.sum(axis=0))
        return (away @ away / 2.0 - (own * log_share).sum()) / n, (away + slopes) / n

    found = minimize(loss, right, jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500})
    return float(found.x[0]), tuple(found.x[1:].tolist())


__all__ = ["fit_logistic", "fit_platt"]
