"""What a report is made from: the test rows, what was said of them, and what is known of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from churnlib.decision import decide
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.predictor import Predictor
from churnlib.schema import Column, Kind, Role, Schema


@dataclass(frozen=True, eq=False)
class Followed:
    """Test rows of a model that says when customers leave, with those lost from sight before its horizon.

    All times count from the moment at which a row came under observation.

    Attributes:
        typed: The rows, with the types of the schema.
        duration: ``(n,)`` for how long each was followed, above 0.
        event: ``(n,)`` bool, whether the customer left then.
        times: ``(m,)`` ascending from 0.
        survival: ``(n, m)`` probability that the model gave of still being there.
        clock: What time counts from: ``start`` of the relationship, or ``snapshot``.
        given_entry: Whether rows came under observation later than ``clock``, and were judged on what came after it.
    """

    typed: pl.DataFrame
    duration: np.ndarray
    event: np.ndarray
    times: np.ndarray
    survival: np.ndarray
    clock: str
    given_entry: bool = False

    @property
    def since(self) -> str:
        """From when on the horizon counts, in words."""
        if self.given_entry:
            return "the day they came under observation"
        return "the start of the relationship" if self.clock == "start" else "the day the row was taken"


@dataclass(frozen=True, eq=False)
class Judged:
    """Test rows with their answers, and all that a report says of how these came about.

    Attributes:
        frame: The test rows, cells as they came; of a model that says when customers leave those of which it is known
            whether they left within its horizon, which is then what labels and probabilities are about.
        typed: The same rows with the types of the schema.
        label: ``(n,)`` int64 class of each row.
        probability: ``(n,)`` of leaving, or ``(n, k)`` of each class.
        ids: Names of the customers, or numbers of rows.
        predictor: The model.
        campaign: What contacting a customer costs and brings.
        value: ``(n,)`` what each customer is worth, where a column says so.
        currency: Of all amounts; None where they are assumptions that nobody has made his own.
        metrics: The contents of ``metrics.json``.
        table: What the customers' table is called.
        model: Name of the model's configuration.
        sides: Rows of each class on each side of the split.
        split_by: How the rows were dealt.
        config: Options of the run, as they were composed.
        leaks: The leak checks, where they were made.
        cleaning: What was left out of the table.
        provenance: Where the figures come from.
        wording: How reasons are spoken of.
        followed: All test rows of a model that says when customers leave.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    label: np.ndarray
    probability: np.ndarray
    ids: pl.Series
    predictor: Predictor
    campaign: Campaign
    metrics: Mapping[str, Any]
    table: str
    model: str
    sides: Mapping[str, Sequence[int]]
    split_by: str = "random"
    value: np.ndarray | None = None
    currency: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    leaks: Mapping[str, Any] | None = None
    cleaning: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] | None = None
    wording: Mapping[str, Any] | None = None
    followed: Followed | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def schema(self) -> Schema:
        """Columns and classes."""
        return self.predictor.schema

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return self.probability.ndim == 1

    @property
    def both_classes(self) -> bool:
        """Whether some of the rows left and some stayed."""
        return self.binary and 0 < int(self.label.sum()) < len(self)

    @property
    def stratified(self) -> bool:
        """Whether intervals take the churn rate as given: the test rows were dealt class by class.

        They are not where leaving within a horizon is meant.
        """
        return self.split_by == "random" and self.predictor.bundle.hazards is None

    @property
    def own_threshold(self) -> bool:
        """Whether each customer is selected from a probability of his own, by his value."""
        return self.predictor.bundle.own_threshold is not None

    def selected(self) -> np.ndarray:
        """Return whom the model selects, ``(n,)`` bool; of two classes only."""
        return decide(self.probability, self.predictor.thresholds(self.frame)) == 1

    def features(self) -> list[Column]:
        """Return the columns that a reader may be told of: read by the model, and not sensitive."""
        return [
            column
            for column in self.schema.columns
            if column.role is Role.feature and not column.sensitive and column.kind is not Kind.text
        ]


__all__ = ["Followed", "Judged"]
