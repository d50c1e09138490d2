"""The methods behind effects: gradients, sampled orders of the columns, a local line, or what a sum says by itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churnlib.data.preparation import Encoded
from churnlib.explanation.answers import Answers, log_odds, of_rows
from churnlib.explanation.background import Background
from churnlib.explanation.local_linear import Neighbours, draw_neighbours, linear_effects
from churnlib.explanation.mixing import Customers
from churnlib.explanation.shapley import draw_orders, order_effects
from churnlib.explanation.stability import RESAMPLES, kept, stability

if TYPE_CHECKING:
    from churnlib.explanation.expected_gradients import Samples
    from churnlib.models.differentiable import Differentiable

SAMPLES, MASKED_SAMPLES, NEIGHBOURS, PAIRS = 100, 1_000, 200, 25
"""Gradients per customer, of a network that chooses its columns (a TabNet) more; rows of a local line; orders, each
forth and back."""

MORE = 4
"""Times as many gradients are taken of a customer whose effects do not add up, the first ones among them."""


class Attribution(NamedTuple):
    """What a method has found of ``n`` customers.

    Attributes:
        values: ``(n, K)`` effects.
        base: ``(n,)`` or ``()`` mean log-odds of the background customers.
        stability: ``(n,)`` in [0, 1].
        fidelity: ``(n,)`` of a local line; NaN of other methods.
    """

    values: np.ndarray
    base: np.ndarray
    stability: np.ndarray
    fidelity: Any = np.nan


@dataclass(eq=False)
class Methods:
    """Finds effects; draws are made once, and are the same for each customer.

    Attributes:
        answers: Asks the model.
        background: Customers that effects are measured against.
        samples: Gradients per customer, or rows of a local line.
        pairs: Orders per customer, each forth and back.
        seed: Of all draws.
    """

    answers: Answers
    background: Background
    samples: int
    pairs: int
    seed: int

    def gradients(
        self, model: Differentiable, customers: Customers, target: np.ndarray | None, *, more: bool
    ) -> Attribution:
        """Return effects by expected gradients: from the first draws, or from ``MORE - 1`` times as many further ones.

        Args:
            model: What gradients are taken of.
            customers: ``n`` customers.
            target: ``(n,)`` class whose log-odds are explained; None for two classes.
            more: Whether the further draws.
        """
        from churnlib.explanation.expected_gradients import gradient_effects

        drawn = self._more_samples if more else self._samples
        parts = gradient_effects(model, self.answers.mixer, customers, self.background.customers, drawn, target)
        parts = self.answers.straight.terms(parts)
        values = parts.mean(axis=1, dtype=np.float64)
        return Attribution(values, self.background.base(drawn.which, target), stability(parts, self.seed))

    def orders(self, customers: Customers, target: np.ndarray | None) -> Attribution:
        """Return Shapley values by sampled orders; see :meth:`gradients` for the arguments."""
        rng, mixer = np.random.default_rng(self.seed), self.answers.mixer
        orders = draw_orders(self.pairs, len(mixer.names), rng)
        which = self.background.spread(self.pairs, rng).repeat(2)
        parts = order_effects(self._value(target), mixer, customers, self.background.customers, orders, which)
        return Attribution(parts.mean(axis=1), self.background.base(which, target), stability(parts, self.seed))

    def lines(self, customers: Customers, target: np.ndarray | None) -> Attribution:
        """Return the slopes of a local line; see :meth:`gradients` for the arguments."""
        options = {"resamples": RESAMPLES, "seed": self.seed}
        lines = linear_effects(
            self._value(target), self.answers.mixer, customers, self.background.customers, self._neighbours, **options
        )
        again = np.abs(lines.again).transpose(0, 2, 1)
        return Attribution(lines.values, lines.base, kept(again, lines.values), lines.fidelity)

    def exact(self, model: Any, customers: Customers) -> Attribution:
        """Return what an additive network says by itself: a pair's part is half of each of its columns."""
        mixer, straight = self.answers.mixer, self.answers.straight
        parts = straight.terms(model.contributions(customers.encoded.numeric, customers.encoded.codes))
        share = np.zeros((len(model.terms), len(mixer.names)))
        for place, term in enumerate(model.terms):
            for column in term:
                share[place, mixer.owner[column]] += 1 / len(term)
        base = straight.log_odds(model.intercept())
        return Attribution(parts[:, :, 0] @ share, np.asarray(base[0]), np.ones(len(parts)))

    def _value(self, target: np.ndarray | None) -> Any:
        """Return what answers for mixed rows, each with the number of the customer that it is about."""

        def value(encoded: Encoded, whose: np.ndarray) -> np.ndarray:
            return log_odds(self.answers.logits(encoded), of_rows(target, whose))

        return value

    @cached_property
    def _samples(self) -> Samples:
        return self._draw(self.samples, np.random.default_rng(self.seed))

    @cached_property
    def _more_samples(self) -> Samples:
        return self._draw((MORE - 1) * self.samples, np.random.default_rng([self.seed, 1]))

    def _draw(self, n: int, rng: np.random.Generator) -> Samples:
        from churnlib.explanation.expected_gradients import draw_samples

        return draw_samples(n, self.background.ranked, len(self.answers.mixer.names), rng)

    @cached_property
    def _neighbours(self) -> Neighbours:
        rng = np.random.default_rng(self.seed)
        return draw_neighbours(self.samples, len(self.answers.mixer.names), self.background.spread(PAIRS, rng), rng)


__all__ = ["MASKED_SAMPLES", "MORE", "NEIGHBOURS", "PAIRS", "SAMPLES", "Attribution", "Methods"]
