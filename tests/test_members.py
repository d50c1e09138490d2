"""Members in one network: against plain loops over members, against the package of TabM's authors, and in training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made import TINY_TABNET, made_prepared
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.decision import probability_from_logits
from churnlib.models.members import (
    LinearBatchEnsemble,
    MemberHeads,
    MemberInputs,
    Members,
    batch_ensemble,
    combine,
)
from churnlib.models.mlp import MLP
from churnlib.models.network import build_network

K = 3


class OwnNet(nn.Module):
    """A user's network that has never heard of members."""

    def __init__(self, in_features: int, out_features: int, *, width: int = 8) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_features, width), nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


OWN = {"_target_": "churnlib.models.members.Members", "trunk": {"_target_": f"{__name__}.OwnNet"}, "n_members": K}


def randomised(module: nn.Module) -> nn.Module:
    """Every weight random, so that no member is like another."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def rows(n: int = 9, n_columns: int = 5) -> Tensor:
    return torch.randn(n, n_columns, generator=torch.Generator().manual_seed(0))


def inputs(n: int = 20):
    customers = made_prepared(200)
    encoded = customers.encoded["train"]
    spec = customers.preparation.input_spec()
    return spec, torch.from_numpy(encoded.numeric[:n]), torch.from_numpy(encoded.codes[:n])


# --- the answer of many ---------------------------------------------------------------------------------------------


def test_the_combination_is_the_mean_probability():
    logits = 4 * rows(6, K).unsqueeze(2)
    expected = probability_from_logits(logits[:, :, 0].reshape(-1).numpy()).reshape(6, K).mean(1)
    combined = combine(logits)
    assert combined.shape == (6, 1)
    np.testing.assert_allclose(probability_from_logits(combined[:, 0].numpy()), expected, atol=1e-7)


def test_the_combination_of_classes_is_the_mean_softmax():
    logits = rows(6, K * 4).view(6, K, 4)
    torch.testing.assert_close(combine(logits).softmax(1), logits.softmax(2).mean(1))
    torch.testing.assert_close(combine(logits).logsumexp(1), torch.zeros(6), atol=1e-6, rtol=0)


def test_very_sure_customers_still_differ():
    logits = torch.tensor([[[60.0], [62.0]], [[60.0], [70.0]], [[-80.0], [-90.0]]])
    combined = combine(logits)[:, 0].tolist()
    assert combined[0] == pytest.approx(60 + math.log(2) - math.log1p(math.exp(-2)), abs=1e-4)
    assert combined[1] > combined[0]
    assert combined[2] == pytest.approx(-80 - math.log(2), abs=1e-3)


@pytest.mark.parametrize("out", [1, 3])
def test_one_member_answers_for_itself(out: int):
    logits = rows(6, out).view(6, 1, out)
    expected = logits[:, 0] if out == 1 else logits[:, 0].log_softmax(1)
    torch.testing.assert_close(combine(logits), expected, atol=1e-5, rtol=1e-5)


# --- the pieces against a loop over members -------------------------------------------------------------------------


def test_inputs_are_copies_scaled_by_member():
    layer = randomised(MemberInputs(5, n_members=K))
    expected = torch.stack([rows() * layer.weight[i] for i in range(K)], dim=1)
    torch.testing.assert_close(layer(rows()).view(9, K, 5), expected)


def test_columns_of_a_group_start_with_one_scale():
    layer = MemberInputs(5, n_members=64, groups=[7, 2, 7, 7, 2], generator=torch.Generator().manual_seed(0))
    weight = layer.weight.detach()
    assert torch.equal(weight[:, 0], weight[:, 2]) and torch.equal(weight[:, 0], weight[:, 3])
    assert torch.equal(weight[:, 1], weight[:, 4])
    assert not torch.equal(weight[:, 0], weight[:, 1])
    signs = MemberInputs(5, n_members=64, signs=True).weight.detach()
    assert set(signs.unique().tolist()) == {-1.0, 1.0}


def test_heads_are_one_linear_layer_per_member():
    heads = randomised(MemberHeads(5, 2, n_members=K))
    x = rows(9 * K)
    expected = [x.view(9, K, 5)[:, i] @ heads.weight[i] + heads.bias[i] for i in range(K)]
    torch.testing.assert_close(heads(x), torch.stack(expected, dim=1))


def test_a_batch_ensemble_starts_as_the_layer_it_shares():
    linear = nn.Linear(5, 4)
    layer = LinearBatchEnsemble(linear, n_members=K)
    torch.testing.assert_close(layer(rows(9 * K)), linear(rows(9 * K)))
    layer = randomised(layer)
    x = rows(9 * K).view(9, K, 5)
    expected = [
        (x[:, i] * layer.input_scale[i]) @ layer.weight.T * layer.output_scale[i] + layer.bias[i] for i in range(K)
    ]
    torch.testing.assert_close(layer(rows(9 * K)).view(9, K, 4), torch.stack(expected, dim=1))


# --- the network against the authors' -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mini", "full"])
@pytest.mark.parametrize("out", [1, 3])
def test_logits_are_those_of_the_tabm_package(kind: str, out: int):
    tabm = pytest.importorskip("tabm", reason="the package tabm, of the extra dev, is not installed")
    theirs = randomised(
        tabm.TabM(n_num_features=5, d_out=out, n_blocks=2, d_block=8, dropout=0.1, activation="ReLU", k=K,
                  arch_type="tabm-mini" if kind == "mini" else "tabm", start_scaling_init="random-signs")
    )  # fmt: skip
    options = {"hidden_sizes": (8, 8), "activation": "relu", "numeric_embedding": None}
    ours = MLP(5, out, n_numeric=5, n_members=K, members=kind, **options).eval()
    ours.load_state_dict(renamed(theirs.state_dict(), kind))
    torch.testing.assert_close(ours(rows()), theirs(rows()), atol=1e-5, rtol=1e-5)


def renamed(state: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The authors' weights under our names; every one is used, or loading fails."""
    found = {"head.weight": state["output.weight"], "head.bias": state["output.bias"].unsqueeze(1)}
    first = "backbone.affine.weight" if kind == "mini" else "backbone.blocks.0.0.r"
    found["members.weight"] = state[first]
    parts = {"weight": "weight", "bias": "bias", "r": "input_scale", "s": "output_scale"}
    for name, value in state.items():
        if name.startswith("backbone.blocks.") and name != first:
            _, _, layer, _, part = name.split(".")
            found[f"blocks.{layer}.linear.{parts[part]}"] = value
    return found


# --- any trunk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mini", "full"])
def test_a_network_of_ones_own_gets_members(kind: str):
    spec, numeric, codes = inputs()
    network = build_network({**OWN, "members": kind, "trunk_features": 6}, spec)
    randomised(network)
    x = network.inputs(numeric, codes)
    body = network.body
    per_member = body(x)
    assert per_member.shape == (20, K, 1)
    if kind == "mini":
        for i in range(K):
            hidden = torch.relu(body.trunk(x * body.inputs.weight[i]))
            expected = hidden @ body.heads.weight[i] + body.heads.bias[i]
            torch.testing.assert_close(per_member[:, i], expected, atol=1e-5, rtol=1e-5)
    assert isinstance(body.trunk.first, LinearBatchEnsemble) == (kind == "full")
    torch.testing.assert_close(network(numeric, codes).sigmoid(), per_member[:, :, 0].sigmoid().mean(1))


def test_tabnet_gets_members_and_keeps_its_penalty():
    spec, numeric, codes = inputs(60)
    network = build_network({**OWN, "trunk": TINY_TABNET}, spec)
    logits, penalty = network.forward_with_penalty(numeric, codes)
    assert logits.shape == (60 * K,)
    assert float(penalty.detach()) > 0
    assert network.eval()(numeric, codes).shape == (60,)


def test_a_trunk_without_linear_layers_cannot_be_full():
    def trunk(in_features: int, out_features: int, **sizes) -> nn.Module:
        return nn.Identity()

    with pytest.raises(ValueError, match=r"Identity has no torch\.nn\.Linear inside"):
        Members(5, trunk=trunk, members="full")


def test_every_linear_layer_inside_is_changed():
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    assert batch_ensemble(module, n_members=K) == 2
    assert module(torch.zeros(2 * K, 4)).shape == (2 * K, 2)


def test_a_trunk_that_is_not_trusted_is_not_built():
    with pytest.raises(ValueError, match=r"trust=\[test_members\]"):
        build_network(OWN, inputs()[0], trust=[])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MemberInputs(5, n_members=0), "n_members must be at least 1, got 0"),
        (lambda: MemberInputs(5, n_members=2, groups=[1]), "an entry for each of the 5 columns, got 1"),
        (lambda: MLP(5, n_members=0), "n_members must be at least 1, got 0"),
        (lambda: MLP(5, n_members=2, members="packed"), "members must be one of mini, full, got 'packed'"),
    ],
)
def test_impossible_arguments_are_refused(make, says: str):
    with pytest.raises(ValueError, match=says):
        make()


# --- in a churn network ---------------------------------------------------------------------------------------------


def test_training_sees_every_member_and_others_their_mean_probability():
    spec, numeric, codes = inputs()
    network = build_network({"_target_": "churnlib.models.mlp.MLP", "n_members": K, "dropout": 0.0}, spec, offset=[0.7])
    randomised(network)
    per_member = network.body(network.inputs(numeric, codes))
    logits, _ = network.forward_with_penalty(numeric, codes)
    torch.testing.assert_close(logits, per_member.reshape(-1))
    # The offset of class weights comes off each member's odds, before the mean.
    expected = (per_member[:, :, 0] - 0.7).sigmoid().mean(1)
    torch.testing.assert_close(network(numeric, codes).sigmoid(), expected)


def test_the_loss_is_the_mean_of_the_members_losses():
    spec, numeric, codes = inputs()
    label = torch.arange(20) % 2
    for n_classes in (2, 3):
        network = build_network({"_target_": "churnlib.models.mlp.MLP", "n_members": K}, spec, n_classes=n_classes)
        randomised(network)
        logits, _ = network.forward_with_penalty(numeric, codes)
        per_member = network.body(network.inputs(numeric, codes))
        if n_classes == 2:
            losses = [F.binary_cross_entropy_with_logits(per_member[:, i, 0], label.float()) for i in range(K)]
            got = F.binary_cross_entropy_with_logits(logits, label.repeat_interleave(K).float())
        else:
            losses = [F.cross_entropy(per_member[:, i], label) for i in range(K)]
            got = F.cross_entropy(logits, label.repeat_interleave(K))
        torch.testing.assert_close(got, torch.stack(losses).mean())


@pytest.mark.parametrize("kind", ["mini", "full"])
def test_an_exported_network_gives_the_same_answers_for_any_batch(kind: str):
    spec, numeric, codes = inputs()
    network = build_network({"_target_": "churnlib.models.mlp.MLP", "n_members": K, "members": kind}, spec)
    randomised(network)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (numeric, codes), dynamic_shapes=({0: batch}, {0: batch}))
    for n in (1, 7):
        expected = network(numeric[:n], codes[:n])
        torch.testing.assert_close(program.module()(numeric[:n], codes[:n]), expected, atol=1e-6, rtol=1e-5)
