"""Learning rate schedules, as Lightning's ``lr_scheduler`` dictionaries around plain torch schedulers.

Each takes the optimizer and the number of optimizer steps of the whole training, so that no configuration repeats what
follows from the data.
"""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau


def cosine(optimizer: Optimizer, total_steps: int, *, warmup: float = 0.0, final: float = 0.0) -> dict[str, Any]:
    """Raise the rate in a straight line, then lower it along half a cosine (Loshchilov and Hutter 2017, section 3).

    Args:
        optimizer: Its rate is the peak.
        total_steps: Optimizer steps of the training.
        warmup: Fraction of the steps, in [0, 1), over which the rate rises to its peak.
        final: Rate at the end as a fraction of the peak, in [0, 1].

    Returns:
        Lightning's dictionary with a scheduler that moves at every step.
    """
    return _every_step(LambdaLR(optimizer, lambda step: cosine_factor(step, total_steps, warmup=warmup, final=final)))


def cosine_factor(step: int, total_steps: int, *, warmup: float = 0.0, final: float = 0.0) -> float:
    """Return the rate of :func:`cosine` at a step (from 0) as a fraction of the peak.

    >>> [round(cosine_factor(step, 10, warmup=0.2), 3) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    >>> cosine_factor(10, 10, final=0.1)
    0.1
    """
    n_warmup = round(warmup * total_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    progress = min(1.0, (step - n_warmup) / max(1, total_steps - n_warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def coslog(optimizer: Optimizer, total_steps: int, *, cycles: int = 4) -> dict[str, Any]:
    """Raise and lower the rate in cycles, each twice as long as the one before (RealMLP, arXiv 2407.04491, section 3).

    Every cycle ends at 0, so the ends of the last two or three are all candidates for the best epoch.

    Args:
        optimizer: Its rate is the peak of each cycle.
        total_steps: Optimizer steps of the training.
        cycles: Number of cycles, at least 1.

    Returns:
        Lightning's dictionary with a scheduler that moves at every step.
    """
    return _every_step(LambdaLR(optimizer, lambda step: coslog_factor(step / max(1, total_steps), cycles=cycles)))


def coslog_factor(progress: float, *, cycles: int = 4) -> float:
    """Return the rate of :func:`coslog` as a fraction of the peak.

    With four cycles the ends lie at 1/15, 3/15, 7/15 and 1 of the training.

    >>> [round(coslog_factor(progress), 3) for progress in (0.0, 1 / 15, 3 / 15, 7 / 15, 1.0)]
    [0.0, 0.0, 0.0, 0.0, 0.0]
    >>> round(coslog_factor((2**3.5 - 1) / 15), 3)  # the middle of the last cycle
    1.0

    Args:
        progress: Share of the training done, in [0, 1].
        cycles: Number of cycles.
    """
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + (2**cycles - 1) * min(1.0, progress))))


def flat_cosine_factor(progress: float) -> float:
    """Return 1 in the first half of the training, then half a cosine down to 0.

    >>> [round(flat_cosine_factor(progress), 3) for progress in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]

    Args:
        progress: Share of the training done, in [0, 1].
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, 2 * progress - 1))))


def onecycle(
    optimizer: Optimizer,
    total_steps: int,
    *,
    warmup: float = 0.3,
    start: float = 0.04,
    final: float = 1e-4,
) -> dict[str, Any]:
    """Raise the rate along half a cosine and lower it along another (Smith and Topin 2018), the momentum against it.

    Args:
        optimizer: Its rate is the peak.
        total_steps: Optimizer steps of the training.
        warmup: Fraction of the steps over which the rate rises.
        start: Rate at the first step as a fraction of the peak.
        final: Rate at the end as a fraction of the rate at the first step.

    Returns:
        Lightning's dictionary with a scheduler that moves at every step.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = OneCycleLR(
        optimizer,
        max_lr=peaks,
        total_steps=total_steps,
        pct_start=warmup,
        div_factor=1 / start,
        final_div_factor=1 / final,
        # Optimizers without momentum (RMSprop's is 0) have nothing to cycle.
        cycle_momentum=_has_momentum(optimizer),
    )
    return _every_step(scheduler)


def plateau(
    optimizer: Optimizer,
    total_steps: int,
    *,
    monitor: str = "val/log_loss",
    factor: float = 0.5,
    patience: int = 4,
    min_lr: float = 0.0,
) -> dict[str, Any]:
    """Lower the rate when the monitored value has not fallen for some epochs.

    Args:
        optimizer: Its rate is that of the start.
        total_steps: Not needed; the other schedules' signature.
        monitor: Name of the logged value, which is better when lower.
        factor: The rate is multiplied by it, in (0, 1).
        patience: Epochs without a better value until then.
        min_lr: The rate never falls below.

    Returns:
        Lightning's dictionary with a scheduler that moves after every epoch.
    """
    del total_steps
    scheduler = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, min_lr=min_lr)
    return {"scheduler": scheduler, "interval": "epoch", "monitor": monitor}


def _has_momentum(optimizer: Optimizer) -> bool:
    return all("betas" in group or group.get("momentum") for group in optimizer.param_groups)


def _every_step(scheduler: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": "step"}
