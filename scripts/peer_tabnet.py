"""The network of pytorch-tabnet with the weights of a `churnlib.models.tabnet.TabNet`, for comparisons.

Needs the package pytorch-tabnet (4.1), which churnlib itself never imports.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

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
    _copy(network, peer)
    return peer


@torch.no_grad()
def _copy(ours: Any, peer: Any) -> None:
    """Put our weights and running statistics into the peer."""
    encoder = peer.tabnet.encoder
    _copy_norm(ours.input_norm, encoder.initial_bn)
    encoder.initial_bn.momentum = ours.input_norm.momentum  # the peer fixes it to 0.01
    _copy_transformer(ours.initial, ours.shared, encoder.initial_splitter)
    for attention, theirs in zip(ours.attentions, encoder.att_transformers, strict=True):
        theirs.fc.weight.copy_(attention.weight)
        _copy_norm(attention.norm, theirs.bn.bn)
    for step, theirs in zip(ours.steps, encoder.feat_transformers, strict=True):
        _copy_transformer(step, ours.shared, theirs)
    peer.tabnet.final_mapping.weight.copy_(ours.head)


def _copy_transformer(ours: Any, shared: Any, theirs: Any) -> None:
    layers = [*theirs.shared.glu_layers, *theirs.specifics.glu_layers]
    for weight, norm, layer in zip([*shared, *ours.weights], ours.norms, layers, strict=True):
        layer.fc.weight.copy_(weight)
        _copy_norm(norm, layer.bn.bn)


def _copy_norm(ours: Any, theirs: Any) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(theirs, name).copy_(getattr(ours, name))
