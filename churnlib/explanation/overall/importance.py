"""How much worse a model gets without a column: its cells are dealt anew among the customers (Breiman 2001).

Columns that say the same are dealt together, or each would stand in for the other and none would seem to matter. The
loss is told in ROC AUC, in money at the model's own decisions, and in log loss; an interval says how far each may be
luck of these customers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from churnlib.data.preparation import Encoded
from churnlib.evaluation.inputs import Floats
from churnlib.evaluation.probabilities import row_losses
from churnlib.evaluation.ranking import Ranking, roc_auc_of
from churnlib.explanation.overall.sample import HIDDEN, Sample, interval

REPEATS = 5
"""How often the cells are dealt."""

REPLICATES = 200

FIGURES = ("roc_auc", "profit", "log_loss")


def permutation_importance(
    sample: Sample, *, columns: Sequence[str] | None = None, repeats: int = REPEATS, replicates: int = REPLICATES
) -> list[dict[str, Any]]:
    """Return what each column, or group of columns, is worth to the model, the largest first.

    Args:
        sample: Customers whose labels are known.
        columns: Names of those that are looked at; all when None.
        repeats: How often the cells are dealt.
        replicates: Resampled sets of customers behind the intervals.

    Returns:
        For each: ``column``, and for ``roc_auc`` and ``profit`` (per customer; two classes only) and ``log_loss``
        the mean loss over the repeats with the interval ``NAME_low`` to ``NAME_high``. Losses are above 0 where the
        column helps. A ROC AUC is None with one class only.
    """
    assert sample.label is not None
    weights = np.concatenate([np.ones((1, len(sample))), sample.draws(replicates)])
    whole = _figures(sample, sample.customers.encoded, weights)
    rng = np.random.default_rng(sample.seed)
    told = []
    for name, places in sample.units:
        if columns is not None and name not in columns:
            continue
        each = [_figures(sample, _dealt(sample, places, rng), weights) for _ in range(repeats)]
        line: dict[str, Any] = {"column": name}
        for figure, before in whole.items():
            after = np.mean([one[figure] for one in each], axis=0)
            line |= _told(figure, after - before if figure == "log_loss" else before - after)
        told.append(line)
    by = "roc_auc" if sample.is_binary else "log_loss"
    return sorted(told, key=lambda line: -(line[by] or 0.0))


def _dealt(sample: Sample, places: tuple[int, ...], rng: np.random.Generator) -> Encoded:
    """Return the customers with the cells of some columns dealt anew, those of one customer together."""
    own = np.ones((len(sample), len(sample.explainer.mixer.names)), dtype=bool)
    own[:, list(places)] = False
    others = sample.customers.take(rng.permutation(len(sample)))
    return sample.explainer.mixer.mix(sample.customers, others, own)


def _figures(sample: Sample, encoded: Encoded, weights: Floats) -> dict[str, Floats]:
    """Return ``(r,)`` of each figure for ``(r, n)`` weights."""
    assert sample.label is not None
    probability = sample.probabilities(encoded)
    n = weights.sum(axis=1)
    found = {"log_loss": weights @ row_losses(sample.label, probability) / n}
    if not sample.is_binary:
        return found
    ranking = Ranking.of(probability)
    ranked, churned = weights[:, ranking.order], sample.label[ranking.order].astype(np.float64)
    tp = ranking.cumulated(ranked * churned)
    area = roc_auc_of(tp, ranking.cumulated(ranked) - tp)
    money = weights @ (sample.payoff * sample.decisions(probability)) / n
    return {"roc_auc": area, "profit": money, **found}


def _told(figure: str, losses: Floats) -> dict[str, float | None]:
    drawn = losses[1:][np.isfinite(losses[1:])]
    low, high = interval(drawn) if len(drawn) else (None, None)
    value = float(losses[0]) if np.isfinite(losses[0]) else None
    return {figure: value, f"{figure}_low": low, f"{figure}_high": high}


def mean_absolute_effects(
    sample: Sample, *, n: int = 256, replicates: int = REPLICATES, seed: int | None = None
) -> list[dict[str, Any]]:
    """Return how far each column, or group, moves the log-odds of a customer on average, the largest first.

    Args:
        sample: The customers.
        n: How many of them are explained.
        replicates: Resampled sets of customers behind the intervals.
        seed: Of gradients and orders, in place of the explainer's.

    Returns:
        For each: ``column``, ``effect`` (mean absolute log-odds) with ``effect_low`` and ``effect_high``, and
        ``direction``, the mean effect, whose sign says little where it is near 0.
    """
    some = sample.take(n)
    explainer = some.explainer if seed is None else some.explainer.reseeded(seed)
    target = None if some.target is None else explainer.predictor.classes[some.target]
    values = explainer.of_customers(some.customers, target=target).values
    summed = some.speaker.summed(values)
    if some.speaker.hidden:
        hidden = values[:, list(some.speaker.hidden)].sum(axis=1)
        summed = np.concatenate([summed, hidden[:, None]], axis=1)
    weights = some.draws(replicates)
    drawn = weights @ np.abs(summed) / weights.sum(axis=1, keepdims=True)
    told = []
    for place, (name, _) in enumerate(some.units):
        low, high = interval(drawn[:, place])
        size = float(np.abs(summed[:, place]).mean())
        # The sign of an effect would say of a sensitive column how it counts.
        direction = None if name == HIDDEN else float(summed[:, place].mean())
        told.append({"column": name, "effect": size, "effect_low": low, "effect_high": high, "direction": direction})
    return sorted(told, key=lambda line: -line["effect"])


__all__ = ["FIGURES", "mean_absolute_effects", "permutation_importance"]
