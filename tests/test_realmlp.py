"""RealMLP against a plain re-statement of its paper, and its initial weights against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from churnlib.models.parameter_groups import parameter_groups
from churnlib.models.realmlp import NTKLinear, ParametricActivation, RealMLP


def made(**options) -> RealMLP:
    """A network of 7 inputs, the first 3 numeric, in evaluation mode, with every weight random."""
    realmlp = RealMLP(7, **{"n_numeric": 3, "hidden_sizes": (16, 8), **options}).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in realmlp.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return realmlp


def rows(n: int = 9, *, seed: int = 0) -> Tensor:
    return torch.randn(n, 7, generator=torch.Generator().manual_seed(seed))


def selu(x: np.ndarray) -> np.ndarray:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))


def restated(realmlp: RealMLP, x: Tensor) -> np.ndarray:
    """The paper's section 3 in numpy, double precision, column by column, from the weights by name alone."""
    w = {name: value.detach().double().numpy() for name, value in realmlp.state_dict().items()}
    numbers, rest = np.split(x.double().numpy(), [3], axis=1)
    inputs = [numbers]
    for j in range(3):
        cosines = np.cos(2 * np.pi * numbers[:, [j]] * w["embedding.frequency"][j] + w["embedding.phase"][j])
        inputs.append(cosines @ w["embedding.weight"][j] + w["embedding.bias"][j])
    h = np.concatenate([*inputs, rest], axis=1) * w["scale.weight"]
    for layer in (0, 1):
        weight = w[f"blocks.{layer}.linear.weight"]
        z = h @ weight / np.sqrt(len(weight)) + w[f"blocks.{layer}.linear.bias"]
        h = z + w[f"blocks.{layer}.activation.weight"] * (selu(z) - z)
    return h @ w["head.weight"] / np.sqrt(len(w["head.weight"])) + w["head.bias"]


@pytest.mark.parametrize("out_features", [1, 4])
def test_forward_is_the_papers_network(out_features: int):
    realmlp = made(out_features=out_features, dropout=0.5)
    np.testing.assert_allclose(realmlp(rows()).detach().numpy(), restated(realmlp, rows()), atol=1e-5)


def test_each_neuron_starts_with_unit_spread_over_the_training_rows():
    realmlp, x = RealMLP(7, n_numeric=3, hidden_sizes=(64, 32)), rows(500)
    realmlp.initialize(x, torch.Generator().manual_seed(0))
    h = realmlp.eval()._embed(x)
    for layer in [*(block.linear for block in realmlp.blocks), realmlp.head]:
        outputs = layer(h)
        torch.testing.assert_close(outputs.std(0, correction=0), torch.ones(outputs.shape[1]), atol=1e-4, rtol=0)
        # Where the neuron is 0 lies inside the data: it is a mixture of five rows' values.
        assert bool((outputs.min(0).values < 0).all() and (outputs.max(0).values > 0).all())
        h = F.selu(outputs)


def test_an_input_without_spread_keeps_finite_weights():
    layer = NTKLinear(4, 3)
    layer.reset_parameters()
    layer.initialize(torch.ones(10, 4))
    assert bool(layer.weight.isfinite().all())
    torch.testing.assert_close(layer(torch.ones(2, 4)), torch.zeros(2, 3), atol=1e-6, rtol=0)


def test_a_parametric_activation_goes_from_a_line_to_the_function():
    layer, x = ParametricActivation(7, "relu"), rows()
    torch.testing.assert_close(layer(x), torch.relu(x))
    with torch.no_grad():
        layer.weight.zero_()
    torch.testing.assert_close(layer(x), x)


def test_parameters_learn_at_the_papers_rates():
    """Scales 6 times, biases, activations and embeddings a tenth of the rate."""
    realmlp = made()
    names = {parameter: name for name, parameter in realmlp.named_parameters()}
    groups = parameter_groups(realmlp)
    assert len(groups) <= 5
    rate = {names[p]: group["lr_factor"] for group in groups for p in group["params"]}
    assert set(rate) == set(names.values())
    expected = {"scale.weight": 6.0, "embedding.frequency": 0.1, "embedding.weight": 0.1, "head.weight": 1.0,
                "head.bias": 0.1, "blocks.1.linear.bias": 0.1, "blocks.0.activation.weight": 0.1}  # fmt: skip
    assert {name: rate[name] for name in expected} == expected
    undecayed = {names[p] for group in groups if group.get("weight_decay") == 0.0 for p in group["params"]}
    assert undecayed == {name for name in names.values() if name.endswith("bias")}


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    realmlp = made(dropout=0.3).train()
    F.binary_cross_entropy_with_logits(realmlp(rows(200)).squeeze(1), torch.arange(200.0) % 2).backward()
    for name, parameter in realmlp.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max().item() > 0, name


def test_one_row_equals_many():
    realmlp, x = made(dropout=0.4), rows(60)
    with torch.inference_mode():
        singly = torch.cat([realmlp(row) for row in x.split(1)])
        torch.testing.assert_close(singly.sigmoid(), realmlp(x).sigmoid(), atol=1e-6, rtol=0)


def test_an_exported_network_gives_the_same_logits_for_any_batch():
    realmlp = made()
    program = torch.export.export(realmlp, (rows(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for n in (1, 30):
        torch.testing.assert_close(program.module()(rows(n)), realmlp(rows(n)), atol=1e-6, rtol=1e-5)


def test_a_network_without_numbers_needs_no_embedding():
    assert RealMLP(4, n_numeric=0, hidden_sizes=()).eval()(rows()[:, :4]).shape == (9, 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_numeric": 8}, "n_numeric must be between 0 and in_features = 7, got 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"activation": "swish"}, "activation must be one of"),
    ],
)
def test_impossible_arguments_are_refused(options: dict, says: str):
    with pytest.raises(ValueError, match=says):
        RealMLP(7, **options)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"expected rows of shape \(batch, 7\), got \(9, 6\)"):
        made()(rows()[:, :6])
