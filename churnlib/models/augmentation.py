"""Altered copies of the training rows instead of the rows themselves: mixup, noise, swapped and hidden columns.

Drawn anew for each batch, from PyTorch's global generators, whose state the checkpoints hold. Validation rows, and the
rows that a model is asked about, are never altered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from churnlib.models.input_layer import InputLayer


@dataclass(frozen=True)
class Augmentation:
    """How training rows are altered; with all zeros not at all.

    Args:
        mixup: ``a`` of the Beta(a, a) distribution from which each batch draws the share of the row itself; the rest is
            another row of the batch, in the inputs and in the label (Zhang et al. 2018, arXiv 1710.09412). 0 for none.
        noise: Standard deviation of what is added to each number, in units of the scaled input.
        swap: Probability, in [0, 1), that a column's value is that of another row of the batch (Bahri et al. 2022,
            arXiv 2106.15147).
        hide: Probability, in [0, 1), that all inputs of a column are 0, which for a number is about its median.
    """

    mixup: float = 0.0
    noise: float = 0.0
    swap: float = 0.0
    hide: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)!r}")
        for name in ("swap", "hide"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)!r}")

    def __bool__(self) -> bool:
        return any((self.mixup, self.noise, self.swap, self.hide))

    def swap_columns(self, numeric: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the raw rows with some values taken from other rows; ``(batch, columns)`` each, missing ones too."""
        if not self.swap:
            return numeric, codes
        return _swapped(numeric, self.swap), _swapped(codes, self.swap)

    def draw(self, n_rows: int, device: torch.device) -> Mix:
        """Draw how the rows of a batch are mixed, and with which."""
        if not self.mixup:
            return Mix(self, 1.0, torch.empty(0, dtype=torch.int64))
        # On the host: the share multiplies the loss, and nothing has to wait for it.
        a = torch.tensor(self.mixup, dtype=torch.float64)
        share = float(torch.distributions.Beta(a, a).sample())
        return Mix(self, share, torch.randperm(n_rows, device=device))


@dataclass(frozen=True)
class Mix:
    """One batch's alterations of the body's inputs.

    Attributes:
        augmentation: The options.
        share: Of a row itself, in [0, 1].
        partner: ``(batch,)`` int64 row that each is mixed with; empty without mixup.
    """

    augmentation: Augmentation
    share: float
    partner: Tensor

    def __call__(self, x: Tensor, inputs: InputLayer) -> Tensor:
        """Alter ``(batch, out_features)`` outputs of the input layer."""
        options = self.augmentation
        if options.noise:
            noise = torch.randn_like(x[:, : inputs.n_numeric]) * options.noise
            x = torch.cat([x[:, : inputs.n_numeric] + noise, x[:, inputs.n_numeric :]], dim=1)
        if options.hide:
            groups = torch.as_tensor(inputs.groups, device=x.device)
            n_columns = inputs.n_numeric + inputs.n_categorical
            x = x * (torch.rand(len(x), n_columns, device=x.device) >= options.hide)[:, groups]
        return x if len(self.partner) == 0 else self.share * x + (1 - self.share) * x[self.partner]


def _swapped(values: Tensor, probability: float) -> Tensor:
    """Take each cell from a random row with some probability; which row is drawn for each cell."""
    other = torch.randint(len(values), values.shape, device=values.device)
    chosen = torch.rand(values.shape, device=values.device) < probability
    return torch.where(chosen, values.gather(0, other), values)
