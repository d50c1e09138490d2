"""How far probabilities, acceptance and measured effects may be off, and what that makes of an expected gain.

Each source of error is common to all customers (a calibration line that is too steep is too steep for everybody), so
that errors of a plan's total do not cancel out: gradients are added up before they are squared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.decision import probability_from_logits
from churnlib.evaluation.inputs import check_binary
from churnlib.evaluation.probabilities import calibration_line, log_odds

Floats = NDArray[np.float64]

Z = 1.959963984540054
"""Standard deviations of a 95 % interval."""

SHIFT, SLOPE, ACCEPTANCE = range(3)
"""Places of the parameters that every plan has: the calibration line, and the acceptance of ``money``."""


def calibration_error(label: ArrayLike, probability: ArrayLike) -> Floats | None:
    """Return how far the line ``log-odds = shift + slope * said log-odds`` may lie from (0, 1): ``(2, 2)``.

    The mean square error: the covariance of the line that is fitted to rows that no model learned from, and the square
    of what it is off. Beside pure chance it therefore covers a miscalibration that these rows show. None where they
    admit no line.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` that the model gave.
    """
    truth, score = check_binary(label, probability)
    line = calibration_line(truth, score)
    if line.intercept is None or line.slope is None:
        return None
    logits = log_odds(score)
    design = np.stack([np.ones_like(logits), logits], axis=1)
    rate = probability_from_logits(line.intercept + line.slope * logits)
    information = (design.T * (rate * (1.0 - rate))) @ design
    return _inverse(information, np.array([line.intercept, line.slope - 1.0]))


def _inverse(information: Floats, off: Floats) -> Floats | None:
    try:
        return np.linalg.inv(information) + np.outer(off, off)
    except np.linalg.LinAlgError:
        return None


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What is uncertain, and by how much.

    Attributes:
        covariance: ``(P, P)`` of the parameters: shift and slope of the calibration, the acceptance, and for each
            experiment shift and slope of its effects.
        covers: What the intervals cover, in sentences.
        experiments: First parameter of each experiment, by its folder.
    """

    covariance: Floats
    covers: tuple[str, ...]
    experiments: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        *,
        calibration: Floats | None,
        acceptance: tuple[float, float] | None,
        effects: dict[str, Floats | None],
        members: int = 0,
    ) -> Uncertainty:
        """Put together what is known.

        Args:
            calibration: What :func:`calibration_error` returned.
            acceptance: alpha and beta of the acceptance's distribution; None for a known acceptance.
            effects: Mean square error of each experiment's effect line, by its folder.
            members: Models of an ensemble whose differences count.
        """
        covariance = np.zeros((3 + 2 * len(effects),) * 2)
        covers = []
        if calibration is not None:
            covariance[:2, :2] = calibration
            covers.append("how far the model's probabilities are off, as the test rows show it")
        if acceptance is not None:
            alpha, beta = acceptance
            total = alpha + beta
            covariance[ACCEPTANCE, ACCEPTANCE] = alpha * beta / (total**2 * (total + 1.0))
            covers.append(f"the acceptance, which follows Beta({alpha:g}, {beta:g})")
        places = {}
        for number, (name, error) in enumerate(effects.items()):
            places[name] = 3 + 2 * number
            if error is not None:
                covariance[places[name] : places[name] + 2, places[name] : places[name] + 2] = error
                covers.append(f"how far the effects of {name} are off, as the rows of its experiment show it")
        if members > 1:
            covers.append(f"how far the {members} models of the ensemble differ about an offer")
        return cls(covariance, tuple(covers), places)

    def deviation(self, gradient: Floats, spread: Floats | float = 0.0) -> Floats:
        """Return the standard deviation of gains.

        Args:
            gradient: ``(P, ...)`` of each gain.
            spread: ``(...)`` standard deviation from the differences of an ensemble's models.
        """
        variance = np.einsum("p...,pq,q...->...", gradient, self.covariance, gradient)
        return np.sqrt(np.maximum(variance, 0.0) + np.square(spread))


def interval(value: Floats | float, deviation: Floats | float) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval."""
    return np.asarray(value - Z * np.asarray(deviation)), np.asarray(value + Z * np.asarray(deviation))


__all__ = ["ACCEPTANCE", "SHIFT", "SLOPE", "Uncertainty", "calibration_error", "interval"]
