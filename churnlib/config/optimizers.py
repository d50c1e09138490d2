"""Arguments of the optimizers and of the learning rate schedules."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_range


@dataclass(kw_only=True)
class OptimizerConfig:
    """What all optimizers take."""

    _target_: str
    lr: float
    """Learning rate: the schedule's peak."""
    weight_decay: float
    """Pull of the weights towards 0."""

    def __post_init__(self) -> None:
        check_range("optimizer.lr", self.lr, low=0, open_low=True)
        check_range("optimizer.weight_decay", self.weight_decay, low=0)


@dataclass(kw_only=True)
class AdamConfig(OptimizerConfig):
    """Arguments of :class:`torch.optim.Adam` and :class:`torch.optim.AdamW`."""

    betas: list[float]
    """Decay of the running means of the gradient and of its square."""
    eps: float
    amsgrad: bool


@dataclass(kw_only=True)
class SGDConfig(OptimizerConfig):
    """Arguments of :class:`torch.optim.SGD`."""

    momentum: float
    dampening: float
    nesterov: bool


@dataclass(kw_only=True)
class RMSpropConfig(OptimizerConfig):
    """Arguments of :class:`torch.optim.RMSprop`."""

    alpha: float
    """Decay of the running mean of the squared gradient."""
    eps: float
    momentum: float
    centered: bool


@dataclass(kw_only=True)
class CosineConfig:
    """Arguments of :func:`churnlib.models.schedules.cosine`."""

    _target_: str
    warmup: float
    """Fraction of the steps over which the rate rises, in [0, 1)."""
    final: float
    """Rate at the end as a fraction of the peak."""

    def __post_init__(self) -> None:
        check_range("scheduler.warmup", self.warmup, low=0, high=1, open_high=True)
        check_range("scheduler.final", self.final, low=0, high=1)


@dataclass(kw_only=True)
class CoslogConfig:
    """Arguments of :func:`churnlib.models.schedules.coslog`."""

    _target_: str
    cycles: int
    """Rises and falls, each twice as long as the one before."""

    def __post_init__(self) -> None:
        check_range("scheduler.cycles", self.cycles, low=1)


@dataclass(kw_only=True)
class OneCycleConfig:
    """Arguments of :func:`churnlib.models.schedules.onecycle`."""

    _target_: str
    warmup: float
    """Fraction of the steps over which the rate rises, in (0, 1)."""
    start: float
    """Rate at the first step as a fraction of the peak."""
    final: float
    """Rate at the end as a fraction of that at the first step."""

    def __post_init__(self) -> None:
        check_range("scheduler.warmup", self.warmup, low=0, high=1, open_low=True, open_high=True)
        check_range("scheduler.start", self.start, low=0, high=1, open_low=True)
        check_range("scheduler.final", self.final, low=0, high=1, open_low=True)


@dataclass(kw_only=True)
class PlateauConfig:
    """Arguments of :func:`churnlib.models.schedules.plateau`."""

    _target_: str
    monitor: str
    """Logged value that is better when lower."""
    factor: float
    """The rate is multiplied by it, in (0, 1)."""
    patience: int
    """Epochs without a better value until then."""
    min_lr: float

    def __post_init__(self) -> None:
        check_range("scheduler.factor", self.factor, low=0, high=1, open_low=True, open_high=True)
        check_range("scheduler.patience", self.patience, low=0)
        check_range("scheduler.min_lr", self.min_lr, low=0)
