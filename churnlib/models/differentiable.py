"""A fitted model as a function with gradients: from what its input layer delivers to its logits.

Codes of categories have no gradient; their one-hot columns and embeddings have. A network begins with a layer that
makes those, so what comes behind that layer can be followed back to each of its columns, and from there to the column
of the table. Linear models have the same layer, and an ensemble has as many as it has members.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from churnlib.models.baselines.linear import LinearModel
from churnlib.models.ensemble import Ensemble, Member
from churnlib.models.fitted import FittedModel
from churnlib.models.folding import folded
from churnlib.models.hazards import combine_hazards, log_odds_within
from churnlib.models.network_model import NetworkModel
from churnlib.survival import HazardCurve


@dataclass(frozen=True, slots=True)
class Differentiable:
    """A model behind its input layer.

    Attributes:
        owners: ``(d,)`` int64 place of the encoded column that each input comes from: numbers first, then categories.
        inputs: From ``(n, n_numeric)`` float32 and ``(n, n_categorical)`` int64 to ``(n, d)`` inputs.
        logits: From inputs to ``(n,)`` logits, or ``(n, n_classes)``, in their type.
        is_linear: Whether the logits are a sum over the inputs.
        dtype: Of the inputs.
    """

    owners: np.ndarray
    inputs: Callable[[np.ndarray, np.ndarray], Tensor]
    logits: Callable[[Tensor], Tensor]
    is_linear: bool = False
    dtype: torch.dtype = torch.float32


def differentiable(model: FittedModel, n_numeric: int) -> Differentiable | None:
    """Return a model behind its input layer; None if it has no gradients.

    Boosted trees and forests have none, an additive network has stairs, whose gradient is 0 almost everywhere, and an
    ensemble has none if one of its members has none.

    Args:
        model: As it was trained.
        n_numeric: Numeric inputs of its rows.
    """
    if isinstance(model, NetworkModel) and not model.is_additive:
        return _of_network(model)
    if isinstance(model, LinearModel):
        return _of_linear(model)
    if isinstance(model, Ensemble):
        members = [differentiable(member.model, _n_numeric(member, n_numeric)) for member in model.members]
        return None if any(member is None for member in members) else _of_ensemble(model, members, n_numeric)  # type: ignore[arg-type]
    return None


def within_horizon(model: Differentiable, curve: HazardCurve, clock: int | None) -> Differentiable:
    """Return a model of hazards as one of the log-odds of leaving within the curve's horizon.

    Args:
        model: From inputs to the logits of hazards.
        curve: What they mean.
        clock: Place among the encoded columns of the time that customers have been there, the last number, which then
            is one more input; None where time begins now.
    """
    if clock is None:
        return replace(model, logits=lambda x: log_odds_within(model.logits(x), None, curve), is_linear=False)

    def inputs(numeric: np.ndarray, codes: np.ndarray) -> Tensor:
        rows = model.inputs(numeric[:, :clock].astype(np.float32), codes)
        return torch.cat([rows, torch.from_numpy(numeric[:, clock:]).to(rows)], dim=1)

    def logits(x: Tensor) -> Tensor:
        return log_odds_within(model.logits(x[:, :-1]), x[:, -1], curve)

    owners = np.append(np.where(model.owners < clock, model.owners, model.owners + 1), clock)
    return replace(model, owners=owners, inputs=inputs, logits=logits, is_linear=False)


def _of_network(model: NetworkModel) -> Differentiable:
    network = folded(model.network)

    def inputs(numeric: np.ndarray, codes: np.ndarray) -> Tensor:
        with torch.no_grad():
            return network.inputs(torch.from_numpy(numeric), torch.from_numpy(codes))

    return Differentiable(np.array(network.inputs.groups, dtype=np.int64), inputs, network.answer)


def _of_linear(model: LinearModel) -> Differentiable:
    head, weight, bias = model.head, torch.from_numpy(model.coefficients), torch.from_numpy(model.intercepts)
    shift = torch.tensor(head.shift, dtype=torch.float64)

    def logits(x: Tensor) -> Tensor:
        scores = head.slope * (x @ weight + bias) + shift
        return scores.squeeze(1) if scores.shape[1] == 1 else scores

    def inputs(numeric: np.ndarray, codes: np.ndarray) -> Tensor:
        return torch.from_numpy(model.inputs(numeric, codes))

    return Differentiable(model.inputs.owners, inputs, logits, is_linear=len(head.shift) == 1, dtype=torch.float64)


def _of_ensemble(model: Ensemble, members: list[Differentiable], n_numeric: int) -> Differentiable:
    widths = [len(member.owners) for member in members]
    owners = [_placed(one.owners, member, n_numeric) for one, member in zip(members, model.members, strict=True)]

    def inputs(numeric: np.ndarray, codes: np.ndarray) -> Tensor:
        rows = [member.own(numeric, codes) for member in model.members]
        return torch.cat([one.inputs(*row).double() for one, row in zip(members, rows, strict=True)], dim=1)

    def logits(x: Tensor) -> Tensor:
        parts = zip(members, x.split(widths, dim=1), strict=True)
        # Each network in its own precision; what they say together in double, as the ensemble computes it.
        each = iter([one.logits(part.to(one.dtype)).double() for one, part in parts])
        if model.hazards:
            return combine_hazards(torch.stack(list(each), dim=1))
        groups = [_mean([next(each) for _ in group]) for group in model.groups]
        return _blend(groups, model)

    return Differentiable(np.concatenate(owners), inputs, logits, dtype=torch.float64)


def _n_numeric(member: Member, n_numeric: int) -> int:
    return n_numeric if member.numeric is None else len(member.numeric)


def _placed(owners: np.ndarray, member: Member, n_numeric: int) -> np.ndarray:
    """Return the places of a member's columns among those of the ensemble."""
    own, codes = _n_numeric(member, n_numeric), np.maximum(owners - _n_numeric(member, n_numeric), 0)
    numbers = owners if member.numeric is None else np.append(member.numeric, 0)[np.minimum(owners, own)]
    categories = codes if member.categorical is None else np.append(member.categorical, 0)[codes]
    return np.where(owners < own, numbers, n_numeric + categories).astype(np.int64)


def _mean(logits: list[Tensor]) -> Tensor:
    """Return the logits of the mean probability, as :func:`churnlib.models.ensemble.mean_logits`."""
    stacked: Any = torch.stack(logits)
    if stacked.ndim == 2:
        return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
    return F.log_softmax(stacked, dim=2).logsumexp(0) - np.log(len(logits))


def _blend(groups: list[Tensor], model: Ensemble) -> Tensor:
    """Return the weighted sum of the groups' logits, as :func:`churnlib.models.ensemble.blend_logits`."""
    if groups[0].ndim == 2:
        groups = [F.log_softmax(logits, dim=1) for logits in groups]
    shift = torch.tensor(model.shift, dtype=torch.float64)
    return torch.stack([weight * logits for weight, logits in zip(model.weights, groups, strict=True)]).sum(0) + shift


__all__ = ["Differentiable", "differentiable", "within_horizon"]
