"""Cuts between neighbouring probabilities: what each is worth, and which one is taken."""

from __future__ import annotations

import numpy as np

from churnlib.decision import probability_from_logits
from churnlib.evaluation.decisions import decision_figures
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.profit.maximum import mpc_sums
from churnlib.logistic import fit_logistic


def between(low: float, high: float) -> float:
    """Middle of two probabilities; above ``low`` even where they are neighbouring floats."""
    middle = low + (high - low) / 2.0
    return float(middle if middle > low else high)


def best_cut(score: Floats, gain: Floats, *, nobody: float | None = None) -> float:
    """Return the highest cut with the largest gain.

    Args:
        score: ``(m,)`` distinct probabilities in falling order.
        gain: ``(m,)`` gain when all rows from this score upwards are selected.
        nobody: Gain when no row is selected, if that is a choice; a probability of exactly 1 is always selected.
    """
    best = int(gain.argmax())
    if nobody is not None and nobody >= gain[best] and score[0] < 1.0:
        return between(score[0], 1.0)
    return between(score[best + 1] if best + 1 < len(score) else 0.0, score[best])


def capacity_cut(score: Floats, selected: Ints, share: float) -> float:
    """Return the lowest cut that selects no more than the share of the rows."""
    most = share * selected[-1] * (1.0 + 1e-12)
    place = int(np.searchsorted(selected, most, side="right")) - 1
    if place < 0:
        return between(score[0], 1.0)
    return between(score[place + 1] if place + 1 < len(score) else 0.0, score[place])


def precision_cut(score: Floats, precision: Floats, floor: float) -> float:
    """Return the lowest cut with at least this precision; where none has it, that with the highest one."""
    good = np.flatnonzero(precision >= floor * (1.0 - 1e-12))
    if not len(good):
        return best_cut(score, precision)
    place = int(good[-1])
    return between(score[place + 1] if place + 1 < len(score) else 0.0, score[place])


def gain(rule: str, hits: Floats, selected: Ints, *, costs: tuple[float, float], campaign: Campaign) -> Floats:
    """Return what each cut is worth by a rule for which selecting nobody is a choice, worth 0."""
    wasted = selected - hits
    if rule == "mcc":
        return _mcc(hits, selected)
    if rule == "profit":
        return mpc_sums(hits, wasted, campaign)
    if rule == "youden":
        # times both class sizes: whole numbers without smoothing, so that ties are exact
        return hits * (selected[-1] - hits[-1]) - wasted * hits[-1]
    return hits * costs[1] - wasted * costs[0]


def _mcc(hits: Floats, selected: Ints) -> Floats:
    n, positives = selected[-1], hits[-1]
    return decision_figures(tn=n - selected - positives + hits, fp=selected - hits, fn=positives - hits, tp=hits)["mcc"]


def smoothed_hits(score: Floats, tp: Ints, fp: Ints, smoothing: float) -> Floats:
    """Number of churners at or above each score, drawn towards a smooth curve: ``(m,)`` float64."""
    rows = np.diff(tp + fp, prepend=0)
    curve = np.cumsum(rows * _fit_curve(score, np.diff(tp, prepend=0), rows))
    trust = tp[-1] / (tp[-1] + smoothing)
    return trust * tp + (1.0 - trust) * curve


def _fit_curve(score: Floats, churners: Ints, rows: Ints) -> Floats:
    """Fit the churn rate at each score as a logistic curve in its log-odds (Platt 1999).

    The prior is around intercept 0 and slope 1, probabilities that are right as they are.
    """
    inside = np.clip(score, 1e-6, 1.0 - 1e-6)
    design = np.stack([np.ones_like(inside), np.log(inside / (1.0 - inside))], axis=1)
    right = np.array([0.0, 1.0])
    weights = fit_logistic(design, churners.astype(np.float64), rows.astype(np.float64), start=right, prior=right)
    assert weights is not None  # the prior sees to it
    return probability_from_logits(design @ weights)


__all__ = ["best_cut", "between", "capacity_cut", "gain", "precision_cut", "smoothed_hits"]
