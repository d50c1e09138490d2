"""RealMLP (Holzmüller et al. 2024, arXiv 2407.04491): the recipe of RealMLP-TD for classification.

Its preparation of the columns (robust scale, smooth clip, one-hot) is churnlib's default; its training (Adam with
beta2 0.95, the coslog4 schedule, decay and dropout that end half-way) is in ``conf/model/realmlp.yaml``. Here are the
layers. Two things differ from the authors' program: a yes-or-no column is 0/1 instead of -1/+1, and two classes have
one logit instead of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from churnlib.models.dropout import Dropout
from churnlib.models.initialization import ACTIVATIONS, check_activation
from churnlib.models.numeric_embedding import PeriodicEmbedding, embed_numbers
from churnlib.models.rows import check_rows

SIMPLEX = 5
"""Rows whose random mixture places a kink (He et al.'s weights plus this: the authors' ``he+5``)."""

TINY = 1e-6
"""Outputs that vary less are not scaled up: their inputs are constant."""


class ColumnScale(nn.Module):
    """One learned factor per input, so that training can turn a column up or out.

    Shape:
        ``(batch, in_features)`` -> the same
    """

    lr_factors = {"weight": 6.0}  # noqa: RUF012  read-only

    def __init__(self, in_features: int) -> None:
        super().__init__()
        # A row of a matrix and no vector: weight decay is meant to reach it.
        self.weight = nn.Parameter(torch.ones(1, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled inputs."""
        return x * self.weight


class NTKLinear(nn.Module):
    """A linear layer in the neural tangent parametrisation, ``x W / sqrt(in_features) + b``.

    Its weights are of size 1 whatever the width, so that one learning rate suits narrow and wide layers.

    Shape:
        ``(batch, in_features)`` -> ``(batch, out_features)``
    """

    lr_factors = {"bias": 0.1}  # noqa: RUF012

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.factor = in_features**-0.5

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights of size 1; biases start at 0."""
        self.weight.normal_(generator=generator)
        self.bias.zero_()

    @torch.no_grad()
    def initialize(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Make each output vary by 1 over these rows, and place its zero at a random mixture of some of them.

        Args:
            x: ``(n, in_features)`` of training rows.
            generator: Source of the mixtures; PyTorch's global one when None.
        """
        spread = (x @ self.weight * self.factor).std(0, correction=0)
        self.weight.div_(torch.where(spread > TINY, spread, torch.ones_like(spread)))
        outputs = x @ self.weight * self.factor
        rows = torch.randint(len(x), (SIMPLEX, outputs.shape[1]), generator=generator)
        # Exponential numbers, divided by their sum, are uniform on the simplex.
        shares = torch.empty(rows.shape).exponential_(generator=generator)
        self.bias.copy_(-(outputs.gather(0, rows) * (shares / shares.sum(0))).sum(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs; see the class for shapes."""
        return torch.addmm(self.bias, x, self.weight, alpha=self.factor)


class ParametricActivation(nn.Module):
    """``x + a (f(x) - x)`` with a learned ``a`` per neuron: between a straight line (0), ``f`` (1), and beyond.

    Shape:
        ``(batch, features)`` -> the same
    """

    lr_factors = {"weight": 0.1}  # noqa: RUF012

    def __init__(self, features: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[check_activation(activation)]
        self.weight = nn.Parameter(torch.ones(1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        # Under autocast the activations are in half precision, and a lerp mixes no dtypes.
        return torch.lerp(x, self.activation(x), self.weight.to(x.dtype))


class RealMLP(nn.Module):
    """RealMLP-TD's network: periodic embedding, column scales, NTK layers with parametric activations.

    :meth:`initialize` with some training rows before the first step belongs to the recipe; without it weights are
    plain normal and biases 0.

    Args:
        in_features: Columns of the input, first the numbers.
        out_features: Logits per row.
        n_numeric: How many of the first columns are numbers.
        hidden_sizes: Width of each hidden layer; empty for a linear model.
        activation: selu for the authors' recipe for classes; a key of ``ACTIVATIONS``.
        dropout: Probability of dropping a hidden unit in training, in [0, 1).
        embedding_dim: Inputs that each number becomes, itself included, at least 2.
        n_frequencies: Cosines per number.
        frequency_scale: Size of the initial frequencies.
        generator: Source of the initial weights; PyTorch's global one when None.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, out_features)``, float32 under autocast too.

    Raises:
        ValueError: If an argument is outside its range, or the input has another number of columns.

    Example:
        >>> realmlp = RealMLP(6, n_numeric=2, hidden_sizes=(16, 8)).eval()
        >>> realmlp(torch.randn(5, 6)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_numeric: int = 0,
        hidden_sizes: Sequence[int] = (256, 256, 256),
        activation: str = "selu",
        dropout: float = 0.15,
        embedding_dim: int = 4,
        n_frequencies: int = 16,
        frequency_scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= n_numeric <= in_features:
            raise ValueError(f"n_numeric must be between 0 and in_features = {in_features}, got {n_numeric}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}; 0 is for none")
        self.in_features = in_features
        self.embedding: PeriodicEmbedding | None = None
        width = in_features
        if n_numeric:
            self.embedding = PeriodicEmbedding(
                n_numeric, embedding_dim=embedding_dim, n_frequencies=n_frequencies, frequency_scale=frequency_scale
            )
            names = (name for name, _ in self.embedding.named_parameters())
            self.embedding.lr_factors = dict.fromkeys(names, 0.1)
            width += self.embedding.out_features - n_numeric
        self.scale = ColumnScale(width)
        self.blocks = nn.ModuleList(_Block(a, b, activation, dropout) for a, b in pairwise([width, *hidden_sizes]))
        self.head = NTKLinear([width, *hidden_sizes][-1], out_features)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, from the input to the logits."""
        if self.embedding is not None:
            self.embedding.reset_parameters(generator)
        self.scale.weight.fill_(1.0)
        for block in self.blocks:
            block.linear.reset_parameters(generator)  # type: ignore[union-attr,operator]
            block.activation.weight.fill_(1.0)  # type: ignore[union-attr,operator]
        self.head.reset_parameters(generator)

    @torch.no_grad()
    def initialize(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Scale and shift the layers, one after the other, by what training rows make of them.

        Args:
            x: ``(n, in_features)`` float32 training rows.
            generator: Source of random choices; PyTorch's global one when None.
        """
        x = self._embed(x)
        for block in self.blocks:
            block.linear.initialize(x, generator)  # type: ignore[union-attr,operator]
            x = block.activation(block.linear(x))  # type: ignore[union-attr,operator]
        self.head.initialize(x, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows; see the class for shapes."""
        check_rows(x, self.in_features)
        x = self._embed(x)
        for block in self.blocks:
            x = block(x)
        # In half precision, logits of different customers would be equal.
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.to(self.head.weight.dtype))

    def _embed(self, x: Tensor) -> Tensor:
        return self.scale(embed_numbers(x, self.embedding))


class _Block(nn.Module):
    """NTK layer, parametric activation, dropout."""

    def __init__(self, in_features: int, out_features: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.linear = NTKLinear(in_features, out_features)
        self.activation = ParametricActivation(out_features, activation)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.linear(x)))
