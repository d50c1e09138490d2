"""What it would cost to treat groups alike: a threshold for each, learned on held-out rows, judged on the test rows.

Equal opportunity (Hardt, Price and Srebro 2016): of those who leave, the same share is found in each group. Equal
selection: the same share of each group is contacted. Either is a decision of policy, and nothing here applies it.

Where each customer has a threshold of his own, a group has a factor by which those of its customers are multiplied, and
customers are put in order by how often their probability holds their threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from churnlib.evaluation.bootstrap import REPLICATES, intervals_of, resampled
from churnlib.evaluation.cuts import between
from churnlib.evaluation.decisions import f_beta
from churnlib.evaluation.fairness.figures import Judged
from churnlib.evaluation.fairness.groups import NOBODY, Groups
from churnlib.evaluation.inputs import Floats, Ints

AIMS = ("tpr", "selection_rate")
"""What may be made equal."""


def equalised_thresholds(
    label: Ints, probability: Floats, codes: Ints, n_groups: int, *, threshold: float, aim: str
) -> Floats:
    """Return the threshold of each group that brings its rate nearest to that of all rows at the common threshold.

    Args:
        label: ``(n,)`` of rows that the figures are not about.
        probability: ``(n,)`` of class 1.
        codes: ``(n,)`` group of each row.
        n_groups: Number of groups.
        threshold: The common one, which a group keeps that has no row to go by.
        aim: One of :data:`AIMS`.

    Returns:
        ``(n_groups,)``, each in the middle between two neighbouring probabilities. Among equally good ones the nearest
        to the common threshold; where many rows are tied, no threshold may come near.

    >>> p = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.3, 0.2, 0.1])
    >>> two = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> equalised_thresholds(np.ones(8, int), p, two, 2, threshold=0.5, aim="tpr").round(3).tolist()
    [0.75, 0.25]
    """
    counted = label == 1 if aim == "tpr" else np.ones(len(label), dtype=bool)
    aimed = probability[counted]
    target = float((aimed >= threshold).mean()) if len(aimed) else 0.0
    return np.array(
        [_nearest_cut(probability[counted & (codes == group)], target, threshold) for group in range(n_groups)]
    )


def _nearest_cut(scores: Floats, target: float, threshold: float) -> float:
    if not len(scores):
        return threshold
    distinct, counts = np.unique(scores, return_counts=True)
    # From selecting everybody, at the lowest score, to selecting nobody.
    rates = np.append(np.cumsum(counts[::-1])[::-1], 0) / len(scores)
    low, high = np.append(0.0, distinct), np.append(distinct, 1.0)
    cuts = [threshold if a < threshold <= b else between(a, b) for a, b in zip(low, high, strict=True)]
    miss = np.abs(rates - target)
    best = np.flatnonzero(miss <= miss.min() + 1e-12)
    return float(min((cuts[place] for place in best), key=lambda cut: abs(cut - threshold)))


AT_OWN = 0.5
"""Standing of a customer whose probability is that of his own threshold."""


def standing(probability: Floats, own: Floats) -> Floats:
    """Return where customers stand to thresholds of their own, ``(n,)`` in [0, 1].

    A probability is ``f`` times the threshold or more where the standing is ``f / (1 + f)`` or more; it is 0 where no
    probability is enough, and 1 where any is.

    >>> standing(np.array([0.2, 0.2, 0.2]), np.array([0.2, 0.1, np.inf])).round(3).tolist()
    [0.5, 0.667, 0.0]
    """
    total = probability + own
    return np.divide(probability, total, out=np.ones_like(total), where=total > 0)


def factor(cut: float) -> float | None:
    """Return the factor on own thresholds that a standing belongs to; None where nobody reaches it.

    >>> factor(0.5), factor(0.6)
    (1.0, 1.4999999999999998)
    """
    return cut / (1.0 - cut) if cut < 1.0 else None


def equalised(
    rows: Judged,
    groups: Groups,
    held_out: tuple[Ints, Floats, Ints],
    *,
    threshold: float,
    aim: str,
    score: Floats | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Say what thresholds by group would do to the rows, and what they would cost.

    Args:
        rows: The test rows with their decisions at the threshold.
        groups: Their groups.
        held_out: Label, probability (or standing) and group of the rows from which thresholds are learned.
        threshold: The common one; :data:`AT_OWN` of standings.
        aim: One of :data:`AIMS`.
        score: ``(n,)`` standings of the rows where customers have thresholds of their own.
        replicates: Resampled sets of customers behind the intervals.
        seed: Of the resampling.

    Returns:
        JSON-ready: ``thresholds`` (of standings ``factors`` on own thresholds, None for nobody) and the aimed-at rate
        ``before`` and ``after`` by group, ``difference`` between the extremes of both, the share of customers whose
        decision ``changed``, and ``f1`` and ``profit`` (per customer) ``before`` and ``after`` with their
        ``difference`` and its interval ``low`` to ``high``, on the same customers.
    """
    label, probability, codes = held_out
    found = equalised_thresholds(label, probability, codes, len(groups.labels), threshold=threshold, aim=aim)
    own = np.append(found, threshold)[groups.codes]  # who is in no group keeps the common threshold
    decision = ((rows.probability if score is None else score) >= own).astype(np.int64)
    cuts = found.tolist() if score is None else [factor(cut) for cut in found.tolist()]
    before, after = (_rates(rows.label, one, groups, aim) for one in (rows.decision, decision))
    return {
        "aim": aim,
        "thresholds" if score is None else "factors": dict(zip(groups.labels, cuts, strict=True)),
        "before": before,
        "after": after,
        "difference": {"before": _apart(before), "after": _apart(after)},
        "changed": float((decision != rows.decision).mean()),
        **_costs(rows, decision, replicates, seed),
    }


def _rates(label: Ints, decision: Ints, groups: Groups, aim: str) -> dict[str, float | None]:
    counted = (groups.codes != NOBODY) & ((label == 1) | (aim != "tpr"))
    of = np.bincount(groups.codes[counted], minlength=len(groups.labels))
    chosen = np.bincount(groups.codes[counted], weights=decision[counted], minlength=len(groups.labels))
    return {name: float(c / n) if n else None for name, c, n in zip(groups.labels, chosen, of, strict=True)}


def _apart(rates: dict[str, float | None]) -> float | None:
    known = [rate for rate in rates.values() if rate is not None]
    return max(known) - min(known) if len(known) > 1 else None


def _costs(rows: Judged, decision: Ints, replicates: int, seed: int) -> dict[str, dict[str, float | None]]:
    """Return F1 and profit at both decisions, and their differences on resampled customers."""
    assert rows.payoff is not None, "equalised thresholds are weighed in money"
    y = rows.label.astype(np.float64)
    columns = [y, np.ones(len(y))]
    for one in (rows.decision, decision):
        d = one.astype(np.float64)
        columns += [d * y, d, d * rows.payoff]
    stacked = np.stack(columns, axis=1)
    now = _figures(stacked.sum(axis=0))
    draws = resampled(rows.label, rows.customers, replicates=replicates, seed=seed)
    drawn = _figures(np.concatenate([weights @ stacked for weights in draws]).T)
    told = {}
    for name in ("f1", "profit"):
        before, after = (float(now[f"{name}_{when}"]) for when in ("before", "after"))
        moved = drawn[f"{name}_after"] - drawn[f"{name}_before"]
        low, high = intervals_of({"moved": after - before}, {"moved": moved}).get("moved", (None, None))
        told[name] = {"before": before, "after": after, "difference": after - before, "low": low, "high": high}
    return told


def _figures(sums: Floats) -> dict[str, Floats]:
    """Return F1 and profit per customer before and after from ``(8, ...)`` sums over the rows."""
    positives, n, *parts = sums
    found = {}
    for when, (tp, selected, paid) in (("before", parts[:3]), ("after", parts[3:])):
        found |= {f"f1_{when}": f_beta(selected - tp, positives - tp, tp), f"profit_{when}": paid / n}
    return found


__all__ = ["AIMS", "equalised", "equalised_thresholds"]
