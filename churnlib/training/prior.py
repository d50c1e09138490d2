"""Bringing a model that learned from made-up or chosen rows back to the share of churners that there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.evaluation.calibration import MIN_ROWS_PER_CLASS
from churnlib.logistic import fit_platt
from churnlib.models.baselines.baseline import FittedBaseline, Head
from churnlib.models.fitted import FittedModel
from churnlib.models.network_model import NetworkModel
from churnlib.training.fitted import Fit, held_out

CHANGES_CUSTOMERS = ("smote", "smotenc", "adasyn", "nearmiss")
"""Methods after which a class's rows are no longer a draw of its customers."""


def settle_prior(config: TrainConfig, fit: Fit, customers: Customers) -> Fit:
    """Return the fit with a model whose log-odds are shifted to what validation rows say.

    Where each class's rows are a draw of its customers, the shift is known beforehand and has been applied. After the
    other methods it is only a first guess, and dividing by a temperature cannot mend it: an intercept is fitted, beside
    a slope that is left to the temperature.

    Args:
        config: The run's options.
        fit: What was fitted.
        customers: Its rows.
    """
    label = customers.labels("validation")
    enough = np.count_nonzero(np.bincount(label) >= MIN_ROWS_PER_CLASS) >= 2
    if config.resample.name not in CHANGES_CUSTOMERS or config.calibration == "none" or not enough:
        return fit
    slope, shift = fit_platt(held_out(fit.model, customers).logits, label)
    if slope <= 0:  # the scores say nothing; there is no scale on which to shift them
        return fit
    return replace(fit, model=shifted(fit.model, [value / slope for value in shift]))


def shifted(model: FittedModel, shift: list[float]) -> FittedModel:
    """Return a network or a baseline with something added to its logits: one number for two classes, else one each."""
    if isinstance(model, NetworkModel):
        with torch.no_grad():
            model.network.offset.sub_(torch.tensor(shift, dtype=torch.float32))  # type: ignore[operator]
        return model
    assert isinstance(model, FittedBaseline)
    added = tuple(float(a + b) for a, b in zip(model.head.shift, shift, strict=True))
    return replace(model, head=Head(model.head.slope, added))
