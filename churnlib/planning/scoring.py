"""Each customer with each offer, scored in one pass through the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.data.values import column_numbers
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.models.ensemble import Ensemble
from churnlib.planning.economics import Answers
from churnlib.planning.levers import Levers, check_model
from churnlib.predictor import Predictor
from churnlib.reading import Reading

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OfferScorer:
    """Scores customers with their offers.

    Attributes:
        predictor: The model.
        levers: What can be offered.
        campaign: What a customer is worth and an offer costs where nothing else is said.
        column: Column that says what each customer is worth; None for the campaign's value for all.
        times: The column is multiplied by it.
        experiments: Models of measured effects by folder, see :mod:`churnlib.models.uplift`.
    """

    predictor: Predictor
    levers: Levers
    campaign: Campaign
    column: str | None = None
    times: float = 1.0
    experiments: Mapping[str, Predictor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_model(self.predictor)

    @property
    def members(self) -> int:
        """Models of an ensemble of equals, whose differences say how sure they are; 0 for other models."""
        ensemble = self._ensemble
        return 0 if ensemble is None else len(ensemble.members)

    @property
    def _ensemble(self) -> Ensemble | None:
        model = self.predictor.model
        if not isinstance(model, Ensemble) or (model.weights, model.shift) != ((1.0,), (0.0,)):
            return None
        return model if len(model.members) > 1 else None

    def answers(self, reading: Reading) -> Answers:
        """Return what is known of customers and their offers.

        Args:
            reading: The customers.
        """
        typed, good = reading.typed, ~reading.bad
        offers, n = self.levers.offers, len(reading)
        value = self._values(reading.frame)
        standard = self.campaign.offers(np.nan_to_num(value))
        cost = np.full((n, len(offers)), np.nan)
        taken, effect, spread = (np.full((n, len(offers)), np.nan) for _ in range(3))
        variants, places = [typed], []
        for place, offer in enumerate(offers):
            can, changed = self.levers.possible(offer, typed, self.predictor)
            own = offer.cost(typed, standard)
            can &= good & np.isfinite(own)
            cost[can, place] = own[can]
            if offer.changes:
                rows = np.flatnonzero(can)
                variants.append(changed[rows])
                places.append((place, rows))
        risk, members = self._score(pl.concat(variants))
        start = n
        for place, rows in places:
            stop = start + len(rows)
            taken[rows, place] = risk[start:stop]
            if members is not None:
                spread[rows, place] = (members[:, rows] - members[:, start:stop]).std(axis=0, ddof=1)
            start = stop
        alone = np.where(good, risk[:n], np.nan)
        for place, offer in enumerate(offers):
            can = np.isfinite(cost[:, place])
            if offer.saves is not None:
                taken[can, place] = alone[can] * (1.0 - offer.saves)
            elif offer.experiment is not None:
                effect[can, place] = self._effects(offer.experiment, reading.frame)[can]
        return Answers(alone, taken, effect, cost, value, np.nan_to_num(spread))

    def _values(self, frame: pl.DataFrame) -> Floats:
        """Return what each customer is worth; that of all where the column says nothing."""
        if self.column is None:
            return np.full(len(frame), self.campaign.value)
        values = column_numbers(frame, self.column, option="money.column") * self.times
        return np.where(np.isnan(values), self.campaign.value, values)

    def _score(self, typed: pl.DataFrame) -> tuple[Floats, Floats | None]:
        """Return the probability of each row, ``(m,)``, and that of each model of an ensemble, ``(M, m)``."""
        calibration, ensemble = self.predictor.bundle.calibration, self._ensemble
        if ensemble is None:
            return calibration.probabilities(self.predictor.logits(typed)), None
        from churnlib.models.ensemble import mean_logits

        encoded = self.predictor.bundle.preparation.encode(typed)
        size = evaluation_rows(len(self.predictor.bundle.preparation.feature_names))
        parts = [
            np.stack(
                [
                    np.asarray(one.logits(encoded.numeric[i : i + size], encoded.codes[i : i + size]), dtype=np.float64)
                    for one in ensemble.members
                ]
            )
            for i in range(0, max(len(encoded), 1), size)
        ]
        logits = np.concatenate(parts, axis=1)
        each = np.stack([calibration.probabilities(one) for one in logits])
        return calibration.probabilities(mean_logits(list(logits))), each

    def _effects(self, experiment: str, frame: pl.DataFrame) -> Floats:
        return self.experiments[experiment].effects(frame)


__all__ = ["OfferScorer"]
