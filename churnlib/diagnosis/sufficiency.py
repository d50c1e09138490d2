"""Do the data suffice: what came of the last doubling of the rows, and what another would bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnlib.diagnosis.baselines import RECIPES, OutOfFold, answers
from churnlib.evaluation.bootstrap import resampled
from churnlib.evaluation.ceiling import expected
from churnlib.evaluation.probabilities import row_losses
from churnlib.evaluation.ranking import Ranking, roc_auc, roc_auc_of

SHARES = (0.125, 0.25, 0.5)
"""Of the training rows; the whole is known already."""
CURVE_FOLDS = 3
"""Folds from which the curve is drawn."""
REPLICATES = 200
FADING = 0.7
"""What a doubling brings beside the one before, where the curve says nothing better."""
ENOUGH_EVENTS, FEW_EVENTS = 20.0, 10.0
"""Churners per input of a logistic regression (Peduzzi et al. 1996 ask for 10, van Smeden et al. 2019 for more)."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a model shows that learned from so many rows.

    Attributes:
        rows: Training rows, on average.
        roc_auc, log_loss, f1: On the held-out rows; F1 at the cut that is best for the probabilities.
    """

    rows: int
    roc_auc: float
    log_loss: float
    f1: float


@dataclass(frozen=True, slots=True)
class Sufficiency:
    """Whether there are rows enough.

    Attributes:
        model: From which the curve is.
        points: With an eighth, a quarter, half and all of the training rows.
        doubling: What the last doubling brought, by figure: value, low, high (95 %).
        next_doubling: What another is expected to bring, in F1: value, low, high.
        positives: Churners among all rows.
        inputs: Of a logistic regression: numbers, and one for each category.
        events_per_input: Churners among the training rows of a fold by these.
    """

    model: str
    points: tuple[Point, ...]
    doubling: dict[str, tuple[float, float, float]]
    next_doubling: tuple[float, float, float]
    positives: int
    inputs: int
    events_per_input: float


def learn_in_steps(found: OutOfFold, *, seed: int = 0, progress: Callable[[str], None] = lambda _: None) -> Sufficiency:
    """Fit the better baseline on parts of the training rows of some folds.

    Args:
        found: The baselines.
        seed: Of parts and draws.
        progress: Called with what is done next.
    """
    recipe, tables = RECIPES[found.recipe], found.tables[-CURVE_FOLDS:]
    rows = np.concatenate([table.rows("test") for table in tables])
    label = np.concatenate([table.labels("test") for table in tables])
    train = float(np.mean([len(table.rows("train")) for table in tables]))
    said = []
    for share in SHARES:
        progress(f"{found.recipe} on {share:.1%} of the training rows")
        said.append(np.concatenate([answers(recipe, table, share=share, seed=seed) for table in tables]))
    place = np.searchsorted(found.rows, rows)
    said.append(found.probability[found.recipe][place])
    cuts = [_cut(one) for one in said]
    points = tuple(
        Point(
            round(share * train),
            roc_auc(label, one) or 0.5,
            float(row_losses(label, one).mean()),
            float(_f1(label, one >= cut, np.ones((1, len(label))))[0]),
        )
        for share, one, cut in zip((*SHARES, 1.0), said, cuts, strict=True)
    )
    doubling = _doubling(label, said[-2], said[-1], cuts[-2], cuts[-1], seed)
    positives = int(found.label.sum())
    inputs = int(np.mean([_inputs(table) for table in found.tables]))
    events = float(np.mean([table.labels("train").sum() for table in found.tables])) / max(inputs, 1)
    return Sufficiency(found.recipe, points, doubling, _next(points, doubling["f1"]), positives, inputs, events)


def _inputs(table: Any) -> int:
    spec = table.preparation.input_spec(one_hot_max=10**9)
    return len(spec["fill"]) + sum(max(n_codes - 2, 0) for n_codes in spec["cardinalities"])


def _cut(probability: np.ndarray) -> float:
    ranking = Ranking.of(probability)
    hits, rows = ranking.cumulated(probability[ranking.order]), ranking.rows
    return float(ranking.score[expected.best_cut("f1", hits, rows, rows)])


def _f1(label: np.ndarray, decision: np.ndarray, weights: np.ndarray) -> np.ndarray:
    tp, selected, positives = (weights @ column for column in (label * decision, decision * 1.0, label * 1.0))
    return 2.0 * tp / np.maximum(selected + positives, 1e-12)


def _doubling(
    label: np.ndarray, half: np.ndarray, whole: np.ndarray, half_cut: float, whole_cut: float, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return what the second half of the rows brought, paired customer by customer."""
    losses = row_losses(label, half) - row_losses(label, whole)
    drawn: dict[str, list[np.ndarray]] = {"log_loss": [], "f1": [], "roc_auc": []}
    ones = np.ones((1, len(label)))
    for weights in (ones, *resampled(label, None, replicates=REPLICATES, seed=seed)):
        drawn["log_loss"].append(weights @ losses / weights.sum(axis=1))
        drawn["f1"].append(_f1(label, whole >= whole_cut, weights) - _f1(label, half >= half_cut, weights))
        drawn["roc_auc"].append(_auc(label, whole, weights) - _auc(label, half, weights))
    found = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        low, high = np.nanquantile(values[1:], [0.025, 0.975])
        found[name] = (float(values[0]), float(low), float(high))
    return found


def _auc(label: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ranking = Ranking.of(probability)
    drawn = weights[:, ranking.order]
    tp = ranking.cumulated(drawn * label[ranking.order])
    return roc_auc_of(tp, ranking.cumulated(drawn) - tp)


def _next(points: tuple[Point, ...], last: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return what another doubling is expected to bring: the last one's gain, fading as the log loss has faded."""
    before, after = points[-3].log_loss - points[-2].log_loss, points[-2].log_loss - points[-1].log_loss
    fading = float(np.clip(after / before, 0.2, 1.0)) if before > 0 and after > 0 else FADING
    value, low, high = (fading * one for one in last)
    return max(value, 0.0), max(low, 0.0), max(high, 0.0)


__all__ = ["ENOUGH_EVENTS", "FEW_EVENTS", "Point", "Sufficiency", "learn_in_steps"]
