"""Options of ``plan`` and of the levers behind it, with their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_range, nearest
from churnlib.config.commands import ScoreConfig
from churnlib.config.explain import ReasonsConfig
from churnlib.config.money import MoneyConfig
from churnlib.errors import ConfigError

NUMBERS = ("cost", "cost_share", "periods", "contact_cost", "effort", "acceptance", "stayers", "saves")


@dataclass(kw_only=True)
class LeverConfig:
    """One thing that can be offered to a customer (``levers.offers.NAME``)."""

    label: str | None = None
    """What people call it; the name when left out."""
    set: dict[str, Any] = field(default_factory=dict)
    """Columns that get this value."""
    multiply: dict[str, float] = field(default_factory=dict)
    """Numeric columns that are multiplied."""
    add: dict[str, float] = field(default_factory=dict)
    """Numeric columns to which so much is added."""
    where: str | None = None
    """Only customers for whom this is true: an expression in polars' SQL over the columns of a row."""
    cost: float | None = None
    """What it costs if it is accepted, over all its time; that of ``money`` where no cost is given."""
    cost_share: float | None = None
    """Besides, this share of ``cost_column``, ``periods`` times."""
    cost_column: str | None = None
    """Numeric column, such as the monthly charges."""
    periods: float = 1.0
    """How often the share is paid: 12 for a year of a monthly amount."""
    contact_cost: float | None = None
    """What offering it costs, accepted or not; that of ``money`` when left out."""
    effort: float = 1.0
    """What offering it takes of ``capacity``: contacts, hours, whatever ``capacity`` counts."""
    acceptance: float | None = None
    """Share of those who would leave who accept, in [0, 1]; that of ``money`` when left out."""
    stayers: float = 1.0
    """Share of those who would stay anyway who accept, in [0, 1]: they cost, and gain nothing."""
    saves: float | None = None
    """For an offer that changes no column: share of those who accept, of those who would leave, who then stay."""
    experiment: str | None = None
    """For an offer that was tested: folder of the uplift model of the experiment, whose effects then count."""

    @property
    def changes(self) -> dict[str, tuple[str, Any]]:
        """How each column is changed: by column the word and the value."""
        words = (("set", self.set), ("multiply", self.multiply), ("add", self.add))
        return {column: (word, value) for word, those in words for column, value in those.items()}

    def check(self, name: str) -> None:
        """Refuse what is impossible.

        Raises:
            ConfigError: With the option and the remedy.
        """
        where = f"levers.offers.{name}"
        for option in ("cost", "cost_share", "contact_cost", "effort"):
            check_range(f"{where}.{option}", getattr(self, option), low=0)
        check_range(f"{where}.periods", self.periods, low=0, open_low=True)
        for option in ("acceptance", "stayers", "saves"):
            check_range(f"{where}.{option}", getattr(self, option), low=0, high=1)
        several = sum(len(those) for those in (self.set, self.multiply, self.add))
        if several > len(self.changes):
            raise ConfigError(f"{where} changes a column in two ways; give one of set, multiply, add for each column")
        if (self.cost_share is None) != (self.cost_column is None):
            raise ConfigError(f"{where}.cost_share and {where}.cost_column go together; give both or neither")
        ways = [bool(self.changes), self.saves is not None, self.experiment is not None]
        if sum(ways) != 1:
            raise ConfigError(
                f"{where} must say what it does in one way: columns that it changes (set, multiply, add), saves=SHARE "
                f"or experiment=FOLDER; it has {sum(ways)} of them"
            )


LEVER_FIELDS = tuple(one.name for one in dataclasses.fields(LeverConfig))


def _lever(name: str, given: Any) -> LeverConfig:
    """Return one lever with its types checked."""
    if isinstance(given, LeverConfig):
        given.check(name)
        return given
    where = f"levers.offers.{name}"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a mapping of {', '.join(LEVER_FIELDS)}, got {given!r}")
    for key, value in given.items():
        if key not in LEVER_FIELDS:
            hint = nearest(str(key), LEVER_FIELDS) or f"; known are {', '.join(LEVER_FIELDS)}"
            raise ConfigError(f"unknown option {where}.{key}{hint}")
        if key in ("set", "multiply", "add"):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}.{key} must be a mapping of columns to values, got {value!r}")
            bad = next((one for one in value.values() if key != "set" and not _is_number(one)), None)
            if bad is not None:
                raise ConfigError(f"{where}.{key} must hold numbers, got {bad!r}")
        elif value is not None and key in NUMBERS and not _is_number(value):
            raise ConfigError(f"{where}.{key} must be a number, got {value!r}")
        elif value is not None and key not in NUMBERS and not isinstance(value, str):
            raise ConfigError(f"{where}.{key} must be text, got {value!r}")
    kept: dict[str, Any] = {str(k): dict(v) if isinstance(v, Mapping) else v for k, v in given.items()}
    lever = LeverConfig(**kept)
    lever.check(name)
    return lever


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


@dataclass(kw_only=True)
class LeversConfig:
    """What can be offered, and what goes together (``conf/levers``)."""

    offers: dict[str, Any] = field(default_factory=dict)
    """By a name of your choice, each a :class:`LeverConfig`; null leaves one out."""
    together: int = 1
    """So many levers at most make one offer; only those that change columns are combined, and no column twice."""
    exclude: list[list[str]] = field(default_factory=list)
    """Levers of which no two go together."""
    recompute: dict[str, str] = field(default_factory=dict)
    """Columns that follow from others: an expression each, computed anew where an offer changes what it reads."""

    def __post_init__(self) -> None:
        known = [str(name) for name in self.offers]
        named = {str(name): given for name, given in self.offers.items() if given is not None}
        self.offers = {name: _lever(name, given) for name, given in named.items()}
        check_range("levers.together", self.together, low=1)
        for those in self.exclude:
            for name in those:
                if name not in known:
                    hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
                    raise ConfigError(f"levers.exclude names {name!r}, which is no lever{hint}")
        self.exclude = [[name for name in those if name in self.offers] for those in self.exclude]


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


__all__ = ["LEVER_FIELDS", "LeverConfig", "LeversConfig", "PlanConfig", "SegmentsConfig"]
