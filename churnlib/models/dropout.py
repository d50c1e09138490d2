"""Dropout whose random numbers cost little on a processor.

PyTorch draws a number of its own for every unit; on a processor that takes longer than the matrix products of a small
network. Sixteen bits are enough to say whether a unit is dropped, and four such decisions come out of one draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 2**16
"""Probabilities are multiples of 1 / LEVELS: 0.1 becomes 0.10001."""


class Dropout(nn.Module):
    """In training, sets each unit to zero with probability ``p`` and scales the others so that the mean stays.

    Elsewhere than on a processor, and in compiled code, it is :func:`torch.nn.functional.dropout`.

    Args:
        p: Probability, in [0, 1).

    Shape:
        Any floating tensor to one of the same shape.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {p}; 0 is for none")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return the units that stay, scaled, and zeros."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        return x * kept(x, self.p)

    def extra_repr(self) -> str:  # noqa: D102
        return f"p={self.p}"


class MemberDropout(nn.Module):
    """Dropout of stacked members: each drops with its own probability, by the random numbers it would draw alone.

    Args:
        probabilities: Of each member, in [0, 1).
        generators: Of each member, for a processor; elsewhere PyTorch's own of the device is used.

    Shape:
        ``(members, columns, rows)`` to the same shape.
    """

    def __init__(self, probabilities: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._settle(probabilities, generators)

    def _settle(self, probabilities: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        self.probabilities, self.generators = list(probabilities), list(generators)
        dropped = [min(round(p * LEVELS), LEVELS - 1) for p in probabilities]
        self._least = torch.tensor([one - LEVELS // 2 for one in dropped], dtype=torch.int16)[:, None]
        self._scale = torch.tensor([LEVELS / (LEVELS - one) for one in dropped])[:, None, None]

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the members at these places alone."""
        self._settle([self.probabilities[place] for place in places], [self.generators[place] for place in places])

    def forward(self, x: Tensor) -> Tensor:
        """Return the units that stay, scaled, and zeros."""
        if not self.training or not any(self.probabilities):
            return x
        if x.device.type != "cpu":
            p = x.new_tensor(self.probabilities)[:, None, None]
            return x * ((torch.rand_like(x) >= p) / (1 - p))
        _, columns, rows = x.shape
        draws = torch.empty(len(x), -(-columns * rows // 4), dtype=torch.int64)
        for own, p, generator in zip(draws, self.probabilities, self.generators, strict=True):
            if p:
                own.random_(-(2**63), None, generator=generator)
        stays = draws.view(torch.int16)[:, : columns * rows] >= self._least
        # A member alone has its rows in front of its columns.
        stays = stays.view(torch.uint8).view(len(x), rows, columns).transpose(1, 2).contiguous().to(x.dtype)
        return x * stays.mul_(self._scale)

    def extra_repr(self) -> str:  # noqa: D102
        return f"probabilities={self.probabilities}"


def kept(x: Tensor, p: float) -> Tensor:
    """Return a tensor like ``x``, on the processor: 0 where a unit is dropped, else 1 by the share of those that stay.

    Args:
        x: Of which only shape and dtype count.
        p: Probability of dropping, in [0, 1); rounded to a multiple of ``1 / LEVELS``.
    """
    dropped = min(round(p * LEVELS), LEVELS - 1)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    stays = draws.view(torch.int16)[: x.numel()] >= dropped - LEVELS // 2
    # By way of bytes: from truth values PyTorch converts several times slower.
    return stays.view(torch.uint8).to(x.dtype).mul_(LEVELS / (LEVELS - dropped)).view(x.shape)
