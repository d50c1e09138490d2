"""Several multilayer perceptrons of one shape as one network: each layer has one more axis, that of the members.

A small network does not fill a processor: most of a training step is the calls, not the arithmetic. Folds of a
cross-validation, or one network from several seeds or with several learning rates, have layers of the same shapes, so
one batched product takes a step of all of them. Nothing is shared: each member has its own rows, weights, statistics
and gradient, and its weights go back into the network it came from (:meth:`StackedMLP.write_back`).

The layout is ``(members, columns, rows)``: with the columns in front of the rows, one call normalises all members'
columns, as in :mod:`churnlib.models.ghost_norm`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.dropout import MemberDropout
from churnlib.models.initialization import ACTIVATIONS
from churnlib.models.mlp import MLP, PlainMLP


def can_stack(bodies: Sequence[nn.Module]) -> bool:
    """Whether these have layers of the same shapes, which :class:`StackedMLP` knows."""
    found = {shapes(body) for body in bodies}
    return len(found) == 1 and None not in found


def shapes(body: nn.Module) -> str | None:
    """Return what networks must have in common to be stacked; None for one that is not.

    Multilayer perceptrons are, without numeric embeddings and shared members: those two have layers that fill a
    processor by themselves, and stacking them was measured to gain nothing.
    """
    # A class derived from these may do something else.
    if type(body) not in (MLP, PlainMLP) or body.embedding is not None or body.members is not None:
        return None
    sizes = [(name, tuple(value.shape)) for name, value in body.state_dict().items()]
    return repr((body.activation, sizes, [type(block.norm).__name__ for block in body.blocks]))  # type: ignore[union-attr]


def take_members(tensor: Tensor, members: Sequence[int], n_members: int) -> Tensor:
    """Return some members' part of a stacked parameter or statistic.

    Args:
        tensor: ``(n_members, ...)``, or flat ``(n_members * columns,)``.
        members: Which.
        n_members: How many there are.
    """
    return tensor.unflatten(0, (n_members, -1))[list(members)].flatten(0, 1)


class StackedMLP(nn.Module):
    """The members' layers, stacked.

    Args:
        bodies: Perceptrons that :func:`can_stack`; their weights are where the training starts.
        generators: Of each member's dropout, on a processor; fresh ones when None.

    Shape:
        ``(members, in_features, rows)`` float32 -> ``(members, rows, out_features)``
    """

    def __init__(self, bodies: Sequence[MLP], generators: Sequence[torch.Generator] | None = None) -> None:
        super().__init__()
        first, generators = bodies[0], generators or [torch.Generator() for _ in bodies]
        self.blocks = nn.ModuleList(
            _StackedBlock([body.blocks[place] for body in bodies], first.activation, generators)  # type: ignore[misc]
            for place in range(len(first.blocks))
        )
        self.head = StackedLinear([body.head for body in bodies])  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """Return each member's logits for its own rows."""
        for block in self.blocks:
            x = block(x)
        return self.head(x).transpose(1, 2)

    @torch.no_grad()
    def keep(self, places: Sequence[int], n_members: int) -> None:
        """Go on with the members at these places alone, of so many."""
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.grad = None
            tensor.data = take_members(tensor.data, places, n_members)
        for block in self.blocks:
            block.dropout.keep(places)  # type: ignore[operator, union-attr]

    def write_back(self, member: int, body: MLP) -> None:
        """Copy the weights of a member into a perceptron of its shape."""
        for mine, its in zip(self.blocks, body.blocks, strict=True):
            mine.write_back(member, its)  # type: ignore[operator]
        self.head.write_back(member, body.head)  # type: ignore[arg-type]


class StackedLinear(nn.Module):
    """A linear layer per member, all in one batched product.

    Args:
        layers: Linear layers of one shape.

    Shape:
        ``(members, in_features, rows)`` -> ``(members, out_features, rows)``
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias: nn.Parameter | None = None
        if layers[0].bias is not None:
            self.bias = nn.Parameter(torch.stack([layer.bias.detach()[:, None] for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs; see the class for shapes."""
        return torch.bmm(self.weight, x) if self.bias is None else torch.baddbmm(self.bias, self.weight, x)

    @torch.no_grad()
    def write_back(self, member: int, layer: nn.Linear) -> None:
        """Copy a member's weights into a layer."""
        layer.weight.copy_(self.weight[member])
        if self.bias is not None:
            layer.bias.copy_(self.bias[member, :, 0])


class StackedBatchNorm(nn.Module):
    """The members' batch normalisations: that of ``members * columns`` columns.

    Args:
        norms: Batch normalisations of one width.

    Shape:
        ``(members, columns, rows)`` to the same shape.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norms: Sequence[nn.BatchNorm1d]) -> None:
        super().__init__()
        self.eps, self.momentum = norms[0].eps, norms[0].momentum
        self.weight = nn.Parameter(torch.cat([norm.weight.detach() for norm in norms]))
        self.bias = nn.Parameter(torch.cat([norm.bias.detach() for norm in norms]))
        self.register_buffer("running_mean", torch.cat([norm.running_mean for norm in norms]))  # type: ignore[list-item]
        self.register_buffer("running_var", torch.cat([norm.running_var for norm in norms]))  # type: ignore[list-item]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; a training batch of one row, which has no variance, by the running statistics."""
        training = self.training and x.shape[2] > 1
        momentum = self.momentum if self.momentum is not None else 0.1
        flat = x.reshape(1, -1, x.shape[2])
        scales = (self.running_mean, self.running_var, self.weight, self.bias)
        return F.batch_norm(flat, *scales, training, momentum, self.eps).view(x.shape)

    @torch.no_grad()
    def write_back(self, member: int, norm: nn.BatchNorm1d) -> None:
        """Copy a member's scales and statistics into a normalisation."""
        mine = slice(member * norm.num_features, (member + 1) * norm.num_features)
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).copy_(getattr(self, name)[mine])


class StackedLayerNorm(nn.Module):
    """The members' layer normalisations, each over its own columns.

    Args:
        norms: Layer normalisations of one width.

    Shape:
        ``(members, columns, rows)`` to the same shape.
    """

    def __init__(self, norms: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.eps = norms[0].eps
        # Flat, so that weight decay leaves them alone as it leaves the members' own.
        self.weight = nn.Parameter(torch.cat([norm.weight.detach() for norm in norms]))
        self.bias = nn.Parameter(torch.cat([norm.bias.detach() for norm in norms]))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each row of each member."""
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        weight, bias = (scale.view(len(x), -1, 1) for scale in (self.weight, self.bias))
        return (x - mean) * torch.rsqrt(variance + self.eps) * weight + bias

    @torch.no_grad()
    def write_back(self, member: int, norm: nn.LayerNorm) -> None:
        """Copy a member's scales into a normalisation."""
        mine = slice(member * len(norm.weight), (member + 1) * len(norm.weight))
        norm.weight.copy_(self.weight[mine])
        norm.bias.copy_(self.bias[mine])


class _StackedBlock(nn.Module):
    """Linear, normalisation, activation, dropout of all members."""

    def __init__(self, blocks: Sequence[nn.Module], activation: str, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        norms = [block.norm for block in blocks]
        self.linear = StackedLinear([block.linear for block in blocks])  # type: ignore[misc]
        self.norm: StackedBatchNorm | StackedLayerNorm | None = None
        if isinstance(norms[0], nn.BatchNorm1d):
            self.norm = StackedBatchNorm(norms)  # type: ignore[arg-type]
        elif isinstance(norms[0], nn.LayerNorm):
            self.norm = StackedLayerNorm(norms)  # type: ignore[arg-type]
        self.activation = ACTIVATIONS[activation]
        self.dropout = MemberDropout([block.dropout.p for block in blocks], generators)  # type: ignore[misc, union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(self.activation(x))

    def write_back(self, member: int, block: nn.Module) -> None:
        self.linear.write_back(member, block.linear)  # type: ignore[arg-type]
        if self.norm is not None:
            self.norm.write_back(member, block.norm)  # type: ignore[arg-type]
