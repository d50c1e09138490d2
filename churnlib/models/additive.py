"""An additive network: each raw column has a curve of its own, and the logit is their sum.

A generalised additive model (Hastie and Tibshirani 1986), trained as a network: what it says of a customer is a sum of
one number per column, so it can be read, drawn, checked by hand and written down as a scorecard. A few pairs of columns
may have a table of their own (GA2M, Lou et al. 2013); their numbers then stand beside those of the columns.

The curves are sums over quantile bins, as in explainable boosting machines (Nori et al. 2019, arXiv 1909.09223), rather
than small networks per column (Agarwal et al. 2021, arXiv 2004.13912): a bin has a border that can be written down.

Shape letters: B rows, F numeric columns, G raw columns, K borders, P pairs, W values of a pair's column, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.bins import Bins
from churnlib.models.pair_choice import choose_pairs

UNUSED = -1
"""In place of both columns, where fewer pairs were found than asked for."""


class Additive(nn.Module):
    """The sum of a curve for each raw column, of a table for each chosen pair of columns, and of a bias.

    A number's curve is a staircase over quantile bins of the training rows, flat beyond them; a category has a number
    for each value. Whatever else the input layer makes of a column (an indicator, an embedding) counts as that
    column's. All start at 0, and a staircase's weights are its rises from bin to bin, so that weight decay pulls
    towards even curves.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row, ``O``.
        n_numeric: How many of the first columns are numbers, ``F``.
        groups: Raw column of each input, ``(in_features,)``; each its own when None.
        n_bins: Bins per number, at least 2.
        n_pairs: Pairs of columns at most, at least 0.
        pair_bins: Bins per number in a pair, and most values of a categorical column that takes part, at least 2.

    Attributes:
        center: ``(G + P, O)`` mean part of the training rows, once :meth:`settle` has seen them.

    Shape:
        ``(B, in_features)`` float32 -> ``(B, O)`` float32.

    Raises:
        ValueError: If an argument is outside its range.
    """

    center: Tensor
    groups: Tensor
    pairs: Tensor
    pair_inputs: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_numeric: int = 0,
        groups: Sequence[int] | None = None,
        n_bins: int = 16,
        n_pairs: int = 10,
        pair_bins: int = 8,
    ) -> None:
        super().__init__()
        if not 0 <= n_numeric <= in_features:
            raise ValueError(f"n_numeric must be between 0 and in_features = {in_features}, got {n_numeric}")
        if n_pairs < 0:
            raise ValueError(f"n_pairs must be at least 0, got {n_pairs}")
        groups = list(range(in_features) if groups is None else groups)
        if len(groups) != in_features:
            raise ValueError(f"groups must have an entry for each of the {in_features} columns, got {len(groups)}")
        self.in_features, self.out_features, self.n_numeric = in_features, out_features, n_numeric
        self.n_columns = max(groups, default=-1) + 1
        self.register_buffer("groups", torch.tensor(groups[n_numeric:], dtype=torch.int64), persistent=False)
        self.bins = Bins(n_numeric, n_bins=n_bins)
        self.curves = nn.Parameter(torch.zeros(n_numeric, n_bins - 1, out_features))
        self.weight = nn.Parameter(torch.zeros(in_features - n_numeric, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.n_pairs = n_pairs
        if n_pairs:
            self.pair_bins = Bins(n_numeric, n_bins=pair_bins)
            self.register_buffer("pairs", torch.full((n_pairs, 2), UNUSED))
            self.register_buffer("pair_inputs", _places(groups, n_numeric, pair_bins), persistent=False)
            self.tables = nn.Parameter(torch.zeros(n_pairs, pair_bins, pair_bins, out_features))
        self.register_buffer("center", torch.zeros(self.n_columns + n_pairs, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows; see the class for shapes."""
        # In half precision, logits of different customers would be equal.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.bias.dtype)
            logits = torch.addmm(self.bias, self.bins(x[:, : self.n_numeric]).flatten(1), self.curves.flatten(0, 1))
            logits = logits + x[:, self.n_numeric :] @ self.weight
            return logits + self._pair_parts(x).sum(1) if self.n_pairs else logits

    def parts(self, x: Tensor) -> Tensor:
        """Return what each column, and then each pair, adds to the logits beyond the bias: ``(B, G + P, O)``.

        Args:
            x: ``(B, in_features)`` float32.
        """
        parts = x.new_zeros(len(x), self.n_columns, self.out_features)
        parts[:, : self.n_numeric] = torch.einsum("bfk,fko->bfo", self.bins(x[:, : self.n_numeric]), self.curves)
        parts.index_add_(1, self.groups, x[:, self.n_numeric :].unsqueeze(-1) * self.weight)
        return torch.cat([parts, self._pair_parts(x)], dim=1) if self.n_pairs else parts

    def settle(self, x: Tensor) -> None:
        """Remember the mean parts of the training rows, ``(n, in_features)`` float32; the logits stay as they are."""
        self.center.copy_(torch.stack([rows.sum(0) for rows in map(self.parts, x.split(4_096))]).sum(0) / len(x))

    @property
    def terms(self) -> list[tuple[int, ...]]:
        """The raw columns of each part: one each, then the pairs; an empty tuple for a pair that was not found."""
        singles = [(column,) for column in range(self.n_columns)]
        pairs = self.pairs.tolist() if self.n_pairs else []
        return [*singles, *(() if UNUSED in pair else tuple(pair) for pair in pairs)]

    # --- what is learned from training rows before the first step ---------------------------------------------------

    def place(self, numeric: Tensor, scale: Callable[[Tensor], Tensor], x: Tensor, label: Tensor | None) -> None:
        """Place the bins, and choose the pairs.

        Args:
            numeric: ``(n, F)`` float32 training rows in the table's units, missing values NaN.
            scale: From numbers without gaps to the network's inputs.
            x: ``(n, in_features)`` inputs of the same rows.
            label: ``(n,)`` int64 classes; without them no pairs are chosen.
        """
        self.bins.place(numeric, scale)
        if not self.n_pairs:
            return
        self.pair_bins.place(numeric, scale)
        if label is None:
            return
        values = self._pair_values(x)  # (n, G, W)
        steps = torch.arange(1, values.shape[2] + 1) * (values > 0.5)
        positive = label if self.out_features == 1 else F.one_hot(label, self.out_features)
        singles = values.flatten(1)
        chosen = choose_pairs(
            singles[:, singles.any(0)].numpy(), steps.amax(2).numpy(), positive.numpy(), n_pairs=self.n_pairs
        )
        self.pairs.fill_(UNUSED)
        self.pairs[: len(chosen)] = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2)

    def _pair_parts(self, x: Tensor) -> Tensor:
        """Return what the pairs add, ``(B, P, O)``."""
        values = self._pair_values(x)
        first, second = (values.index_select(1, side.clamp_min(0)) for side in self.pairs.unbind(1))  # (B, P, W)
        used = (self.pairs[:, :1] >= 0).to(x.dtype)
        return torch.einsum("bpv,bpw,pvwo->bpo", first * used, second, self.tables)

    def _pair_values(self, x: Tensor) -> Tensor:
        """Return what pairs are made of, ``(B, G, W)``: bins of numbers, one-hot columns of categories, padded by 0."""
        numbers = self.pair_bins(x[:, : self.n_numeric])
        numbers = F.pad(numbers, (0, self.tables.shape[1] - numbers.shape[2]))
        rest = F.pad(x, (0, 1)).index_select(1, self.pair_inputs.flatten())  # the last column is the padding
        return torch.cat([numbers, rest.unflatten(1, self.pair_inputs.shape)], dim=1)


def _places(groups: Sequence[int], n_numeric: int, width: int) -> Tensor:
    """Return the inputs of each raw column beyond the numbers, ``(G - F, W)``; the place after the last input pads.

    A column with more inputs than fit takes no part: its row is all padding.
    """
    places = torch.full((max(groups, default=-1) + 1 - n_numeric, width), len(groups))
    for column in range(len(places)):
        inputs = [place for place, group in enumerate(groups) if group == n_numeric + column]
        if len(inputs) <= width:
            places[column, : len(inputs)] = torch.tensor(inputs, dtype=torch.int64)
    return places
