"""Options of a run's report, and what only people know of a model: who answers for it, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.config.checks import check_range


@dataclass(kw_only=True)
class ReportingConfig:
    """What the report of a run holds beside the figures of its model."""

    explained: int
    """Test customers, drawn at random, on which the model is explained on the whole; 0 leaves that section out."""
    budget: float | None = None
    """Of the offer plan, in a run with levers: money that may be spent on the test customers; null for no limit."""
    capacity: float | None = None
    """Likewise what the team can do for them, in units of the levers' ``effort``; null for no limit."""

    def __post_init__(self) -> None:
        for name in ("explained", "budget", "capacity"):
            check_range(f"reporting.{name}", getattr(self, name), low=0)


@dataclass(kw_only=True)
class CardConfig:
    """What the model card says that no program can know; what is left out is called not stated."""

    owner: str | None = None
    """Who answers for the model."""
    contact: str | None = None
    """Where questions and complaints go: an address, a telephone number."""
    intended_use: str | None = None
    """What the model is for, and who decides by it."""


__all__ = ["CardConfig", "ReportingConfig"]
