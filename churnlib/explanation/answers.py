"""What a model answers for rows as it reads them: the log-odds that effects add up to, and the probability."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from churnlib.calibration import UNCALIBRATED, Platt, Temperature, additive
from churnlib.data.preparation import Encoded
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.explanation.mixing import Mixer
from churnlib.predictor import Predictor
from churnlib.survival import HazardCurve


class Answers:
    """Asks a model for the answers that are explained.

    Args:
        predictor: The model.
        horizon: Of a model that says when customers leave: the time ahead that is asked about, the bundle's own when
            None.
        from_start: Of such a model with time from the start of the relationship: count the horizon from there, and not
            from now, given how long customers have stayed.

    Raises:
        ConfigError: If the model cannot speak of such a horizon.
    """

    def __init__(self, predictor: Predictor, *, horizon: float | None = None, from_start: bool = False) -> None:
        self.predictor = predictor
        self.curve = _at_horizon(predictor, horizon)
        elapsed = None if self.curve is None or from_start else self.curve.elapsed
        self.mixer = Mixer(predictor.schema, predictor.bundle.preparation, elapsed)

    @property
    def horizon(self) -> float | None:
        """The time ahead; None of a model that says only whether customers leave."""
        return None if self.curve is None else self.curve.horizon

    @cached_property
    def straight(self) -> Temperature | Platt:
        """What brings a sum of logits to calibrated log-odds; where calibration bends them, they stay the model's."""
        calibration = self.predictor.bundle.calibration
        return UNCALIBRATED if self.curve is not None else additive(calibration) or UNCALIBRATED

    def logits(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return calibrated logits (the model's own where calibration bends them), ``(n,)`` or ``(n, n_classes)``.

        Of a model that says when customers leave, the log-odds of leaving within the horizon.
        """
        logits, elapsed = self._asked(encoded)
        if self.curve is not None:
            return self.curve.log_odds(logits, elapsed)
        return self.straight.log_odds(logits)

    def probabilities(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return what the model answers for rows, as scoring does, ``(n,)`` or ``(n, n_classes)``."""
        logits, elapsed = self._asked(encoded)
        return self.predictor.calibrated(logits, elapsed, horizon=self.horizon)

    def _asked(self, encoded: Encoded) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the model's logits, and how long customers have been there, where that matters."""
        rows, elapsed = self.mixer.read_by_model(encoded)
        model, n = self.predictor.bundle.model, evaluation_rows(len(self.mixer.owner))
        parts = [
            model.logits(rows.numeric[start : start + n], rows.codes[start : start + n])
            for start in range(0, max(1, len(rows)), n)
        ]
        return np.concatenate(parts), elapsed


def log_odds(logits: np.ndarray, target: np.ndarray | None) -> NDArray[np.float64]:
    """Return the log-odds of a class against the others, ``(n,)``; of two classes the logits are that already."""
    if logits.ndim == 1:
        return logits
    assert target is not None
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, target] = -np.inf
    return logits[rows, target] - np.logaddexp.reduce(others, axis=1)


def of_rows(target: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the explained classes of some rows; None for two classes."""
    return None if target is None else target[rows]


def _at_horizon(predictor: Predictor, horizon: float | None) -> HazardCurve | None:
    """Return what the hazards of a model mean, at a horizon; None of one that says only whether customers leave."""
    curve = predictor.bundle.hazards
    return curve if horizon is None else replace(predictor.hazards("horizon"), horizon=predictor.check_horizon(horizon))


__all__ = ["Answers", "log_odds", "of_rows"]
