"""Options of ``plan``, with their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_range
from churnlib.config.commands import ScoreConfig
from churnlib.config.explain import ReasonsConfig
from churnlib.config.levers import LeversConfig
from churnlib.config.money import MoneyConfig
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class SegmentsConfig:
    """How customers are put into groups."""

    by: str = "tree"
    """tree (a shallow tree over the columns), reason (value at risk × main reason), or columns."""
    columns: list[str] = field(default_factory=list)
    """Of ``by=columns``; numbers are cut into quarters."""
    leaves: int = 8
    """Groups of the tree at most."""
    fewest: int = 30
    """Customers that a group needs; the smaller ones of reasons and columns are put together."""

    def __post_init__(self) -> None:
        check_choice("segments.by", self.by, ("tree", "reason", "columns", "none"))
        check_range("segments.leaves", self.leaves, low=2, high=64)
        check_range("segments.fewest", self.fewest, low=1)
        if (self.by == "columns") != bool(self.columns):
            raise ConfigError("segments.by=columns and segments.columns=[COLUMN,...] go together; give both or neither")


@dataclass(kw_only=True)
class PlanConfig(ScoreConfig):
    """``churnlib plan``: a table in, an offer for each customer out."""

    run: str | None = "outputs/latest"
    """Folder of the run: its bundle, and its test rows, which say how far probabilities are to be trusted."""
    bundle: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Folder of the bundle; that of the run when left out."""
    batch_rows: int = 16_384
    """Customers whose offers are scored at a time."""
    budget: float | None = None
    """Money that may be spent, as expected from acceptance; null for no limit."""
    capacity: float | None = None
    """What the team can do, in units of the levers' ``effort``; null for no limit."""
    levers: LeversConfig = field(default_factory=LeversConfig)
    money: MoneyConfig
    segments: SegmentsConfig = field(default_factory=SegmentsConfig)
    reasons: ReasonsConfig = field(default_factory=ReasonsConfig)
    explain: Any = "auto"
    """Whether the main reason is given of those who get an offer: auto (up to 20,000 of them), true or false."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.input or not self.output:
            option = "input" if not self.input else "output"
            raise ConfigError(f"{option} is missing: plan needs input=FILE and output=FOLDER")
        if self.run is None and self.bundle is None:
            raise ConfigError("run is missing: plan needs run=FOLDER of a finished run, or bundle=FOLDER")
        self.bundle = f"{self.run}/bundle" if self.bundle is None else self.bundle
        super().__post_init__()
        check_range("budget", self.budget, low=0)
        check_range("capacity", self.capacity, low=0)
        check_range("seed", self.seed, low=0)
        self.explain = str(self.explain).lower()  # YAML's true and false
        check_choice("explain", self.explain, ("auto", "true", "false"))
        if not self.levers.offers:
            raise ConfigError(
                "levers is missing: say what can be offered with levers=campaign, levers=telco or a YAML file of your "
                "own"
            )


__all__ = ["PlanConfig", "SegmentsConfig"]
