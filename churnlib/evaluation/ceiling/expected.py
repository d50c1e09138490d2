"""Figures of rows of which only the probability is known: each counts as a churner by its probability.

``p`` of a row is a churner and ``1 - p`` a stayer, so every curve and count of decisions is what it is for labels, with
expected counts in the place of counts. A ratio of expectations is what the expectation of the ratio comes to with
many rows (with 1,000 the two differ by about 0.001).

The best F1 that way, ``max over k of 2 sum of the k largest p / (k + sum of all p)``, is the F1-optimal decision of
Jansche 2007 ("A maximum expected utility framework for binary sequence labeling") and Lipton, Elkan and Naryanaswamy
2014 ("Thresholding classifiers to maximize F1 score").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from churnlib.evaluation import ranking as ranks
from churnlib.evaluation.decisions import decision_figures, f_beta
from churnlib.evaluation.hull import Hull, corners, roc_hull
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.profit.maximum import empc_of, mpc_sums

BY_CUT = ("f1", "f0_5", "f2", "accuracy", "balanced_accuracy", "mcc", "profit")
"""Figures of which the best cut's is told."""
AT_CUT = ("precision", "recall", "specificity", "contacted_share")
"""Figures that one cut trades for another: told at the cut that is decided by."""
PROFIT = "profit"
OF_CAMPAIGN = ("mpc", "empc", "empb")
"""Money per customer of the best campaign, whose cut is chosen by the very rows that it is told of: on test rows it is
a maximum, and higher in few rows than in many."""
OF_ORDER = ("roc_auc", "gini", "average_precision", "ks", "top_decile_lift", "top_decile_capture")
OF_PROBABILITY = ("log_loss", "brier")
ESTIMATED = (*BY_CUT, *AT_CUT, *OF_CAMPAIGN, *OF_ORDER, *OF_PROBABILITY)
"""All figures for which an attainable value can be told."""

MOST_VERTICES = 500
"""Cuts from which an EMPC is integrated: its error falls with their square, and is below 1 in 100,000 then."""

FALLING = ("log_loss", "brier")
"""Those of which less is better."""


def decided(metric: str, hits: Floats, rows: Floats, earned: Floats) -> Floats:
    """Return a figure of :data:`BY_CUT` or :data:`AT_CUT` for each cut.

    Args:
        metric: Its name.
        hits: ``(..., m)`` churners at or above each distinct probability, expected or drawn.
        rows: ``(..., m)`` rows there.
        earned: ``(..., m)`` money that contacting them brings.
    """
    n, positives = rows[..., -1:], hits[..., -1:]
    if metric == "profit":
        return earned / n
    if metric == "contacted_share":
        return rows / n
    fp, fn = rows - hits, positives - hits
    if metric in ("f0_5", "f2"):
        return f_beta(fp, fn, hits, 0.5 if metric == "f0_5" else 2.0)
    return np.asarray(decision_figures(tn=n - positives - fp, fp=fp, fn=fn, tp=hits)[metric])


def best_cut(metric: str, hits: Floats, rows: Floats, earned: Floats) -> Ints:
    """Return the place of the best cut, ``(...)`` int64; of equally good ones that with the fewest rows."""
    return np.asarray(decided(metric, hits, rows, earned).argmax(axis=-1))


def at(values: Floats, cut: Ints | int) -> Floats:
    """Read ``(..., m)`` values at a cut of each."""
    places = np.broadcast_to(np.asarray(cut), values.shape[:-1])
    return np.take_along_axis(values, places[..., None], -1)[..., 0]


def earned_at_best(
    metric: str, hits: Floats, rows: Floats, earned: Floats, campaign: Campaign, value: Floats
) -> Floats:
    """Return a figure of :data:`OF_CAMPAIGN`, ``(...)`` money per customer; 0 where nobody is worth contacting.

    Args:
        metric: Its name.
        hits: ``(..., m)`` churners at or above each distinct probability, expected or drawn.
        rows: ``(..., m)`` rows there.
        earned: ``(..., m)`` money that contacting them brings, each by his own value.
        campaign: Costs.
        value: ``(...)`` mean value of the customers, which is that of all for MPC and EMPC.
    """
    if metric == "empb":
        return np.maximum(earned.max(axis=-1), 0.0) / rows[..., -1]
    best = _empc if metric == "empc" and campaign.acceptance is None else _mpc
    flat = (hits.reshape(-1, hits.shape[-1]), rows.reshape(-1, rows.shape[-1]), np.ravel(value).tolist())
    found = [best(tp, n - tp, replace(campaign, value=each)) for tp, n, each in zip(*flat, strict=True)]
    return np.array(found).reshape(hits.shape[:-1])


def _mpc(tp: Floats, fp: Floats, campaign: Campaign) -> float:
    return max(float(mpc_sums(tp, fp, campaign).max()), 0.0) / float(tp[-1] + fp[-1])


def _empc(tp: Floats, fp: Floats, campaign: Campaign) -> float:
    there = np.flatnonzero(np.diff(tp + fp, prepend=0.0) > 0)  # rows that were drawn
    places = there[corners(tp[there], fp[there])]
    hull = roc_hull(tp[places], fp[places])
    if len(hull.tp) > MOST_VERTICES:  # of expected counts every place is one, and their curve is smooth
        some = np.unique(np.linspace(0, len(hull.tp) - 1, MOST_VERTICES).astype(np.int64))
        hull = Hull(hull.tp[some], hull.fp[some], hull.place[some[1:] - 1])
    return empc_of(hull, campaign).profit


def ordered(metric: str, hits: Floats, rows: Floats) -> Floats:
    """Return a figure of :data:`OF_ORDER`; NaN where it does not exist."""
    return _ORDER[metric](hits, rows - hits)


def _capture(hits: Floats, misses: Floats) -> Floats:
    n = (hits + misses)[..., -1]
    share = np.vectorize(lambda rows: ranks.first(rows, ranks.TOP_DECILE) / rows, otypes=[float])(n)
    return ranks.lift_of(hits, misses, ranks.TOP_DECILE) * share


_ORDER: dict[str, Callable[[Floats, Floats], Floats]] = {
    "roc_auc": ranks.roc_auc_of,
    "gini": lambda hits, misses: 2.0 * ranks.roc_auc_of(hits, misses) - 1.0,
    "average_precision": ranks.average_precision_of,
    "ks": ranks.kolmogorov_smirnov_of,
    "top_decile_lift": lambda hits, misses: ranks.lift_of(hits, misses, ranks.TOP_DECILE),
    "top_decile_capture": _capture,
}


def scored(metric: str, probability: Floats, churned: Floats) -> Floats:
    """Return what a row costs by a figure of :data:`OF_PROBABILITY`, of the shape of its arguments.

    Args:
        metric: Its name.
        probability: What is said of it.
        churned: Whether it left, or how probably.
    """
    if metric == "brier":
        return churned * (1.0 - probability) ** 2 + (1.0 - churned) * probability**2
    inside = np.clip(probability, 1e-15, 1.0 - 1e-15)
    return -(churned * np.log(inside) + (1.0 - churned) * np.log1p(-inside))


def balanced_f1(probability: Floats) -> float:
    """Return the best F1 of the same probabilities on rows that were resampled to half churners, half stayers.

    No better model, only other test rows: this is what resampling before the split adds on its own.

    >>> round(balanced_f1(np.array([0.8, 0.4, 0.1, 0.1])), 4)
    0.7919
    """
    ranking = ranks.Ranking.of(np.asarray(probability, dtype=np.float64))
    p = probability[ranking.order]
    hits, misses = ranking.cumulated(p), ranking.cumulated(1.0 - p)
    if not hits[-1] or not misses[-1]:
        return 0.0
    hits, misses = hits / hits[-1], misses / misses[-1]
    return float((2.0 * hits / (hits + misses + 1.0)).max())


__all__ = [
    "AT_CUT",
    "BY_CUT",
    "ESTIMATED",
    "FALLING",
    "OF_CAMPAIGN",
    "OF_ORDER",
    "OF_PROBABILITY",
    "PROFIT",
    "balanced_f1",
]
