"""Initial weights of linear layers, chosen by the activation that follows.

A layer's weights are drawn normal with mean 0 and standard deviation ``gain / sqrt(fan)``, its bias starts at 0. With
the right gain a signal keeps its size from layer to layer: the mean square of the activations stays near 1 when that of
the inputs is 1. ``fan`` is the number of inputs, except for tanh:

    relu, gelu, silu, mish, elu    He et al. 2015 (arXiv 1502.01852, section 2.2): the gain with ``E f(gain z)^2 = 1``
                                   for ``z ~ N(0, 1)``; for ReLU that is the paper's sqrt(2)
    selu                           LeCun et al. 1998: gain 1, of which SELU's two constants make a fixed point
                                   (Klambauer et al. 2017, arXiv 1706.02515)
    tanh                           Glorot and Bengio 2010: gain 5/3 on the mean of inputs and outputs, because a
                                   saturating activation also has to keep the gradients' size on the way back
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
}
"""Activations by name."""

GAINS = {"relu": 2**0.5, "elu": 1.2780, "selu": 1.0, "gelu": 1.4680, "silu": 1.5588, "mish": 1.4515, "tanh": 5 / 3}
"""Gain of the weights in front of each activation."""


def check_activation(activation: str) -> str:
    """Return the name of an activation, or refuse it.

    Raises:
        ValueError: If there is no such activation.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return activation


def weight_std(activation: str, fan_in: int, fan_out: int) -> float:
    """Return the standard deviation of the initial weights in front of an activation.

    Args:
        activation: Its name, a key of ``ACTIVATIONS``.
        fan_in: Inputs of the layer.
        fan_out: Outputs of the layer; only tanh asks for them.

    Raises:
        ValueError: If there is no such activation.

    >>> weight_std("relu", 8, 100), weight_std("selu", 4, 100)  # sqrt(2 / 8), sqrt(1 / 4)
    (0.5, 0.5)
    >>> round(weight_std("tanh", 30, 20), 6)  # 5/3 / sqrt((30 + 20) / 2)
    0.333333
    """
    fan = (fan_in + fan_out) / 2 if check_activation(activation) == "tanh" else fan_in
    return GAINS[activation] / fan**0.5


@torch.no_grad()
def initialize_linear(layer: nn.Linear, activation: str, *, generator: torch.Generator | None = None) -> None:
    """Draw a layer's weights for the activation that follows it, and set its bias to 0, in place.

    Args:
        layer: The layer.
        activation: Name of the activation that follows, a key of ``ACTIVATIONS``.
        generator: Source of the weights; PyTorch's global one when None.

    Raises:
        ValueError: If there is no such activation.
    """
    layer.weight.normal_(0.0, weight_std(activation, layer.in_features, layer.out_features), generator=generator)
    if layer.bias is not None:
        layer.bias.zero_()
