"""TabNet against the package pytorch-tabnet: another implementation of the same paper, with the same weights."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn

from churnlib.models.tabnet import TabNet

pytest.importorskip("pytorch_tabnet", reason="pytorch-tabnet is not installed")
sys.path.insert(0, str(ROOT / "scripts"))
from peer_tabnet import build_peer  # pyright: ignore[reportMissingImports]

CASES = [
    {},
    {"n_steps": 5, "gamma": 1.7, "n_shared": 1, "n_independent": 3},
    {"groups": [0, 1, 1, 2, 0, 3]},
    {"mask": "entmax"},
]


def pair(**arguments: Any) -> tuple[TabNet, nn.Module]:
    options = {"n_d": 5, "n_a": 3, "virtual_batch_size": 16, "generator": torch.Generator().manual_seed(0)}
    ours = TabNet(6, 2, **(options | arguments)).double()
    # The package multiplies attention by a matrix of groups; float64 shows that nothing but rounding differs.
    peer = build_peer(ours).double()
    peer.tabnet.encoder.group_attention_matrix = peer.tabnet.encoder.group_attention_matrix.double()  # type: ignore[union-attr]
    return ours, peer


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
    for name, parameter in peer.named_parameters():
        if parameter.grad is None:  # a normalisation that the package makes and never uses
            assert name.startswith("tabnet.initial_bn")
    encoder: Any = peer.tabnet.encoder  # type: ignore[union-attr]
    first: Any = ours.initial
    pairs = [
        (ours.head, peer.tabnet.final_mapping.weight),  # type: ignore[union-attr]
        (ours.input_norm.weight, encoder.initial_bn.weight),
        (ours.shared[0], encoder.initial_splitter.shared.glu_layers[0].fc.weight),
        (first.weights[0], encoder.initial_splitter.specifics.glu_layers[0].fc.weight),
        (ours.attentions[1].weight, encoder.att_transformers[1].fc.weight),
        (ours.attentions[1].norm.bias, encoder.att_transformers[1].bn.bn.bias),  # type: ignore[union-attr]
        (ours.steps[2].norms[-1].weight, encoder.feat_transformers[2].specifics.glu_layers[-1].bn.bn.weight),  # type: ignore[union-attr,index]
    ]
    for mine, theirs in pairs:
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.input_norm.running_var, encoder.initial_bn.running_var, atol=1e-9, rtol=1e-9)


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
