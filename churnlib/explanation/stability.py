"""Whether the largest effects stay the largest when samples are drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES, FIRST = 20, 3
"""Backgrounds that are drawn again for the stability, and how many of the largest effects have to stay."""


def stability(parts: np.ndarray, seed: int) -> NDArray[np.float64]:
    """Return how many of the largest effects stay when samples are drawn again, ``(n,)`` in [0, 1].

    Args:
        parts: ``(n, S, K)`` effects by each sample.
        seed: Of the draws.
    """
    n_samples = parts.shape[1]
    drawn = np.random.default_rng(seed).multinomial(n_samples, np.full(n_samples, 1 / n_samples), size=RESAMPLES)
    again = np.abs(np.tensordot(parts, drawn.astype(parts.dtype) / n_samples, axes=([1], [1])))  # (n, K, resamples)
    return kept(again, parts.mean(axis=1))


def kept(again: np.ndarray, values: np.ndarray) -> NDArray[np.float64]:
    """Return how many of the largest of ``(n, K)`` effects are among the largest of ``(n, K, R)`` absolute ones."""
    first = min(FIRST, values.shape[1])
    largest = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :first]
    border = -np.sort(-again, axis=1)[:, first - 1, :]
    kept = np.take_along_axis(again, largest[:, :, None], axis=1) >= border[:, None, :]
    return kept.mean(axis=(1, 2))


__all__ = ["FIRST", "RESAMPLES", "kept", "stability"]
