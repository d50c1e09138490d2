"""Options of the goal: what a model shall reach on unseen customers."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class GoalConfig:
    """One figure and its limit; ``goal=none`` sets none."""

    metric: str | None = None
    """A figure of metrics.json for the test rows, of whatever layer: f1, roc_auc, profit, ...; null for no goal."""
    at_least: float | None = None
    """Smallest value that meets the goal."""
    at_most: float | None = None
    """Largest value that meets it, for figures of which less is better, such as log_loss; instead of at_least."""

    def __post_init__(self) -> None:
        if self.metric is None:
            self.at_least = self.at_most = None
        elif (self.at_least is None) == (self.at_most is None):
            raise ConfigError(
                f"goal.metric={self.metric} needs goal.at_least or goal.at_most, one of them; the other is null"
            )
