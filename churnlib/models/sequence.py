"""Networks that read a customer's history in its order: GRU, LSTM and one-dimensional convolution.

Whatever the encoder, the way is the same: the steps of each sequence, scaled, beside each of them the same relative to
the row's own level and spread, and a 0/1 mask; an encoder that sums a sequence up in one vector; and an
:class:`~churnlib.models.mlp.MLP` that reads this vector beside the customer's other columns. Sequences of equal length
are channels of one sequence, read together.

Histories are right-aligned, so that the newest step always stands last. A history begins with its first step that is
there in any channel: what stands before it counts as nothing, and a missing step after it as a step without a value. No
row's answer depends on how far its history was filled up.

Shape letters in the comments: B rows, T steps, C channels (three per sequence), H width of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from churnlib.models.dropout import Dropout
from churnlib.models.initialization import ACTIVATIONS, check_activation
from churnlib.models.mlp import MLP

CHANNELS = 3
"""What an encoder reads of each sequence at each step: the value, the value relative to the row, and the mask."""

Places = tuple[Sequence[int], Sequence[int]]
"""Columns of a sequence's steps, oldest first, and of their masks in a network's input."""

SMALLEST_VARIANCE = 1e-8
"""Added to the variance of a row, so that a history without ups and downs is 0 and not rounding errors."""


class SequenceNetwork(nn.Module):
    """An encoder for each group of equally long sequences, and an MLP over what they say and the other columns.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        n_numeric: How many of the first columns are numbers, the steps included, which are the last of them.
        sequences: For each sequence the columns of its steps and of their masks, as
            :class:`~churnlib.models.input_layer.InputLayer` delivers them.
        encoder: From a number of channels to a module with ``out_features`` that takes the steps, ``(batch, steps,
            channels)`` float32, and which of them the history has begun at, ``(batch, steps)`` bool, and returns
            ``(batch, out_features)``.
        head: Arguments of :class:`~churnlib.models.mlp.MLP`.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, out_features)``, float32 under autocast too.

    Raises:
        ValueError: If there is no sequence, or an argument is outside its range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        n_numeric: int,
        sequences: Sequence[Places],
        encoder: Callable[[int], nn.Module],
        **head: Any,
    ) -> None:
        super().__init__()
        if not sequences:
            raise ValueError("sequences is empty: this network reads histories; take an MLP for a table without them")
        self.in_features = in_features
        read = {column for places in sequences for columns in places for column in columns}
        others = [column for column in range(in_features) if column not in read]
        groups = _of_equal_length(sequences)
        self.encoders = nn.ModuleList(encoder(CHANNELS * len(group)) for group in groups)
        # Follow from the arguments, so not part of the state; move with the module.
        self.register_buffer("others", torch.tensor(others, dtype=torch.int64), persistent=False)
        for number, group in enumerate(groups):
            for name, which in (("steps", 0), ("masks", 1)):
                columns = torch.tensor([places[which] for places in group], dtype=torch.int64)
                self.register_buffer(f"{name}_{number}", columns, persistent=False)  # (sequences, T)
        summary = sum(int(one.out_features) for one in self.encoders)  # type: ignore[arg-type]
        self.head = MLP(
            len(others) + summary, out_features, n_numeric=sum(column < n_numeric for column in others), **head
        )

    def initialize(self, x: Tensor) -> None:
        """Place the bins of the other numbers by training rows, ``(n, in_features)`` float32."""
        self.head.initialize(x[:, self.others])  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows; see the class for shapes."""
        parts = [x[:, self.others]]  # type: ignore[index]
        for number, encoder in enumerate(self.encoders):
            # (B, sequences, T) as gathered; the encoders want the channels last.
            values = x[:, getattr(self, f"steps_{number}")].transpose(1, 2)
            given = x[:, getattr(self, f"masks_{number}")].transpose(1, 2)
            parts.append(encoder(torch.cat([values * given, relative(values, given), given], dim=2), begun(given)))
        return self.head(torch.cat(parts, dim=1))


def _of_equal_length(sequences: Sequence[Places]) -> list[list[Places]]:
    by_length: dict[int, list[Places]] = {}
    for places in sequences:
        by_length.setdefault(len(places[0]), []).append(places)
    return list(by_length.values())


def begun(given: Tensor) -> Tensor:
    """Return which steps belong to the history: the first one that is there in any channel, and all after it.

    Args:
        given: ``(batch, steps, channels)`` float32, 1 where a value is there.

    Returns:
        ``(batch, steps)`` bool.

    >>> begun(torch.tensor([[[0.0], [1.0], [0.0]], [[0.0], [0.0], [0.0]]])).tolist()
    [[False, True, True], [False, False, False]]
    """
    return given.sum(2).cumsum(1) > 0


def relative(values: Tensor, given: Tensor) -> Tensor:
    """Return each value less the mean of its row and sequence, by their standard deviation; 0 where none is there.

    Customers differ more in their level than in their months: without this a network sees a light user's fall to half
    as no fall at all (as reversible instance normalisation does for forecasts, Kim et al. 2022; the level itself stays
    in a channel of its own).

    Args:
        values: ``(batch, steps, sequences)`` float32 without NaN.
        given: The same shape, 1 where a value is there, else 0.

    >>> relative(torch.tensor([[[9.0], [1.0], [3.0]]]), torch.tensor([[[0.0], [1.0], [1.0]]])).flatten().tolist()
    [0.0, -1.0, 1.0]
    """
    n = given.sum(1, keepdim=True).clamp(min=1)
    centered = (values - (values * given).sum(1, keepdim=True) / n) * given
    return centered * torch.rsqrt(centered.square().sum(1, keepdim=True) / n + SMALLEST_VARIANCE)


# --- recurrent networks ---------------------------------------------------------------------------------------------


class RecurrentEncoder(nn.Module):
    """The last state of a recurrent network beside the mean of all its states; zeros for a history without steps.

    The steps of each row are moved to the left end, so that the network starts with the first one that is there and
    what it says about the places behind the last one is not read. That needs no packed sequences, whose lengths would
    have to be known outside the graph.

    Args:
        network: ``nn.GRU`` or ``nn.LSTM``.
        n_channels: Channels of the steps.
        hidden_size: Width of the state.
        n_layers: Recurrent layers on top of each other.
        dropout: Probability of dropping an output of a layer below another one, in [0, 1).
    """

    def __init__(
        self,
        network: type[nn.GRU] | type[nn.LSTM],
        n_channels: int,
        *,
        hidden_size: int,
        n_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        between = dropout if n_layers > 1 else 0.0
        self.network = network(n_channels, hidden_size, num_layers=n_layers, dropout=between, batch_first=True)
        self.out_features = 2 * hidden_size

    def forward(self, steps: Tensor, inside: Tensor) -> Tensor:
        """Return ``(batch, out_features)``; see :class:`SequenceNetwork` for the arguments."""
        n_steps = steps.shape[1]
        length = inside.sum(1, keepdim=True)  # (B, 1)
        place = torch.arange(n_steps, device=steps.device)  # (T,)
        source = (place + n_steps - length).clamp(max=n_steps - 1)  # (B, T)
        states, _ = self.network(steps.gather(1, source.unsqueeze(2).expand(-1, -1, steps.shape[2])))  # (B, T, H)
        newest = place == length - 1  # (B, T): nowhere in a history without steps
        mean = (states * (place < length).unsqueeze(2)).sum(1) / length.clamp(min=1)
        return torch.cat([(states * newest.unsqueeze(2)).sum(1), mean], dim=1)


class GRU(SequenceNetwork):
    """Gated recurrent units (Cho et al. 2014, arXiv 1406.1078) over the history, joined with the other columns.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        n_numeric: How many of the first columns are numbers, steps included.
        sequences: Columns of each sequence's steps and masks; see :class:`SequenceNetwork`.
        hidden_size: Width of the recurrent state.
        n_layers: Recurrent layers on top of each other.
        hidden_sizes: Width of each hidden layer of the head.
        activation: Of the head; see :class:`~churnlib.models.mlp.MLP`.
        dropout: Probability of dropping a hidden unit of the head, or an output between recurrent layers, in [0, 1).
        numeric_embedding: Of the other numbers, not of the steps: ``"periodic"``, ``"piecewise"`` or None.

    Example:
        >>> steps, masks = range(2, 5), range(5, 8)
        >>> gru = GRU(8, n_numeric=5, sequences=[(steps, masks)]).eval()
        >>> gru(torch.rand(4, 8)).shape
        torch.Size([4, 1])
    """

    network: type[nn.GRU] | type[nn.LSTM] = nn.GRU

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_numeric: int,
        sequences: Sequence[Places],
        hidden_size: int = 32,
        n_layers: int = 1,
        hidden_sizes: Sequence[int] = (64,),
        activation: str = "silu",
        dropout: float = 0.5,
        numeric_embedding: str | None = "periodic",
    ) -> None:
        _check_at_least(hidden_size=hidden_size, n_layers=n_layers)
        super().__init__(
            in_features,
            out_features,
            n_numeric=n_numeric,
            sequences=sequences,
            encoder=lambda n: RecurrentEncoder(
                self.network, n, hidden_size=hidden_size, n_layers=n_layers, dropout=dropout
            ),
            hidden_sizes=hidden_sizes,
            activation=activation,
            dropout=dropout,
            numeric_embedding=numeric_embedding,
        )


class LSTM(GRU):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) in place of gated recurrent units; else :class:`GRU`."""

    network = nn.LSTM


# --- convolution ----------------------------------------------------------------------------------------------------


class ConvolutionEncoder(nn.Module):
    """Residual convolutions along the steps; then their mean, largest and newest value, channel by channel.

    Places before the history's first step are set to 0 before every layer, as a convolution sees what lies outside.
    Each layer looks twice as far as the one below it (dilation 1, 2, 4, ...), so that three layers of width 3 see 15
    steps at once. They are summed up over all steps: a pattern counts wherever in the history it stands.

    Args:
        in_channels: Channels of the steps.
        n_channels: Width of each layer.
        n_layers: Convolutions.
        kernel_size: Steps that one of them reads, odd.
        activation: See :data:`churnlib.models.initialization.ACTIVATIONS`.
        dropout: Probability of dropping a channel's output at a step, in [0, 1).
    """

    def __init__(
        self, in_channels: int, *, n_channels: int, n_layers: int, kernel_size: int, activation: str, dropout: float
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(in_channels, n_channels, 1)
        # The padding in numbers: onnxruntime takes no "same" for dilated convolutions.
        self.layers = nn.ModuleList(
            nn.Conv1d(n_channels, n_channels, kernel_size, padding=2**layer * (kernel_size // 2), dilation=2**layer)
            for layer in range(n_layers)
        )
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.out_features = 3 * n_channels

    def forward(self, steps: Tensor, inside: Tensor) -> Tensor:
        """Return ``(batch, out_features)``; see :class:`SequenceNetwork` for the arguments."""
        inside = inside.unsqueeze(1)  # (B, 1, T)
        x = self.first(steps.transpose(1, 2)) * inside  # (B, C, T)
        for layer in self.layers:
            x = (x + self.dropout(self.activation(layer(x)))) * inside
        mean = x.sum(2) / inside.sum(2).clamp(min=1)
        largest = x.masked_fill(~inside, -torch.inf).amax(2)
        return torch.cat([mean, largest.masked_fill(~inside.any(2), 0.0), x[:, :, -1]], dim=1)


class CNN(SequenceNetwork):
    """One-dimensional convolutions over the history, joined with the other columns.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        n_numeric: How many of the first columns are numbers, steps included.
        sequences: Columns of each sequence's steps and masks; see :class:`SequenceNetwork`.
        n_channels: Width of each convolution.
        n_layers: Convolutions; each looks twice as far as the one before it.
        kernel_size: Steps that one of them reads, odd.
        hidden_sizes: Width of each hidden layer of the head.
        activation: Of the head and the convolutions; see :class:`~churnlib.models.mlp.MLP`.
        dropout: Probability of dropping a hidden unit of the head, in [0, 1).
        conv_dropout: The same of a convolution's output.
        numeric_embedding: Of the other numbers, not of the steps: ``"periodic"``, ``"piecewise"`` or None.

    Example:
        >>> steps, masks = range(2, 5), range(5, 8)
        >>> cnn = CNN(8, n_numeric=5, sequences=[(steps, masks)]).eval()
        >>> cnn(torch.rand(4, 8)).shape
        torch.Size([4, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_numeric: int,
        sequences: Sequence[Places],
        n_channels: int = 32,
        n_layers: int = 3,
        kernel_size: int = 3,
        hidden_sizes: Sequence[int] = (64,),
        activation: str = "silu",
        dropout: float = 0.5,
        conv_dropout: float = 0.3,
        numeric_embedding: str | None = "periodic",
    ) -> None:
        _check_at_least(n_channels=n_channels, n_layers=n_layers, kernel_size=kernel_size)
        check_activation(activation)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that it has a middle, got {kernel_size}")
        super().__init__(
            in_features,
            out_features,
            n_numeric=n_numeric,
            sequences=sequences,
            encoder=lambda n: ConvolutionEncoder(
                n,
                n_channels=n_channels,
                n_layers=n_layers,
                kernel_size=kernel_size,
                activation=activation,
                dropout=conv_dropout,
            ),
            hidden_sizes=hidden_sizes,
            activation=activation,
            dropout=dropout,
            numeric_embedding=numeric_embedding,
        )


def _check_at_least(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
