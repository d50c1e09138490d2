"""Which two columns count together otherwise than each by itself, in log-odds.

Of a customer and another one, both columns, one of them or the other are exchanged; where columns add up, what the two
exchanges change together is what they change one by one. The mean square of the difference, divided by 4, is the
variance of all that the two do jointly (Liu and Owen 2006, "Estimating mean dimensionality of analysis of variance
decompositions", JASA 101: superset importance), whatever other columns take part.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from churnlib.evaluation.inputs import Floats
from churnlib.explanation.overall.sample import HIDDEN, Sample, interval

MOST_UNITS = 12
"""Columns whose pairs are looked at: those that move the log-odds most."""


def strongest_interactions(
    sample: Sample, *, columns: list[str], n: int = 512, top: int = 10, replicates: int = 200
) -> list[dict[str, Any]]:
    """Return the pairs of columns, or groups, that interact most.

    Args:
        sample: The customers.
        columns: Which to look at, the first dozen.
        n: Customers that are compared with another one.
        top: Pairs returned.
        replicates: Resampled sets of customers behind the intervals.

    Returns:
        For each: ``columns`` (two names), ``strength`` (standard deviation in log-odds of what the two do jointly)
        with ``strength_low`` and ``strength_high``, and ``share`` of the variance of all log-odds.
    """
    some = sample.take(n)
    places = dict(some.units)
    names = [name for name in columns if name != HIDDEN and name in places][:MOST_UNITS]
    others = some.customers.take(np.random.default_rng(some.seed).permutation(len(some)))

    def without(*units: str) -> Floats:
        own = np.ones((len(some), len(some.explainer.mixer.names)), dtype=bool)
        own[:, [place for unit in units for place in places[unit]]] = False
        return some.ask(some.explainer.mixer.mix(some.customers, others, own))

    single = {name: without(name) for name in names}
    weights = some.draws(replicates)
    weights = weights / weights.sum(axis=1, keepdims=True)
    variance = float(some.log_odds.var())
    told = []
    for one, other in combinations(names, 2):
        squared = (some.log_odds - single[one] - single[other] + without(one, other)) ** 2 / 4.0
        low, high = interval(np.sqrt(weights @ squared))
        strength = float(np.sqrt(squared.mean()))
        share = strength**2 / variance if variance > 0 else None
        told.append(
            {"columns": [one, other], "strength": strength, "strength_low": low, "strength_high": high, "share": share}
        )
    return sorted(told, key=lambda line: -line["strength"])[:top]


__all__ = ["MOST_UNITS", "strongest_interactions"]
