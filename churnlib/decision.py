"""From logits to a calibrated probability, and from the probability to a decision.

The predictor applies these to every row it scores; ``churnlib.evaluation`` fits what they need (the temperature, the
threshold) on validation rows. Plain numpy in float64, so that the step between a network's float32
logits and the stored answer is the same code in training, in scoring and behind the server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def probability_from_logits(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Turn logits into probabilities, softened (``temperature > 1``) or sharpened (``< 1``).

    Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2): one number fitted
    on validation rows, which never changes the order of customers.

    Args:
        logits: ``(n,)`` for two classes, the log-odds of the positive one, or ``(n, k)`` with ``k >= 2``, one column
            per class. Stable for any finite value; NaN stays NaN.
        temperature: Positive number the logits are divided by.

    Returns:
        ``(n,)`` float64 from the sigmoid, or ``(n, k)`` float64 from the softmax, whose rows sum to 1.

    Raises:
        ValueError: If the temperature is not a positive number or the logits have another shape.

    >>> probability_from_logits([0.0, np.log(3.0)]).round(6).tolist()
    [0.5, 0.75]
    >>> probability_from_logits([2 * np.log(3.0)], temperature=2.0).round(6).tolist()
    [0.75]
    >>> probability_from_logits([[0.0, 0.0, np.log(2.0)]]).round(6).tolist()
    [[0.25, 0.25, 0.5]]
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a positive number, got {temperature!r}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if scaled.ndim == 1:
        return _sigmoid(scaled)
    if scaled.ndim == 2 and scaled.shape[1] >= 2:
        return _softmax(scaled)
    raise ValueError(f"logits must be (n,) for two classes or (n, k >= 2), got shape {scaled.shape}")


def decide(probability: ArrayLike, threshold: ArrayLike | None = None) -> NDArray[np.int64]:
    """Turn probabilities into decisions: 1 from the threshold upwards, or the most probable of several classes.

    Args:
        probability: ``(n,)`` probability of the positive class, or ``(n, k)``, one column per class.
        threshold: Fraction in [0, 1] for ``(n,)``, or one for each, infinite for whom no probability is enough; a
            probability equal to it counts as positive. ``None`` for ``(n, k)``, where the first of equally probable
            classes is taken.

    Returns:
        ``(n,)`` int64: 0 or 1, or the index of a class.

    Raises:
        ValueError: If a probability is NaN (comparing would silently say "stays"), or the threshold is missing for
            ``(n,)`` or given for ``(n, k)``.

    >>> decide([0.2, 0.3, 0.9], 0.3).tolist()
    [0, 1, 1]
    >>> decide([0.2, 0.3, 0.9], [0.1, 0.4, math.inf]).tolist()
    [1, 0, 0]
    >>> decide([[0.2, 0.5, 0.3]]).tolist()
    [1]
    """
    values = np.asarray(probability, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("probability holds NaN; a decision needs a number for every row")
    if values.ndim == 1 and threshold is not None and np.shape(threshold) in ((), values.shape):
        return (values >= np.asarray(threshold, dtype=np.float64)).astype(np.int64)
    if values.ndim == 2 and threshold is None:
        return values.argmax(axis=1).astype(np.int64)
    raise ValueError(f"a threshold goes with probabilities (n,), none with (n, k); got {threshold!r}, {values.shape}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What keeping a customer costs, and how often it works.

    Each contact costs ``contact_cost``. Who would have stayed takes the offer, and pays nothing more; who would have
    left takes it with the probability ``acceptance``, and then is worth what a customer is worth.

    Attributes:
        offer_cost: Money that an accepted offer costs.
        offer_share: Its cost as a share of the customer's value, instead of ``offer_cost``; an offer to a customer of
            negative value costs nothing.
        contact_cost: Money that each contact costs.
        acceptance: Fraction in [0, 1].
    """

    offer_cost: float
    offer_share: float | None = None
    contact_cost: float
    acceptance: float

    def costs(self, value: ArrayLike) -> NDArray[np.float64]:
        """Return what an accepted offer costs for customers of these values, of the same shape."""
        values = np.asarray(value, dtype=np.float64)
        if self.offer_share is None:
            return np.full_like(values, self.offer_cost)
        return self.offer_share * np.maximum(values, 0.0)

    def pays_from(self, value: ArrayLike) -> NDArray[np.float64]:
        """Return for each customer the probability from which contacting pays, of the shape of ``value``.

        ``(offer + contact) / (offer + acceptance (value - offer))``; infinite for a customer whom it never pays to
        contact, of negative value say.

        Raises:
            ValueError: If a value is NaN or infinite.

        >>> Offer(offer_cost=10, contact_cost=1, acceptance=0.3).pays_from([200.0, 50.0, -20.0]).round(4).tolist()
        [0.1642, 0.5, inf]
        """
        values = np.asarray(value, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("value must be a number in every row, and one is NaN or infinite; fill it before")
        offers = self.costs(values)
        stake = offers + self.acceptance * (values - offers)
        found = np.where(stake > 0, (offers + self.contact_cost) / np.where(stake > 0, stake, 1.0), np.inf)
        return np.where(found <= 1.0, found, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnThreshold:
    """A threshold for each customer: from where on an offer pays, by what a column says that the customer is worth.

    Attributes:
        column: Name of the numeric column.
        times: It is multiplied by this number.
        otherwise: What a customer is worth whose cell is empty, or whose table lacks the column.
        offer: What it costs to keep a customer.
    """

    column: str
    times: float
    otherwise: float
    offer: Offer

    def thresholds(self, cells: ArrayLike) -> NDArray[np.float64]:
        """Return the thresholds of customers by the numbers in their column, ``(n,)`` float64 with NaN for empty."""
        numbers = np.asarray(cells, dtype=np.float64)
        return self.offer.pays_from(np.where(np.isfinite(numbers), numbers * self.times, self.otherwise))

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON-ready numbers and texts."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OwnThreshold:
        """Restore what :meth:`to_dict` returned."""
        return cls(**{**values, "offer": Offer(**values["offer"])})


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigmoid without overflow: only the exponential of a number that is not positive is taken."""
    if values.size == 1:  # one customer of a server: the same steps, for a third of the time
        value = values.item()
        tail = float(np.exp(-abs(value)))
        return np.array([(1.0 if value >= 0 else tail) / (1.0 + tail)])
    decay = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, decay) / (1.0 + decay)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis without overflow: the largest logit of a row becomes 0."""
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
