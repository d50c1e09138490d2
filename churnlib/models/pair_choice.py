"""Which two columns say more together than each for itself: a quick choice on training rows.

As FAST ranks pairs for GA2M (Lou et al. 2013, doi 10.1145/2487575.2487579): a model of single columns is fitted first,
and a pair counts by how much of what is left over the cells of the two columns' bins could explain. Here both are those
of logistic regression: the residual ``y - p`` of a ridge fit, and in each cell the score statistic
``(sum of residuals)^2 / (sum of p (1 - p))``, of which chance alone gives about 1 per degree of freedom. One pair is
chosen at a time and its cells' residuals are taken off, so that two columns that say the same (minutes and their
charge) do not both bring their pair.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

RIDGE = 1.0
"""Pull of the fit of single columns, and of each cell, towards nothing to see."""
NEWTON_STEPS = 6
BEYOND_CHANCE = 4.0
"""Standard deviations of chance that a pair must exceed: of some hundred pairs the best by chance reaches 3."""


def choose_pairs(
    singles: np.ndarray, cells: np.ndarray, positive: np.ndarray, *, n_pairs: int
) -> list[tuple[int, int]]:
    """Return the pairs of columns that explain most of what single columns leave over, the best first.

    Args:
        singles: ``(n, d)`` float32, what single columns say: inputs of the ridge fit.
        cells: ``(n, G)`` int64, the bin of each column from 0 on, all 0 for a column that takes no part.
        positive: ``(n,)`` or, for several classes, ``(n, n_classes)``: 1 for rows of the class, else 0.
        n_pairs: Pairs at most; fewer if fewer explain more than chance could.
    """
    targets = positive.reshape(len(positive), -1).T.astype(np.float64)
    logits = [_fit_singles(singles, target) for target in targets]
    candidates = list(combinations(np.flatnonzero(cells.max(0, initial=0)).tolist(), 2))
    chosen: list[tuple[int, int]] = []
    while candidates and len(chosen) < n_pairs:
        moments = [_residual(logit, target) for logit, target in zip(logits, targets, strict=True)]
        gains = [sum(_gain(*_cells(cells, pair), *of_class) for of_class in moments) for pair in candidates]
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        pair = candidates.pop(best)
        chosen.append(pair)
        cell, _ = _cells(cells, pair)
        for logit, target in zip(logits, targets, strict=True):
            _take_off(cell, logit, target)
    return chosen


def _fit_singles(singles: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit a ridge logistic regression by Newton's method; return its logits."""
    x = np.concatenate([np.ones((len(singles), 1)), singles], axis=1)
    beta, pull = np.zeros(x.shape[1]), np.full(x.shape[1], RIDGE)
    pull[0] = 1e-6
    for _ in range(NEWTON_STEPS):
        residual, weight = _residual(x @ beta, target)
        beta += np.linalg.solve((x * weight[:, None]).T @ x + np.diag(pull), x.T @ residual - pull * beta)
    return x @ beta


def _residual(logit: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``y - p`` and ``p (1 - p)``."""
    p = 1.0 / (1.0 + np.exp(-logit.clip(-30, 30)))
    return target - p, p * (1 - p)


def _cells(cells: np.ndarray, pair: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Return the number of each row's cell, and the degrees of freedom that two single columns leave to a pair."""
    first, second = cells[:, pair[0]], cells[:, pair[1]]
    freedom = (len(np.unique(first)) - 1) * (len(np.unique(second)) - 1)
    return first * (int(second.max()) + 1) + second, freedom


def _gain(cell: np.ndarray, freedom: int, residual: np.ndarray, weight: np.ndarray) -> float:
    """Return by how much a pair's score statistic exceeds what chance may give: its mean and some deviations."""
    statistic = (np.bincount(cell, residual) ** 2 / (np.bincount(cell, weight) + RIDGE)).sum()
    return float(statistic - freedom - BEYOND_CHANCE * (2 * freedom) ** 0.5)


def _take_off(cell: np.ndarray, logit: np.ndarray, target: np.ndarray) -> None:
    """Move the logits of each cell by Newton's steps to where its residuals cancel, in place."""
    for _ in range(NEWTON_STEPS):
        residual, weight = _residual(logit, target)
        logit += (np.bincount(cell, residual) / (np.bincount(cell, weight) + RIDGE))[cell]
