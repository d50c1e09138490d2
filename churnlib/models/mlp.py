"""A multilayer perceptron for tables: plain, with numeric embeddings, or as many members in one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.dropout import Dropout
from churnlib.models.initialization import ACTIVATIONS, check_activation, initialize_linear
from churnlib.models.members import LinearBatchEnsemble, MemberHeads, MemberInputs, check_kind
from churnlib.models.numeric_embedding import (
    PiecewiseLinearEmbedding,
    embed_numbers,
    embedded_groups,
    make_embedding,
)
from churnlib.models.rows import check_rows

NORMS = ("batch", "layer")

HEAD_SCALE = 0.1
"""Size of the last layer's initial weights, beside those that keep the size of a signal."""


class MLP(nn.Module):
    """Hidden layers of linear, normalisation, activation and dropout, and a linear layer to the logits.

    The columns of the input are, as :class:`~churnlib.models.input_layer.InputLayer` delivers them, ``n_numeric``
    scaled numbers and then indicators, one-hot columns and embeddings of categories. A numeric embedding gives each
    number curves of its own before the first layer; where churn hangs on thresholds, nothing else here is worth as
    much. With ``n_members`` the network is TabM (:mod:`churnlib.models.members`): so many networks that share their
    hidden layers, and the best probabilities that this class can give.

    The logits start near 0: the last layer's weights are drawn a tenth as large as LeCun's, its bias is 0. Who knows
    the share of churners may start from there: ``mlp.head.bias``, float32 with ``out_features`` as its last dimension,
    set to the log-odds (or, for more classes than two, the logarithms of the shares) saves the first steps of training.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        n_numeric: How many of the first columns are numbers; only a numeric embedding asks.
        groups: Raw column of each input; only members ask. Each its own when None.
        hidden_sizes: Width of each hidden layer; empty for a linear model.
        activation: relu, elu, selu, gelu, silu, mish or tanh; it also decides the initial weights, see
            :mod:`churnlib.models.initialization`.
        dropout: Probability of dropping a hidden unit in training, in [0, 1).
        norm: ``"batch"``, ``"layer"``, or None for none. In training, batch normalisation makes a row's logits depend
            on its batch; a batch of one row, which has no variance, is normalised by the running statistics.
        numeric_embedding: ``"periodic"``, ``"piecewise"`` (see :mod:`churnlib.models.numeric_embedding`), or None for
            the numbers as they are.
        embedding_dim: Inputs that each number becomes, itself included, at least 2.
        n_frequencies: Cosines per number, of the periodic embedding.
        frequency_scale: Size of the initial frequencies, of the periodic embedding; in periods per scaled unit.
        n_bins: Bins per number, of the piecewise embedding.
        n_members: Members, at least 1; None for a single network.
        members: ``"mini"`` (members differ in their inputs' scales and their heads) or ``"full"`` (also in scales
            around every hidden layer).
        scale_lr: Learning rate of the members' scales on the inputs, as a factor on the optimizer's: there are few of
            them, and which columns count is what a member has to find out first.
        generator: Source of the initial weights; PyTorch's global one when None. Dropout always draws from the global
            one, as PyTorch's own does.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, out_features)``, with members ``(batch, n_members,
        out_features)``; float32 under autocast too.

    Raises:
        ValueError: If an argument is outside its range, or the input has another number of columns.

    Example:
        >>> mlp = MLP(6, n_numeric=2, hidden_sizes=(16, 8), generator=torch.Generator().manual_seed(0)).eval()
        >>> mlp(torch.randn(5, 6)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_numeric: int = 0,
        groups: Sequence[int] | None = None,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: str = "selu",
        dropout: float = 0.3,
        norm: str | None = None,
        numeric_embedding: str | None = "periodic",
        embedding_dim: int = 4,
        n_frequencies: int = 16,
        frequency_scale: float = 0.1,
        n_bins: int = 24,
        n_members: int | None = None,
        members: str = "mini",
        scale_lr: float = 3.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(in_features, out_features, n_numeric, hidden_sizes)
        check_activation(activation)
        if norm is not None and norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, or None for none, got {norm!r}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}; 0 is for none")
        self.in_features, self.out_features = in_features, out_features
        self.activation = activation
        self.embedding = make_embedding(
            numeric_embedding,
            n_numeric,
            embedding_dim=embedding_dim,
            n_frequencies=n_frequencies,
            frequency_scale=frequency_scale,
            n_bins=n_bins,
        )
        columns = embedded_groups(groups or range(in_features), self.embedding)
        widths = [len(columns), *hidden_sizes]
        self.blocks = nn.Sequential(*(Block(a, b, activation, norm, dropout) for a, b in pairwise(widths)))
        self.members: MemberInputs | None = None
        self.head: nn.Linear | MemberHeads = nn.Linear(widths[-1], out_features)
        check_kind(members)
        if n_members is not None:
            signs = self.embedding is None
            self.members = MemberInputs(len(columns), n_members=n_members, groups=columns, signs=signs)
            self.members.lr_factors = {"weight": scale_lr}
            self.head = MemberHeads(widths[-1], out_features, n_members=n_members, scale=HEAD_SCALE)
        self.reset_parameters(generator)
        if n_members is not None and members == "full":
            for place, block in enumerate(self.blocks):
                block.linear = LinearBatchEnsemble(block.linear, n_members=n_members, scale_inputs=place > 0)  # type: ignore[arg-type]

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, from the input to the logits."""
        if self.embedding is not None:
            self.embedding.reset_parameters(generator)
        if self.members is not None:
            self.members.reset_parameters(generator)
        for block in self.blocks:
            initialize_linear(block.linear, self.activation, generator=generator)  # type: ignore[arg-type]
            if isinstance(block.linear, LinearBatchEnsemble):
                block.linear.reset_scales()
            if isinstance(block.norm, nn.BatchNorm1d | nn.LayerNorm):
                block.norm.reset_parameters()
        if isinstance(self.head, MemberHeads):
            self.head.reset_parameters(generator)
        else:
            self.head.weight.normal_(0.0, HEAD_SCALE * self.head.in_features**-0.5, generator=generator)
            self.head.bias.zero_()

    def initialize(self, x: Tensor) -> None:
        """Place the bins of the piecewise embedding by training rows, ``(n, in_features)`` float32."""
        if isinstance(self.embedding, PiecewiseLinearEmbedding):
            self.embedding.initialize(x[:, : self.embedding.n_features])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows; see the class for shapes."""
        check_rows(x, self.in_features)
        x = embed_numbers(x, self.embedding)
        if self.members is not None:
            x = self.members(x)
        x = self.blocks(x)
        # In half precision, logits of different customers would be equal.
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.to(self.head.weight.dtype))


class PlainMLP(MLP):
    """The textbook network: hidden layers of linear, normalisation, activation and dropout on the columns as they are.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        hidden_sizes, activation, dropout, norm, generator: As in :class:`MLP`.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, out_features)``, float32 under autocast too.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: str = "relu",
        dropout: float = 0.3,
        norm: str | None = "batch",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            hidden_sizes=hidden_sizes,
            activation=activation,
            dropout=dropout,
            norm=norm,
            numeric_embedding=None,
            generator=generator,
        )


class Block(nn.Module):
    """Linear, normalisation, activation, dropout."""

    def __init__(self, in_features: int, out_features: int, activation: str, norm: str | None, dropout: float) -> None:
        super().__init__()
        # A batch normalisation takes any bias off again. Left in, its gradient would be rounding error, which Adam
        # blows up to steps of full size, and the running means would trail behind.
        self.linear = nn.Linear(in_features, out_features, bias=norm != "batch")
        self.norm = (
            _BatchNorm(out_features) if norm == "batch" else nn.LayerNorm(out_features) if norm == "layer" else None
        )
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(self.activation(x))


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a training batch of one row by its running statistics instead of failing."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name in PyTorch's class
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def _check_sizes(in_features: int, out_features: int, n_numeric: int, hidden_sizes: Sequence[int]) -> None:
    sizes = {"in_features": in_features, "out_features": out_features}
    sizes |= {f"hidden_sizes[{i}]": size for i, size in enumerate(hidden_sizes)}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if not 0 <= n_numeric <= in_features:
        raise ValueError(f"n_numeric must be between 0 and in_features = {in_features}, got {n_numeric}")
