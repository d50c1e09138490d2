"""The network of pytorch-tabnet with the weights of a `churnlib.models.tabnet.TabNet`, for comparisons.

Needs the package pytorch-tabnet (4.1), which churnlib itself never imports.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from churnlib.models.tabnet import TabNet

MISSING = "pytorch-tabnet is not installed; install it with: python -m pip install pytorch-tabnet"


def build_peer(network: Any) -> nn.Module:
    """Return pytorch-tabnet's network with the hyper-parameters, weights and running statistics of ours.

    Its forward returns the logits and the *negative* entropy of the masks, to be subtracted from the loss with
    ``lambda_sparse`` as the factor. Ours must have at least one shared and one independent layer.

    Args:
        network: A :class:`~churnlib.models.tabnet.TabNet` (typed loosely: this reaches inside).

    Raises:
        ModuleNotFoundError: If the package is missing.
    """
    from pytorch_tabnet.tab_network import TabNet as Peer  # pyright: ignore[reportMissingImports]

    assert isinstance(network, TabNet)
    norm: Any = network.attentions[0].norm
    groups = range(network.in_features) if network.groups is None else network.groups.tolist()
    membership = torch.zeros(network.n_groups, network.in_features)
    membership[list(groups), range(network.in_features)] = 1.0
    peer = Peer(
        network.in_features,
        network.out_features,
        n_d=network.n_d,
        n_a=network.n_a,
        n_steps=network.n_steps,
        gamma=network.gamma,
        n_independent=len(network.initial.weights),
        n_shared=len(network.shared),
        epsilon=network.epsilon,
        virtual_batch_size=norm.virtual_batch_size,
        momentum=norm.momentum,
        mask_type=network.attentions[0].mask,  # type: ignore[union-attr,arg-type]
        group_attention_matrix=membership,
    )
    encoder: Any = peer.tabnet.encoder
    encoder.initial_bn.momentum = network.input_norm.momentum  # the peer fixes it to 0.01
    encoder.group_attention_matrix = encoder.group_attention_matrix.to(network.head)  # no parameter: stays behind
    peer = peer.to(network.head)
    with torch.no_grad():
        for ours, theirs in pairs(network, peer):
            theirs.copy_(ours)
    return peer


def pairs(network: Any, peer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each weight and running statistic of ours with the peer's."""
    encoder = peer.tabnet.encoder
    yield from _of_norms(network.input_norm, encoder.initial_bn)
    for ours, theirs in zip(network.attentions, encoder.att_transformers, strict=True):
        yield ours.weight, theirs.fc.weight
        yield from _of_norms(ours.norm, theirs.bn.bn)
    steps = zip([network.initial, *network.steps], [encoder.initial_splitter, *encoder.feat_transformers], strict=True)
    for step, (ours, theirs) in enumerate(steps):
        layers = [*theirs.shared.glu_layers, *theirs.specifics.glu_layers]
        for place, (weight, norm, layer) in enumerate(
            zip([*network.shared, *ours.weights], ours.norms, layers, strict=True)
        ):
            if step == 0 or place >= len(network.shared):  # the shared ones once
                yield weight, layer.fc.weight
            yield from _of_norms(norm, layer.bn.bn)
    yield network.head, peer.tabnet.final_mapping.weight


def _of_norms(ours: Any, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield getattr(ours, name), getattr(theirs, name)
