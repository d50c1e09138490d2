"""Each number as the bins that lie below it: what curves of single columns are made of.

Bins are placed in the table's own units, between values that training customers have and at numbers with few digits, so
that a person can read "tenure from 12.5 on"; the network compares scaled values.

Shape letters: B rows, F numeric columns, K bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

UNREACHED = 1e30
"""Border of a bin that a column does not use: beyond every scaled value, which the input layer ends at 1e12."""


class Bins(nn.Module):
    """For each number and border of its column 1 from the border on and 0 below.

    A sum of these with a weight each is a staircase that is flat beyond the outermost borders.

    Args:
        n_features: Numeric columns, ``F``.
        n_bins: Bins of a column at most, at least 2.

    Attributes:
        edges: ``(F, K)`` float32 borders in the table's units, once :meth:`place` has seen training rows; NaN for those
            that a column does not use.

    Shape:
        ``(B, F)`` floating scaled values -> ``(B, F, K)`` of 0 and 1, ``K`` = ``n_bins - 1`` borders.
    """

    knots: Tensor
    edges: Tensor

    def __init__(self, n_features: int, *, n_bins: int) -> None:
        super().__init__()
        if n_bins < 2:
            raise ValueError(f"a number needs at least 2 bins, got {n_bins}")
        self.n_bins = n_bins
        # Until the training rows place them: equal bins of the clipped scale.
        knots = torch.linspace(-3.0, 3.0, n_bins + 1)[1:-1].repeat(n_features, 1)
        self.register_buffer("knots", knots)
        self.register_buffer("edges", torch.full_like(knots, math.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Return which borders the values have reached; see the class for shapes."""
        return (x.unsqueeze(-1) >= self.knots).to(x.dtype)

    @torch.no_grad()
    def place(self, numeric: Tensor, scale: Callable[[Tensor], Tensor]) -> None:
        """Place the borders so that each bin of a column holds about as many of these rows.

        A column with fewer values than bins (a count, say) gets a bin for each value; a constant one, none.

        Args:
            numeric: ``(n, F)`` float32 training rows in the table's units, missing values NaN.
            scale: From such numbers without gaps to scaled ones, column by column.
        """
        self.edges.fill_(math.nan)
        for column, values in enumerate(numeric.T.numpy()):
            found = borders_between(values[~np.isnan(values)], self.n_bins)
            self.edges[column, : len(found)] = torch.from_numpy(found)
        used = ~self.edges.isnan()
        # One row per border, because each column is scaled by its own numbers.
        knots = scale(self.edges.nan_to_num(0.0).T.contiguous()).T
        self.knots.copy_(torch.where(used, knots, UNREACHED))


def borders_between(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Return borders that cut values into bins with about as many each, none of them a value.

    >>> borders_between(np.array([1, 1, 2, 4], dtype=np.float32), 8).tolist()
    [1.5, 3.0]
    >>> borders_between(np.arange(100, dtype=np.float32), 4).tolist()
    [24.5, 49.5, 74.5]

    Args:
        values: ``(n,)`` float32 without gaps.
        n_bins: Bins at most.

    Returns:
        Increasing borders, at most ``n_bins - 1``, float32.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= n_bins:
        places = np.arange(1, len(distinct))
    else:
        below = np.concatenate([[0], np.cumsum(counts)[:-1]])  # rows below each distinct value
        wanted = len(values) * np.arange(1, n_bins) / n_bins
        places = np.unique(np.abs(below[:, None] - wanted).argmin(0))
        places = places[places > 0]
    return np.array([short_between(distinct[i - 1], distinct[i]) for i in places], dtype=np.float32)


def short_between(low: np.float32, high: np.float32) -> np.float32:
    """Return a number between two, near the middle, with as few digits as can be.

    >>> float(short_between(np.float32(12), np.float32(13))), float(short_between(np.float32(30.2), np.float32(79)))
    (12.5, 50.0)
    """
    # The middle as a mean of halves: the sum may lie beyond float32.
    middle, gap = float(low) / 2 + float(high) / 2, float(high) - float(low)
    digits = -math.floor(math.log10(gap)) - 1
    for more in range(9):
        candidate = np.float32(round(middle, digits + more))
        if low < candidate < high:
            return candidate
    return high  # neighbours among the float32 numbers
