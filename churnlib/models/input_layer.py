"""The first layer of every model: impute, scale, clip, one-hot and embed, inside the graph.

Everything numeric that was learned from the training rows is a buffer here, so that saving, exporting or serving the
network takes its preparation along and cannot get it wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

MISSING, FIRST_KNOWN = 0, 2
"""Codes of a category as ``churnlib.data.preparation`` gives them; 1 is a value that training did not see."""

FLOAT32_MAX = torch.finfo(torch.float32).max

LARGEST = 1e12
"""Scaled values end here: their squares, and sums of those, stay inside float32."""


class InputLayer(nn.Module):
    """Turns raw numbers and category codes into the inputs of a network.

    The output's columns are, in this order: one per numeric column (scaled), one 0/1 indicator per numeric column that
    had missing values in training, the one-hot columns, the embeddings, the masks of sequences. ``groups[i]`` is the
    raw column (numeric first, then categorical) that output column ``i`` comes from.

    All arguments are numbers and lists, as ``churnlib.data.preparation.Preparation.input_spec`` returns them, so that a
    checkpoint or a bundle can hold them.

    Args:
        fill: Replacement of a missing value, per numeric column.
        indicator: Whether a numeric column gets an indicator.
        low: Lower border before scaling, or None.
        high: Upper border before scaling, or None.
        center: Subtracted before
        factor: the value is multiplied.
        knots: Instead of centre and factor: increasing values, per numeric column, and
        heights: the scaled value at each; straight lines between, constant outside. Empty for no quantile scaling.
        clip: Smooth clip ``z / sqrt(1 + (z / 3)^2)`` after scaling.
        cardinalities: Number of codes per categorical column, missing and unseen included.
        one_hot: Whether a categorical column is one-hot encoded rather than embedded.
        has_missing: Whether a categorical column had missing values in training; only then "missing" is a one-hot
            column.
        embedding_dim: Width of every embedding; ``min(16, ceil(1.6 * values ** 0.56))`` of its column when None.
        sequences: For each sequence the numeric columns that are its steps, oldest first.
        masks: Whether every step gets a 0/1 column that says whether it is there, in place of its indicator; a network
            that reads sequences (attribute ``sequences``: columns of the steps and of their masks in the output) tells
            a missing step from one that is like the others even if training had none missing.

    Shape:
        numeric ``(batch, n_numeric)`` float32 with NaN for missing, codes ``(batch, n_categorical)`` int64 ->
        ``(batch, out_features)`` float32.
    """

    fill: Tensor
    low: Tensor
    high: Tensor
    center: Tensor
    factor: Tensor
    indicators: Tensor
    segment_start: Tensor
    segment_width: Tensor
    segment_rise: Tensor
    first_height: Tensor
    one_hot_column: Tensor
    one_hot_code: Tensor
    masked: Tensor

    def __init__(
        self,
        *,
        fill: Sequence[float],
        indicator: Sequence[bool],
        low: Sequence[float | None],
        high: Sequence[float | None],
        center: Sequence[float],
        factor: Sequence[float],
        knots: Sequence[Sequence[float]],
        heights: Sequence[Sequence[float]],
        clip: bool,
        cardinalities: Sequence[int],
        one_hot: Sequence[bool],
        has_missing: Sequence[bool],
        embedding_dim: int | None = None,
        sequences: Sequence[Sequence[int]] = (),
        masks: bool = False,
    ) -> None:
        super().__init__()
        _check_lengths(fill, indicator, low, high, center, factor, knots, heights)
        _check_lengths(cardinalities, one_hot, has_missing)
        self.n_numeric = len(fill)
        self.n_categorical = len(cardinalities)
        self.clip = clip
        self.register_buffer("fill", _floats(fill))
        self.register_buffer("low", _floats([-FLOAT32_MAX if v is None else v for v in low]))
        self.register_buffer("high", _floats([FLOAT32_MAX if v is None else v for v in high]))
        self.register_buffer("center", _floats(center))
        self.register_buffer("factor", _floats(factor))
        masked = [column for steps in sequences for column in steps] if masks else []
        indicators = [i for i, wanted in enumerate(indicator) if wanted and i not in set(masked)]
        self.register_buffer("indicators", _integers(indicators))
        self.register_buffer("masked", _integers(masked), persistent=False)
        self._register_segments(knots, heights)
        self._register_categories(cardinalities, one_hot, has_missing, embedding_dim)
        groups = [*range(self.n_numeric), *self.indicators.tolist()]
        groups += [self.n_numeric + column for column in self.one_hot_column.tolist()]
        for column, embedding in zip(self._embedded, self.embeddings, strict=True):
            groups += [self.n_numeric + column] * embedding.embedding_dim  # type: ignore[operator]
        self.sequences = _sequence_columns(sequences, first_mask=len(groups)) if masks else []
        groups += masked
        self.groups = groups
        self.out_features = len(groups)

    def _register_segments(self, knots: Sequence[Sequence[float]], heights: Sequence[Sequence[float]]) -> None:
        """Quantile scaling as a sum of clamped straight lines: exportable, no search; unused segments rise by 0."""
        lengths = {len(k) for k in knots} | {0}
        self.piecewise = len(lengths) > 1
        if not self.piecewise:
            return
        if not all(len(k) == len(h) >= 2 for k, h in zip(knots, heights, strict=True)):
            raise ValueError("with quantile scaling each numeric column needs two or more knots and as many heights")
        start, width, rise = [], [], []
        for k, h in zip(knots, heights, strict=True):
            pad = max(lengths) - len(k)
            start.append([*k[:-1], *[0.0] * pad])
            width.append([*(min(b - a, FLOAT32_MAX) for a, b in pairwise(k)), *[1.0] * pad])
            rise.append([*(b - a for a, b in pairwise(h)), *[0.0] * pad])
        self.register_buffer("segment_start", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("segment_width", torch.tensor(width, dtype=torch.float32))
        self.register_buffer("segment_rise", torch.tensor(rise, dtype=torch.float32))
        self.register_buffer("first_height", _floats([h[0] for h in heights]))

    def _register_categories(
        self,
        cardinalities: Sequence[int],
        one_hot: Sequence[bool],
        has_missing: Sequence[bool],
        embedding_dim: int | None,
    ) -> None:
        column, code, embedded, tables = [], [], [], []
        for i, (n_codes, flat, missing) in enumerate(zip(cardinalities, one_hot, has_missing, strict=True)):
            if flat:
                known = [*([MISSING] if missing else []), *range(FIRST_KNOWN, n_codes)]
                column += [i] * len(known)
                code += known
            else:
                n_values = n_codes - FIRST_KNOWN
                embedded.append(i)
                tables.append(_embedding(n_codes, embedding_dim or max(1, min(16, math.ceil(1.6 * n_values**0.56)))))
        self.register_buffer("one_hot_column", _integers(column))
        self.register_buffer("one_hot_code", _integers(code))
        self._embedded = embedded
        self.embeddings = nn.ModuleList(tables)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the network's input; see the class for shapes."""
        missing = numeric.isnan()
        parts = [self.scale(torch.where(missing, self.fill, numeric)), missing[:, self.indicators].to(numeric.dtype)]
        parts.append((codes[:, self.one_hot_column] == self.one_hot_code).to(numeric.dtype))
        parts += [table(codes[:, i]) for i, table in zip(self._embedded, self.embeddings, strict=True)]
        if self.sequences:
            parts.append((~missing[:, self.masked]).to(numeric.dtype))
        return torch.cat(parts, dim=1)

    def scale(self, numeric: Tensor) -> Tensor:
        """Scale numbers without gaps, ``(batch, n_numeric)`` to the same shape."""
        numeric = torch.clamp(numeric, self.low, self.high)
        if self.piecewise:
            along = (numeric.unsqueeze(-1) - self.segment_start) / self.segment_width
            z = self.first_height + (along.clamp(0, 1) * self.segment_rise).sum(-1)
        else:
            # A number near the end of float32 may overflow here; the clamp keeps infinity out of what follows.
            # (Infinity times the factor 0 of a constant column is NaN, and that column is 0.)
            z = ((numeric - self.center) * self.factor).clamp(-LARGEST, LARGEST).nan_to_num(0.0)
        return z * torch.rsqrt(1 + (z / 3).square()) if self.clip else z


def _sequence_columns(sequences: Sequence[Sequence[int]], *, first_mask: int) -> list[tuple[list[int], list[int]]]:
    """Return for each sequence the output columns of its steps and of their masks."""
    ends = [first_mask, *(first_mask + n for n in accumulate(map(len, sequences)))]
    return [(list(steps), list(range(a, b))) for steps, (a, b) in zip(sequences, pairwise(ends), strict=True)]


def _embedding(n_codes: int, dim: int) -> nn.Embedding:
    """Small random vectors for known values; zero for "missing" and "unseen" until training moves them."""
    table = nn.Embedding(n_codes, dim)
    nn.init.normal_(table.weight, std=dim**-0.5)
    with torch.no_grad():
        table.weight[:FIRST_KNOWN].zero_()
    return table


def _check_lengths(*arguments: Sequence[object]) -> None:
    lengths = [len(values) for values in arguments]
    if len(set(lengths)) > 1:
        raise ValueError(f"expected lists with one entry per column, got the lengths {lengths}; are they of one table?")


def _floats(values: Sequence[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32)


def _integers(values: Sequence[int]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64)
