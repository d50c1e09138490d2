"""What would help most, in F1: more rows, another column, another model, another threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from churnlib.data.leaks.association import Area
from churnlib.decision import probability_from_logits
from churnlib.diagnosis.baselines import PRIOR, OutOfFold
from churnlib.diagnosis.sufficiency import Sufficiency
from churnlib.evaluation.bootstrap import resampled
from churnlib.evaluation.ceiling.attainable import Estimate
from churnlib.evaluation.probabilities import log_odds
from churnlib.evaluation.thresholds import best_expected_f1

DRAWS = 20
REPLICATES = 200
USUAL = 0.5
"""Threshold of who does not choose one."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something that might help.

    Attributes:
        what: To do.
        how: Where the number is from.
        gain: In F1, on average.
        low, high: Its 95 % interval, or what a middling and a good case bring.
        have: Whether it is in the figures already, so that doing without it would lose so much.
    """

    what: str
    how: str
    gain: float
    low: float
    high: float
    have: bool = False


def remedies(
    found: OutOfFold, estimate: Estimate, steps: Sufficiency, areas: Mapping[str, Area], *, seed: int = 0
) -> list[Remedy]:
    """Return what would help, by how much, the most first.

    Args:
        found: The baselines.
        estimate: Attainable F1.
        steps: Whether there are rows enough.
        areas: How well each column alone tells churners from others.
        seed: Of the draws.
    """
    told = [_more_rows(steps), *_another_column(found, areas, seed), *_another_model(found, seed)]
    told.append(_threshold(found, estimate, seed))
    return sorted(told, key=lambda one: (one.have, -one.gain))


def _more_rows(steps: Sufficiency) -> Remedy:
    rows = steps.points[-1].rows
    how = f"{steps.model} with {steps.points[-2].rows:,} and {rows:,} rows, carried on"
    return Remedy("twice as many customers like these", how, *steps.next_doubling)


def _another_column(found: OutOfFold, areas: Mapping[str, Area], seed: int) -> list[Remedy]:
    """Return what a new column would bring that is as telling as one of the table and independent of all others."""
    ranked = sorted(areas.items(), key=lambda item: -item[1].auc)
    if not ranked:
        return []
    name, strongest = ranked[0]
    typical = ranked[len(ranked) // 2][1]
    p = found.probability[found.best]
    base = best_expected_f1(p)[1]
    gains = [_with_column(p, area.auc, seed) - base for area in (typical, strongest)]
    low, high = sorted(max(gain, 0.0) for gain in gains)
    how = f"simulated, independent of all others: as telling as {name!r} (ROC AUC {strongest.auc:.2f})"
    how += f"; low: as telling as a middling column ({typical.auc:.2f})"
    return [Remedy("one more column that tells something new", how, high, low, high)]


def _with_column(p: np.ndarray, auc: float, seed: int) -> float:
    """Return the best F1 with a column whose values are normal in both classes, so far apart as its area says."""
    apart = math.sqrt(2.0) * NormalDist().inv_cdf(min(max(auc, 0.5), 0.999))
    rng, logits, found = np.random.default_rng((seed, 3)), log_odds(p), []
    for _ in range(DRAWS):
        churned = rng.random(len(p)) < p
        seen = rng.standard_normal(len(p)) + np.where(churned, apart / 2, -apart / 2)
        found.append(best_expected_f1(probability_from_logits(logits + apart * seen))[1])
    return float(np.mean(found))


def _another_model(found: OutOfFold, seed: int) -> list[Remedy]:
    """Return what the best baseline has over the others that were fitted: how much the choice of a model matters."""
    told = []
    best = found.probability[found.best]
    for name, p in found.probability.items():
        if name in (found.best, PRIOR):
            continue
        gain, low, high = _f1_difference(
            found.label, best >= best_expected_f1(best)[0], p >= best_expected_f1(p)[0], seed
        )
        told.append(Remedy(f"{found.best} rather than {name}", "measured out of fold", gain, low, high, have=True))
    return told


def _threshold(found: OutOfFold, estimate: Estimate, seed: int) -> Remedy:
    p, cut = found.probability[found.best], estimate.threshold or USUAL
    gain, low, high = _f1_difference(found.label, p >= cut, p >= USUAL, seed)
    return Remedy(f"to decide at {cut:.2f} rather than at 0.50", "measured out of fold", gain, low, high, have=True)


def _f1_difference(label: np.ndarray, one: np.ndarray, other: np.ndarray, seed: int) -> tuple[float, float, float]:
    def f1(decision: np.ndarray, weights: np.ndarray) -> np.ndarray:
        tp, rows = weights @ (label * decision), weights @ (label + decision * 1.0)
        return 2.0 * tp / np.maximum(rows, 1e-12)

    whole = np.ones((1, len(label)))
    drawn = [f1(one, w) - f1(other, w) for w in resampled(label, None, replicates=REPLICATES, seed=seed)]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975]).tolist()
    return float((f1(one, whole) - f1(other, whole))[0]), low, high


__all__ = ["Remedy", "remedies"]
