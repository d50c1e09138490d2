"""Several inputs from each numeric column, so that a network can follow thresholds and bumps.

A linear layer sees a number only as a slope; "four or more service calls" or "tenure around twelve months" takes it
many hidden units. Both modules here give each column learned curves of its own, computed for all columns at once. The
columns come scaled and clipped to [-3, 3], as ``churnlib.models.input_layer`` delivers them.

A network that has such an embedding reads rows whose first columns are the numbers: `make_embedding` builds what its
arguments name, `embed_numbers` puts the curves into the rows, `embedded_groups` says which raw column each input then
belongs to.

Shape letters in the comments: B rows, F columns, K frequencies or bins, C curves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

NUMERIC_EMBEDDINGS = ("periodic", "piecewise")

UNREACHED = 1e30
"""Knot of an empty bin: beyond every scaled value, which the input layer ends at 1e12."""


class PeriodicEmbedding(nn.Module):
    """Each column itself, and mixtures of cosines of it.

    For a column's value ``x`` the curves are ``W cos(2 pi w x + b) + c`` with ``K`` learned frequencies ``w`` and
    phases ``b``: the periodic embedding of Gorishniy et al. 2022 (arXiv 2203.05556, section 3.3) in the form of
    RealMLP (Holzmüller et al. 2024, arXiv 2407.04491, section 3: bias, linear layer, and the value itself).

    Args:
        n_features: Numeric columns, ``F``.
        embedding_dim: Outputs per column: the value itself and ``embedding_dim - 1`` curves, at least 2.
        n_frequencies: Cosines per column, at least 1.
        frequency_scale: Standard deviation of the initial frequencies, in periods per unit of the scaled column, above
            0. The knob that matters: small ones give smooth curves, large ones fit noise.
        generator: Source of the initial weights; PyTorch's global one when None.

    Shape:
        ``(B, F)`` floating -> ``(B, F * embedding_dim)``: first the ``F`` values, then the curves, column by column.
    """

    lr_factors: Mapping[str, float]

    def __init__(
        self,
        n_features: int,
        *,
        embedding_dim: int = 4,
        n_frequencies: int = 16,
        frequency_scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_at_least("n_features", n_features, 1)
        _check_at_least("embedding_dim", embedding_dim, 2)
        _check_at_least("n_frequencies", n_frequencies, 1)
        if not frequency_scale > 0:
            raise ValueError(f"frequency_scale must be above 0, got {frequency_scale}; 0.1 is a good start")
        n_curves = embedding_dim - 1
        self.n_features, self.embedding_dim = n_features, embedding_dim
        self.out_features = n_features * embedding_dim
        self.frequency_scale = frequency_scale
        self.frequency = nn.Parameter(torch.empty(n_features, 1, n_frequencies))
        self.phase = nn.Parameter(torch.empty(n_features, 1, n_frequencies))
        self.weight = nn.Parameter(torch.empty(n_features, n_frequencies, n_curves))
        self.bias = nn.Parameter(torch.empty(n_features, 1, n_curves))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew: normal frequencies, phases from the whole circle, the rest as in a linear layer."""
        bound = self.frequency.shape[-1] ** -0.5
        self.frequency.normal_(0.0, self.frequency_scale, generator=generator)
        self.phase.uniform_(-math.pi, math.pi, generator=generator)
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values and their curves; see the class for shapes."""
        # Columns first: one batched product over them, and no copy to get there.
        angle = torch.addcmul(self.phase, x.T.unsqueeze(-1), 2 * math.pi * self.frequency)  # (F, B, K)
        curves = torch.cos(angle) @ self.weight + self.bias  # (F, B, C)
        return torch.cat([x, curves.transpose(0, 1).flatten(1)], dim=1)


class PiecewiseLinearEmbedding(nn.Module):
    """Each column itself, and broken lines of it with learned slopes between fixed knots.

    For a column's value ``x`` the curves are ``W e(x) + a x + c``, where ``e`` has one entry per bin: 1 if the bin lies
    left of ``x``, 0 if it lies right of it, and inside the share of the bin left of ``x`` (piecewise linear encoding,
    Gorishniy et al. 2022, arXiv 2203.05556, section 3.2). The bins have equal width on the clipped scale until
    :meth:`initialize` has placed them at the quantiles of training rows; beyond them the curves are straight. ``W``
    starts at 0, so that training begins with straight lines (as in ``rtdl_num_embeddings``, version B).

    Args:
        n_features: Numeric columns, ``F``.
        embedding_dim: Outputs per column: the value itself and ``embedding_dim - 1`` curves, at least 2.
        n_bins: Bins, at least 1.
        bound: The bins first cover ``[-bound, bound]``, above 0.
        generator: Source of the initial weights; PyTorch's global one when None.

    Shape:
        ``(B, F)`` floating -> ``(B, F * embedding_dim)``: first the ``F`` values, then the curves, column by column.
    """

    knots: Tensor
    widths: Tensor

    def __init__(
        self,
        n_features: int,
        *,
        embedding_dim: int = 4,
        n_bins: int = 24,
        bound: float = 3.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_at_least("n_features", n_features, 1)
        _check_at_least("embedding_dim", embedding_dim, 2)
        _check_at_least("n_bins", n_bins, 1)
        if not bound > 0:
            raise ValueError(f"bound must be above 0, got {bound}; scaled columns are clipped to 3")
        n_curves = embedding_dim - 1
        self.n_features, self.embedding_dim = n_features, embedding_dim
        self.out_features = n_features * embedding_dim
        knots = torch.linspace(-bound, bound, n_bins + 1)[:-1]
        self.register_buffer("knots", knots.repeat(n_features, 1, 1))
        self.register_buffer("widths", torch.full((n_features, 1, n_bins), 2 * bound / n_bins))
        self.weight = nn.Parameter(torch.empty(n_features, n_bins, n_curves))
        self.slope = nn.Parameter(torch.empty(n_features, 1, n_curves))
        self.bias = nn.Parameter(torch.empty(n_features, 1, n_curves))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start as a linear layer of each column: random slopes and biases, no bends."""
        self.weight.zero_()
        self.slope.uniform_(-1.0, 1.0, generator=generator)
        self.bias.uniform_(-1.0, 1.0, generator=generator)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Place the bins of each column at the quantiles of its values.

        A column with fewer distinct quantiles than bins (a count, say) uses that many bins; the others stay empty.

        Args:
            x: ``(n, F)`` scaled values of training rows, at least one row.
        """
        n_bins = self.knots.shape[-1]
        share = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64, device=x.device)
        self.knots.fill_(UNREACHED)
        self.widths.fill_(1.0)
        for column, values in enumerate(x.T.double()):
            edges = torch.unique(torch.quantile(values, share).to(x.dtype))
            self.knots[column, 0, : len(edges) - 1] = edges[:-1]
            self.widths[column, 0, : len(edges) - 1] = edges.diff()

    def forward(self, x: Tensor) -> Tensor:
        """Return the values and their curves; see the class for shapes."""
        values = x.T.unsqueeze(-1)  # (F, B, 1)
        filled = ((values - self.knots) / self.widths).clamp(0.0, 1.0)  # (F, B, K)
        curves = filled @ self.weight + values * self.slope + self.bias  # (F, B, C)
        return torch.cat([x, curves.transpose(0, 1).flatten(1)], dim=1)


NumericEmbedding = PeriodicEmbedding | PiecewiseLinearEmbedding


def make_embedding(
    kind: str | None, n_numeric: int, *, embedding_dim: int, n_frequencies: int, frequency_scale: float, n_bins: int
) -> NumericEmbedding | None:
    """Build the embedding of a kind; None for the kind None and for a table without numbers.

    Args:
        kind: ``"periodic"``, ``"piecewise"`` or None.
        n_numeric: Numeric columns.
        embedding_dim: Outputs per column, itself included.
        n_frequencies: Of the periodic embedding.
        frequency_scale: Of the periodic embedding.
        n_bins: Of the piecewise embedding.

    Raises:
        ValueError: If there is no such kind, or an argument of it is outside its range.
    """
    if kind is not None and kind not in NUMERIC_EMBEDDINGS:
        raise ValueError(
            f"numeric_embedding must be one of {', '.join(NUMERIC_EMBEDDINGS)}, or None for none, got {kind!r}"
        )
    if kind is None or n_numeric == 0:
        return None
    if kind == "piecewise":
        return PiecewiseLinearEmbedding(n_numeric, embedding_dim=embedding_dim, n_bins=n_bins)
    return PeriodicEmbedding(
        n_numeric, embedding_dim=embedding_dim, n_frequencies=n_frequencies, frequency_scale=frequency_scale
    )


def embed_numbers(x: Tensor, embedding: NumericEmbedding | None) -> Tensor:
    """Return rows ``(B, in_features)`` with the curves of their first columns after these, the others last."""
    if embedding is None:
        return x
    return torch.cat([embedding(x[:, : embedding.n_features]), x[:, embedding.n_features :]], dim=1)


def embedded_groups(groups: Sequence[int], embedding: NumericEmbedding | None) -> list[int]:
    """Return the raw column of each output of `embed_numbers`, given that of each input.

    >>> embedded_groups([0, 1, 2, 2], PeriodicEmbedding(2, embedding_dim=3))
    [0, 1, 0, 0, 1, 1, 2, 2]
    """
    if embedding is None:
        return list(groups)
    numbers = groups[: embedding.n_features]
    curves = [column for column in numbers for _ in range(embedding.embedding_dim - 1)]
    return [*numbers, *curves, *groups[embedding.n_features :]]


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
