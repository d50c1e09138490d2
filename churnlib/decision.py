"""From logits to a calibrated probability, and from the probability to a decision.

The predictor applies these two functions to every row it scores; ``churnlib.evaluation`` fits what they need (the
temperature, the threshold) on validation rows. Plain numpy in float64, so that the step between a network's float32
logits and the stored answer is the same code in training, in scoring and behind the server.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def probability_from_logits(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Turn logits into probabilities, softened (``temperature > 1``) or sharpened (``< 1``).

    Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2): one number fitted
    on validation rows, which never changes the order of customers.

    Args:
        logits: ``(n,)`` for two classes, the log-odds of the positive one, or ``(n, k)`` with ``k >= 2``, one column
            per class. Stable for any finite value; NaN stays NaN.
        temperature: Positive number the logits are divided by.

    Returns:
        ``(n,)`` float64 from the sigmoid, or ``(n, k)`` float64 from the softmax, whose rows sum to 1.

    Raises:
        ValueError: If the temperature is not a positive number or the logits have another shape.

    >>> probability_from_logits([0.0, np.log(3.0)]).round(6).tolist()
    [0.5, 0.75]
    >>> probability_from_logits([2 * np.log(3.0)], temperature=2.0).round(6).tolist()
    [0.75]
    >>> probability_from_logits([[0.0, 0.0, np.log(2.0)]]).round(6).tolist()
    [[0.25, 0.25, 0.5]]
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a positive number, got {temperature!r}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if scaled.ndim == 1:
        return _sigmoid(scaled)
    if scaled.ndim == 2 and scaled.shape[1] >= 2:
        return _softmax(scaled)
    raise ValueError(f"logits must be (n,) for two classes or (n, k >= 2), got shape {scaled.shape}")


def decide(probability: ArrayLike, threshold: float | None = None) -> NDArray[np.int64]:
    """Turn probabilities into decisions: 1 from the threshold upwards, or the most probable of several classes.

    Args:
        probability: ``(n,)`` probability of the positive class, or ``(n, k)``, one column per class.
        threshold: Fraction in [0, 1] for ``(n,)``; a probability equal to it counts as positive. ``None`` for
            ``(n, k)``, where the first of equally probable classes is taken.

    Returns:
        ``(n,)`` int64: 0 or 1, or the index of a class.

    Raises:
        ValueError: If a probability is NaN (comparing would silently say "stays"), or the threshold is missing for
            ``(n,)`` or given for ``(n, k)``.

    >>> decide([0.2, 0.3, 0.9], 0.3).tolist()
    [0, 1, 1]
    >>> decide([[0.2, 0.5, 0.3]]).tolist()
    [1]
    """
    values = np.asarray(probability, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("probability holds NaN; a decision needs a number for every row")
    if values.ndim == 1 and threshold is not None:
        return (values >= threshold).astype(np.int64)
    if values.ndim == 2 and threshold is None:
        return values.argmax(axis=1).astype(np.int64)
    raise ValueError(f"a threshold goes with probabilities (n,), none with (n, k); got {threshold!r}, {values.shape}")


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigmoid without overflow: only the exponential of a number that is not positive is taken."""
    decay = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, decay) / (1.0 + decay)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis without overflow: the largest logit of a row becomes 0."""
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
