"""Whether methods, seeds and the members of an ensemble tell the same story of what matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from churnlib.evaluation.inputs import Floats
from churnlib.explanation.effects import Explainer
from churnlib.explanation.overall.importance import mean_absolute_effects
from churnlib.explanation.overall.sample import Sample
from churnlib.models.ensemble import Ensemble
from churnlib.predictor import Predictor

MOST_MEMBERS = 5
"""Members of an ensemble that are asked."""


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's correlation, ties by the mean of their ranks; None where one of both says nothing.

    >>> rank_correlation([1, 2, 3], [10, 30, 20]), rank_correlation([1, 1, 1], [1, 2, 3])
    (0.5, None)
    """
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (one, other)]
    if len(one) < 2 or min(rank.std() for rank in ranks) == 0:
        return None
    return round(float(np.corrcoef(*ranks)[0, 1]), 12)


def between_methods(importances: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return how alike each two methods rank the columns that both know.

    Args:
        importances: By method the importance of each column.
    """
    told = []
    for one, other in combinations(importances, 2):
        shared = [name for name in importances[one] if name in importances[other]]
        values = ([importances[method][name] for name in shared] for method in (one, other))
        told.append({"methods": [one, other], "columns": len(shared), "rank_correlation": rank_correlation(*values)})
    return told


def between_seeds(sample: Sample, *, n: int = 64, seeds: Sequence[int] = (1, 2)) -> float | None:
    """Return how alike the mean absolute effects rank the columns when the background customers are drawn again."""
    return _mean_correlation(
        [_effects(sample, n, seed=seed) for seed in (sample.seed, *(sample.seed + s for s in seeds))]
    )


def between_members(sample: Sample, *, n: int = 64) -> dict[str, Any] | None:
    """Return how alike the members of an ensemble rank the columns, each by itself; None for a single model."""
    model = sample.explainer.predictor.model
    if not isinstance(model, Ensemble) or len(model.members) < 2:
        return None
    members = model.members[:MOST_MEMBERS]
    classes = len(sample.explainer.predictor.classes)
    shift = (0.0,) if classes == 2 else (0.0,) * classes
    found = []
    for member in members:
        alone = Ensemble(((member,),), weights=(1.0,), shift=shift, hazards=model.hazards)
        bundle = replace(sample.explainer.predictor.bundle, model=alone)
        curve = sample.explainer.curve
        explainer = Explainer(
            Predictor(bundle), background=sample.explainer.background, seed=sample.seed,
            horizon=None if curve is None else curve.horizon, from_start=sample.explainer.from_start,
        )  # fmt: skip
        found.append(_effects(replace(sample, explainer=explainer), n))
    return {"members": len(members), "rank_correlation": _mean_correlation(found)}


def _effects(sample: Sample, n: int, *, seed: int | None = None) -> Floats:
    told = {line["column"]: line["effect"] for line in mean_absolute_effects(sample, n=n, replicates=1, seed=seed)}
    return np.array([told[name] for name, _ in sample.units])


def _mean_correlation(found: Sequence[Floats]) -> float | None:
    pairs = [rank_correlation(one.tolist(), other.tolist()) for one, other in combinations(found, 2)]
    known = [value for value in pairs if value is not None]
    return float(np.mean(known)) if known else None


__all__ = ["between_members", "between_methods", "between_seeds", "rank_correlation"]
