"""Fitting a calibration on held-out rows, by method or by how many rows there are to learn from.

The more a method can bend, the more rows it needs: one number (temperature), two (Platt), three (beta), any rising
curve (isotonic).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from churnlib.calibration import UNCALIBRATED, Beta, Calibration, Isotonic, Platt, Temperature
from churnlib.config.training import CALIBRATIONS
from churnlib.errors import ConfigError
from churnlib.evaluation.calibration import MIN_ROWS_PER_CLASS, fit_temperature
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.ranking import threshold_counts
from churnlib.logistic import fit_logistic, fit_platt

ENOUGH_FOR_PLATT, ENOUGH_FOR_ISOTONIC = 100, 1_000
"""Rows of the rarer class from which ``auto`` takes the method."""

FOLDS = 5

FLATTEST = 0.05
"""Smallest slope of Platt's scaling, as of the largest temperature: a model that ranks wrongly is not turned round."""


def fit_calibration(logits: ArrayLike, label: ArrayLike, *, method: str = "temperature") -> Calibration:
    """Fit a calibration on rows that the model did not learn from.

    Args:
        logits: ``(n,)`` log-odds of the positive class or ``(n, k)``, one column per class; finite.
        label: ``(n,)`` integers, 0/1 or class indices ``0..k-1``.
        method: ``temperature``, ``platt``, ``beta``, ``isotonic``, ``none`` (logits as they are), or ``auto``: isotonic
            from 1,000 rows of the rarer class on, Platt from 100, else temperature; temperature for several classes.

    Returns:
        The calibration; ``Temperature(1.0)`` where fewer than two classes have ``MIN_ROWS_PER_CLASS`` rows.

    Raises:
        ConfigError: If the method is unknown, or ``beta`` or ``isotonic`` is asked for several classes.
        ValueError: If shapes disagree, a logit is not finite, or a label names no class.

    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=20_000)
    >>> label = rng.random(20_000) < 1 / (1 + np.exp(-2 * logits - 1))
    >>> fitted = fit_calibration(logits, label, method="platt")
    >>> round(fitted.slope, 1), round(fitted.shift[0], 1)
    (2.0, 1.0)
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(label)
    chosen = choose_method(values, truth, method)
    if chosen == "none":
        return UNCALIBRATED
    temperature = fit_temperature(values, truth)  # checks the rows as well
    if chosen == "temperature" or _too_few(truth):
        return Temperature(temperature)
    return _FITS[chosen](values, truth.astype(np.int64))


def choose_method(logits: Floats, label: np.ndarray, method: str) -> str:
    """Return the method that ``auto`` stands for on these rows, any other as it is.

    Raises:
        ConfigError: If the method is unknown, or not one for several classes.
    """
    if method not in CALIBRATIONS:
        raise ConfigError(f"calibration must be one of {', '.join(CALIBRATIONS)}, got {method!r}")
    if logits.ndim == 2 and method in ("beta", "isotonic"):
        raise ConfigError(f"calibration={method} is for two classes; take temperature or platt for {logits.shape[1]}")
    if method != "auto":
        return method
    if logits.ndim == 2 or not len(label):
        return "temperature"
    rarer = min(int((label == 1).sum()), int((label == 0).sum()))
    if rarer >= ENOUGH_FOR_ISOTONIC:
        return "isotonic"
    return "platt" if rarer >= ENOUGH_FOR_PLATT else "temperature"


def cross_fitted(logits: ArrayLike, label: ArrayLike, *, method: str, folds: int = FOLDS) -> Floats:
    """Return the calibrated probability of each row from a calibration of the other folds' rows.

    A curve that bends to rows makes these very rows look better than new ones: a threshold or a metric on the same rows
    takes these probabilities. Rows are dealt class by class in the order of their logits, so that the folds are alike
    and no seed is needed. One or no number bends to nothing: ``temperature`` and ``none`` are fitted on all rows.

    Args:
        logits: ``(n,)`` or ``(n, k)``.
        label: ``(n,)`` integers.
        method: As for :func:`fit_calibration`.
        folds: Number of folds.
    """
    values, truth = np.asarray(logits, dtype=np.float64), np.asarray(label).astype(np.int64)
    chosen = choose_method(values, truth, method)
    if chosen in ("temperature", "none") or _too_few(truth):
        return fit_calibration(values, truth, method=chosen).probabilities(values)
    fold = _dealt(values, truth, folds)
    found = np.empty_like(values)
    for one in range(folds):
        others = fold != one
        fitted = fit_calibration(values[others], truth[others], method=chosen)
        found[~others] = fitted.probabilities(values[~others])
    return found


def _dealt(logits: Floats, label: Ints, folds: int) -> Ints:
    fold = np.empty(len(label), dtype=np.int64)
    order = np.lexsort((logits if logits.ndim == 1 else logits[:, -1], label))
    fold[order] = np.arange(len(label)) % folds
    return fold


def _too_few(label: np.ndarray) -> bool:
    return int(np.count_nonzero(np.bincount(label.astype(np.int64), minlength=2) >= MIN_ROWS_PER_CLASS)) < 2


def _platt(logits: Floats, label: Ints) -> Platt:
    slope, shift = fit_platt(logits, label)
    if slope < FLATTEST:
        slope = FLATTEST
        if logits.ndim == 1:
            shift = tuple(_fitted(np.ones((len(logits), 1)), label, np.zeros(1), offset=slope * logits).tolist())
    return Platt(slope, shift)


def _beta(logits: Floats, label: Ints) -> Beta:
    """Fit the three numbers; a negative one of the first two becomes 0, and the others are fitted anew."""
    columns = np.stack([-np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits), np.ones_like(logits)], axis=1)
    right = np.array([1.0, 1.0, 0.0])
    weights = _fitted(columns, label, right)
    if min(weights[:2]) < 0:
        kept = [place for place in range(3) if place != int(np.argmin(weights[:2]))]
        again = _fitted(columns[:, kept], label, right[kept])
        weights = np.zeros(3)
        weights[kept] = [max(float(again[0]), FLATTEST), again[1]]
    return Beta(*map(float, weights))


def _isotonic(logits: Floats, label: Ints) -> Isotonic:
    """Fit a rising curve to the churn rates, kept off 0 and 1 by as much as one more row of each class says."""
    from scipy.optimize import isotonic_regression

    score, tp, fp = threshold_counts(label, logits)
    rows = np.diff(tp + fp, prepend=0)[::-1].astype(np.float64)
    churned = np.diff(tp, prepend=0)[::-1]
    fitted = isotonic_regression(churned / rows, weights=rows)
    edge = 1.0 / (len(label) + 2.0)
    rising, rates = score[::-1], np.clip(np.asarray(fitted.x), edge, 1.0 - edge)
    knots = np.unique(np.concatenate([fitted.blocks[:-1], np.asarray(fitted.blocks[1:]) - 1]))
    return Isotonic(tuple(rising[knots].tolist()), tuple(rates[knots].tolist()))


def _fitted(design: Floats, label: Ints, prior: Floats, *, offset: Floats | float = 0.0) -> Floats:
    churned = label.astype(np.float64)
    weights = fit_logistic(design, churned, np.ones_like(churned), start=prior, prior=prior, offset=offset)
    assert weights is not None  # the prior sees to it
    return weights


_FITS: dict[str, Callable[[Floats, Ints], Calibration]] = {"platt": _platt, "beta": _beta, "isotonic": _isotonic}
