"""Options of what training minimises."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from churnlib.config.checks import check_range
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class LossConfig:
    """What training minimises; probabilities stay those of the data whatever it is."""

    name: str
    """bce, focal, logit_adjusted or cost_sensitive; set by the group: ``loss=focal``."""


@dataclass(kw_only=True)
class CrossEntropyConfig(LossConfig):
    """``loss=bce``: the cross-entropy, of two or more classes."""

    pos_weight: Any = None
    """Weight of a churner's loss: a number above 0, "balanced" (stayers per churner), or null for 1."""

    def __post_init__(self) -> None:
        value = self.pos_weight
        if isinstance(value, str) and value != "balanced" and "${" not in value:
            raise ConfigError(f"loss.pos_weight must be a number above 0, balanced or null, got {value!r}")
        check_range("loss.pos_weight", value, low=0, open_low=True)


@dataclass(kw_only=True)
class FocalConfig(LossConfig):
    """``loss=focal``: customers that are predicted well already count less."""

    gamma: float
    """How much less, at least 0; 0 is the cross-entropy."""
    alpha: float | None = None
    """Weight of churners, in (0, 1), that of stayers being 1 - alpha; null for equal ones."""

    def __post_init__(self) -> None:
        check_range("loss.gamma", self.gamma, low=0)
        check_range("loss.alpha", self.alpha, low=0, high=1, open_low=True, open_high=True)


@dataclass(kw_only=True)
class LogitAdjustedConfig(LossConfig):
    """``loss=logit_adjusted``: the network need not learn how rare each class is."""

    tau: float
    """Share of the classes' log-frequencies that is added to the logits in training; 1 in the paper."""

    def __post_init__(self) -> None:
        check_range("loss.tau", self.tau, low=0)


@dataclass(kw_only=True)
class CostSensitiveConfig(CrossEntropyConfig):
    """``loss=cost_sensitive``: the cross-entropy, where customers count as much as they are worth."""

    value: str | None = None
    """Numeric column that says what a customer is worth, such as the monthly charges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.value:
            raise ConfigError("loss.value is missing: loss=cost_sensitive needs loss.value=COLUMN")


def loss_options(loss: LossConfig) -> dict[str, Any]:
    """Return the name and the options of a loss, without the column that only the data know."""
    options = dataclasses.asdict(loss)
    options.pop("value", None)
    return options
