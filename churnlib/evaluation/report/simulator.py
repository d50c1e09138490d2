"""The test rows as a campaign sees them: small enough for a page, exact enough to plan with.

Customers of nearly the same probability and value stand in one cell, which holds their number, how many left, and the
means of probability and value. What a campaign earns depends on nothing else, so that the page can compute it for any
costs, with the band of resampled cells. One cell's customers are contacted together, or a share of them where money
ends.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from churnlib.evaluation.profit.campaign import expected_gains, payoffs
from churnlib.evaluation.report.judged import Judged

FINE, COARSE = 100, 240
"""Cells of the twentieth with the highest probabilities, and of all others, where customers are worth the same."""

BY_PROBABILITY, BY_VALUE = 64, 12
"""Cells where each customer has a value of his own."""


def cells(judged: Judged) -> list[list[float]]:
    """Return the cells, those with the highest probabilities first.

    Returns:
        For each ``[n, churners, mean probability]``, and where customers have a value of their own ``[..., mean value,
        mean value of the churners]``.
    """
    p, value = judged.probability, judged.value
    order = np.argsort(-p, kind="stable")
    rank = np.empty(len(p), dtype=np.int64)
    rank[order] = np.arange(len(p))
    if value is None:
        shares = np.append(np.linspace(0.0, 0.05, FINE + 1)[:-1], np.linspace(0.05, 1.0, COARSE + 1)[:-1])
        codes = np.searchsorted(np.unique((shares * len(p)).astype(np.int64)), _tied(p, rank), side="right")
    else:
        steps = _tied(p, rank) * BY_PROBABILITY // len(p)
        worth = np.searchsorted(np.unique(np.quantile(value, np.linspace(0, 1, BY_VALUE + 1)[1:-1])), value, "right")
        codes = steps * (BY_VALUE + 1) + worth
    _, codes = np.unique(codes, return_inverse=True)
    n, left = np.bincount(codes), np.bincount(codes, weights=judged.label)
    columns = [n, left, np.bincount(codes, weights=p) / n]
    if value is not None:
        mean = np.bincount(codes, weights=value) / n
        lost = np.bincount(codes, weights=value * judged.label)
        columns += [mean, np.divide(lost, left, out=mean.copy(), where=left > 0)]
    return [[_short(cell) for cell in row] for row in np.column_stack(columns).tolist()]


def _tied(p: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return the rank of each row, ``(n,)``, which rows of one probability share: they are contacted together."""
    _, codes = np.unique(p, return_inverse=True)
    best = np.full(int(codes.max()) + 1, len(p), dtype=np.int64)
    np.minimum.at(best, codes, rank)
    return best[codes]


def _short(number: float) -> float:
    return int(number) if number == int(number) else float(f"{number:.5g}")


def campaign(judged: Judged) -> dict[str, Any]:
    """Return what the campaign of the run's assumptions would have earned on the test rows.

    Contacted is whoever is expected to bring more than he costs, from probability and value alone.

    Returns:
        ``contacted``, ``reached`` (churners among them), ``profit`` of all rows with ``low`` and ``high`` (the spread
        of what customers bring, 95 %), ``everybody``: the profit of contacting all; and the assumptions.
    """
    value = judged.campaign.value if judged.value is None else judged.value
    chosen = expected_gains(judged.probability, value, judged.campaign) > 0
    paid = payoffs(judged.label, value, judged.campaign)
    earned = paid * chosen
    n = len(judged)
    groups = [judged.label == 0, judged.label == 1] if judged.stratified else [np.ones(n, dtype=bool)]
    spread = 1.959964 * sum(float(earned[rows].var() * rows.sum()) for rows in groups if rows.any()) ** 0.5
    profit = float(earned.sum())
    return {
        **asdict(judged.campaign),
        "expected_acceptance": judged.campaign.expected_acceptance,
        "own_values": judged.value is not None,
        "mean_value": float(np.mean(value)),
        "currency": judged.currency,
        "stratified": judged.stratified,
        "n": n,
        "positives": int(judged.label.sum()),
        "contacted": int(chosen.sum()),
        "reached": int(judged.label[chosen].sum()),
        "profit": profit,
        "low": profit - spread,
        "high": profit + spread,
        "everybody": float(paid.sum()),
    }


__all__ = ["campaign", "cells"]
