"""What a campaign costs and brings: the assumptions behind every figure in money.

Each contacted customer costs ``contact_cost``. Who would have stayed takes the offer and costs ``offer_cost`` as well;
who would have left takes it with probability gamma, stays, and brings ``value - offer_cost``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.config.money import MoneyConfig
from churnlib.decision import Offer
from churnlib.errors import ConfigError
from churnlib.evaluation.inputs import Floats, check_per_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One offer to all customers that are contacted; the defaults are the example of the paper on EMPC.

    Verbraken, Verbeke and Baesens 2013, IEEE TKDE 25(5), 961-973. Nothing in them is measured: take your own.

    Attributes:
        value: Money that a saved customer brings; of a customer whose own value is not given.
        offer_cost: Money that an accepted offer costs.
        offer_share: Cost of an accepted offer as a share of the customer's value, instead of ``offer_cost``; an offer
            to a customer of negative value costs nothing.
        contact_cost: Money that each contact costs.
        alpha: With ``beta``: the acceptance probability gamma is uncertain and follows Beta(alpha, beta).
        beta: See ``alpha``.
        acceptance: A known gamma, fraction in [0, 1], instead of the distribution.
    """

    value: float = 200.0
    offer_cost: float = 10.0
    offer_share: float | None = None
    contact_cost: float = 1.0
    alpha: float = 6.0
    beta: float = 14.0
    acceptance: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ConfigError(f"the value of a customer must be a number, got {self.value!r}")
        for name in ("offer_cost", "contact_cost"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a number of at least 0, got {getattr(self, name)!r}")
        for name in ("alpha", "beta"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} of the acceptance must be a number above 0, got {getattr(self, name)!r}")
        for name in ("offer_share", "acceptance"):
            share = getattr(self, name)
            if share is not None and not 0.0 <= share <= 1.0:
                raise ConfigError(f"{name} must be in [0, 1], got {share!r}")

    @classmethod
    def of(cls, money: MoneyConfig, *, value: float | None = None) -> Campaign:
        """Return the costs that a configuration says.

        Args:
            money: The configuration.
            value: What all customers are worth alike; that of the configuration when None.
        """
        costs = {name: getattr(money, name) for name in cls.__slots__ if name != "value"}
        return cls(value=money.value if value is None else value, **costs)

    @property
    def expected_acceptance(self) -> float:
        """Mean of gamma: ``acceptance``, or ``alpha / (alpha + beta)``."""
        return self.alpha / (self.alpha + self.beta) if self.acceptance is None else self.acceptance

    @property
    def offer(self) -> float:
        """Cost of an accepted offer to a customer of the value ``value``."""
        return float(self.offers(self.value))

    @property
    def terms(self) -> Offer:
        """The costs and the mean acceptance, without what customers are worth."""
        return Offer(
            offer_cost=self.offer_cost,
            offer_share=self.offer_share,
            contact_cost=self.contact_cost,
            acceptance=self.expected_acceptance,
        )

    def offers(self, value: ArrayLike) -> Floats:
        """Return what an accepted offer costs for customers of these values, of the same shape."""
        return self.terms.costs(value)

    def values(self, value: ArrayLike | None, n: int) -> Floats:
        """Return the customers' own values as ``(n,)``, ``self.value`` for all where none are given."""
        return check_per_row("value", self.value if value is None else value, n)


def payoffs(label: ArrayLike, value: ArrayLike, campaign: Campaign) -> Floats:
    """Return what contacting each customer brings, knowing who leaves but not who accepts: ``(n,)`` money.

    ``gamma (value - offer) - contact`` for one who leaves, ``-(offer + contact)`` for one who stays, with the mean of
    gamma. The contact is paid whether or not the offer is taken.

    Args:
        label: ``(n,)`` 0 or 1.
        value: ``(n,)`` money, or one number for all; may be negative: saving such a customer loses money.
        campaign: The costs.

    >>> payoffs([1, 0], 200.0, Campaign()).round(9).tolist()
    [56.0, -11.0]
    """
    truth = np.asarray(label)
    values = check_per_row("value", value, len(truth))
    offers = campaign.offers(values)
    saved = campaign.expected_acceptance * (values - offers)
    return np.where(truth == 1, saved, -offers) - campaign.contact_cost


def expected_gains(probability: ArrayLike, value: ArrayLike, campaign: Campaign) -> Floats:
    """Return what contacting each customer brings on average, from calibrated probabilities: ``(n,)`` money.

    ``p (gamma (value - offer) - contact) - (1 - p) (offer + contact)``; contact where it is above 0. With less budget
    than such customers, contact those with the most.

    Args:
        probability: ``(n,)`` calibrated probability of leaving.
        value: ``(n,)`` money, or one number for all.
        campaign: The costs.
    """
    p = np.asarray(probability, dtype=np.float64)
    values = check_per_row("value", value, len(p))
    offers = campaign.offers(values)
    return p * (campaign.expected_acceptance * (values - offers) + offers) - offers - campaign.contact_cost


def value_thresholds(value: ArrayLike, campaign: Campaign) -> NDArray[np.float64]:
    """Return for each customer the probability from which contacting pays, of the shape of ``value``.

    Where :func:`expected_gains` is 0; see :meth:`churnlib.decision.Offer.pays_from`.

    >>> value_thresholds([200.0, 50.0, -20.0], Campaign()).round(4).tolist()
    [0.1642, 0.5, inf]
    """
    return campaign.terms.pays_from(value)
