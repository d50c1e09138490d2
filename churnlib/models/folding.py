"""A trained network with its batch normalisations folded into the linear layers before them.

They only scale and shift by then. Apart from the matrix products it is these passes over memory that a small network
spends its time on, and gradients pass them twice.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from churnlib.models.mlp import Block

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """Return a copy that answers the same up to rounding, for evaluation only.

    Args:
        network: In evaluation mode.
    """
    copied = deepcopy(network).requires_grad_(False)
    for module in copied.modules():
        if isinstance(module, Block) and isinstance(module.norm, nn.BatchNorm1d):
            module.linear, module.norm = fuse_linear_bn_eval(module.linear, module.norm), None
    return copied


__all__ = ["folded"]
