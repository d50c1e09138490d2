"""What training minimises, one value per row: cross-entropy, focal, logit-adjusted, and weighted by customer value.

The pure functions come first; :class:`TrainingLoss` holds one of them together with the numbers that it takes from the
training rows, and :func:`training_loss` builds it from a name and options.

All of them learn *log-odds*: whatever a loss does to the classes' balance is known beforehand and taken off again
(``TrainingLoss.offset``, which the network subtracts outside training), so a probability means the share of churners
among customers like this one, whatever was minimised.

    B, C    rows, classes
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.weights import class_weights

LOSSES = ("bce", "focal", "logit_adjusted", "cost_sensitive")

OPTIONS: dict[str, dict[str, Any]] = {
    "bce": {"pos_weight": None},
    "focal": {"gamma": 2.0, "alpha": None},
    "logit_adjusted": {"tau": 1.0},
    "cost_sensitive": {"pos_weight": None},
}
"""Each loss's options and what they are when nobody says."""


# --- pure functions -------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return the negative log-likelihood of each row.

    >>> cross_entropy(torch.tensor([0.0, 2.0]), torch.tensor([1, 1]))
    tensor([0.6931, 0.1269])
    >>> cross_entropy(torch.tensor([0.0, 2.0]), torch.tensor([0.5, 0.9]))  # 0.9 * 0.1269 + 0.1 * 2.1269
    tensor([0.6931, 0.3269])

    Args:
        logits: ``(B,)`` log-odds of class 1, or ``(B, C)`` one per class; any floating dtype, computed in float32 or
            wider.
        label: ``(B,)`` int64; or, of rows whose class is known by its probabilities alone, as many floats as logits.

    Returns:
        ``(B,)`` float32 (float64 for float64).
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.ndim == 2:
        return F.cross_entropy(logits, label, reduction="none")
    return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype), reduction="none")


def focal(logits: Tensor, label: Tensor, *, gamma: float) -> Tensor:
    """Return the focal loss of each row, ``-(1 - p) ** gamma * log p`` with p the probability of the row's class.

    Lin et al. 2017 (arXiv 1708.02002, equation 4), but on logits divided by :func:`focal_slope`: the focal loss is no
    proper score, its best logits are log-odds shrunk towards 0, and the division undoes that. What is left of the
    distortion is at most 0.0022 in a probability, which only two classes allow: with three it would be 0.1.

    >>> focal(torch.tensor([0.0]), torch.tensor([1]), gamma=2.0)  # (1 - 1/2) ** 2 * log 2
    tensor([0.1733])

    Args:
        logits: ``(B,)``, any floating dtype.
        label: ``(B,)`` int64.
        gamma: At least 0, where it is the cross-entropy; the larger, the less do rows count that are predicted well.

    Returns:
        ``(B,)`` float32 (float64 for float64).
    """
    loss = cross_entropy(logits / focal_slope(gamma), label)
    # 1 - p, with all digits near p = 1; above 0, where the power has no slope for gamma < 1.
    missed = (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny)
    return missed**gamma * loss


def focal_slope(gamma: float) -> float:
    """Return by how much the log-odds exceed the logits that minimise the plain focal loss, near even odds.

    With q the minimiser and ``phi(q) = (1 - q)^gamma - gamma (1 - q)^(gamma - 1) q log q``, the class's probability is
    proportional to ``q / phi(q)`` (Charoenphakdee et al. 2021, arXiv 2011.09172). On log-odds that is nearly a straight
    line; this is its slope at q = 1/2.

    >>> [round(focal_slope(gamma), 3) for gamma in (0, 1, 2)]
    [1.0, 1.772, 2.676]
    """
    log2 = math.log(2)
    return 1 + gamma * (2 - (2 - gamma) * log2) / (1 + gamma * log2)


# --- with what the training rows say --------------------------------------------------------------------------------


class TrainingLoss(nn.Module):
    """A loss with its class weights and shifts, on the device.

    Args:
        name: One of :data:`LOSSES`.
        weights: ``(C,)`` weight of each class.
        shift: ``(C,)`` added to the logits in training.
        gamma: Of the focal loss.
        ratios: ``(C,)`` how often each class is seen for each time that it comes among customers.

    Attributes:
        offset: ``(out_features,)`` to subtract from the trained logits, so that they are log-odds: the logarithm of the
            weights and of the ratios, and minus the shifts.
        is_plain: Whether it is the cross-entropy itself, comparable with a log loss on other rows.
    """

    weights: Tensor
    shift: Tensor
    rarity: Tensor

    def __init__(
        self,
        name: str,
        *,
        weights: Sequence[float],
        shift: Sequence[float] | None = None,
        gamma: float = 0.0,
        ratios: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        shift = [0.0] * len(weights) if shift is None else shift
        ratios = [1.0] * len(weights) if ratios is None else ratios
        self.name = name
        self.gamma = gamma
        self.register_buffer("weights", torch.tensor(list(weights), dtype=torch.float32), persistent=False)
        self.register_buffer("shift", _of_logits(shift), persistent=False)
        self._weighted = len(set(weights)) > 1
        self._shifted = any(shift)
        self._resampled = len(set(ratios)) > 1
        self.register_buffer("rarity", torch.tensor([1 / r for r in ratios], dtype=torch.float32), persistent=False)
        self.is_plain = name == "bce" and not self._weighted and not self._resampled
        self._is_even = not self._weighted and not self._shifted and not self._resampled
        seen = [math.log(weight * ratio) for weight, ratio in zip(weights, ratios, strict=True)]
        self.offset: list[float] = (_of_logits(seen) - _of_logits(shift)).tolist()

    def log_odds(self, logits: Tensor) -> Tensor:
        """Return logits as trained, of a shape that :func:`cross_entropy` takes, without the offset."""
        return logits if self._is_even else logits - logits.new_tensor(self.offset)

    def log_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the log loss of each row, ``(B,)``, with a mean as of the customers before any resampling.

        Args:
            logits: As trained, of a shape that :func:`cross_entropy` takes.
            label: ``(B,)`` int64.
        """
        rows = cross_entropy(self.log_odds(logits), label)
        if not self._resampled:
            return rows
        weight = self.rarity[label]
        return rows * (weight / weight.mean())

    def held_out(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the log loss of each row, ``(B,)``, for log-odds."""
        return cross_entropy(logits, label)

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss of each row, ``(B,)``; logits and labels as in :func:`cross_entropy`."""
        if self._shifted:
            logits = logits + self.shift
        loss = focal(logits, label, gamma=self.gamma) if self.name == "focal" else cross_entropy(logits, label)
        return loss * self.weights[label] if self._weighted else loss


def _of_logits(values: Sequence[float]) -> Tensor:
    """One value per logit from one per class: two classes have one logit, the second's distance from the first."""
    tensor = torch.tensor(list(values), dtype=torch.float32)
    return tensor[1:] - tensor[:1] if len(tensor) == 2 else tensor


def loss_spec(loss: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the name and every option of a loss, as plain values.

    >>> loss_spec({"name": "focal", "gamma": 1.0})
    {'name': 'focal', 'gamma': 1.0, 'alpha': None}

    Raises:
        ValueError: If the name or an option is not known, or an option is outside its range.
    """
    given = {"name": loss} if isinstance(loss, str) else dict(loss)
    name = given.pop("name", None)
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, or a mapping with such a name, got {name!r}")
    unknown = sorted(set(given) - set(OPTIONS[name]))
    if unknown:
        raise ValueError(f"the loss {name} takes {', '.join(OPTIONS[name])}, got {', '.join(unknown)}")
    spec = {"name": name, **OPTIONS[name], **given}
    if not spec.get("gamma", 0) >= 0:
        raise ValueError(f"gamma must be at least 0, got {spec['gamma']!r}")
    if spec.get("alpha") is not None and not 0 < spec["alpha"] < 1:
        raise ValueError(f"alpha must be in (0, 1) or None, got {spec['alpha']!r}")
    if "pos_weight" in spec:
        class_weights(spec["pos_weight"], np.ones(2))
    return spec


def training_loss(
    spec: Mapping[str, Any], class_counts: Sequence[int] | np.ndarray, ratios: Sequence[float] | None = None
) -> TrainingLoss:
    """Build a loss for training rows with these classes.

    Args:
        spec: What :func:`loss_spec` returned.
        class_counts: ``(C,)`` training rows of each class, as they are learned from.
        ratios: ``(C,)`` how often each class is seen for each time that it comes among customers; ones when None.

    Raises:
        ValueError: If an option does not go with the classes.
    """
    counts = np.asarray(class_counts)
    name, n_classes = spec["name"], len(counts)
    if name == "focal":
        if n_classes > 2:
            raise ValueError(
                f"the loss focal is for two classes, not {n_classes}: the probabilities of more would be wrong "
                "whatever the calibration; choose logit_adjusted, or bce with pos_weight=balanced"
            )
        alpha = spec["alpha"]
        return TrainingLoss(
            name, weights=[1.0, 1.0] if alpha is None else [1 - alpha, alpha], gamma=spec["gamma"], ratios=ratios
        )
    if name == "logit_adjusted":
        # Menon et al. 2021 (arXiv 2007.07314, equation 10): what the logits need not say is how rare a class is.
        if spec["tau"] and not all(counts):
            raise ValueError(f"the loss logit_adjusted needs rows of each class, got the counts {counts.tolist()}")
        shift = [spec["tau"] * math.log(count / counts.sum()) if spec["tau"] else 0.0 for count in counts]
        return TrainingLoss(name, weights=[1.0] * n_classes, shift=shift, ratios=ratios)
    weights = class_weights(spec["pos_weight"], counts)
    if n_classes > 2 and len(set(weights)) > 1:
        # As much loss in all as without weights: the step size and the penalties keep their meaning.
        mean = float(np.dot(weights, counts) / counts.sum())
        weights = [weight / mean for weight in weights]
    return TrainingLoss(name, weights=weights, ratios=ratios)


# --- how much a customer counts -------------------------------------------------------------------------------------

SMALLEST, LARGEST = 0.1, 10.0
"""Weights of single customers, as multiples of the average: nobody is worth nothing, and nobody decides alone."""


def value_weights(value: np.ndarray) -> np.ndarray:
    """Return how much each training row counts in the loss, by what the customer is worth.

    A churner and a stayer of the same value weigh the same, so at any value the share of churners stays what it is and
    probabilities stay honest; the network only takes more care where there is more to lose. A missing value is the
    median; values are cut off at the 99 % quantile and weights at 0.1 and 10 times the average.

    >>> value_weights(np.array([10.0, 30.0, np.nan, 20.0])).round(2)
    array([0.5, 1.5, 1. , 1. ], dtype=float32)

    Args:
        value: ``(n,)`` of the training rows, NaN for missing; negative ones count as 0.

    Returns:
        ``(n,)`` float32 with a mean of 1.

    Raises:
        ValueError: If no value is above 0.
    """
    known = value[np.isfinite(value)]
    if not (known > 0).any():
        raise ValueError("no training row has a value above 0")
    value = np.where(np.isfinite(value), value, np.median(known)).clip(0, np.quantile(known, 0.99, method="higher"))
    if not value.any():  # one customer in a hundred, or fewer, is worth something
        raise ValueError("more than 99 % of the training rows have no value above 0")
    weight = (value / value.mean()).clip(SMALLEST, LARGEST)
    return (weight / weight.mean()).astype(np.float32)
