"""What goes on inside a model for each customer: where it looks, what its sum is made of, what a treatment prevents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnlib.bundle import Bundle
from churnlib.calibration import additive
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.models.onnx.running import original
from churnlib.reading import Reading


@dataclass(frozen=True, slots=True)
class Masks:
    """Where a TabNet looked; see :meth:`churnlib.predictor.Predictor.masks` for what that is worth.

    Attributes:
        columns: Names of the raw columns, K of them.
        steps: ``(n_steps, n, K)`` float32; each row of each step sums to 1.
        importance: ``(n, K)`` float32, the steps weighted by their part in the decision; rows sum to 1.
    """

    columns: tuple[str, ...]
    steps: np.ndarray
    importance: np.ndarray


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each column adds to the log-odds of each customer; see :meth:`churnlib.predictor.Predictor.contributions`.

    Attributes:
        terms: Names of the columns, one each, and of the pairs that the model has, K in all.
        values: ``(n, K)`` float64, or ``(n, K, n_classes)``; 0 on average over the training rows.
        intercept: Log-odds where all values are 0, float64 of shape ``()``, or ``(n_classes,)``.
    """

    terms: tuple[tuple[str, ...], ...]
    values: np.ndarray
    intercept: np.ndarray


def masks_of(bundle: Bundle, reading: Reading) -> Masks:
    """Return where a TabNet looked.

    Raises:
        TypeError: If the model has no masks.
    """
    from churnlib.models.network_model import NetworkModel

    model = original(bundle.model)
    if not (isinstance(model, NetworkModel) and model.has_masks):
        raise TypeError(f"the model {bundle.name} has no masks; a TabNet has (model=tabnet)")
    parts = _by_batches(bundle, reading, model.masks)
    steps = np.concatenate([masks for masks, _ in parts], axis=1)
    importance = np.concatenate([aggregate for _, aggregate in parts])
    steps[:, reading.bad], importance[reading.bad] = np.nan, np.nan
    return Masks(bundle.preparation.feature_names, steps, importance)


def contributions_of(bundle: Bundle, reading: Reading) -> Contributions:
    """Return what an additive model's log-odds are the sum of.

    Raises:
        TypeError: If the model is no additive one, or its calibration leaves no sum a sum.
    """
    from churnlib.models.network_model import NetworkModel

    model = original(bundle.model)
    if not (isinstance(model, NetworkModel) and model.is_additive):
        raise TypeError(f"the model {bundle.name} is no sum over columns; a single additive one is (model=additive)")
    straight = additive(bundle.calibration)
    if straight is None:
        raise TypeError(
            f"calibration={bundle.calibration.method} bends log-odds, whose parts then have no sum; "
            "train with calibration=temperature or platt"
        )
    values = straight.terms(np.concatenate(_by_batches(bundle, reading, model.contributions)))
    intercept = straight.log_odds(model.intercept())
    values[reading.bad] = np.nan
    if len(bundle.schema.classes) == 2:
        values, intercept = values[:, :, 0], intercept[0]
    names = bundle.preparation.feature_names
    return Contributions(tuple(tuple(names[c] for c in term) for term in model.terms), values, intercept)


def effects_of(bundle: Bundle, reading: Reading) -> np.ndarray:
    """Return how much of each customer's probability of leaving a treatment would prevent, ``(n,)``.

    Raises:
        TypeError: If the model is no uplift model.
    """
    from churnlib.models.uplift import UpliftModel

    model = original(bundle.model)
    if not isinstance(model, UpliftModel):
        raise TypeError(f"the model {bundle.name} knows no treatment; churnlib uplift fits one that does")
    found = np.concatenate(_by_batches(bundle, reading, model.effects))
    found[reading.bad] = np.nan
    return found


def _by_batches(bundle: Bundle, reading: Reading, answer: Callable[[np.ndarray, np.ndarray], Any]) -> list[Any]:
    """Return what a network answers to numbers and codes, a batch after the other; one for a table without rows."""
    encoded = bundle.preparation.encode(reading.typed)
    size = evaluation_rows(len(bundle.preparation.feature_names))
    starts = range(0, max(1, len(encoded)), size)
    return [answer(encoded.numeric[start : start + size], encoded.codes[start : start + size]) for start in starts]


__all__ = ["Contributions", "Masks", "contributions_of", "effects_of", "masks_of"]
