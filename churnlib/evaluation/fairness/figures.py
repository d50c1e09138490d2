"""What a model does to a group of customers: each figure with its interval, and what sets two groups apart.

Rates have Wilson's interval, means that of their spread, the ROC AUC DeLong's, the calibration slope that of its
likelihood, the expected calibration error that of resampled rows. Where customers have several rows all are
bootstrapped by customer instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from churnlib.decision import probability_from_logits
from churnlib.evaluation.binary import CALIBRATION, BinaryRows
from churnlib.evaluation.bootstrap import REPLICATES, intervals_of, resampled
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.intervals import roc_auc_interval, wilson_interval
from churnlib.evaluation.probabilities import (
    ECE_BINS,
    bin_starts,
    calibration_line,
    expected_calibration_error,
    log_odds,
)
from churnlib.evaluation.ranking import Ranking, roc_auc

RATES = {
    "base_rate": ("positives", "n"),
    "selection_rate": ("selected", "n"),
    "tpr": ("tp", "positives"),
    "fpr": ("fp", "negatives"),
    "precision": ("tp", "selected"),
}
"""Figures that are shares: of which rows so many, of which rows in all."""

MEANS = ("mean_probability", "calibration_gap", "profit")
"""Figures that are means over the rows; the gap is the mean probability minus the churn rate, the profit money per
customer of the group at these decisions."""

FITTED = ("calibration_slope", "roc_auc")
"""Figures of the group as a whole, which need churners and stayers."""

ERROR = "ece"
"""The expected calibration error. Luck alone makes it larger the smaller a group is, so that groups are not compared in
it: each is compared with its own noise floor (:func:`churnlib.evaluation.probabilities.calibration_noise_floor`)."""

COMPARED = (*RATES, *MEANS, *FITTED)
FIGURES = (*COMPARED, ERROR)

MOST_DRAWN, FEWEST_SETS = 20_000_000, 200
"""Rows times resampled sets behind the interval of the calibration error, a second's work; and sets at least."""

ENOUGH_FOR_SLOPE = 20
"""Rows of the rarer class from which on a calibration slope says something."""

Z = NormalDist().inv_cdf(0.975)


class Figure(NamedTuple):
    """A figure with its 95 % interval; all None where there is none, as of precision where nobody is selected.

    Attributes:
        value: The figure.
        low: Lower end.
        high: Upper end; None of a ratio that may be as large as any.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Rows that a model has answered, and what became of them.

    Attributes:
        label: ``(n,)`` int64, 1 for who left.
        probability: ``(n,)`` of leaving.
        decision: ``(n,)`` int64, 1 for who was predicted to leave.
        payoff: ``(n,)`` money that contacting each brings; None where money has no meaning.
        customers: ``(n,)`` number of the customer of each; None where each row is its own.
    """

    label: Ints
    probability: Floats
    decision: Ints
    payoff: Floats | None = None
    customers: Ints | None = None

    def __len__(self) -> int:
        return len(self.label)

    def where(self, chosen: np.ndarray) -> Judged:
        """Return some of the rows, by a Boolean mask."""
        customers = None if self.customers is None else np.unique(self.customers[chosen], return_inverse=True)[1]
        payoff = None if self.payoff is None else self.payoff[chosen]
        return Judged(self.label[chosen], self.probability[chosen], self.decision[chosen], payoff, customers)

    def counted(self) -> dict[str, Floats]:
        """Return what each row adds to each count, ``(n,)`` of 0 and 1."""
        y, d = self.label.astype(np.float64), self.decision.astype(np.float64)
        return {
            "n": np.ones(len(y)), "positives": y, "negatives": 1.0 - y, "selected": d, "tp": d * y, "fp": d * (1.0 - y),
        }  # fmt: skip

    def averaged(self) -> dict[str, Floats]:
        """Return what each row adds to each mean, ``(n,)``."""
        gap = self.probability - self.label
        found = {"mean_probability": self.probability, "calibration_gap": gap}
        return found if self.payoff is None else {**found, "profit": self.payoff * self.decision}


def figures_of(rows: Judged, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Figure]:
    """Return the :data:`FIGURES` of a group.

    Args:
        rows: Of the group, one at least.
        replicates: Resampled sets behind the intervals, where customers have several rows.
        seed: Of the resampling.
    """
    counts = {name: float(part.sum()) for name, part in rows.counted().items()}
    found = {name: _rate(counts[of], counts[all_of]) for name, (of, all_of) in RATES.items()}
    found |= {name: Figure() for name in MEANS} | {name: _mean(values) for name, values in rows.averaged().items()}
    found |= {"calibration_slope": _slope(rows), "roc_auc": _area(rows)}
    if rows.customers is None:
        return {**found, ERROR: _error(rows, replicates, seed)}
    found[ERROR] = Figure(expected_calibration_error(rows.label, rows.probability))
    estimates = {name: figure.value for name, figure in found.items()}
    drawn = intervals_of(estimates, _replicates(rows, replicates, seed))
    shares = (*RATES, "roc_auc", "mean_probability", ERROR)
    return {
        name: Figure(figure.value, *_inside(drawn.get(name), unit=name in shares)) for name, figure in found.items()
    }


def _rate(count: float, of: float) -> Figure:
    if of == 0:
        return Figure()
    low, high = wilson_interval(count, of)
    return Figure(count / of, float(low), float(high))


def _mean(values: Floats) -> Figure:
    middle = float(values.mean())
    if len(values) < 2:
        return Figure(middle)
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Figure(middle, middle - half, middle + half)


def _slope(rows: Judged) -> Figure:
    """Return the slope of the calibration line, and how sharply the likelihood falls beside it."""
    positives = int(rows.label.sum())
    if min(positives, len(rows) - positives) < ENOUGH_FOR_SLOPE:
        return Figure()
    line = calibration_line(rows.label, rows.probability)
    if line.slope is None or line.intercept is None:
        return Figure()
    logits = log_odds(rows.probability)
    rate = probability_from_logits(line.intercept + line.slope * logits)
    weight = rate * (1.0 - rate)
    middle = float(weight @ logits / weight.sum())
    spread = float(weight @ (logits - middle) ** 2)
    half = Z / math.sqrt(spread) if spread > 0 else math.inf
    return Figure(line.slope, line.slope - half, line.slope + half)


def _area(rows: Judged) -> Figure:
    area = roc_auc(rows.label, rows.probability)
    if area is None:
        return Figure()
    return Figure(area, *(roc_auc_interval(rows.label, rows.probability) or (None, None)))


def _error(rows: Judged, replicates: int, seed: int) -> Figure:
    """Return the expected calibration error, and its interval by resampled rows in the same bins."""
    ranking = Ranking.of(rows.probability)
    starts = bin_starts(ranking, ECE_BINS)
    gap = (rows.probability - rows.label)[ranking.order]

    def errors(weights: Floats) -> Floats:
        return np.abs(np.add.reduceat(weights * gap, starts, axis=-1)).sum(axis=-1) / len(gap)

    value = float(errors(np.ones(len(gap))))
    sets = int(np.clip(MOST_DRAWN // len(gap), min(FEWEST_SETS, replicates), replicates))
    draws = resampled(rows.label[ranking.order], None, replicates=sets, seed=seed, stratified=False)
    drawn = np.concatenate([errors(weights) for weights in draws])
    return Figure(value, *_inside(intervals_of({ERROR: value}, {ERROR: drawn}).get(ERROR), unit=True))


def _replicates(rows: Judged, replicates: int, seed: int) -> dict[str, Floats]:
    """Return ``(replicates,)`` of each figure from resampled customers, whose share of churners varies as well."""
    columns = {**rows.counted(), **rows.averaged()}
    stacked = np.stack(list(columns.values()), axis=1)
    draws = resampled(rows.label, rows.customers, replicates=replicates, seed=seed, stratified=False)
    sums = dict(zip(columns, np.concatenate([drawn @ stacked for drawn in draws]).T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {name: sums[of] / sums[all_of] for name, (of, all_of) in RATES.items()}
        found |= {name: sums[name] / sums["n"] for name in rows.averaged()}
        order = BinaryRows(rows.label, rows.probability, rows.decision, customers=rows.customers)
        fitted = order.replicates((CALIBRATION,), replicates=replicates, seed=seed, stratified=False)
    return found | {name: fitted[name] for name in (*FITTED, ERROR) if name in fitted}


def _inside(interval: list[float] | None, *, unit: bool) -> tuple[float | None, float | None]:
    if interval is None:
        return None, None
    low, high = interval
    return (max(low, 0.0), min(high, 1.0)) if unit else (low, high)


# --- two groups beside each other ---------------------------------------------------------------------------------


def difference(one: Figure, other: Figure) -> Figure:
    """Return how much higher one figure is, with the interval that follows from those of both.

    Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics in Medicine 27; of two
    Wilson intervals it is Newcombe's. The groups count as independent.

    >>> found = difference(Figure(0.7, 0.66, 0.74), Figure(0.5, 0.47, 0.53))
    >>> [round(value, 6) for value in found]
    [0.2, 0.15, 0.25]
    """
    if one.value is None or other.value is None:
        return Figure()
    between = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Figure(between)
    low = math.hypot(one.value - one.low, other.high - other.value)
    high = math.hypot(one.high - one.value, other.value - other.low)
    return Figure(between, between - low, between + high)


def quotient(one: Figure, other: Figure) -> Figure:
    """Return by which factor one rate is higher, in the same way on the logarithms.

    Of a rate of 0 the upper end is the highest that both intervals allow.

    >>> quotient(Figure(0.4, 0.4, 0.4), Figure(0.5, 0.5, 0.5)).value
    0.8
    """
    if one.value is None or not other.value:
        return Figure()
    factor = one.value / other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Figure(factor)
    if one.value == 0.0:
        return Figure(0.0, 0.0, one.high / other.low if other.low > 0 else None)
    if one.low <= 0.0:
        low = 0.0
    else:
        low = factor * math.exp(-math.hypot(math.log(one.value / one.low), math.log(other.high / other.value)))
    if other.low <= 0.0:
        return Figure(factor, low, None)
    high = factor * math.exp(math.hypot(math.log(one.high / one.value), math.log(other.value / other.low)))
    return Figure(factor, low, high)


def spread(groups: Mapping[str, Mapping[str, Figure]], name: str) -> dict[str, float | str | None]:
    """Return how far groups lie apart in a figure: ``difference`` and ``ratio`` of the extremes, and who they are."""
    values = {label: figures[name].value for label, figures in groups.items()}
    ranked = sorted((value, label) for label, value in values.items() if value is not None)
    if len(ranked) < 2:
        return {"difference": None, "ratio": None, "lowest": None, "highest": None}
    (low, lowest), (high, highest) = ranked[0], ranked[-1]
    ratio = low / high if high > 0 and name in RATES else None
    return {"difference": high - low, "ratio": ratio, "lowest": lowest, "highest": highest}


__all__ = [
    "COMPARED",
    "ERROR",
    "FIGURES",
    "MEANS",
    "RATES",
    "Figure",
    "Judged",
    "difference",
    "figures_of",
    "quotient",
    "spread",
]
