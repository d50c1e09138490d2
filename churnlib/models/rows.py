"""The check that every network makes of its input."""

from __future__ import annotations

import torch
from torch import Tensor


def check_rows(x: Tensor, in_features: int) -> None:
    """Refuse what is not ``(batch, in_features)``; a graph that is being traced holds no check.

    >>> check_rows(torch.zeros(2, 4), 3)
    Traceback (most recent call last):
    ValueError: expected rows of shape (batch, 3), got (2, 4)

    Raises:
        ValueError: If the shape is another one.
    """
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if not tracing and (x.ndim != 2 or x.shape[1] != in_features):
        raise ValueError(f"expected rows of shape (batch, {in_features}), got {tuple(x.shape)}")
