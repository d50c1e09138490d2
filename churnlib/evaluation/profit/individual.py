"""Profit where each customer has a value of his own: EMPB and AUEPC.

Both cumulate what contacting each customer brings (:func:`churnlib.evaluation.profit.campaign.payoffs`) from the
highest score down. Tied customers are contacted together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.inputs import Floats, Ints, check_binary
from churnlib.evaluation.profit.campaign import Campaign, payoffs
from churnlib.evaluation.profit.maximum import MaximumProfit
from churnlib.evaluation.ranking import Ranking, at_shares

FINEST = 2_048
"""Customers up to whom the area under the profit curve of drawn rows is read one by one, and blocks of all others."""


def empb(
    label: ArrayLike, probability: ArrayLike, value: ArrayLike | None = None, campaign: Campaign | None = None
) -> MaximumProfit:
    """Return the most that can be earned by contacting the customers with the highest scores.

    ``max over k of sum over the first k of y (gamma (V_i - d_i) - f) - (1 - y) (d_i + f)``, per customer of the base
    (Janssens, Bogaert, Bagué and Van den Poel 2022, "B2Boost", Annals of Operations Research; there d_i is a share of
    V_i: ``offer_share``). Profit is linear in gamma, so that its mean is all that counts. Contact is paid for by every
    customer that is contacted: one release of empulse charged it only where the offer is accepted.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)``; only its order counts. To rank by expected gain, pass that, scaled to [0, 1].
        value: ``(n,)`` money; ``campaign.value`` for all when left out.
        campaign: Costs; those of the paper on EMPC when left out.

    >>> empb([1, 0, 1], [0.9, 0.6, 0.3], [100.0, 500.0, 10.0], Campaign(acceptance=0.5))  # 44 / 3 with the first
    MaximumProfit(profit=14.666666666666666, share=0.3333333333333333, threshold=0.9)
    """
    truth, score = check_binary(label, probability)
    campaign = campaign or Campaign()
    ranking = Ranking.of(score)
    sums = ranking.cumulated(payoffs(truth, campaign.values(value, len(truth)), campaign)[ranking.order])
    best = int(sums.argmax())
    if sums[best] <= 0.0:
        return MaximumProfit(0.0, 0.0)
    n = len(truth)
    return MaximumProfit(float(sums[best]) / n, float(ranking.last[best] + 1) / n, float(ranking.score[best]))


def auepc(
    label: ArrayLike, probability: ArrayLike, value: ArrayLike | None = None, campaign: Campaign | None = None
) -> float | None:
    """Return the area under the expected profit curve, as a share of that of a perfect order.

    The mean, over the numbers of contacted customers for which a perfect order earns money, of the profit relative to
    that order's (Rahman, Janssens and Bogaert 2025, Journal of Business Research). 1 is perfect; it may be negative.
    None where not even the best customer is worth contacting.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)``; only its order counts.
        value: ``(n,)`` money; ``campaign.value`` for all when left out.
        campaign: Costs; those of the paper on EMPC when left out.
    """
    truth, score = check_binary(label, probability)
    campaign = campaign or Campaign()
    paid = payoffs(truth, campaign.values(value, len(truth)), campaign)
    ranking = Ranking.of(score)
    earned = at_counts(ranking.cumulated(paid[ranking.order]), ranking.rows)
    return auepc_of(earned, np.cumsum(np.sort(paid)[::-1]))


def auepc_of(earned: Floats, perfect: Floats) -> float | None:
    """Return the area from the profits of contacting 1, 2, ... n customers, in the model's and in a perfect order."""
    lost = np.flatnonzero(perfect <= 0.0)
    stop = int(lost[0]) if len(lost) else len(perfect)
    if stop == 0:
        return None
    ratios = earned[:stop] / perfect[:stop]
    return float(ratios[0]) if stop == 1 else float(np.trapezoid(ratios) / (stop - 1))


def auepc_of_drawn(earned: Floats, rows: Floats, best_earned: Floats, best_rows: Floats) -> float | None:
    """Return the same area for rows that are drawn more or less often, without copying a row.

    Both profits are straight lines between the rows, so they are read where wanted: at each number of contacted
    customers up to :data:`FINEST`, and from there on at as many numbers evenly spread. The curves are smooth there.

    Args:
        earned: ``(m,)`` money down to each distinct score, in the model's order.
        rows: ``(m,)`` how many are contacted there.
        best_earned: ``(b,)`` money down to the end of each block of a perfect order (:func:`blocks_of`).
        best_rows: ``(b,)`` how many are contacted there.
    """
    stop = _earning(best_earned, best_rows)
    if stop == 0:
        return None
    places = np.arange(1.0, min(stop, FINEST) + 1.0)
    if stop > FINEST:
        places = np.append(places, np.linspace(FINEST, stop, FINEST + 1)[1:])
    at_none = (np.append(0.0, values) for values in (rows, earned, best_rows, best_earned))
    own_rows, own, perfect_rows, perfect = at_none
    ratios = np.interp(places, own_rows, own) / np.interp(places, perfect_rows, perfect)
    return float(ratios[0]) if stop == 1 else float(np.trapezoid(ratios, places) / (stop - 1))


def blocks_of(n: int) -> Ints:
    """Return the block of each of ``n`` ranked rows: the first :data:`FINEST` alone, the others in as many blocks."""
    place = np.arange(n)
    return np.where(place < FINEST, place, FINEST + (place - FINEST) * FINEST // max(n - FINEST, 1))


def _earning(earned: Floats, rows: Floats) -> int:
    """Return up to how many contacted customers a perfect order earns money."""
    lost = np.flatnonzero((earned <= 0.0) & (rows > 0.0))
    if not len(lost):
        return int(rows[-1])
    last = lost[0]
    before = (earned[last - 1], rows[last - 1]) if last else (0.0, 0.0)
    fall = (before[0] - earned[last]) / (rows[last] - before[1])  # of each of the customers who are drawn there
    return int(before[1] + np.ceil(before[0] / fall) - 1) if before[0] > 0.0 else 0


def at_counts(sums: Floats, rows: Floats) -> Floats:
    """Read ``(m,)`` cumulated sums where 1, 2, ... n rows are above: ``(n,)``."""
    return np.interp(np.arange(1.0, rows[-1] + 1.0), np.append(0.0, rows), np.append(0.0, sums))


def profit_curve(
    label: ArrayLike,
    probability: ArrayLike,
    shares: ArrayLike,
    value: ArrayLike | None = None,
    campaign: Campaign | None = None,
) -> Floats:
    """Return the profit per customer of the base when the first share of customers is contacted, for each share.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)``; only its order counts.
        shares: ``(s,)`` in [0, 1].
        value: ``(n,)`` money; ``campaign.value`` for all when left out.
        campaign: Costs; those of the paper on EMPC when left out.

    >>> profit_curve([1, 0], [0.9, 0.1], [0.0, 0.5, 1.0]).round(9).tolist()
    [0.0, 28.0, 22.5]
    """
    truth, score = check_binary(label, probability)
    campaign = campaign or Campaign()
    ranking = Ranking.of(score)
    sums = ranking.cumulated(payoffs(truth, campaign.values(value, len(truth)), campaign)[ranking.order])
    return at_shares(sums, ranking.rows, np.asarray(shares, dtype=np.float64)) / len(truth)
