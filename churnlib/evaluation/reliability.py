"""The reliability curve: how often customers left whom the model gave a probability, with the band of mere luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.hull import corners, roc_hull
from churnlib.evaluation.inputs import Floats, check_binary
from churnlib.evaluation.ranking import Ranking, steps, threshold_counts

MOST_POINTS = 5_000
"""Distinct probabilities that the band is computed from; more are gathered into so many groups of neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityCurve:
    """What was said and what happened.

    Attributes:
        low: ``(b,)`` smallest probability of each block of customers, ascending.
        high: ``(b,)`` largest.
        rate: ``(b,)`` churn rate of the block, ascending: the calibrated probability.
        rows: ``(b,)`` customers in it.
        grid: ``(g,)`` probabilities at which the band is given.
        band_low: ``(g,)`` within which the curve would lie at each of them if the probabilities were true.
        band_high: ``(g,)``.
        outside: Share of the customers at whose probability the curve leaves the band.
    """

    low: Floats
    high: Floats
    rate: Floats
    rows: Floats
    grid: Floats
    band_low: Floats
    band_high: Floats
    outside: float

    def at(self, probability: ArrayLike) -> Floats:
        """Return the churn rate that belongs to each probability, between two blocks by a straight line."""
        return _read(np.asarray(probability, dtype=np.float64), self.low, self.high, self.rate)


def reliability_curve(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    confidence: float = 0.9,
    points: int = 101,
    draws: int = 500,
    seed: int = 0,
) -> ReliabilityCurve:
    """Fit churn rates that rise with the probability (isotonic regression), and the band of calibrated models.

    CORP (Dimitriadis, Gneiting and Jordan 2021, PNAS 118(8)): no bins to choose. The consistency band is pointwise:
    labels are drawn as the probabilities say, and the curve is fitted to each draw.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.
        confidence: Fraction of calibrated models whose curve lies inside the band at a point.
        points: Number of probabilities at which the band is given, evenly spaced over the customers.
        draws: Number of simulated sets of labels.
        seed: Of the draws.
    """
    truth, score = check_binary(label, probability)
    distinct, tp, fp = threshold_counts(truth, score)
    low, high, rate, rows = _curve(distinct, tp.astype(np.float64), fp.astype(np.float64))
    grid = np.unique(np.quantile(score, np.linspace(0.0, 1.0, points)))
    band = _band(score, grid, confidence=confidence, draws=draws, seed=seed)
    curve = ReliabilityCurve(low, high, rate, rows, grid, *band, outside=0.0)
    said, happened = np.sort(score), curve.at(np.sort(score))
    off = (happened < np.interp(said, grid, band[0]) - 1e-12) | (happened > np.interp(said, grid, band[1]) + 1e-12)
    return ReliabilityCurve(low, high, rate, rows, grid, *band, outside=float(off.mean()))


def _curve(score: Floats, tp: Floats, fp: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return lowest and highest score, rate and rows of each block, ascending, from counts at falling scores."""
    places = corners(tp, fp)
    hull = roc_hull(tp[places], fp[places])
    last = places[hull.place]
    first = np.append(0, last[:-1] + 1)
    rows = np.diff(hull.tp + hull.fp)
    rate = np.diff(hull.tp) / rows
    return score[last][::-1], score[first][::-1], rate[::-1], rows[::-1]


def _read(probability: Floats, low: Floats, high: Floats, rate: Floats) -> Floats:
    ends, rates = np.stack([low, high], axis=1).ravel(), np.repeat(rate, 2)
    return np.interp(probability, ends, rates)


def _band(score: Floats, grid: Floats, *, confidence: float, draws: int, seed: int) -> tuple[Floats, Floats]:
    ranking = Ranking.of(score)
    rows, said = steps(ranking.rows), ranking.score
    if len(said) > MOST_POINTS:
        group = np.arange(len(said)) * MOST_POINTS // len(said)
        starts = np.searchsorted(group, np.arange(MOST_POINTS))
        total = np.add.reduceat(rows * said, starts)
        rows = np.add.reduceat(rows, starts)
        said = total / rows
    generator = np.random.default_rng(seed)
    curves = np.empty((draws, len(grid)))
    for place in range(draws):
        churners = generator.binomial(rows.astype(np.int64), np.clip(said, 0.0, 1.0)).astype(np.float64)
        low, high, rate, _ = _curve(said, np.cumsum(churners), np.cumsum(rows - churners))
        curves[place] = _read(grid, low, high, rate)
    low, high = np.quantile(curves, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0], axis=0)
    return low, high
