"""Networks in one: members that share nearly all weights, run in one pass, and answer together.

A body tells the rest of churnlib that it has members by logits with three dimensions, ``(batch, k, out_features)``.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def combine(logits: Tensor) -> Tensor:
    """Return the logits of the members' mean probability.

    >>> import torch
    >>> one = torch.tensor([[[0.0], [math.log(3.0)]]])  # probabilities 1/2 and 3/4
    >>> combine(one).sigmoid()
    tensor([[0.6250]])

    Args:
        logits: ``(batch, k, out)`` float32; with one output log-odds, with more one column per class.

    Returns:
        ``(batch, out)`` float32: the log-odds of the mean probability, or the logarithms of the mean probabilities.
    """
    if logits.shape[2] == 1:
        # The 1/k of both means cancels.
        return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)
    return F.log_softmax(logits, dim=2).logsumexp(1) - math.log(logits.shape[1])
