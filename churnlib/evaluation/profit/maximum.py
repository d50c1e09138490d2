"""MPC and EMPC: what the best campaign with these scores earns, when all customers are worth the same.

    P(t; gamma) = [gamma (V - d) - f] pi0 F0(t) - (d + f) pi1 F1(t)
    MPC  = max over cuts t of P(t; mean of gamma)
    EMPC = integral over gamma of max over t of P(t; gamma), gamma ~ Beta(alpha, beta)

with pi0 the churn rate, F0 and F1 the shares of churners and stayers that are contacted, V the value of a customer, d
the cost of an offer, f that of a contact (Verbraken, Verbeke and Baesens 2013, IEEE TKDE 25(5), 961-973). Both are
money per customer of the whole base, those included who are not contacted; multiply by the number of customers for a
campaign.

The best cut for any gamma is a vertex of the ROC convex hull, each for an interval of gamma, over which the integral is
a difference of incomplete beta functions: no numerical integration.

Neither tells individual values from their mean; :mod:`churnlib.evaluation.profit.individual` does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.hull import Hull, corners, roc_hull
from churnlib.evaluation.inputs import Floats, check_binary
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.ranking import threshold_counts


class MaximumProfit(NamedTuple):
    """The best campaign.

    Attributes:
        profit: Money per customer of the base; at least 0, which contacting nobody earns.
        share: Of the customers to contact, fraction in [0, 1].
        threshold: Probability of the last customer to contact; None where nobody is, and for EMPC, whose cut depends
            on gamma.
    """

    profit: float
    share: float
    threshold: float | None = None


def mpc(label: ArrayLike, probability: ArrayLike, campaign: Campaign | None = None) -> MaximumProfit:
    """Return the maximum profit at the expected acceptance.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of churn; only its order counts.
        campaign: Costs; those of the paper when left out.

    >>> y, s = [0, 1, 0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]
    >>> mpc(y, s)
    MaximumProfit(profit=23.875, share=0.875, threshold=0.2)
    """
    score, tp, fp = threshold_counts(*check_binary(label, probability))
    sums = mpc_sums(tp.astype(np.float64), fp.astype(np.float64), campaign or Campaign())
    best = int(sums.argmax())
    n = int(tp[-1] + fp[-1])
    if sums[best] <= 0.0:
        return MaximumProfit(0.0, 0.0)
    return MaximumProfit(float(sums[best]) / n, float(tp[best] + fp[best]) / n, float(score[best]))


def mpc_sums(tp: Floats, fp: Floats, campaign: Campaign) -> Floats:
    """Return the profit of all customers together for each of ``(..., m)`` cuts."""
    saved, wasted = campaign.value - campaign.offer, campaign.offer + campaign.contact_cost
    return (campaign.expected_acceptance * saved - campaign.contact_cost) * tp - wasted * fp


def empc(label: ArrayLike, probability: ArrayLike, campaign: Campaign | None = None) -> MaximumProfit:
    """Return the expected maximum profit, and the expected share of customers to contact.

    With a known ``campaign.acceptance`` there is nothing to integrate, and it is the MPC. Where an offer costs as much
    as a customer is worth, nobody is contacted and both are 0.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of churn; only its order counts.
        campaign: Costs; those of the paper when left out.

    >>> y, s = [0, 1, 0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]
    >>> round(empc(y, s).profit, 9)
    23.875593418
    """
    campaign = campaign or Campaign()
    if campaign.acceptance is not None:
        return mpc(label, probability, campaign)._replace(threshold=None)
    _, tp, fp = threshold_counts(*check_binary(label, probability))
    tp, fp = tp.astype(np.float64), fp.astype(np.float64)
    places = corners(tp, fp)
    return empc_of(roc_hull(tp[places], fp[places]), campaign)


def empc_of(hull: Hull, campaign: Campaign) -> MaximumProfit:
    """Return the expected maximum profit of the cuts on a hull."""
    from scipy.special import betainc

    n = hull.tp[-1] + hull.fp[-1]
    saved = campaign.value - campaign.offer
    if saved <= 0.0:
        return MaximumProfit(0.0, 0.0)
    # From which gamma on each vertex is better than the one before; contacting nobody is best from 0 on.
    new_tp, new_fp = np.diff(hull.tp), np.diff(hull.fp)
    cost = (campaign.offer + campaign.contact_cost) * new_fp + campaign.contact_cost * new_tp
    gamma = np.where(new_tp > 0, cost / np.where(new_tp > 0, saved * new_tp, 1.0), 1.0)
    border = np.concatenate([[0.0], np.minimum(gamma, 1.0), [1.0]])
    chance = np.diff(betainc(campaign.alpha, campaign.beta, border))
    accepted = campaign.expected_acceptance * np.diff(betainc(campaign.alpha + 1.0, campaign.beta, border))
    spent = campaign.contact_cost * hull.tp + (campaign.offer + campaign.contact_cost) * hull.fp
    profit = float((saved * hull.tp * accepted - spent * chance).sum() / n)
    return MaximumProfit(max(profit, 0.0), float(((hull.tp + hull.fp) * chance).sum() / n))
