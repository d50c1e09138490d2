"""Logistic regression with a handful of columns, by Newton's method: calibration lines, Platt scaling, smooth cuts."""

from __future__ import annotations

import numpy as np

from churnlib.decision import probability_from_logits
from churnlib.evaluation.inputs import Floats

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
    """Find the weights with the highest likelihood of the churners.

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
