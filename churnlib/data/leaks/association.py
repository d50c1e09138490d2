"""How well one thing tells churners from others: the area under the ROC curve, from counts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

FOLDS = 5
PRIOR_ROWS = 10.0
"""Rows with the common churn rate that are added to each value, so that rare ones say little."""


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the ROC curve and its 95 % interval.

    Attributes:
        auc: At least 0.5: which way round does not matter.
        low, high: The interval.
        n: Rows.
    """

    auc: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.auc:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def figures(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


NOTHING = Area(0.5, 0.5, 0.5, 0)


def area(auc: float, n_churned: int, n_stayed: int) -> Area:
    """Return an area with its interval by Hanley and McNeil 1982, which needs the counts alone.

    >>> print(area(0.25, 100, 300))
    0.750 [0.690, 0.810]
    """
    auc = max(auc, 1 - auc)
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    spread = auc * (1 - auc) + (n_churned - 1) * (q1 - auc * auc) + (n_stayed - 1) * (q2 - auc * auc)
    half = 1.96 * math.sqrt(max(spread, 0.0) / (n_churned * n_stayed))
    return Area(auc, max(auc - half, 0.0), min(auc + half, 1.0), n_churned + n_stayed)


def area_of_ranks(ranks: np.ndarray, churned: np.ndarray) -> Area:
    """Return how well an order tells churners from others.

    Args:
        ranks: ``(n,)`` from 1, equal values with their mean rank.
        churned: ``(n,)`` bool.
    """
    n, m = int(churned.sum()), int((~churned).sum())
    if not n or not m:
        return NOTHING
    return area((float(ranks[churned].sum()) - n * (n + 1) / 2) / (n * m), n, m)


def area_of_codes(codes: np.ndarray, churned: np.ndarray) -> Area:
    """Return how well values tell churners from others by the churn rate that other rows of the same value have.

    A value's rate comes from the other folds of the rows, so that values which come once, such as names, say nothing.

    Args:
        codes: ``(n,)`` int64 from 0.
        churned: ``(n,)`` bool.
    """
    return areas_of_codes(codes[None], churned)[0]


def areas_of_codes(codes: np.ndarray, churned: np.ndarray) -> list[Area]:
    """Return what :func:`area_of_codes` does for each row of ``(columns, n)`` codes."""
    n, m = int(churned.sum()), int((~churned).sum())
    if not n or not m:
        return [NOTHING] * len(codes)
    shape = len(codes), FOLDS, int(codes.max()) + 1
    folds = np.arange(codes.shape[1]) % FOLDS  # the rows come in random order, or in none that matters
    cell = (np.arange(len(codes))[:, None] * FOLDS + folds) * shape[2] + codes
    left, stayed = (
        np.bincount(cell[:, rows].ravel(), minlength=math.prod(shape)).reshape(shape) for rows in (churned, ~churned)
    )
    others_left, others = (part.sum(1, keepdims=True) - part for part in (left, left + stayed))
    # The common rate is that of the same rows: a fold's own share of churners must not order its rows.
    rate = others_left.sum(2, keepdims=True) / np.maximum(others.sum(2, keepdims=True), 1)
    score = (others_left + PRIOR_ROWS * rate) / (others + PRIOR_ROWS) - rate
    # Scores within a fold are compared with each other alone: those of different folds err in different ways.
    told = (left.sum(2) > 0) & (stayed.sum(2) > 0)
    n_told = told.sum(1)
    means = np.where(told, _areas_of_cells(score, left, stayed), 0.0).sum(1) / np.maximum(n_told, 1)
    return [area(max(mean, 0.5), n, m) if one else NOTHING for mean, one in zip(means.tolist(), n_told, strict=True)]


def _areas_of_cells(score: np.ndarray, left: np.ndarray, stayed: np.ndarray) -> np.ndarray:
    """Return the areas for rows that come in cells of one score each, over the last dimension."""
    score = score.round(12)
    order = score.argsort(axis=-1)
    score, left, stayed = (np.take_along_axis(part, order, axis=-1) for part in (score, left, stayed))
    # Cells of equal scores begin and end together: half of those who stayed among them count as below.
    place, new = np.arange(score.shape[-1]), score[..., 1:] != score[..., :-1]
    edge = np.ones_like(score[..., :1], dtype=bool)
    begins = np.maximum.accumulate(np.where(np.concatenate([edge, new], -1), place, 0), axis=-1)
    ends = np.where(np.concatenate([new, edge], -1), place, place[-1])
    ends = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    up_to = np.cumsum(stayed, axis=-1)
    below = np.take_along_axis(up_to - stayed, begins, axis=-1)
    within = np.take_along_axis(up_to, ends, axis=-1) - below
    pairs = left.sum(-1) * stayed.sum(-1)
    return (left * (below + within / 2)).sum(-1) / np.maximum(pairs, 1)


def wilson_low(share: float, n: int) -> float:
    """Return the lower end of a share's 95 % interval (Wilson 1927)."""
    z2 = 1.96**2
    centre = share + z2 / (2 * n)
    return (centre - 1.96 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
