"""How much each of several models counts, fitted on rows that none of them learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from churnlib.models.ensemble import blend_logits


def fit_blend(logits: Sequence[np.ndarray], label: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights, at least 0, and the shift with which the models' log-odds have the lowest log loss.

    This is stacked generalisation (Wolpert 1992) with a logistic regression that may not subtract one model from
    another (Breiman 1996, "Stacked regressions", on why: models of the same rows are alike, and free weights follow
    their differences' noise). The problem is convex. Rows that a mixture tells apart without a mistake would call for
    infinite weights; a pull towards the plain mean, as strong as one row, keeps them finite.

    Args:
        logits: Of each model, ``(n,)`` or ``(n, n_classes)``, on the same rows.
        label: ``(n,)`` int64 classes of these rows.

    Returns:
        ``(n_models,)`` weights and the shift: one number for two classes, else one per class.

    >>> good = np.tile([-2.0, -1.0, 1.0, 2.0, 1.0, -1.0], 100)
    >>> wrong = np.tile([1.0, 1.0, -1.0, -1.0, 1.0, 1.0], 100)
    >>> weights, shift = fit_blend([good, wrong], np.tile([0, 0, 1, 1, 0, 1], 100))
    >>> weights.round(2).tolist()
    [0.75, 0.0]
    """
    n_models, n_shifts = len(logits), 1 if logits[0].ndim == 1 else logits[0].shape[1]
    parts = np.stack([blend_logits([one], [1.0], [0.0] * n_shifts) for one in logits])

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, shift = values[:n_models], values[n_models:]
        blended = np.tensordot(weights, parts, axes=1) + (shift[0] if n_shifts == 1 else shift)
        losses, error = _two(blended, label) if n_shifts == 1 else _several(blended, label)
        away = weights - 1 / n_models
        slope = [(part * error).sum() for part in parts] + 2 * away
        return losses.mean() + away @ away / len(label), np.array([*slope, *np.atleast_1d(error.sum(axis=0))]) / len(
            label
        )

    start = np.array([1 / n_models] * n_models + [0.0] * n_shifts)
    bounds = [(0.0, None)] * n_models + [(None, None)] * n_shifts
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-12})
    return found.x[:n_models], found.x[n_models:]


def _two(logits: NDArray[np.float64], label: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each row's log loss, and its derivative by the log-odds."""
    probability = np.exp(-np.logaddexp(0, -logits))
    return np.logaddexp(0, logits) - label * logits, probability - label


def _several(logits: NDArray[np.float64], label: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shares = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    own = np.eye(logits.shape[1])[label]
    return -(shares * own).sum(axis=1), np.exp(shares) - own
