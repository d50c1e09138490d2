"""Whether customers who leave sooner were said to: concordance of pairs, in O(n log n).

A pair says something where the one who left is known to have left first: the other one was still there at that time,
or was lost from sight at it. The count of the partners with a lower risk is a count of points in a quadrant, which a
wavelet matrix answers for all rows at once, bit by bit of their ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.evaluation.survival import Z95, Floats, KaplanMeier, check_times

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Concordance:
    """The share of pairs in the right order, where equal risks count half.

    Attributes:
        value: In [0, 1]; 0.5 is chance; NaN without a pair.
        pairs: Pairs that say something.
        interval: 95 %, by each row's part in both counts.
    """

    value: float
    pairs: int
    interval: tuple[float, float]


def count_below(values: Ints, low: Ints, high: Ints, bound: Ints) -> Ints:
    """Return how many of ``values[low[i]:high[i]]`` are below ``bound[i]``, ``(m,)``.

    >>> values = np.array([3, 0, 2, 1])
    >>> count_below(values, np.array([0, 1]), np.array([4, 3]), np.array([2, 3])).tolist()
    [2, 2]

    Args:
        values: ``(n,)`` from 0.
        low: ``(m,)`` first places.
        high: ``(m,)`` places behind the last.
        bound: ``(m,)`` at least 0.
    """
    found = np.zeros(len(bound), dtype=np.int64)
    top = max(int(values.max(initial=0)), int(bound.max(initial=0)))
    for bit in range(top.bit_length() - 1, -1, -1):
        ones = (values >> bit) & 1
        zeros_before = np.concatenate([[0], np.cumsum(1 - ones)])
        first, last, wants_one = zeros_before[low], zeros_before[high], ((bound >> bit) & 1).astype(bool)
        found += np.where(wants_one, last - first, 0)
        n_zeros = zeros_before[-1]
        low, high = np.where(wants_one, n_zeros + low - first, first), np.where(wants_one, n_zeros + high - last, last)
        values = np.concatenate([values[ones == 0], values[ones == 1]])
    return found


def concordance(duration: ArrayLike, event: ArrayLike, risk: ArrayLike) -> Concordance:
    """Return Harrell's concordance.

    >>> concordance([1.0, 2.0, 3.0], [1, 1, 0], [0.9, 0.2, 0.4]).value  # of three pairs one is the wrong way round
    0.6666666666666666

    Args:
        duration: ``(n,)`` above 0.
        event: ``(n,)`` whether the customer left then.
        risk: ``(n,)`` the higher, the sooner.
    """
    pairs = _Pairs(*check_times(duration, event), np.asarray(risk, dtype=np.float64))
    won, partners = pairs.of_leavers()
    total = float(partners.sum())
    if not total:
        return Concordance(float("nan"), 0, (float("nan"), float("nan")))
    value = float(won.sum()) / total
    also_won, also_partners = pairs.of_partners()
    parts = (won + also_won) - value * (partners + also_partners)
    reach = Z95 * float(np.sqrt((parts**2).sum())) / total
    return Concordance(value, int(total), (max(value - reach, 0.0), min(value + reach, 1.0)))


def concordance_ipcw(
    duration: ArrayLike, event: ArrayLike, risk: ArrayLike, censoring: KaplanMeier, *, until: float | None = None
) -> float:
    """Return Uno's concordance: pairs count by how likely the one who left was to be still in sight.

    It does not depend on how long customers happened to be followed (Uno et al. 2011).

    Args:
        duration: ``(n,)`` above 0.
        event: ``(n,)``.
        risk: ``(n,)``.
        censoring: Of being lost from sight, as training rows have it.
        until: Who left at or after it is no first of a pair.
    """
    times, left = check_times(duration, event)
    pairs = _Pairs(times, left, np.asarray(risk, dtype=np.float64))
    won, partners = pairs.of_leavers()
    seen = censoring.before(times)
    counts = left & (seen > 0) & (True if until is None else times < until)
    weight = np.where(counts, 1.0 / np.where(seen > 0, seen, 1.0) ** 2, 0.0)
    total = float(weight @ partners)
    return float(weight @ won) / total if total else float("nan")


def concordance_over_time(duration: ArrayLike, event: ArrayLike, gone: ArrayLike, breaks: ArrayLike) -> float:
    """Return Antolini's concordance: risks of a pair are compared at the time at which the one left.

    For curves that cross, which no single risk can order. The time is taken as the end of its interval, so that curves
    are read at their breaks.

    Args:
        duration: ``(n,)`` above 0.
        event: ``(n,)``.
        gone: ``(n, K)`` probability of having left by each break.
        breaks: ``(K,)`` ends of the intervals, ascending; who left behind the last is no first of a pair.
    """
    times, left = check_times(duration, event)
    ends, curves = np.asarray(breaks, dtype=np.float64), np.asarray(gone, dtype=np.float64)
    interval = np.searchsorted(ends, times, side="left")
    won = total = 0.0
    for place in np.unique(interval[left & (interval < len(ends))]).tolist():
        later = interval >= place
        pairs = _Pairs(times[later], left[later] & (interval[later] == place), curves[later, place])
        wins, partners = pairs.of_leavers()
        won, total = won + float(wins.sum()), total + float(partners.sum())
    return won / total if total else float("nan")


class _Pairs:
    """Rows in the order of their times, those who left before those who were lost at the same time."""

    def __init__(self, times: Floats, left: NDArray[np.bool_], risk: Floats) -> None:
        if risk.shape != times.shape or np.isnan(risk).any():
            raise ValueError(f"risk must be {times.shape} numbers, got shape {risk.shape} or NaN")
        self._order = np.lexsort((~left, times))
        self._times, self._left = times[self._order], left[self._order]
        distinct, rank = np.unique(risk[self._order], return_inverse=True)
        self._rank, self._n_ranks = rank.astype(np.int64), len(distinct)

    def _as_given(self, values: Floats) -> Floats:
        back = np.empty(len(values))
        back[self._order] = values
        return back

    def of_leavers(self) -> tuple[Floats, Floats]:
        """Return for each row, as the one who left, the partners with lower risk (equal ones half), and all of them."""
        n, places = len(self._times), np.flatnonzero(self._left)
        leaving = self._times[self._left]
        # Partners stand behind all who left at the same time.
        first = np.searchsorted(self._times, leaving, side="left")
        first += np.searchsorted(leaving, leaving, side="right") - np.searchsorted(leaving, leaving, side="left")
        last, rank = np.full(len(places), n), self._rank[places]
        below, up_to = (count_below(self._rank, first, last, bound) for bound in (rank, rank + 1))
        won, partners = np.zeros(n), np.zeros(n)
        won[places], partners[places] = (below + up_to) / 2, n - first
        return self._as_given(won), self._as_given(partners)

    def of_partners(self) -> tuple[Floats, Floats]:
        """Return for each row, as the one still there, those who left before with higher risk, and all of them."""
        leaving, ranks = self._times[self._left], self._rank[self._left]
        before = np.searchsorted(leaving, self._times, side="left")
        before = np.where(self._left, before, np.searchsorted(leaving, self._times, side="right"))
        none = np.zeros(len(before), dtype=np.int64)
        below, up_to = (count_below(ranks, none, before, bound) for bound in (self._rank, self._rank + 1))
        won = before - (below + up_to) / 2
        return self._as_given(won), self._as_given(before.astype(np.float64))
