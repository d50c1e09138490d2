"""How much more often each value of a column comes among those who leave than among those who stay."""

from __future__ import annotations

import numpy as np

PRIOR = 0.5
"""Rows added to either class in each bin, so that a bin without one of them has a finite weight."""


def weights_of_evidence(counts: np.ndarray) -> np.ndarray:
    """Return the weight of evidence of each bin, ``(bins,)``.

    It is the logarithm of the bin's share of those who leave over its share of those who stay. An empty bin weighs 0.

    >>> weights_of_evidence(np.array([[80, 20], [20, 80]])).round(2).tolist()
    [-1.37, 1.37]

    Args:
        counts: ``(bins, 2)`` rows of each bin that stay and that leave.
    """
    stayed, left = _shares(counts)
    return np.where(counts.sum(axis=1) > 0, np.log(left / stayed), 0.0)


def information_value(counts: np.ndarray) -> float:
    """Return the information value of a column: the bins' weights times the differences of their shares, summed.

    Below 0.02 a column says next to nothing, above 0.3 much; above 0.5 it is worth a second look (Siddiqi, Credit Risk
    Scorecards, 2006).

    >>> round(information_value(np.array([[80, 20], [20, 80]])), 2)
    1.63

    Args:
        counts: As in :func:`weights_of_evidence`.
    """
    stayed, left = _shares(counts)
    return float(((left - stayed) * weights_of_evidence(counts)).sum())


def _shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    filled = np.where(counts.sum(axis=1, keepdims=True) > 0, counts + PRIOR, 0.0)
    total = np.maximum(filled.sum(axis=0), PRIOR)
    stayed, left = (filled / total).T
    tiny = np.finfo(float).tiny  # only empty bins, whose weight is set to 0
    return np.maximum(stayed, tiny), np.maximum(left, tiny)


def count_classes(bins: np.ndarray, label: np.ndarray, n_bins: int, n_classes: int = 2) -> np.ndarray:
    """Return how many rows of each class are in each bin, ``(n_bins, n_classes)`` int64.

    Args:
        bins: ``(n,)`` bin of each row.
        label: ``(n,)`` class of each row.
        n_bins: Bins.
        n_classes: Classes.
    """
    return np.bincount(bins * n_classes + label, minlength=n_bins * n_classes).reshape(n_bins, n_classes)
