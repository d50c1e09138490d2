"""How good survival curves are: Brier scores under censoring, calibration at a horizon, and Kaplan and Meier's curve.

Who was lost from sight before a time t is not known to be there at t or gone. The others stand for them: each counts as
often as the inverse of the probability of not having been lost so far (IPCW; Graf et al. 1999), which Kaplan and
Meier's estimator gives with leaving and losing exchanged.

Where a customer leaves at the very time at which others are lost, leaving comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LARGEST_WEIGHT = 20.0
"""As what a row counts at most: figures over time end where fewer than one in so many is still in sight."""

GROUPS = 10
Z95 = 1.959963984540054


def check_times(duration: ArrayLike, event: ArrayLike) -> tuple[Floats, Bools]:
    """Return durations as float64 and events as bool.

    Raises:
        ValueError: If there is no row, lengths differ, a duration is not above 0, or an event is neither 0 nor 1.
    """
    times, left = np.asarray(duration, dtype=np.float64), np.asarray(event)
    if times.ndim != 1 or times.shape != left.shape or not len(times):
        raise ValueError(f"duration and event must be (n,) each with n above 0, got {times.shape} and {left.shape}")
    if not (np.isfinite(times).all() and (times > 0).all()):
        raise ValueError("every duration must be a number above 0")
    if not np.isin(left, (0, 1)).all():
        raise ValueError("event must hold 0 (still there when last seen) and 1 (left)")
    return times, left.astype(bool)


@dataclass(frozen=True, slots=True, eq=False)
class KaplanMeier:
    """The share of customers that is still there, of all alike.

    >>> curve = KaplanMeier.fit([1.0, 2.0, 3.0, 4.0], [1, 0, 1, 0])
    >>> curve.at([0.5, 1.0, 3.5]).tolist()  # the second was lost at 2: of two that are left one leaves at 3
    [1.0, 0.75, 0.375]

    Attributes:
        times: ``(k,)`` at which somebody leaves, ascending.
        survival: ``(k,)`` from each of them on.
        variance: ``(k,)`` Greenwood's, of the logarithm of survival.
    """

    times: Floats
    survival: Floats
    variance: Floats

    @classmethod
    def fit(cls, duration: ArrayLike, event: ArrayLike) -> KaplanMeier:
        """Estimate the curve of leaving; see :func:`check_times` for what is refused."""
        times, left = check_times(duration, event)
        distinct, place = np.unique(times, return_inverse=True)
        leaving = np.bincount(place, weights=left.astype(np.float64))
        there = np.bincount(place)[::-1].cumsum()[::-1]
        return cls._of(distinct, leaving, there)

    @classmethod
    def of_censoring(cls, duration: ArrayLike, event: ArrayLike) -> KaplanMeier:
        """Estimate the curve of being lost from sight, where who leaves at a time is gone before others are lost."""
        times, left = check_times(duration, event)
        distinct, place = np.unique(times, return_inverse=True)
        lost = np.bincount(place, weights=(~left).astype(np.float64))
        there = np.bincount(place)[::-1].cumsum()[::-1] - np.bincount(place, weights=left)
        return cls._of(distinct, lost, there)

    @classmethod
    def _of(cls, times: Floats, going: NDArray[Any], there: NDArray[Any]) -> KaplanMeier:
        some = going > 0
        times, going, there = times[some], going[some].astype(np.float64), there[some].astype(np.float64)
        with np.errstate(divide="ignore"):  # where all go: survival 0, of which no variance is known
            variance = np.cumsum(going / (there * (there - going)))
        return cls(times, np.asarray(np.cumprod(1.0 - going / there), dtype=np.float64), variance)

    def at(self, times: ArrayLike) -> Floats:
        """Return the share that is there after each time (somebody who leaves at a time is gone at it)."""
        return self._step(self.survival, 1.0, times, side="right")

    def before(self, times: ArrayLike) -> Floats:
        """Return the share that is there up to each time (who leaves at it is still there)."""
        return self._step(self.survival, 1.0, times, side="left")

    def interval(self, time: float) -> tuple[float, float]:
        """Return the 95 % interval of the share at a time, of which the logarithm of the hazard is taken as normal."""
        share, spread = float(self.at([time])[0]), float(self._step(self.variance, 0.0, [time], side="right")[0])
        if share in (0.0, 1.0) or not np.isfinite(spread):
            return share, share
        reach = np.exp(Z95 * np.sqrt(spread) / np.log(share))
        low, high = sorted((share**reach, share ** (1 / reach)))
        return float(low), float(high)

    @staticmethod
    def _take(values: Floats, first: float) -> Floats:
        return np.concatenate([[first], values])

    def _step(self, values: Floats, first: float, times: ArrayLike, *, side: Any) -> Floats:
        return self._take(values, first)[np.searchsorted(self.times, np.asarray(times, dtype=np.float64), side=side)]


def last_time(duration: ArrayLike, event: ArrayLike, censoring: KaplanMeier) -> float:
    """Return up to when figures over time go: as long as no row counts more than :data:`LARGEST_WEIGHT` times."""
    times, left = check_times(duration, event)
    sure = times[left & (censoring.at(times) >= 1.0 / LARGEST_WEIGHT)]
    return float(sure.max()) if len(sure) else float(times.min())


def brier_rows(
    survival: ArrayLike, duration: ArrayLike, event: ArrayLike, times: ArrayLike, censoring: KaplanMeier
) -> Floats:
    """Return what each row adds to the Brier score at each time, ``(n, m)``; the means are the scores.

    Args:
        survival: ``(n, m)`` probability of still being there after each time.
        duration: ``(n,)`` above 0.
        event: ``(n,)`` whether the customer left then.
        times: ``(m,)``.
        censoring: Of being lost from sight, as training rows have it.

    Raises:
        ValueError: If shapes disagree, or nobody is in sight at one of the times.
    """
    ends, left = check_times(duration, event)
    at, there = np.asarray(times, dtype=np.float64), np.asarray(survival, dtype=np.float64)
    if there.shape != (len(ends), len(at)):
        raise ValueError(f"survival must be (n, m) = {(len(ends), len(at))}, got {there.shape}")
    in_sight = censoring.at(at)
    if not (in_sight > 0).all():
        raise ValueError(f"nobody is in sight at {at[in_sight <= 0][0]:g}; score earlier times")
    seen = censoring.before(ends)
    gone = (ends[:, None] <= at) & left[:, None]
    weight = np.divide(1.0, seen, out=np.zeros_like(seen), where=seen > 0)  # who left when nobody was in sight
    return np.where(gone, there**2 * weight[:, None], 0.0) + np.where(
        ends[:, None] > at, (1.0 - there) ** 2 / in_sight, 0.0
    )


def brier_scores(
    survival: ArrayLike, duration: ArrayLike, event: ArrayLike, times: ArrayLike, censoring: KaplanMeier
) -> Floats:
    """Return the Brier score at each time, ``(m,)``; see :func:`brier_rows`."""
    return brier_rows(survival, duration, event, times, censoring).mean(axis=0)


def integrated(rows: Floats, times: ArrayLike) -> Floats:
    """Return each row's part in the integrated Brier score, ``(n,)``: the mean over time, by trapezoids.

    Args:
        rows: ``(n, m)`` of :func:`brier_rows`.
        times: ``(m,)`` ascending, two or more.
    """
    at = np.asarray(times, dtype=np.float64)
    return np.trapezoid(rows, at, axis=1) / (at[-1] - at[0])


def mean_with_interval(parts: Floats) -> tuple[float, list[float]]:
    """Return the mean of rows' parts and its 95 % interval by their spread (weights are taken as known)."""
    mean = float(parts.mean())
    reach = Z95 * float(parts.std(ddof=1)) / np.sqrt(len(parts)) if len(parts) > 1 else 0.0
    return mean, [mean - reach, mean + reach]


def calibration_at(
    gone: ArrayLike, duration: ArrayLike, event: ArrayLike, *, horizon: float, groups: int = GROUPS
) -> dict[str, Any]:
    """Compare predicted with observed shares of those who left within a horizon, group by group of the prediction.

    Args:
        gone: ``(n,)`` probability of leaving within the horizon.
        duration: ``(n,)`` above 0.
        event: ``(n,)``.
        horizon: Time.
        groups: Of equally many rows, by rising prediction.

    Returns:
        ``horizon``, ``predicted`` and ``observed`` (Kaplan and Meier's) of all, ``error`` (mean distance of the two
        over the groups, by rows), and ``groups``: ``n``, ``predicted``, ``observed``, ``interval`` each.
    """
    ends, left = check_times(duration, event)
    probability = np.asarray(gone, dtype=np.float64)
    parts = [rows for rows in np.array_split(np.argsort(probability, kind="stable"), groups) if len(rows)]
    found = []
    for rows in parts:
        curve = KaplanMeier.fit(ends[rows], left[rows])
        low, high = curve.interval(horizon)
        observed = 1.0 - float(curve.at([horizon])[0])
        predicted = float(probability[rows].mean())
        found.append(
            {"n": len(rows), "predicted": predicted, "observed": observed, "interval": [1.0 - high, 1.0 - low]}
        )
    error = sum(one["n"] * abs(one["predicted"] - one["observed"]) for one in found) / len(ends)
    whole = 1.0 - float(KaplanMeier.fit(ends, left).at([horizon])[0])
    return {
        "horizon": horizon, "predicted": float(probability.mean()), "observed": whole, "error": error, "groups": found
    }  # fmt: skip
