"""The MLP against a plain re-statement, and the promises of its interface."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from churnlib.models.initialization import ACTIVATIONS
from churnlib.models.mlp import MLP, PlainMLP

VARIANTS = [
    {"numeric_embedding": None},
    {"numeric_embedding": "periodic"},
    {"numeric_embedding": "piecewise"},
    {"numeric_embedding": "periodic", "norm": "layer", "activation": "gelu"},
    {"numeric_embedding": None, "norm": "batch", "activation": "relu"},
    {"numeric_embedding": "piecewise", "hidden_sizes": ()},
]


def made(**options) -> MLP:
    """A network of 7 inputs, the first 3 numeric, in evaluation mode, with every weight random."""
    mlp = MLP(7, **{"n_numeric": 3, "hidden_sizes": (16, 8), **options}).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in mlp.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in mlp.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0, generator=generator)
    return mlp


def rows(n: int = 9, *, seed: int = 0) -> Tensor:
    return torch.randn(n, 7, generator=torch.Generator().manual_seed(seed))


def plain_forward(mlp: MLP, x: Tensor) -> np.ndarray:
    """Evaluation mode in numpy, column by column and layer by layer, from the weights by name alone."""
    weights = {name: value.detach().double().numpy() for name, value in mlp.state_dict().items()}
    numbers, rest = np.split(x.double().numpy(), [3], axis=1)
    inputs = [numbers]
    if "embedding.frequency" in weights:
        for j in range(3):
            angle = 2 * np.pi * numbers[:, [j]] * weights["embedding.frequency"][j] + weights["embedding.phase"][j]
            inputs.append(np.cos(angle) @ weights["embedding.weight"][j] + weights["embedding.bias"][j])
    h = np.concatenate([*inputs, rest], axis=1)
    layer = 0
    while f"blocks.{layer}.linear.weight" in weights:
        part = {name.removeprefix(f"blocks.{layer}."): value for name, value in weights.items()}
        h = h @ part["linear.weight"].T + part.get("linear.bias", 0)
        if "norm.running_mean" in part:
            h = (h - part["norm.running_mean"]) / np.sqrt(part["norm.running_var"] + 1e-5)
            h = h * part["norm.weight"] + part["norm.bias"]
        elif "norm.weight" in part:
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
            h = h * part["norm.weight"] + part["norm.bias"]
        h = np.maximum(h, 0) if mlp.activation == "relu" else np.tanh(h)
        layer += 1
    return h @ weights["head.weight"].T + weights["head.bias"]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("numeric_embedding", [None, "periodic"])
def test_forward_is_the_textbook_network(activation: str, norm: str | None, numeric_embedding: str | None) -> None:
    mlp = made(activation=activation, norm=norm, numeric_embedding=numeric_embedding, out_features=2, dropout=0.5)
    np.testing.assert_allclose(mlp(rows()).detach().numpy(), plain_forward(mlp, rows()), atol=2e-5)


def test_it_learns_a_threshold_and_an_interaction() -> None:
    x = torch.randn(800, 4, generator=torch.Generator().manual_seed(0))
    label = ((x[:, 0] > 0.8) | (x[:, 1] * x[:, 2] > 0.5)).float()
    torch.manual_seed(0)
    mlp = MLP(4, n_numeric=4, hidden_sizes=(64, 64))
    optimizer = torch.optim.AdamW(mlp.parameters(), lr=3e-3)
    for _ in range(150):
        loss = F.binary_cross_entropy_with_logits(mlp(x[:600]).squeeze(1), label[:600])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mlp.eval()
    assert ((mlp(x[600:]).squeeze(1) > 0) == label[600:].bool()).float().mean().item() > 0.92


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_reach_every_parameter(options: dict, dropout: float) -> None:
    torch.manual_seed(0)
    mlp = made(dropout=dropout, **options).train()
    F.binary_cross_entropy_with_logits(mlp(rows(200)).squeeze(1), torch.arange(200.0) % 2).backward()
    for name, parameter in mlp.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max().item() > 0, name


@pytest.mark.parametrize("options", VARIANTS)
def test_one_row_equals_many_in_any_order(options: dict) -> None:
    mlp, x = made(dropout=0.4, **options), rows(60)
    with torch.inference_mode():
        together = mlp(x).sigmoid()
        torch.testing.assert_close(torch.cat([mlp(row) for row in x.split(1)]).sigmoid(), together, atol=1e-6, rtol=0)
        torch.testing.assert_close(mlp(x.flip(0)).sigmoid().flip(0), together, atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_start_near_zero_and_move_with_the_output_bias(activation: str) -> None:
    mlp = MLP(7, n_numeric=3, activation=activation, generator=torch.Generator().manual_seed(0)).eval()
    with torch.inference_mode():
        assert mlp(rows(500)).abs().max().item() < 0.75
        mlp.head.bias.fill_(math.log(0.2 / 0.8))
        assert mlp(rows(500)).sigmoid().mean().item() == pytest.approx(0.2, abs=0.02)


def test_a_generator_fixes_the_weights_and_leaves_the_global_one_alone() -> None:
    first, second, other = (
        MLP(7, n_numeric=3, norm="batch", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.blocks[0].linear.weight, other.blocks[0].linear.weight)  # type: ignore[arg-type]
    state = torch.get_rng_state()
    first.reset_parameters(torch.Generator().manual_seed(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_the_global_seed_fixes_weights_and_dropout() -> None:
    losses = []
    for _ in range(2):
        torch.manual_seed(8)
        mlp = MLP(7, n_numeric=3, dropout=0.5)
        losses.append(F.binary_cross_entropy_with_logits(mlp(rows()).squeeze(1), torch.ones(9)).item())
    assert losses[0] == losses[1]


def test_dropout_acts_in_training_only() -> None:
    mlp = made(dropout=0.5)
    assert torch.equal(mlp(rows()), mlp(rows()))
    mlp.train()
    assert not torch.equal(mlp(rows()), mlp(rows()))


def test_a_training_batch_of_one_row_uses_the_running_statistics() -> None:
    mlp = made(norm="batch", dropout=0.0)
    expected = mlp(rows(1))
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    torch.testing.assert_close(mlp.train()(rows(1)), expected)
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    mlp(rows(5))
    assert not torch.equal(mlp.state_dict()["blocks.0.norm.running_mean"], before["blocks.0.norm.running_mean"])


def test_batch_normalisation_goes_by_the_batch_in_training() -> None:
    mlp = made(norm="batch", dropout=0.0, hidden_sizes=(16,), activation="relu", numeric_embedding=None).train()
    block, x = mlp.blocks[0], rows(50)
    h = x @ block.linear.weight.T  # type: ignore[union-attr,operator]
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt()
    h = torch.relu(h * block.norm.weight + block.norm.bias)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(mlp(x), h @ mlp.head.weight.T + mlp.head.bias, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("n", [0, 1, 9])
def test_any_number_of_rows_gives_as_many_logits(options: dict, n: int) -> None:
    assert made(out_features=3, **options)(rows(n)).shape == (n, 3)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_exported_network_gives_the_same_logits_for_any_batch(options: dict) -> None:
    mlp = made(**options)
    batch = torch.export.Dim("batch")
    program = torch.export.export(mlp, (rows(),), dynamic_shapes=({0: batch},))
    module = program.module()
    for n in (1, 2, 30):
        torch.testing.assert_close(module(rows(n)), mlp(rows(n)), atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_network_gives_the_same_logits_for_any_batch() -> None:
    mlp = made()
    traced: Any = torch.jit.trace(mlp, (rows(),))
    for n in (1, 30):
        torch.testing.assert_close(traced(rows(n)), mlp(rows(n)))


def test_logits_are_float32_under_autocast() -> None:
    mlp = made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = mlp(rows(200))
    assert logits.dtype == torch.float32
    assert logits.unique().numel() > 190
    torch.testing.assert_close(logits, mlp(rows(200)), atol=0.1, rtol=0.1)


def test_a_network_without_numbers_needs_no_embedding() -> None:
    mlp = MLP(4, n_numeric=0, numeric_embedding="periodic")
    assert mlp.embedding is None
    assert mlp.blocks[0].linear.in_features == 4  # type: ignore[union-attr]


def test_all_inputs_may_be_numbers() -> None:
    assert MLP(7, n_numeric=7, hidden_sizes=[4])(rows()).shape == (9, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "activation must be one of relu, elu, selu, gelu, silu, mish, tanh, got 'swish'"),
        ({"norm": "group"}, "norm must be one of batch, layer, or None for none, got 'group'"),
        (
            {"numeric_embedding": "plr"},
            "numeric_embedding must be one of periodic, piecewise, or None for none, got 'plr'",
        ),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"hidden_sizes": (8, 0)}, r"hidden_sizes\[1\] must be at least 1, got 0"),
        ({"out_features": 0}, "out_features must be at least 1, got 0"),
        ({"n_numeric": 8}, "n_numeric must be between 0 and in_features = 7, got 8"),
        ({"n_numeric": -1}, "n_numeric must be between 0 and in_features = 7, got -1"),
        ({"n_numeric": 2, "embedding_dim": 1}, "embedding_dim must be at least 2, got 1"),
    ],
)
def test_impossible_arguments_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLP(7, **options)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected rows of shape \(batch, 7\), got \(9, 6\)"):
        made()(rows()[:, :6])


def test_the_plain_network_is_the_one_without_embedding_and_members() -> None:
    plain = PlainMLP(7, hidden_sizes=(16, 8), generator=torch.Generator().manual_seed(1)).eval()
    same = MLP(7, hidden_sizes=(16, 8), activation="relu", norm="batch", numeric_embedding=None).eval()
    same.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(rows()), same(rows()), rtol=0, atol=0)
    assert plain.embedding is None and plain.members is None


@pytest.mark.parametrize("members", ["mini", "full"])
def test_one_row_equals_many_with_members(members: str) -> None:
    mlp, x = made(n_members=4, members=members, dropout=0.4), rows(60)
    assert mlp(x).shape == (60, 4, 1)
    with torch.inference_mode():
        torch.testing.assert_close(torch.cat([mlp(row) for row in x.split(1)]), mlp(x), atol=1e-5, rtol=1e-5)


def test_the_curves_of_a_column_start_with_its_scale() -> None:
    """Two raw columns of numbers, one of categories in two one-hot columns; three inputs for each number."""
    mlp = MLP(4, n_numeric=2, groups=[0, 1, 2, 2], embedding_dim=3, n_members=5)
    assert mlp.members is not None
    scales = mlp.members.weight.detach()
    for columns in ((0, 2, 3), (1, 4, 5), (6, 7)):
        assert all(torch.equal(scales[:, columns[0]], scales[:, column]) for column in columns)
    assert len(scales[0].unique()) == 3


def test_members_may_be_reset_to_where_a_generator_leads() -> None:
    first, second = (MLP(7, n_numeric=3, n_members=3, members="full") for _ in range(2))
    for mlp in (first, second):
        mlp.reset_parameters(torch.Generator().manual_seed(1))
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        if "bias" not in name:
            assert torch.equal(a, b), name
