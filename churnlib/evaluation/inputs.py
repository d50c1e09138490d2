"""What every figure asks of its labels and probabilities, checked once where they come in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def check_binary(label: ArrayLike, probability: ArrayLike) -> tuple[Ints, Floats]:
    """Return 0/1 labels as ``(n,)`` int64 and probabilities as ``(n,)`` float64, or raise ``ValueError``."""
    truth, score = np.asarray(label), np.asarray(probability, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape or truth.size == 0:
        raise ValueError(f"label and probability must be (n,) with n >= 1, got {truth.shape} and {score.shape}")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("label must be 0 or 1 in every row")
    _check_probability(score)
    return truth.astype(np.int64), score


def check_multiclass(label: ArrayLike, probability: ArrayLike, k: int) -> tuple[Ints, Floats]:
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


def check_per_row(name: str, values: ArrayLike, n: int) -> Floats:
    """Return one finite number per row as ``(n,)`` float64; a single number counts for all rows.

    Raises:
        ValueError: If there are more or fewer, or one is NaN or infinite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or ({n},), got {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be a number in every row, and one is NaN or infinite; fill it before")
    return np.broadcast_to(numbers, (n,))


def check_share(name: str, share: float) -> float:
    """Return a share of customers in (0, 1], or raise ``ValueError``."""
    if not 0.0 < share <= 1.0:
        raise ValueError(f"{name} must be a share of the customers in (0, 1], got {share!r}")
    return float(share)


def _check_probability(score: Floats) -> None:
    if not ((score >= 0) & (score <= 1)).all():  # NaN fails both comparisons
        raise ValueError("probability must be in [0, 1] in every row; were logits passed, or is one NaN?")
