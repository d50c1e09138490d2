"""Whether probabilities are true: log loss, Brier score and its parts, expected calibration error, calibration line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.hull import Hull, corners, roc_hull
from churnlib.evaluation.inputs import Floats, Ints, check_binary
from churnlib.evaluation.ranking import Ranking, threshold_counts
from churnlib.logistic import fit_logistic

LOG_LOSS_EPS = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [eps, 1 - eps] for logarithms: one certain and wrong answer costs 36, not infinity."""

ECE_BINS = 15


class BrierParts(NamedTuple):
    """``brier = reliability - resolution + uncertainty``, exactly.

    Attributes:
        reliability: What the probabilities' being off costs; 0 is calibrated.
        resolution: What the customers' being told apart is worth; at most ``uncertainty``.
        uncertainty: Churn rate times its complement: the score of who says the churn rate of everybody.
    """

    reliability: float
    resolution: float
    uncertainty: float


class CalibrationLine(NamedTuple):
    """Logistic regression of what happened on the log-odds of what was said; (0, 1) is calibrated.

    Attributes:
        intercept: At the slope found.
        slope: Below 1: probabilities are too extreme; above 1: too timid.
        in_the_large: Intercept at slope 1: above 0, too low on the whole.
    """

    intercept: float | None
    slope: float | None
    in_the_large: float | None


class NoiseFloor(NamedTuple):
    """What calibrated probabilities show as calibration error in so many rows.

    Attributes:
        mean: On average.
        high: In 95 of 100 draws at most.
    """

    mean: float
    high: float


def row_losses(label: ArrayLike, probability: ArrayLike) -> Floats:
    """Return minus the logarithm of the probability that each row's own class was given; their mean is the log loss.

    Args:
        label: ``(n,)`` integers, 0/1 or class indices.
        probability: ``(n,)`` probability of class 1, or ``(n, k)``.

    >>> row_losses([1, 0], [0.5, 0.0]).round(3).tolist()
    [0.693, 0.0]
    """
    truth, score = np.asarray(label), np.asarray(probability, dtype=np.float64)
    own = np.where(truth == 1, score, 1.0 - score) if score.ndim == 1 else score[np.arange(len(truth)), truth]
    return -np.log(np.clip(own, LOG_LOSS_EPS, 1.0 - LOG_LOSS_EPS))


def brier_parts(label: ArrayLike, probability: ArrayLike) -> BrierParts:
    """Take the Brier score apart, against the isotonic regression of the labels on the probabilities (CORP).

    Dimitriadis, Gneiting and Jordan 2021, "Stable reliability diagrams for probabilistic classifiers", PNAS 118(8). No
    bins to choose, and nothing is left over. The regression follows the noise as well, so in small sets reliability is
    too large, and resolution by as much: with 1,409 rows and true probabilities by about 0.004.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.

    >>> [round(part, 6) for part in brier_parts([0, 1, 0, 1], [0.2, 0.2, 0.9, 0.9])]
    [0.125, 0.0, 0.25]
    """
    truth, score = check_binary(label, probability)
    _, tp, fp = threshold_counts(truth, score)
    tp, fp = tp.astype(np.float64), fp.astype(np.float64)
    places = corners(tp, fp)
    return brier_parts_of(float(np.mean((score - truth) ** 2)), roc_hull(tp[places], fp[places]))


def brier_parts_of(brier: float, hull: Hull) -> BrierParts:
    """Return the parts of a Brier score from the hull of the same rows."""
    positives, negatives = hull.tp[-1], hull.fp[-1]
    n = positives + negatives
    new_tp, new_fp = np.diff(hull.tp), np.diff(hull.fp)
    recalibrated = float((new_tp * new_fp / (new_tp + new_fp)).sum() / n)
    uncertainty = float(positives * negatives / n**2)
    return BrierParts(brier - recalibrated, uncertainty - recalibrated, uncertainty)


def binned_brier_parts(label: ArrayLike, probability: ArrayLike, *, bins: int = ECE_BINS) -> BrierParts:
    """Take the Brier score apart by bins of equal size (Murphy 1973), for comparison with other tools.

    With bias correction (Ferro and Fricker 2012, "A bias-corrected decomposition of the Brier score"), which may make
    a part slightly negative. The three do not sum to the Brier score: differences inside a bin are left over.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.
        bins: Number of bins; tied rows are never parted, so there may be fewer.
    """
    truth, score = check_binary(label, probability)
    binned = Bins.of(truth, score, bins)
    n = len(truth)
    said, happened = binned.said / binned.rows, binned.happened / binned.rows
    rate = truth.mean()
    noise = np.where(binned.rows > 1, happened * (1 - happened) / np.maximum(binned.rows - 1, 1), 0.0)
    luck = float((binned.rows * noise).sum() / n)
    shared = float(rate * (1 - rate) / (n - 1)) if n > 1 else 0.0
    return BrierParts(
        float((binned.rows * (said - happened) ** 2).sum() / n) - luck,
        float((binned.rows * (happened - rate) ** 2).sum() / n) - luck + shared,
        float(rate * (1 - rate)) + shared,
    )


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows in bins of about equal size, from the highest probability down.

    Attributes:
        rows: ``(b,)`` rows of each.
        said: ``(b,)`` sum of their probabilities.
        happened: ``(b,)`` churners among them.
    """

    rows: Floats
    said: Floats
    happened: Floats

    @classmethod
    def of(cls, label: Ints, probability: Floats, bins: int) -> Bins:
        """Count checked rows."""
        ranking = Ranking.of(probability)
        starts = bin_starts(ranking, bins)
        return cls(
            np.diff(np.append(starts, len(label))).astype(np.float64),
            np.add.reduceat(probability[ranking.order], starts),
            np.add.reduceat(label[ranking.order].astype(np.float64), starts),
        )


def bin_starts(ranking: Ranking, bins: int) -> Ints:
    """Return the first places, in ranked order, of at most so many bins of about equal size that part no tied rows.

    Raises:
        ValueError: If there is not at least one bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins!r}")
    n = len(ranking.order)
    wanted = np.arange(1, bins) * n // bins
    ends = ranking.last[np.searchsorted(ranking.last, wanted - 1)] + 1
    return np.unique(np.append(0, ends[(wanted > 0) & (ends < n)]))


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, *, bins: int = ECE_BINS) -> float:
    """Return ``sum of n_b / n |mean probability - churn rate|`` over bins of equal size.

    It is never 0: luck alone moves the rates (:func:`calibration_noise_floor`).

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.
        bins: Number of bins; tied rows are never parted, so there may be fewer.

    >>> expected_calibration_error([0, 1, 1, 1], [0.25, 0.25, 0.5, 0.5], bins=2)
    0.375
    """
    truth, score = check_binary(label, probability)
    binned = Bins.of(truth, score, bins)
    return float(np.abs(binned.said - binned.happened).sum() / len(truth))


def calibration_noise_floor(
    probability: ArrayLike, *, bins: int = ECE_BINS, seed: int = 0, draws: int = 4_000
) -> NoiseFloor:
    """Return the expected calibration error of these probabilities if they were exactly true.

    Churners of each bin are drawn from the binomial distribution with its mean probability; that the customers of a
    bin differ a little makes the floor too high by less than one percent.

    Args:
        probability: ``(n,)`` of class 1.
        bins: As for :func:`expected_calibration_error`.
        seed: Of the draws.
        draws: Number of simulated sets.
    """
    values = np.asarray(probability, dtype=np.float64)
    _, values = check_binary(np.zeros(values.shape, dtype=np.int64), values)
    binned = Bins.of(np.zeros(len(values), dtype=np.int64), values, bins)
    rate = np.clip(binned.said / binned.rows, 0.0, 1.0)
    drawn = np.random.default_rng(seed).binomial(binned.rows.astype(np.int64), rate, size=(draws, len(rate)))
    errors = np.abs(drawn - binned.said).sum(axis=1) / len(values)
    return NoiseFloor(float(errors.mean()), float(np.quantile(errors, 0.95)))


def calibration_line(label: ArrayLike, probability: ArrayLike) -> CalibrationLine:
    """Fit intercept and slope of the log-odds (Cox 1958), and the intercept alone.

    Probabilities of 0 and 1 are clipped by 2e-16, to log-odds of 36.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.

    Returns:
        All None with rows of one class only; intercept and slope None where all probabilities are equal, or a cut
        parts the classes without a mistake, for there the best line is infinitely steep.
    """
    truth, score = check_binary(label, probability)
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        return CalibrationLine(None, None, None)
    logits = log_odds(score)
    rate = positives / len(truth)
    start = np.array([math.log(rate / (1 - rate)) - float(np.median(logits))])
    happened, ones = truth.astype(np.float64), np.ones_like(logits)
    large = fit_logistic(ones[:, None], happened, ones, start=start, offset=logits)
    line = None
    if logits.min() < logits.max():
        line = fit_logistic(np.stack([ones, logits], axis=1), happened, ones, start=np.array([0.0, 1.0]))
    return CalibrationLine(
        None if line is None else float(line[0]),
        None if line is None else float(line[1]),
        None if large is None else float(large[0]),
    )


def spiegelhalter(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Return Spiegelhalter's z: standard normal if the probabilities are true (1986, Statistics in Medicine 5).

    ``sum (y - p)(1 - 2p) / sqrt(sum (1 - 2p)^2 p (1 - p))``; None where the root is 0.
    """
    truth, score = check_binary(label, probability)
    spread = float(((1 - 2 * score) ** 2 * score * (1 - score)).sum())
    return float(((truth - score) * (1 - 2 * score)).sum()) / math.sqrt(spread) if spread > 0 else None


def log_odds(probability: Floats) -> Floats:
    """Return ``log(p / (1 - p))``, at most 36 in size."""
    inside = np.clip(probability, LOG_LOSS_EPS, 1.0 - LOG_LOSS_EPS)
    return np.log(inside) - np.log1p(-inside)
