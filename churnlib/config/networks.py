"""Arguments of the networks. A network of your own needs no schema: its YAML then says which keys there are."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_choice, check_range
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class PlainMLPConfig:
    """Arguments of :class:`churnlib.models.mlp.PlainMLP`."""

    _target_: str
    hidden_sizes: list[int]
    """Width of each hidden layer."""
    activation: str
    """relu, elu, selu, gelu, silu, mish or tanh."""
    dropout: float
    """Probability of dropping a hidden unit, in [0, 1)."""
    norm: str | None
    """batch, layer or null for none."""

    def __post_init__(self) -> None:
        for width in self.hidden_sizes:
            check_range("model.hidden_sizes", width, low=1)
        check_choice("model.activation", self.activation, ("relu", "elu", "selu", "gelu", "silu", "mish", "tanh"))
        check_range("model.dropout", self.dropout, low=0, high=1, open_high=True)
        check_choice("model.norm", self.norm, ("batch", "layer"))


@dataclass(kw_only=True)
class MLPConfig(PlainMLPConfig):
    """Arguments of :class:`churnlib.models.mlp.MLP`."""

    numeric_embedding: str | None
    """periodic or piecewise: each number becomes several inputs; null for itself alone."""
    embedding_dim: int
    """Inputs that each number becomes, itself included."""
    n_frequencies: int
    """Cosines per number, of the periodic embedding."""
    frequency_scale: float
    """Size of the initial frequencies, of the periodic embedding."""
    n_bins: int
    """Bins per number, of the piecewise embedding."""
    n_members: int | None
    """Networks that share their hidden layers and answer together; null for a single one."""
    members: str
    """mini (members differ in their inputs' scales and in their heads) or full (also around every hidden layer)."""
    scale_lr: float
    """Learning rate of the members' scales, as a factor on the optimizer's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.numeric_embedding", self.numeric_embedding, ("periodic", "piecewise"))
        check_range("model.embedding_dim", self.embedding_dim, low=2)
        check_range("model.n_frequencies", self.n_frequencies, low=1)
        check_range("model.frequency_scale", self.frequency_scale, low=0, open_low=True)
        check_range("model.n_bins", self.n_bins, low=1)
        check_range("model.n_members", self.n_members, low=1)
        check_choice("model.members", self.members, ("mini", "full"))
        check_range("model.scale_lr", self.scale_lr, low=0, open_low=True)


@dataclass(kw_only=True)
class RealMLPConfig:
    """Arguments of :class:`churnlib.models.realmlp.RealMLP`."""

    _target_: str
    hidden_sizes: list[int]
    """Width of each hidden layer."""
    activation: str
    """relu, elu, selu, gelu, silu, mish or tanh, each between a straight line and beyond itself by a learned share."""
    dropout: float
    """Probability of dropping a hidden unit, in [0, 1)."""
    embedding_dim: int
    """Inputs that each number becomes, itself included."""
    n_frequencies: int
    """Cosines per number."""
    frequency_scale: float
    """Size of the initial frequencies."""

    def __post_init__(self) -> None:
        for width in self.hidden_sizes:
            check_range("model.hidden_sizes", width, low=1)
        check_choice("model.activation", self.activation, ("relu", "elu", "selu", "gelu", "silu", "mish", "tanh"))
        check_range("model.dropout", self.dropout, low=0, high=1, open_high=True)
        check_range("model.embedding_dim", self.embedding_dim, low=2)
        check_range("model.n_frequencies", self.n_frequencies, low=1)
        check_range("model.frequency_scale", self.frequency_scale, low=0, open_low=True)


@dataclass(kw_only=True)
class AdditiveConfig:
    """Arguments of :class:`churnlib.models.additive.Additive`."""

    _target_: str
    n_bins: int
    """Bins per number."""
    n_pairs: int
    """Pairs of columns that get a table of their own, at most; 0 for columns alone."""
    pair_bins: int
    """Bins per number in a pair, and most values of a categorical column that takes part."""

    def __post_init__(self) -> None:
        check_range("model.n_bins", self.n_bins, low=2)
        check_range("model.n_pairs", self.n_pairs, low=0)
        check_range("model.pair_bins", self.pair_bins, low=2)


@dataclass(kw_only=True)
class TabNetConfig:
    """Arguments of :class:`churnlib.models.tabnet.TabNet`, named as in arXiv 1908.07442."""

    _target_: str
    n_d: int
    """Width of the decision."""
    n_a: int
    """Width of the attention's state."""
    n_steps: int
    """Decision steps."""
    gamma: float
    """How freely a column is used again in later steps, at least 1."""
    n_shared: int
    """Layers of a feature transformer that all steps share."""
    n_independent: int
    """Layers of a feature transformer of each step's own."""
    virtual_batch_size: int | None
    """Rows of a ghost batch; null for the whole batch."""
    momentum: float
    """Of the batch normalisations."""
    mask: str
    """sparsemax or entmax."""
    epsilon: float
    """Keeps the logarithm in the mask's entropy finite."""
    lambda_sparse: float
    """Weight of the mask's entropy in the loss."""
    dropout: float
    """Probability of dropping an output of the decision, in [0, 1)."""
    input_dropout: float
    """Probability of dropping an input feature of a row, in [0, 1)."""
    attention_scale: float
    """Initial scale of the attention's normalisation; small starts with even masks."""
    numeric_embedding: str | None
    """periodic or piecewise: each number becomes several features with one attention; null for itself alone."""
    embedding_dim: int
    """Features that each number becomes, itself included."""
    n_frequencies: int
    """Cosines per number, of the periodic embedding."""
    frequency_scale: float
    """Size of the initial frequencies, of the periodic embedding."""
    n_bins: int
    """Bins per number, of the piecewise embedding."""
    n_members: int
    """Networks that share all matrices but the last, trained in one pass; the mean of their probabilities counts."""

    def __post_init__(self) -> None:
        for name in ("n_d", "n_a", "n_steps"):
            check_range(f"model.{name}", getattr(self, name), low=1)
        for name in ("n_shared", "n_independent", "lambda_sparse"):
            check_range(f"model.{name}", getattr(self, name), low=0)
        check_range("model.gamma", self.gamma, low=1)
        check_range("model.virtual_batch_size", self.virtual_batch_size, low=2)
        check_range("model.momentum", self.momentum, low=0, high=1, open_low=True)
        check_choice("model.mask", self.mask, ("sparsemax", "entmax"))
        for name in ("dropout", "input_dropout"):
            check_range(f"model.{name}", getattr(self, name), low=0, high=1, open_high=True)
        check_choice("model.numeric_embedding", self.numeric_embedding, ("periodic", "piecewise"))
        check_range("model.embedding_dim", self.embedding_dim, low=2)
        for name in ("n_frequencies", "n_bins", "n_members"):
            check_range(f"model.{name}", getattr(self, name), low=1)
        check_range("model.frequency_scale", self.frequency_scale, low=0, open_low=True)


@dataclass(kw_only=True)
class FTTransformerConfig:
    """Arguments of :class:`churnlib.models.ft_transformer.FTTransformer`."""

    _target_: str
    n_blocks: int
    """Attention and gated layers, one after the other."""
    d_token: int
    """Width of a column's token, a multiple of n_heads."""
    n_heads: int
    """Attention heads."""
    ffn_multiplier: float
    """Width of the gated layers by that of a token."""
    attention_dropout: float
    """Probability of dropping an attention weight, in [0, 1)."""
    ffn_dropout: float
    """Probability of dropping a unit of the gated layers, in [0, 1)."""
    residual_dropout: float
    """Probability of dropping what a layer adds to a token, in [0, 1)."""

    def __post_init__(self) -> None:
        for name in ("n_blocks", "d_token", "n_heads"):
            check_range(f"model.{name}", getattr(self, name), low=1)
        check_range("model.ffn_multiplier", self.ffn_multiplier, low=0, open_low=True)
        for name in ("attention_dropout", "ffn_dropout", "residual_dropout"):
            check_range(f"model.{name}", getattr(self, name), low=0, high=1, open_high=True)
        if isinstance(self.d_token, int) and isinstance(self.n_heads, int) and self.d_token % self.n_heads:
            raise ConfigError(f"model.d_token must be a multiple of model.n_heads={self.n_heads}, got {self.d_token}")


@dataclass(kw_only=True)
class SequenceNetworkConfig:
    """What all networks of :mod:`churnlib.models.sequence` take; the head is a multilayer perceptron."""

    _target_: str
    n_layers: int
    """Recurrent layers, or convolutions, on top of each other."""
    hidden_sizes: list[int]
    """Width of each hidden layer of the head."""
    activation: str
    """relu, elu, selu, gelu, silu, mish or tanh."""
    dropout: float
    """Probability of dropping a hidden unit, in [0, 1)."""
    numeric_embedding: str | None
    """periodic or piecewise: each number outside the sequences becomes several inputs; null for itself alone."""

    def __post_init__(self) -> None:
        check_range("model.n_layers", self.n_layers, low=1)
        for width in self.hidden_sizes:
            check_range("model.hidden_sizes", width, low=1)
        check_choice("model.activation", self.activation, ("relu", "elu", "selu", "gelu", "silu", "mish", "tanh"))
        check_range("model.dropout", self.dropout, low=0, high=1, open_high=True)
        check_choice("model.numeric_embedding", self.numeric_embedding, ("periodic", "piecewise"))


@dataclass(kw_only=True)
class RecurrentConfig(SequenceNetworkConfig):
    """Arguments of :class:`churnlib.models.sequence.GRU` and :class:`churnlib.models.sequence.LSTM`."""

    hidden_size: int
    """Width of the recurrent state."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.hidden_size", self.hidden_size, low=1)


@dataclass(kw_only=True)
class CNNConfig(SequenceNetworkConfig):
    """Arguments of :class:`churnlib.models.sequence.CNN`."""

    n_channels: int
    """Width of each convolution."""
    kernel_size: int
    """Steps that a convolution reads, odd."""
    conv_dropout: float
    """Probability of dropping an output of a convolution, in [0, 1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("model.n_channels", self.n_channels, low=1)
        check_range("model.kernel_size", self.kernel_size, low=1)
        check_range("model.conv_dropout", self.conv_dropout, low=0, high=1, open_high=True)
        if isinstance(self.kernel_size, int) and self.kernel_size % 2 == 0:
            raise ConfigError(f"model.kernel_size must be odd, got {self.kernel_size}")
