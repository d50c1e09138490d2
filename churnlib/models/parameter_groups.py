"""Which parameters are pulled towards 0, and which learn faster or slower than the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups, as few as there are kinds of parameters.

    Matrices are kept small by weight decay; biases and vectors of scales, which it would only distort, are not. A
    module of the network may name some of its own parameters in an attribute ``lr_factors``, a mapping from a
    parameter's name to a factor on the learning rate (RealMLP: 6 for its front scales, 0.1 for biases), and in an
    attribute ``undecayed`` matrices that are no weights of a layer (FT-Transformer's tokens). A fused
    optimizer makes one call per group, so there is no group per parameter.

    Returns:
        Groups with ``params``, ``lr_factor`` and, where there is no decay, ``weight_decay`` 0.
    """
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    seen: set[nn.Parameter] = set()
    for module in network.modules():
        factors, undecayed = getattr(module, "lr_factors", {}), getattr(module, "undecayed", ())
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                decays = parameter.ndim >= 2 and name != "bias" and name not in undecayed
                found.setdefault((factors.get(name, 1.0), decays), []).append(parameter)
    return [
        {"params": params, "lr_factor": factor, **({} if decays else {"weight_decay": 0.0})}
        for (factor, decays), params in found.items()
    ]


def scaled(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Multiply each group's learning rate by its factor, in place; schedules then start from these rates."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_factor", 1.0)
    return optimizer


def fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let Adam and AdamW take their whole step in one call per group, where the device has it, in place.

    Set here rather than in the constructor, because Lightning takes an optimizer that was *built* as fused for one
    that undoes gradient scaling by itself, and then refuses to clip.
    """
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return optimizer
    for group in optimizer.param_groups:
        if all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in group["params"]):
            group["fused"], group["foreach"] = True, False
    return optimizer
