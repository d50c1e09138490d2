"""Curves over the share of customers that is contacted, with the band of their bootstrap: gains, lift and profit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.bootstrap import customer_numbers, resampled
from churnlib.evaluation.inputs import Floats, check_binary
from churnlib.evaluation.profit.campaign import Campaign, payoffs
from churnlib.evaluation.ranking import Ranking, at_shares

BAND_REPLICATES = 200


def share_curves(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    shares: ArrayLike | None = None,
    campaign: Campaign | None = None,
    value: ArrayLike | None = None,
    customers: ArrayLike | None = None,
    replicates: int = BAND_REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
    stratified: bool = True,
) -> dict[str, Any]:
    """Return what contacting each share of the customers, the highest probabilities first, catches and earns.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of churn; only its order counts.
        shares: ``(s,)`` in [0, 1]; 0, 0.01, ... 1 when left out.
        campaign: Costs of the profit; no profit curve when left out.
        value: ``(n,)`` money; ``campaign.value`` for all when left out.
        customers: ``(n,)`` names, where a customer may have several rows.
        replicates: Resampled sets behind the bands; 0 for none.
        confidence: Fraction of such bands that hold the true curve at a share.
        seed: Of the resampling.
        stratified: Whether bands take the churn rate as given, see :func:`churnlib.evaluation.metrics.evaluate`.

    Returns:
        JSON-ready: ``share``, and for ``gains`` (share of the churners), ``lift`` and ``profit`` (money per customer
        of the base) ``{"value", "low", "high"}``, a list each. Gains and lift are None without a churner; so is the
        lift at share 0.

    >>> curves = share_curves([1, 0], [0.9, 0.1], shares=[0.0, 0.5, 1.0], campaign=Campaign(), replicates=0)
    >>> curves["gains"]["value"], curves["lift"]["value"], curves["profit"]["value"]
    ([0.0, 1.0, 1.0], [None, 2.0, 1.0], [0.0, 28.0, 22.5])
    """
    truth, score = check_binary(label, probability)
    grid = np.linspace(0.0, 1.0, 101) if shares is None else np.asarray(shares, dtype=np.float64)
    if not ((grid >= 0) & (grid <= 1)).all():
        raise ValueError("shares must be in [0, 1]")
    ranking = Ranking.of(score)
    columns = [truth[ranking.order].astype(np.float64)]
    if campaign is not None:
        columns.append(payoffs(truth, campaign.values(value, len(truth)), campaign)[ranking.order])
    curves = _curves(ranking, columns, np.ones((1, len(truth))), grid)
    numbers = customer_numbers(customers, len(truth))
    drawn = [curves[:0]]
    if replicates:
        ranked = None if numbers is None else numbers[ranking.order]
        weights = resampled(truth[ranking.order], ranked, replicates=replicates, seed=seed, stratified=stratified)
        drawn += [_curves(ranking, columns, block, grid) for block in weights]
    bands = _bands(np.concatenate(drawn), confidence)
    found: dict[str, Any] = {"share": grid.tolist()}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["gains"] = {name: _listed(curve[0]) for name, curve in {"value": curves[0], **bands}.items()}
        found["lift"] = {
            name: _listed(np.where(grid > 0, curve[0] / grid, np.nan))
            for name, curve in {"value": curves[0], **bands}.items()
        }
    if campaign is not None:
        found["profit"] = {name: _listed(curve[1]) for name, curve in {"value": curves[0], **bands}.items()}
    return found


def _curves(ranking: Ranking, columns: list[Floats], weights: Floats, grid: Floats) -> Floats:
    """Return ``(b, 1 or 2, s)``: share of the churners, and profit per customer."""
    rows = ranking.cumulated(weights)
    found = np.empty((len(weights), len(columns), len(grid)))
    for place, column in enumerate(columns):
        sums = ranking.cumulated(weights * column)
        totals = np.where(sums[:, -1] > 0, sums[:, -1], np.nan) if place == 0 else rows[:, -1]
        for one in range(len(weights)):
            found[one, place] = at_shares(sums[one], rows[one], grid) / totals[one]
    return found


def _bands(drawn: Floats, confidence: float) -> dict[str, Floats]:
    if not len(drawn):
        return {}
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0], axis=0)
    return {"low": low, "high": high}


def _listed(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
