"""Parameter groups: few, complete, each at its own rate."""

from __future__ import annotations

import torch
from torch import nn

from churnlib.models.mlp import MLP
from churnlib.models.parameter_groups import fused, parameter_groups, scaled


def test_every_parameter_is_in_one_group_and_biases_do_not_decay():
    mlp = MLP(5, n_numeric=3, hidden_sizes=(4,), n_members=2, scale_lr=3.0, norm="layer")
    groups = parameter_groups(mlp)
    parameters = [p for group in groups for p in group["params"]]
    assert len(groups) <= 5
    assert len(parameters) == len(set(parameters)) == len(list(mlp.parameters()))
    undecayed = {p for group in groups if group.get("weight_decay") == 0.0 for p in group["params"]}
    assert undecayed == {p for name, p in mlp.named_parameters() if name.endswith("bias") or p.ndim < 2}
    (fast,) = (group for group in groups if group["lr_factor"] != 1.0)
    assert fast["params"] == [mlp.members.weight] and fast["lr_factor"] == 3.0


def test_frozen_and_shared_parameters_are_counted_right():
    shared = nn.Linear(3, 3)
    network = nn.Sequential(shared, shared, nn.Linear(3, 1).requires_grad_(False))
    assert sum(len(group["params"]) for group in parameter_groups(network)) == 2


def test_rates_are_multiplied_by_their_factor():
    mlp = MLP(5, n_numeric=3, hidden_sizes=(4,), n_members=2, scale_lr=3.0)
    optimizer = scaled(torch.optim.SGD(parameter_groups(mlp), lr=0.1))
    assert sorted({round(group["lr"], 6) for group in optimizer.param_groups}) == [0.1, 0.3]


def test_a_fused_step_is_the_plain_step():
    weights = []
    for fuse in (False, True):
        parameter = nn.Parameter(torch.ones(4, 3))
        optimizer = torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.1)
        if fuse:
            fused(optimizer)
            assert optimizer.param_groups[0]["fused"]
        for step in range(5):
            parameter.grad = torch.full((4, 3), 0.1 * step - 0.2)
            optimizer.step()
        weights.append(parameter.detach().clone())
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-6)


def test_other_optimizers_stay_as_they_are():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    before = dict(optimizer.param_groups[0])
    assert fused(optimizer).param_groups[0] == before
