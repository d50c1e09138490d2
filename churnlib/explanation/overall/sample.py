"""The customers that a model is explained on, and what may be named of their columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from churnlib.data.preparation import Encoded
from churnlib.decision import decide
from churnlib.evaluation.bootstrap import resampled
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.profit.campaign import Campaign, payoffs
from churnlib.explanation.effects import Explainer
from churnlib.explanation.mixing import Customers
from churnlib.explanation.reasons import Speaker

HIDDEN = "a sensitive column"
"""In place of the name of sensitive columns, whose part in a model is told and whose names are not."""


@dataclass(frozen=True)
class Sample:
    """Customers, as the model reads them, and what became of them.

    Attributes:
        explainer: What asks the model.
        speaker: What may be named: columns and groups of columns that say the same.
        customers: ``n`` customers.
        label: ``(n,)`` int64; None where nobody knows who left.
        target: Of more than two classes the one whose log-odds are explained.
        campaign: Costs of what is told in money.
        value: ``(n,)`` money that each customer is worth; None for the same.
        names: ``(n,)`` number of the customer of each row; None where each row is its own.
        seed: Of all that is drawn.
    """

    explainer: Explainer
    speaker: Speaker
    customers: Customers
    label: Ints | None = None
    target: int | None = None
    campaign: Campaign | None = None
    value: Floats | None = None
    names: Ints | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.customers)

    @property
    def typed(self) -> pl.DataFrame:
        """The customers' cells with the types of the schema."""
        assert self.customers.typed is not None
        return self.customers.typed

    @property
    def units(self) -> list[tuple[str, tuple[int, ...]]]:
        """What is judged as one: its name, and its columns' places; all sensitive columns together come last."""
        named = list(zip(self.speaker.names, self.speaker.members, strict=True))
        return [*named, (HIDDEN, self.speaker.hidden)] if self.speaker.hidden else named

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.explainer.predictor.classes) == 2

    @cached_property
    def log_odds(self) -> Floats:
        """``(n,)`` log-odds that are explained."""
        return self.ask(self.customers.encoded)

    @cached_property
    def payoff(self) -> Floats:
        """``(n,)`` money that contacting each customer brings."""
        assert self.label is not None
        costs = self.campaign or Campaign()
        return payoffs(self.label, costs.values(self.value, len(self)), costs)

    def ask(self, encoded: Encoded) -> Floats:
        """Return the log-odds of rows as the model reads them, ``(m,)``."""
        target = None if self.target is None else np.full(len(encoded), self.target)
        return self.explainer.log_odds(encoded, target)

    def ask_table(self, typed: pl.DataFrame) -> Floats:
        """Return the log-odds of rows of the table, ``(m,)``."""
        return self.ask(self.explainer.mixer.customers(typed).encoded)

    def probabilities(self, encoded: Encoded) -> Floats:
        """Return calibrated probabilities, ``(m,)`` or ``(m, n_classes)``."""
        return self.explainer.probabilities(encoded)

    def decisions(self, probability: Floats) -> Ints:
        """Return what the model decides of two classes."""
        return decide(probability, self.explainer.predictor.threshold)

    def take(self, n: int) -> Sample:
        """Return some of the customers, spread evenly over the rows."""
        if n >= len(self):
            return self
        rows = np.unique(np.linspace(0, len(self) - 1, n).astype(np.int64))
        parts = {
            name: None if (part := getattr(self, name)) is None else part[rows] for name in ("label", "value", "names")
        }
        if parts["names"] is not None:
            parts["names"] = np.unique(parts["names"], return_inverse=True)[1]
        same = {name: getattr(self, name) for name in ("explainer", "speaker", "target", "campaign", "seed")}
        return Sample(customers=self.customers.take(rows), **parts, **same)

    def draws(self, replicates: int) -> Floats:
        """Return how often each row is drawn when customers are drawn again, ``(replicates, n)``."""
        strata = np.zeros(len(self), dtype=np.int64) if self.label is None else self.label
        return np.concatenate(list(resampled(strata, self.names, replicates=replicates, seed=self.seed)))


def interval(drawn: Floats) -> tuple[float, float]:
    """Return the 95 % interval of ``(r,)`` replicates, by their percentiles."""
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return low, high


__all__ = ["HIDDEN", "Sample", "interval"]
