"""Initial weights keep a signal's size from layer to layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from churnlib.models.initialization import ACTIVATIONS, GAINS, initialize_linear, weight_std

FORWARD_GAINS = [name for name in ACTIVATIONS if name != "tanh"]


def mean_square_after(activation: str) -> float:
    """E f(gain z)^2 for z ~ N(0, 1), by the trapezoid rule."""
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return torch.trapezoid(ACTIVATIONS[activation](GAINS[activation] * z).square() * density, z).item()


@torch.no_grad()
def signal_after(layers: int, activation: str, *, seed: int = 0) -> Tensor:
    """Activations of standard normal inputs behind some fresh layers."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(300, 500, generator=generator)
    for _ in range(layers):
        layer = nn.Linear(500, 500)
        initialize_linear(layer, activation, generator=generator)
        x = ACTIVATIONS[activation](layer(x))
    return x


@pytest.mark.parametrize("activation", FORWARD_GAINS)
def test_activations_keep_their_size_through_four_layers(activation: str) -> None:
    sizes = [signal_after(4, activation, seed=seed).square().mean().item() for seed in range(5)]
    assert 0.8 < sum(sizes) / 5 < 1.25


def test_tanh_neither_dies_nor_saturates() -> None:
    x = signal_after(20, "tanh")
    assert 0.2 < x.square().mean().item() < 0.6
    assert (x.abs() > 0.99).float().mean().item() < 0.1


@pytest.mark.parametrize("activation", FORWARD_GAINS)
def test_gain_makes_unit_size_a_fixed_point(activation: str) -> None:
    assert mean_square_after(activation) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gains_of_relu_and_tanh_are_those_of_pytorch(activation: Any) -> None:
    assert GAINS[activation] == pytest.approx(nn.init.calculate_gain(activation))


@pytest.mark.parametrize(
    ("activation", "pytorch"),
    [
        ("relu", lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
        ("selu", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
        ("tanh", lambda w: nn.init.xavier_normal_(w, gain=5 / 3)),
    ],
)
def test_spread_of_the_weights_is_that_of_pytorchs_scheme(activation: str, pytorch) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(600, 200)
    initialize_linear(layer, activation)
    reference = pytorch(torch.empty(200, 600))
    assert layer.weight.std().item() == pytest.approx(reference.std().item(), rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0.0, abs=0.001)
    assert not layer.bias.any()


def test_a_generator_fixes_the_weights_and_leaves_the_global_one_alone() -> None:
    layers = [nn.Linear(5, 4, bias=bias) for bias in (True, False)]
    before = torch.get_rng_state()
    for layer in layers:
        initialize_linear(layer, "relu", generator=torch.Generator().manual_seed(3))
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_activation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="relu, elu, selu, gelu, silu, mish, tanh, got 'swish'"):
        weight_std("swish", 4, 4)
    with pytest.raises(ValueError, match="activation must be one of"):
        initialize_linear(nn.Linear(2, 2), "ReLU")
