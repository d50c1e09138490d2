"""Options of what is learned: whether customers leave, or when."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date
from typing import Any

from churnlib.config.checks import check_choice, check_range
from churnlib.errors import ConfigError

UNITS = ("days", "weeks", "months", "quarters", "years")


@dataclass(kw_only=True)
class TaskConfig:
    """What a model learns."""

    name: str
    """classify (whether a customer leaves) or hazard (when); set by the group: ``task=hazard``."""


@dataclass(kw_only=True)
class HazardConfig(TaskConfig):
    """``task=hazard``: when customers leave, from how long they stayed and whether that was the end (data.target)."""

    clock: str
    """start: time is counted from the start of the relationship, and how long a customer has been there is no feature;
    snapshot: from the moment at which each row was taken, and it may be one."""
    duration: str | None = None
    """Column with the time for which each customer was followed, on that clock."""
    start: str | None = None
    """Column with the date at which time begins, in place of task.duration; with task.end."""
    end: str | None = None
    """Column with the date at which each customer left or was last seen."""
    until: str | None = None
    """Date that stands for a missing task.end: that up to which the table tells who left."""
    entry: str | None = None
    """With clock=start: column with the time from which each customer was observed; who had left before is not in the
    table (left truncation). Scored rows say in it how long the customer has been there."""
    unit: str
    """One of ``UNITS``: of durations, horizons and intervals."""
    horizon: float
    """Time ahead of which churn_probability speaks where nobody says otherwise."""
    intervals: int
    """How many intervals time is cut into, with equally many leaving training customers in each."""
    width: float | None = None
    """Length of each interval instead; 1 for monthly ones."""

    def __post_init__(self) -> None:
        check_choice("task.clock", self.clock, ("start", "snapshot"))
        check_choice("task.unit", self.unit, UNITS)
        check_range("task.horizon", self.horizon, low=0, open_low=True)
        check_range("task.intervals", self.intervals, low=1, high=512)
        check_range("task.width", self.width, low=0, open_low=True)
        if (self.start is None) != (self.end is None):
            raise ConfigError("task.start and task.end go together: the dates between which a customer was followed")
        if (self.duration is None) == (self.start is None):
            raise ConfigError(
                "task=hazard needs task.duration=COLUMN (how long each customer was followed), or in its place "
                "task.start=COLUMN and task.end=COLUMN with dates"
            )
        if self.entry is not None and self.clock == "snapshot":
            raise ConfigError(
                f"task.entry={self.entry}: with task.clock=snapshot everybody is observed from 0 on; leave it out, or "
                "count time from the start with task.clock=start"
            )
        if self.until is not None:
            self.until = _iso_date(self.until, needs=self.end)


def _iso_date(text: str, *, needs: str | None) -> str:
    if needs is None:
        raise ConfigError(f"task.until={text} stands for a missing task.end; name that column too")
    try:
        return date.fromisoformat(str(text)).isoformat()
    except ValueError:
        raise ConfigError(f"task.until must be a date such as 2025-12-31, got {text!r}") from None


def lifetime_options(task: TaskConfig) -> dict[str, Any] | None:
    """Return the arguments of :class:`churnlib.data.lifetimes.LifetimeSpec`; None where it is learned whether."""
    if not isinstance(task, HazardConfig):
        return None
    options = dataclasses.asdict(task)
    options.pop("name")
    return options
