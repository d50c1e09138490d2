"""What can be offered to customers, and what goes together (``conf/levers``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_range, nearest
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


__all__ = ["LEVER_FIELDS", "LeverConfig", "LeversConfig"]
