"""The loss of a hazard head, and how the hazards of several members become one.

The head has one logit for each of K intervals of time. A row's target is three numbers, in intervals rather than in
months (2.5: half way through the third): where the customer came under observation, up to where staying was seen, and
the number of the interval in which the customer left, -1 for who is still there.

    B, K    rows, intervals
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.survival import LEAST_HAZARD, HazardCurve

ENTRY, STAYED, LEFT = range(3)
"""Places in a row's target."""


def hazard_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of each row: cross-entropies of the intervals in which a customer was seen.

    An interval that a customer was seen in for a part of its length counts for that part, as a rate that is constant
    within it has it; so does censoring in the middle of an interval neither help nor hurt.

    >>> still_there = torch.tensor([[0.0, 1.5, -1.0]])  # seen staying for one interval and a half
    >>> hazard_loss(torch.zeros(1, 3), still_there) / torch.log(torch.tensor(2.0))
    tensor([1.5000])

    Args:
        logits: ``(B, K)``, or ``(B,)`` for a single interval; any floating dtype, computed in float32 or wider.
        target: ``(B, 3)``.

    Returns:
        ``(B,)`` float32 (float64 for float64).
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = logits.unsqueeze(1) if logits.ndim == 1 else logits
    starts = torch.arange(logits.shape[1], device=logits.device, dtype=target.dtype)
    entry, stayed, left = target.unsqueeze(2).unbind(1)  # (B, 1) each
    seen = ((stayed - starts).clamp(0, 1) - (entry - starts).clamp(0, 1)).clamp_min(0)
    return (F.softplus(logits) * seen + F.softplus(-logits) * (left == starts)).sum(1)


class HazardLoss(nn.Module):
    """What training minimises with ``task=hazard``.

    The network learns how a customer differs from the life table of all training rows, whose log-odds are added to its
    logits in training and ever after.

    Args:
        hazards: ``(K,)`` shares of the training rows that leave in each interval, in (0, 1).

    Attributes:
        offset: ``(K,)`` to subtract from the trained logits, so that they are log-odds.
        is_plain: Always: the loss is the log-likelihood itself.
    """

    shift: Tensor
    is_plain = True

    def __init__(self, hazards: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer(
            "shift", torch.tensor(list(hazards), dtype=torch.float64).logit().float(), persistent=False
        )
        self.offset: list[float] = (-self.shift).tolist()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, ``(B,)``, for logits as trained."""
        logits = logits.unsqueeze(1) if logits.ndim == 1 else logits
        return hazard_loss(logits + self.shift, target)

    log_loss = forward

    def held_out(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, ``(B,)``, for log-odds."""
        return hazard_loss(logits, target)


def log_odds_within(logits: Tensor, elapsed: Tensor | None, curve: HazardCurve) -> Tensor:
    """Return :meth:`churnlib.survival.HazardCurve.log_odds` at the curve's horizon, with gradients.

    Args:
        logits: ``(B, K)``, or ``(B,)`` for a single interval.
        elapsed: ``(B,)`` time that each customer has been there already; None for 0.
        curve: What the logits mean.

    Returns:
        ``(B,)`` float64.
    """
    logits = logits.double().reshape(len(logits), -1)
    now = logits.new_zeros(len(logits)) if elapsed is None else elapsed.double()
    knots = logits.new_tensor([0.0, *curve.breaks])
    steps = F.softplus(logits)
    total = F.pad(steps.cumsum(1), (1, 0))

    def until(time: Tensor) -> Tensor:
        place = (torch.searchsorted(knots, time.detach().contiguous()) - 1).clamp(0, steps.shape[1] - 1)
        share = (time - knots[place]) / knots.diff()[place]
        at = place.unsqueeze(1)
        return (total.gather(1, at) + share.unsqueeze(1) * steps.gather(1, at)).squeeze(1)

    hazard = (until(now + curve.horizon) - until(now)).clamp_min(LEAST_HAZARD)
    return hazard + (-torch.expm1(-hazard)).log()


def combine_hazards(logits: Tensor) -> Tensor:
    """Return the logits of the hazards of the members' mean survival.

    A member counts in an interval as much as it believes the customer still to be there.

    >>> one = torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])  # the second is sure of leaving at once
    >>> combine_hazards(one).sigmoid()  # 3/4 leave; of those who stay only the first member knows
    tensor([[0.7500, 0.5000]])

    Args:
        logits: ``(B, k, K)`` float32.

    Returns:
        ``(B, K)``.
    """
    leaves, stays = F.logsigmoid(logits), F.logsigmoid(-logits)
    there = stays.cumsum(2) - stays  # when the interval begins
    return (there + leaves).logsumexp(1) - (there + stays).logsumexp(1)
