"""What each offer to each customer costs and brings on average: numbers in, numbers out.

With ``p`` the risk of a customer who is left alone, ``q`` that of one who took the offer, ``g`` the acceptance of those
who would leave, ``s`` that of those who would stay, ``V`` the customer's value, ``c`` what an accepted offer costs and
``f`` what making it costs:

    prevented = g (p - q)                      churn that the offer prevents
    cost      = (g p + s (1 - p)) c + f        what it is expected to cost
    gain      = prevented V - cost

With ``q = 0`` and ``s = 1`` that is the gain of :func:`churnlib.evaluation.profit.campaign.expected_gains`. Where an
experiment has measured what an offer prevents, accepted or not, that counts in place of ``g (p - q)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnlib.evaluation.profit.campaign import Campaign
from churnlib.planning.levers import Offer
from churnlib.planning.uncertainty import ACCEPTANCE, SHIFT, SLOPE, Uncertainty

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of customers and their offers, before money: k offers each.

    Attributes:
        risk: ``(n,)`` probability of leaving of who is left alone; NaN for rows that cannot be scored.
        risk_taken: ``(n, k)`` of who took the offer; NaN where it cannot be made or an experiment says what it does.
        effect: ``(n, k)`` churn that the offer prevents as an experiment measured it; NaN for other offers.
        cost_taken: ``(n, k)`` money that an accepted offer costs; NaN where the offer cannot be made.
        value: ``(n,)`` money.
        spread: ``(n, k)`` standard deviation of ``risk - risk_taken`` over the models of an ensemble; 0 for one model.
    """

    risk: Floats
    risk_taken: Floats
    effect: Floats
    cost_taken: Floats
    value: Floats
    spread: Floats

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Whether each offer can be made, ``(n, k)``."""
        return np.isfinite(self.cost_taken) & (np.isfinite(self.risk_taken) | np.isfinite(self.effect))

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Return the customers of several parts, one after the other."""
        names = ("risk", "risk_taken", "effect", "cost_taken", "value", "spread")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Economics:
    """What each offer costs and brings on average; cells of offers that cannot be made are NaN.

    Attributes:
        answers: What it is computed from.
        prevented: ``(n, k)`` churn that the offer prevents.
        cost: ``(n, k)`` money that it is expected to cost.
        gain: ``(n, k)`` money that it is expected to gain.
        acceptance: ``(k,)`` of those who would leave.
        stayers: ``(k,)`` of those who would stay.
        effort: ``(k,)`` units of the capacity.
        contact: ``(k,)`` money that making the offer costs.
        own: ``(k,)`` whether the acceptance is the offer's own and not that of ``money``.
        experiments: First parameter of each offer's experiment; -1 without one.
        offers: The offers.
    """

    answers: Answers
    prevented: Floats
    cost: Floats
    gain: Floats
    acceptance: Floats
    stayers: Floats
    effort: Floats
    contact: Floats
    own: NDArray[np.bool_]
    experiments: NDArray[np.int64]
    offers: tuple[Offer, ...]

    @classmethod
    def of(cls, answers: Answers, offers: Sequence[Offer], campaign: Campaign, uncertainty: Uncertainty) -> Economics:
        """Compute costs and gains.

        Args:
            answers: Of the customers.
            offers: In the order of the answers' columns.
            campaign: Acceptance and costs of offers that have none of their own.
            uncertainty: Which parameters belong to which experiment.
        """
        acceptance = np.array(
            [campaign.expected_acceptance if one.acceptance is None else one.acceptance for one in offers]
        )
        contact = np.array([campaign.contact_cost if one.contact_cost is None else one.contact_cost for one in offers])
        stayers = np.array([one.stayers for one in offers])
        risk = answers.risk[:, None]
        measured = np.isfinite(answers.effect)
        # No offer prevents more than there is, whatever an experiment's model says of a customer.
        prevented = np.where(measured, np.minimum(answers.effect, risk), acceptance * (risk - answers.risk_taken))
        prevented = np.where(answers.possible, prevented, np.nan)
        cost = (acceptance * risk + stayers * (1.0 - risk)) * answers.cost_taken + contact
        return cls(
            answers=answers,
            prevented=prevented,
            cost=np.where(answers.possible, cost, np.nan),
            gain=prevented * answers.value[:, None] - cost,
            acceptance=acceptance,
            stayers=stayers,
            effort=np.array([one.effort for one in offers]),
            contact=contact,
            own=np.array([one.acceptance is not None for one in offers]),
            experiments=np.array([uncertainty.experiments.get(one.experiment or "", -1) for one in offers]),
            offers=tuple(offers),
        )

    @property
    def risk_after(self) -> Floats:
        """Probability of leaving of who was made the offer, taken or not, ``(n, k)`` in [0, 1]."""
        return np.clip(self.answers.risk[:, None] - self.prevented, 0.0, 1.0)

    def gradient(self, rows: NDArray[np.int64], offer: NDArray[np.int64], n_parameters: int) -> Floats:
        """Return how the gain of offers moves with each uncertain parameter, ``(P, m)``.

        Args:
            rows: ``(m,)`` customers.
            offer: ``(m,)`` their offers.
            n_parameters: Of the uncertainty.
        """
        answers = self.answers
        p, value = answers.risk[rows], answers.value[rows]
        taken, effect = answers.risk_taken[rows, offer], answers.effect[rows, offer]
        cost, g, s = answers.cost_taken[rows, offer], self.acceptance[offer], self.stayers[offer]
        measured = np.isfinite(effect)
        found = np.zeros((n_parameters, len(rows)))
        # Of an offer that is assumed to save a share, the risk after it is a share of the risk before.
        assumed = np.array([one.saves is not None for one in self.offers])[offer]
        by_risk = np.where(measured, 0.0, g * value) - (g - s) * cost
        by_taken = np.where(measured, 0.0, -g * value)
        share = np.where(assumed & (p > 0), taken / np.where(p > 0, p, 1.0), 0.0)
        by_risk = by_risk + np.where(assumed, by_taken * share, 0.0)
        by_taken = np.where(assumed | measured, 0.0, by_taken)
        q = np.where(measured, 0.5, np.clip(taken, 1e-12, 1.0 - 1e-12))
        p = np.clip(p, 1e-12, 1.0 - 1e-12)
        before, after = by_risk * p * (1.0 - p), by_taken * q * (1.0 - q)
        found[SHIFT] = before + after
        found[SLOPE] = before * np.log(p / (1.0 - p)) + after * np.log(q / (1.0 - q))
        per_acceptance = np.where(measured, 0.0, (p - q) * value) - p * cost
        found[ACCEPTANCE] = np.where(self.own[offer], 0.0, per_acceptance)
        first = self.experiments[offer]
        for place in np.unique(first[first >= 0]).tolist():
            mine = first == place
            found[place, mine] = value[mine]
            found[place + 1, mine] = (value * np.where(measured, effect, 0.0))[mine]
        return found

    def member_deviation(self, rows: NDArray[np.int64], offer: NDArray[np.int64]) -> Floats:
        """Return the standard deviation of gains from the differences of an ensemble's models, ``(m,)``."""
        spread = np.nan_to_num(self.answers.spread[rows, offer])
        return np.abs(self.acceptance[offer] * self.answers.value[rows]) * spread


def pareto(cost: Floats, risk: Floats, *, alone: Floats) -> NDArray[np.bool_]:
    """Say which offers are on each customer's front: no other one costs no more and leaves no more risk.

    Leaving the customer alone costs nothing and is always on it; so an offer that raises the risk never is. Of two
    offers that cost and leave the same, the first is.

    Args:
        cost: ``(n, k)``; NaN for offers that cannot be made.
        risk: ``(n, k)``.
        alone: ``(n,)`` risk of who is left alone.

    >>> pareto(np.array([[5.0, 9.0, 4.0]]), np.array([[0.2, 0.3, 0.4]]), alone=np.array([0.5])).tolist()
    [[True, False, True]]
    """
    known = np.isfinite(cost) & np.isfinite(risk)
    price = np.where(known, cost, np.inf)
    left = np.where(known, risk, np.inf)
    # First by cost, of the same cost by risk: whatever stands before an offer costs no more than it.
    by_risk = np.argsort(left, axis=1, kind="stable")
    order = np.take_along_axis(by_risk, np.argsort(np.take_along_axis(price, by_risk, 1), axis=1, kind="stable"), 1)
    ranked = np.take_along_axis(left, order, axis=1)
    least = np.minimum.accumulate(np.concatenate([alone[:, None], ranked], axis=1), axis=1)[:, :-1]
    found = np.zeros(cost.shape, dtype=bool)
    np.put_along_axis(found, order, ranked < least, axis=1)
    return found & known


__all__ = ["Answers", "Economics", "pareto"]
