"""What validation rows decide after training: the probabilities' temperature and the decision's threshold."""

from __future__ import annotations

import numpy as np

from churnlib.config import ThresholdConfig
from churnlib.decision import probability_from_logits
from churnlib.evaluation.calibration import fit_temperature
from churnlib.evaluation.thresholds import choose_threshold


def calibrate(
    logits: np.ndarray, label: np.ndarray, threshold: ThresholdConfig, calibration: str
) -> tuple[float, float | None]:
    """Return the temperature and the decision threshold that validation rows suggest.

    Args:
        logits: ``(n,)`` or ``(n, n_classes)`` of the validation rows.
        label: ``(n,)`` int64.
        threshold: How to choose the threshold.
        calibration: ``temperature`` or ``none``.
    """
    temperature = fit_temperature(logits, label) if calibration == "temperature" else 1.0
    if logits.ndim == 2:
        return temperature, None
    return temperature, _choose(label, probability_from_logits(logits, temperature), threshold)


def _choose(label: np.ndarray, probability: np.ndarray, threshold: ThresholdConfig) -> float:
    return choose_threshold(
        label,
        probability,
        rule=threshold.rule,
        value=threshold.value,
        cost_false_positive=threshold.cost_false_positive,
        cost_false_negative=threshold.cost_false_negative,
    )
