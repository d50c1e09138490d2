"""What validation rows decide after training: the probabilities' calibration and the decision's threshold."""

from __future__ import annotations

import dataclasses

import numpy as np

from churnlib.calibration import Calibration, Temperature
from churnlib.config import ThresholdConfig
from churnlib.evaluation.calibrators import cross_fitted, fit_calibration
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.thresholds import choose_threshold


def calibrate(
    logits: np.ndarray, label: np.ndarray, threshold: ThresholdConfig, calibration: str, campaign: Campaign
) -> tuple[Calibration, float | None]:
    """Return the calibration and the decision threshold that validation rows suggest.

    A calibration that bends to its rows would flatter them: the threshold is chosen on what each row's probability is
    by the other rows (:func:`churnlib.evaluation.calibrators.cross_fitted`).

    Args:
        logits: ``(n,)`` or ``(n, n_classes)`` of the validation rows.
        label: ``(n,)`` int64.
        threshold: How to choose the threshold.
        calibration: Name of the method.
        campaign: What it costs and brings, for ``threshold=profit``.
    """
    fitted = fit_calibration(logits, label, method=calibration)
    if logits.ndim == 2:
        return fitted, None
    probability = held_out_probability(logits, label, fitted)
    chosen = choose_threshold(label, probability, campaign=campaign, **dataclasses.asdict(threshold))
    return fitted, chosen


def held_out_probability(logits: np.ndarray, label: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return calibrated probabilities of the very rows that a calibration was fitted on, as if it had not seen them.

    Args:
        logits: ``(n,)`` or ``(n, n_classes)``.
        label: ``(n,)`` int64.
        calibration: What was fitted on them; a temperature hardly bends, and is applied as it is.
    """
    if isinstance(calibration, Temperature):
        return calibration.probabilities(logits)
    return cross_fitted(logits, label, method=calibration.method)
