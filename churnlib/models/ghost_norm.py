"""Ghost batch normalisation: batch normalisation over small groups of rows (Hoffer et al. 2017, arXiv 1705.08741).

The usual code cuts the batch into chunks, normalises them in a loop and joins the results, so the number of operators
grows with the batch. Here activations lie feature-major, shape ``(C, B)``: then the rows of one group are neighbours in
memory, ``(C, B)`` *is* ``(1, C * G, B / G)`` without a copy, and one native call normalises every channel of every
group: group normalisation, each of the ``C * G`` its own group, which on a CPU takes two thirds of the time of the
native batch normalisation of the same tensor and hands back the statistics.

    C, B, G     channels, rows of the batch, groups
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def momentum_from_tensorflow(batch_momentum: float) -> float:
    """Converts TensorFlow's momentum (share of the old value kept) into PyTorch's (share of the new one taken).

    Papers that used TensorFlow, TabNet's among them, print the former.

    Example:
        >>> momentum_from_tensorflow(0.75)
        0.25
    """
    return round(1.0 - batch_momentum, 12)


def split_rows(n_rows: int, virtual_batch_size: int | None) -> list[tuple[int, int]]:
    """Says into which groups a batch is cut: as many as fit, as equal as can be (the rule of ``torch.tensor_split``).

    A batch of ``G = max(1, n_rows // virtual_batch_size)`` groups. So no group is smaller than ``virtual_batch_size``
    (unless the whole batch is) nor twice as large, there are at most two sizes that differ by one row, and a batch that
    divides evenly has one size. Nothing is dropped or padded.

    Returns:
        One or two pairs ``(number of groups, rows in each)``, in the order of the rows.

    Example:
        >>> split_rows(1024, 128), split_rows(1000, 128), split_rows(100, 128)
        ([(8, 128)], [(6, 143), (1, 142)], [(1, 100)])
    """
    groups = 1 if virtual_batch_size is None else max(1, n_rows // virtual_batch_size)
    size, longer = divmod(n_rows, groups)
    parts = [(longer, size + 1), (groups - longer, size)]
    return [part for part in parts if part[0] > 0]


class GhostBatchNorm(nn.Module):
    """Batch normalisation of feature-major activations, each group of rows by its own mean and variance.

    Training normalises the groups of `split_rows` and moves the running statistics once for each group, in order,
    exactly as a loop over the groups would. A training batch of one row has no variance: it is normalised by the
    running statistics, which stay as they are. Evaluation uses the running statistics, so rows do not see each other.
    Statistics are float32 (float64 for a double network) whatever the precision of the activations.

    Args:
        num_features: Channels ``C``.
        virtual_batch_size: Rows in a group, at least 2; ``None`` takes the whole batch (ordinary batch normalisation).
        momentum: Share of the new statistics in the running ones, PyTorch's convention; a group counts as one update.
            Papers in TensorFlow's convention: see `momentum_from_tensorflow`.
        eps: Added to the variance.
        n_members: Blocks of rows that come side by side, ``(C, n_members * B)``; each is normalised as a batch of its
            own, with statistics, scale and shift of its own (see `churnlib.models.members`).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        virtual_batch_size: int | None = 128,
        momentum: float = 0.02,
        eps: float = 1e-5,
        n_members: int = 1,
    ) -> None:
        super().__init__()
        if virtual_batch_size is not None and virtual_batch_size < 2:
            raise ValueError(
                f"virtual_batch_size must be at least 2 (one row has no variance), got {virtual_batch_size}; "
                "use None for ordinary batch normalisation"
            )
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}; it is the share of the new statistics")
        # A member's channel is a channel like any other: (C, M * B) is (C * M, B) without a copy.
        self.num_features = channels = num_features * n_members
        self.n_members = n_members
        self.virtual_batch_size = virtual_batch_size
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self._update_weights = torch.empty(0)  # of the last number of groups seen; a cache, no state

    def forward(self, x: Tensor) -> Tensor:
        """Normalises ``x``, (C, n_members * B), any floating dtype; returns that shape in the parameters' precision."""
        x = x.to(self.weight.dtype)
        if self.n_members == 1:
            return self._normalise(x)
        return self._normalise(x.reshape(self.num_features, x.shape[1] // self.n_members)).view(x.shape)

    def _normalise(self, x: Tensor) -> Tensor:
        if not self.training or x.shape[1] == 1:
            return self._by_running_statistics(x)
        parts = split_rows(x.shape[1], self.virtual_batch_size)
        if len(parts) == 1:
            return self._by_group(x, parts[0][0])
        (head_groups, size), (tail_groups, _) = parts
        head, tail = x.tensor_split([head_groups * size], dim=1)
        return torch.cat([self._by_group(head, head_groups), self._by_group(tail, tail_groups)], dim=1)

    def _by_running_statistics(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x[None], mean, var, self.weight, self.bias, training=False, eps=self.eps)[0]

    def _by_group(self, x: Tensor, groups: int) -> Tensor:
        """Normalises ``groups`` groups of equal size and moves the running statistics."""
        channels, size = self.num_features * groups, x.shape[1] // groups
        y, mean, inverse_std = torch.native_group_norm(
            x.contiguous().view(1, channels, size),
            self.weight.repeat_interleave(groups),
            self.bias.repeat_interleave(groups),
            1,
            channels,
            size,
            channels,
            self.eps,
        )
        self._move_running_statistics(mean.view(-1, groups), inverse_std.view(-1, groups), size)
        return y.view(x.shape)

    @torch.no_grad()
    def _move_running_statistics(self, mean: Tensor, inverse_std: Tensor, size: int) -> None:
        """Applies ``old <- (1 - m) old + m new`` for each group in turn, unrolled; the statistics are (C, G)."""
        groups = mean.shape[1]
        weights = self._update_weights
        if weights.numel() != groups or weights.device != mean.device or weights.dtype != mean.dtype:
            power = torch.arange(groups - 1, -1, -1, device=mean.device, dtype=mean.dtype)
            weights = self._update_weights = self.momentum * (1.0 - self.momentum) ** power
        kept = (1.0 - self.momentum) ** groups
        unbiased = size / (size - 1)
        self.running_mean.addmv_(mean, weights, beta=kept)
        # The variance is 1 / inverse_std^2 - eps; the weights sum to 1 - kept.
        self.running_var.addmv_(inverse_std.pow(-2), weights, beta=kept, alpha=unbiased)
        self.running_var.sub_(self.eps * unbiased * (1.0 - kept))

    def extra_repr(self) -> str:  # noqa: D102
        options = f"virtual_batch_size={self.virtual_batch_size}, momentum={self.momentum}, eps={self.eps}"
        return f"{self.num_features}, {options}"
