"""How well customers are put in order: ROC AUC, average precision, KS, lift and gains.

One sort serves them all. Tied probabilities are one step of a curve whatever the order of the rows: what lies inside a
step (the best decile ends there, say) is the expected value over all orders of the tied customers.

The functions that end in ``_of`` take counts down to each distinct probability, ``(..., m)``: true data have one set of
them, resampled data one for each replicate, and the same line computes both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.inputs import Floats, Ints, check_binary, check_share

TOP_DECILE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Rows from the highest probability down.

    Attributes:
        order: ``(n,)`` int64 row numbers in falling order of probability.
        score: ``(m,)`` distinct probabilities in falling order.
        last: ``(m,)`` int64 place in ``order`` of the last row of each of them.
    """

    order: Ints
    score: Floats
    last: Ints

    @classmethod
    def of(cls, score: Floats) -> Self:
        """Sort ``(n,)`` scores without NaN."""
        order = np.argsort(score)[::-1]
        ranked = score[order]
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        return cls(order, ranked[last], last)

    @property
    def rows(self) -> Floats:
        """``(m,)`` rows down to each distinct probability."""
        return (self.last + 1).astype(np.float64)

    def cumulated(self, values: Floats) -> Floats:
        """Sum ``(..., n)`` values, in ranked order, down to each distinct probability: ``(..., m)``."""
        sums = np.cumsum(values, axis=-1)
        return sums if len(self.last) == len(self.order) else sums[..., self.last]


def threshold_counts(label: Ints, probability: Floats) -> tuple[Floats, Ints, Ints]:
    """Count true and false positives at each distinct probability, from the highest down.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` without NaN.

    Returns:
        ``(m,)`` distinct probabilities in falling order, and for each the number of positive and of negative rows
        with that probability or a higher one, ``(m,)`` int64.

    >>> [part.tolist() for part in threshold_counts(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))]
    [[0.7, 0.2], [1, 2], [0, 1]]
    """
    ranking = Ranking.of(probability)
    true_positives = np.cumsum(label[ranking.order])[ranking.last]
    return ranking.score, true_positives, ranking.last + 1 - true_positives


def roc_auc(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Return the area under the ROC curve: the share of (churner, stayer) pairs in the right order, ties as half.

    None if only one class has rows.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return none_if_nan(roc_auc_of(*_counts(label, probability)))


def average_precision(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Return ``sum (R_i - R_{i-1}) P_i`` over the distinct scores, without interpolation; chance is the churn rate.

    None if only one class has rows.
    """
    return none_if_nan(average_precision_of(*_counts(label, probability)))


def kolmogorov_smirnov(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Return the largest gap between the shares of churners and of stayers above a cut, in [0, 1].

    The two-sample statistic, so a model that ranks the wrong way round has one as well. None if only one class has
    rows.
    """
    return none_if_nan(kolmogorov_smirnov_of(*_counts(label, probability)))


def lift(label: ArrayLike, probability: ArrayLike, share: float = TOP_DECILE) -> float | None:
    """Return how many times as many churners the ``ceil(share * n)`` first customers hold as so many drawn by chance.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of churn.
        share: Of the customers, in (0, 1].

    Returns:
        The lift; of customers tied at the border the expected number of churners counts. None without a churner.

    >>> lift([1, 0, 0, 0, 0, 1, 0, 0, 0, 0], [0.9] + [0.5] * 9, share=0.1)
    5.0
    >>> lift([1, 0, 0, 0], [0.5] * 4, share=0.25)  # all tied: no better than chance, in whatever order they come
    1.0
    """
    tp, fp = _counts(label, probability)
    return none_if_nan(lift_of(tp, fp, check_share("share", share)))


def lift_ceiling(n: int, positives: int, share: float = TOP_DECILE) -> float | None:
    """Return the lift of a model that makes no mistake: 1 / share, or 1 / churn rate if that is less.

    >>> round(lift_ceiling(7043, 1869), 2)
    3.77
    """
    if positives == 0:
        return None
    top = first(n, check_share("share", share))
    return min(top, positives) / top * n / positives


def gains(label: ArrayLike, probability: ArrayLike, shares: ArrayLike) -> Floats:
    """Return the share of all churners among the first customers, for each share of customers that is contacted.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of churn.
        shares: ``(s,)`` in [0, 1]; a part of a customer counts as that part of its expected value.

    Returns:
        ``(s,)`` in [0, 1]; NaN without a churner.

    >>> gains([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    tp, fp = _counts(label, probability)
    found = at_shares(tp, tp + fp, np.asarray(shares, dtype=np.float64))
    return found / tp[-1] if tp[-1] else np.full_like(found, np.nan)


def roc_auc_of(tp: Floats, fp: Floats) -> Floats:
    """ROC AUC of ``(..., m)`` counts, in whole numbers: trapezia of twice their area. NaN for one class."""
    new_tp, new_fp = steps(tp), steps(fp)
    doubled = (new_fp * (2.0 * tp - new_tp)).sum(axis=-1)
    return _ratio_or_nan(doubled, 2.0 * tp[..., -1] * fp[..., -1])


def average_precision_of(tp: Floats, fp: Floats) -> Floats:
    """Average precision of ``(..., m)`` counts; NaN for one class."""
    area = (steps(tp) * tp / np.maximum(tp + fp, 1.0)).sum(axis=-1)
    return np.where(fp[..., -1] > 0, _ratio_or_nan(area, tp[..., -1]), np.nan)


def kolmogorov_smirnov_of(tp: Floats, fp: Floats) -> Floats:
    """KS of ``(..., m)`` counts; NaN for one class."""
    positives, negatives = tp[..., -1:], fp[..., -1:]
    gap = np.abs(tp * negatives - fp * positives).max(axis=-1)
    return _ratio_or_nan(gap, positives[..., 0] * negatives[..., 0])


def lift_of(tp: Floats, fp: Floats, share: float) -> Floats:
    """Lift of ``(..., m)`` counts; NaN without a churner."""
    rows = tp + fp
    flat_tp, flat_rows = tp.reshape(-1, tp.shape[-1]), rows.reshape(-1, tp.shape[-1])
    hits = np.empty(len(flat_tp))
    for place, (one_tp, one_rows) in enumerate(zip(flat_tp, flat_rows, strict=True)):
        top = first(one_rows[-1], share)
        hits[place] = np.interp(top, one_rows, one_tp, left=top / max(one_rows[0], 1.0) * one_tp[0]) / top
    return _ratio_or_nan(hits.reshape(tp.shape[:-1]) * rows[..., -1], tp[..., -1])


def first(n: float, share: float) -> int:
    """Return ``ceil(share * n)``, at least 1; products such as 0.07 * 100 that round up in binary do not count more."""
    return max(1, math.ceil(share * n - 1e-9 * n))


def at_shares(sums: Floats, rows: Floats, shares: Floats) -> Floats:
    """Read ``(m,)`` cumulated sums where ``shares`` of all rows are above: ``(s,)``, from 0 at share 0."""
    return np.interp(shares * rows[-1], np.append(0.0, rows), np.append(0.0, sums))


def steps(cumulated: Floats) -> Floats:
    """Undo a cumulated sum along the last axis."""
    undone = np.array(cumulated, dtype=np.float64)
    undone[..., 1:] -= cumulated[..., :-1]
    return undone


def none_if_nan(value: float | Floats) -> float | None:
    """Return a figure as a plain float, None where it does not exist."""
    number = float(value)
    return None if math.isnan(number) else number


def _counts(label: ArrayLike, probability: ArrayLike) -> tuple[Floats, Floats]:
    _, tp, fp = threshold_counts(*check_binary(label, probability))
    return tp.astype(np.float64), fp.astype(np.float64)


def _ratio_or_nan(numerator: Floats, denominator: Floats) -> Floats:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan)
