"""Networks that answer together, as one network: what PyTorch's own formats hold of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from churnlib.models.ensemble import Ensemble, Member
from churnlib.models.network_model import NetworkModel


class Together(nn.Module):
    """An ensemble of networks, from the rows that it gets to float64 logits; see :mod:`churnlib.models.ensemble`.

    Args:
        ensemble: Whose members are all networks.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.groups = nn.ModuleList(nn.ModuleList(map(OneOfThem, group)) for group in ensemble.groups)
        self.hazards, self.weights = ensemble.hazards, ensemble.weights
        shift = torch.tensor(ensemble.shift, dtype=torch.float64)
        self.register_buffer("shift", shift[0] if len(shift) == 1 else shift)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the logits, ``(n,)`` or ``(n, n_classes)``."""
        groups = [self._mean([one(numeric, codes).double() for one in group]) for group in self.groups]  # type: ignore[union-attr]
        if self.hazards:
            return groups[0]
        if groups[0].ndim == 2:
            groups = [log_softmax(logits, dim=1) for logits in groups]
        return sum((w * logits for w, logits in zip(self.weights, groups, strict=True)), self.shift)  # type: ignore[return-value]

    def _mean(self, members: Sequence[Tensor]) -> Tensor:
        if len(members) == 1:
            return members[0]
        logits = torch.stack(list(members))
        if logits.ndim == 3 and not self.hazards:
            return torch.logsumexp(log_softmax(logits, dim=2), dim=0) - torch.log(torch.tensor(float(len(members))))
        leaves, stays = logsigmoid(logits), logsigmoid(-logits)
        there = torch.cumsum(stays, dim=2) - stays if logits.ndim == 3 else torch.zeros_like(stays)
        return torch.logsumexp(there + leaves, dim=0) - torch.logsumexp(there + stays, dim=0)


class OneOfThem(nn.Module):
    """A member with what it reads of the rows that all get.

    Args:
        member: Whose model is a network.
    """

    def __init__(self, member: Member) -> None:
        super().__init__()
        assert isinstance(member.model, NetworkModel)
        self.network = member.model.network
        self.register_buffer("numeric", None if member.numeric is None else torch.tensor(member.numeric))
        self.register_buffer("categorical", None if member.categorical is None else torch.tensor(member.categorical))
        tables = [torch.tensor(table) for table in member.codes or ()]
        self.n_tables = len(tables)
        for place, table in enumerate(tables):
            self.register_buffer(f"table_{place}", table)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the member's own logits."""
        if self.numeric is not None:
            numeric = numeric.index_select(1, self.numeric)  # type: ignore[arg-type]
        if self.categorical is not None:
            codes = codes.index_select(1, self.categorical)  # type: ignore[arg-type]
        if self.n_tables:
            columns = [self.get_buffer(f"table_{place}")[codes[:, place]] for place in range(self.n_tables)]
            codes = torch.stack(columns, dim=1)
        return self.network(numeric, codes)


def as_network(model: object) -> nn.Module | None:
    """Return a model as one network in evaluation mode; None of one that is not made of networks alone."""
    if isinstance(model, NetworkModel):
        return model.network
    if isinstance(model, Ensemble) and all(isinstance(member.model, NetworkModel) for member in model.members):
        return Together(model).eval()
    return None


__all__ = ["Together", "as_network"]
