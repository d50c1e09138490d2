"""TabNet against the package pytorch-tabnet: another implementation of the same paper, with the same weights."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn
from torch.nn.functional import cross_entropy

from churnlib.models import tabnet
from churnlib.models.tabnet import TabNet

pytest.importorskip("pytorch_tabnet", reason="pytorch-tabnet is not installed")
sys.path.insert(0, str(ROOT / "scripts"))
from peer_tabnet import build_peer, pairs  # pyright: ignore[reportMissingImports]

CASES = [
    {},
    {"n_steps": 5, "gamma": 1.7, "n_shared": 1, "n_independent": 3},
    {"groups": [0, 1, 1, 2, 0, 3]},
    {"mask": "entmax"},
]


def pair(**arguments: Any) -> tuple[TabNet, nn.Module]:
    options = {"n_d": 5, "n_a": 3, "virtual_batch_size": 16, "generator": torch.Generator().manual_seed(0)}
    ours = TabNet(6, 2, **(options | arguments)).double()  # float64 shows that nothing but rounding differs
    return ours, build_peer(ours)


def rows(n: int = 48) -> torch.Tensor:
    return torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_logits_penalty_and_gradients_are_those_of_pytorch_tabnet(arguments: dict[str, Any]) -> None:
    ours, peer = pair(lambda_sparse=0.1, **arguments)
    upstream = torch.randn(48, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    logits, penalty = ours.forward_with_penalty(rows())
    their_logits, negative_entropy = peer(rows())
    torch.testing.assert_close(logits, their_logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(penalty, -0.1 * negative_entropy, atol=1e-6, rtol=1e-6)

    ((logits * upstream).sum() + penalty).backward()
    ((their_logits * upstream).sum() - 0.1 * negative_entropy).backward()
    compared = 0
    for mine, theirs in pairs(ours, peer):
        if mine.grad is None:  # a running statistic
            torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=1e-7)
        else:
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
            compared += 1
    assert compared == len(list(ours.parameters()))


def test_losses_and_gradients_stay_those_of_pytorch_tabnet_all_along_its_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ours gets the package's weights before each step: left alone, the two part within ten by rounding."""
    monkeypatch.setattr(tabnet, "SQRT_HALF", torch.tensor(0.5).sqrt().item())  # the package's is rounded to float32
    ours, peer = pair(lambda_sparse=1e-3)
    optimizer = torch.optim.Adam(peer.parameters(), lr=0.02)
    x, batch = rows(96), torch.Generator().manual_seed(3)
    label = (x[:, :1] * x[:, 1:2] > 0).long().squeeze(1)
    losses = []
    for _ in range(20):
        with torch.no_grad():
            for mine, theirs in pairs(ours, peer):
                mine.copy_(theirs)
        part = torch.randperm(96, generator=batch)[:48]
        logits, penalty = ours.forward_with_penalty(x[part])
        loss = cross_entropy(logits, label[part]) + penalty
        their_logits, negative_entropy = peer(x[part])
        their_loss = cross_entropy(their_logits, label[part]) - 1e-3 * negative_entropy
        for network, one in ((ours, loss), (peer, their_loss)):
            network.zero_grad()
            one.backward()
        torch.testing.assert_close(loss, their_loss, atol=1e-10, rtol=0)
        for mine, theirs in pairs(ours, peer):
            a, b = (mine, theirs) if mine.grad is None else (mine.grad, theirs.grad)
            torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6)
        optimizer.step()
        losses.append(their_loss.item())
    assert losses[-1] < losses[0] - 0.05  # it did train


def test_masks_and_importance_are_those_of_pytorch_tabnet() -> None:
    ours, peer = pair()
    for network in (ours, peer):
        network(rows())  # settles the running statistics
        network.eval()
    importance, masks = peer.forward_masks(rows())  # type: ignore[operator]
    importance = importance.double()  # the package adds it up in float32
    my_masks, my_importance = ours.explain(rows())
    torch.testing.assert_close(my_masks, torch.stack(list(masks.values())), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(my_importance, importance / importance.sum(1, keepdim=True), atol=1e-6, rtol=1e-6)
