"""From a margin to log-odds: Platt's scaling, for models whose scores are no probabilities."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from churnlib.models.baselines.baseline import Head


def fit_platt(scores: np.ndarray, label: np.ndarray) -> Head:
    """Find the slope and the shift for which ``slope * scores + shift`` has the lowest log loss.

    Platt 1999, "Probabilistic outputs for support vector machines"; for several classes one slope for all and a shift
    for each, through the softmax. A weak penalty on the slope keeps it finite where the rows are separated perfectly.

    Args:
        scores: ``(n,)`` or ``(n, n_classes)`` of rows that the model was not fitted on, finite.
        label: ``(n,)`` int64; each class comes at least once.

    >>> rng = np.random.default_rng(0)
    >>> margin = rng.normal(size=50_000)
    >>> label = (rng.random(50_000) < 1 / (1 + np.exp(1 - 2 * margin))).astype(int)
    >>> head = fit_platt(margin, label)
    >>> round(head.slope, 1), round(head.shift[0], 1)
    (2.0, -1.0)
    """
    z, y = torch.from_numpy(scores.astype(np.float64)), torch.from_numpy(label)
    spread = float(z.std()) or 1.0
    slope = torch.ones((), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(1 if z.ndim == 1 else z.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([slope, shift], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = slope * (z / spread) + shift
        fit = F.binary_cross_entropy_with_logits(logits, y.double()) if z.ndim == 1 else F.cross_entropy(logits, y)
        value = fit + (0.5 * slope.square() + 1e-3 * shift.square().sum()) / (100 * len(y))
        value.backward()
        return value

    optimizer.step(loss)
    return Head(float(slope.detach()) / spread, tuple(shift.detach().tolist()))
