"""How reasons are worded: one template for all columns, or one of its own for each, in any language."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from string import Formatter
from typing import Any

from churnlib.config.explain import ReasonsConfig
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind

PLACEHOLDERS = ("label", "value", "direction", "odds", "effect", "outcome")
"""What a template may hold: the column's label, the customer's value, the words for up or down, the factor on the odds,
the log-odds, and the explained class."""

LONGEST = 60
"""Letters of a value; longer texts are cut."""

RAISES, LOWERS = "raises risk", "lowers risk"
"""The directions as programs read them, whatever the language of the texts."""


@dataclass(frozen=True, kw_only=True)
class ColumnWording:
    """How one column, or group of columns, is spoken of.

    Attributes:
        label: Its name for people; made from the column's own name when None.
        template: For its texts; the common one when None.
        code: Short name of the reason, such as an adverse-action code; ``R01``, ``R02``, ... in table order when None.
        actionable: Whether the company can change it.
        values: What a value is called, by the value as the table has it.
    """

    label: str | None = None
    template: str | None = None
    code: str | None = None
    actionable: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Wording(ReasonsConfig):
    """How reasons are spoken of: options with their values as the command line has them, and the texts they make.

    ``columns`` are read into :class:`ColumnWording` by column, or by label of a group.

    Raises:
        ConfigError: If an option is impossible.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.groups = {str(name): list(those) for name, those in self.groups.items()}
        try:
            self.columns = {
                str(name): one if isinstance(one, ColumnWording) else ColumnWording(**one)
                for name, one in self.columns.items()
            }
        except TypeError as error:
            raise ConfigError(f"reasons cannot be read: {error}") from error
        for where, template in (("template", self.template), *self._templates()):
            _check_template(where, template)

    def _templates(self) -> list[tuple[str, str]]:
        each = [(f"columns.{name}.template", one.template) for name, one in self.columns.items()]
        return [(where, template) for where, template in each if template is not None]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Wording:
        """Read what ``conf/reasons/*.yaml`` holds.

        Raises:
            ConfigError: If an option is unknown or impossible.
        """
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except TypeError as error:
            raise ConfigError(f"reasons cannot be read: {error}") from error

    @classmethod
    def from_config(cls, config: ReasonsConfig) -> Wording:
        """Return the wording of options that were read."""
        return cls(**{one.name: getattr(config, one.name) for one in fields(ReasonsConfig)})

    def label(self, name: str) -> str:
        """Return what a column or group is called."""
        own = self.columns.get(name)
        return own.label if own is not None and own.label is not None else readable(name)

    def text(self, name: str, value: str, effect: float, outcome: str = "") -> str:
        """Return the sentence of a reason.

        Args:
            name: Column or group.
            value: As :meth:`value` returns it.
            effect: Log-odds.
            outcome: The explained class.
        """
        own = self.columns.get(name)
        template = own.template if own is not None and own.template is not None else self.template
        direction = self.raises if effect > 0 else self.lowers
        # Far beyond what a text needs, and still a number.
        odds = math.exp(min(max(effect, -20.0), 20.0))
        return template.format(
            label=self.label(name), value=value, direction=direction, odds=short(odds, 2), effect=f"{effect:+.2f}",
            outcome=outcome,
        )  # fmt: skip

    def value(self, column: Column, cell: Any) -> str:
        """Return a typed cell as people read it."""
        if cell is None:
            return self.missing
        own = self.columns.get(column.name)
        if own is not None and str(cell) in own.values:
            return own.values[str(cell)]
        if column.kind is Kind.boolean and cell in ("true", "false"):
            return self.yes if cell == "true" else self.no
        if isinstance(cell, dt.datetime):
            return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(" ", "minutes")
        if isinstance(cell, list):
            return f"… {self.value_of_number(cell[-1])}" if cell else self.missing
        if isinstance(cell, float):
            return short(cell, 4)
        return cell if len(cell) <= LONGEST else f"{cell[: LONGEST - 1]}…"

    def value_of_number(self, number: float | None) -> str:
        """Return a number of a list as people read it."""
        return self.missing if number is None else short(number, 4)


def short(number: float, digits: int) -> str:
    """Return a number with so many significant digits, and no fewer than those before the point.

    >>> short(1889.5, 4), short(0.012345, 2), short(2.0, 2), short(-3.14159, 4), short(1234567.0, 4)
    ('1889.5', '0.012', '2', '-3.142', '1234567')
    """
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    before = math.floor(math.log10(abs(number))) + 1
    # One digit behind the point at least for what people know to the cent.
    decimals = max(digits - before, 1 if before >= digits else 0)
    if digits >= 4 and 3 <= before <= 5:
        decimals = 2
    text = f"{number:.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def readable(name: str) -> str:
    """Return a column's name as people write it.

    >>> readable("MonthlyCharges"), readable("n_services"), readable("tech support"), readable("ARPU")
    ('Monthly charges', 'N services', 'Tech support', 'ARPU')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").split()
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _check_template(where: str, template: str) -> None:
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ConfigError(f"reasons.{where} cannot be read ({error}): {template!r}") from error
    unknown = sorted(names - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(PLACEHOLDERS)
        raise ConfigError(f"reasons.{where} names {{{unknown[0]}}}; a template may hold {known} in braces")


__all__ = ["LOWERS", "PLACEHOLDERS", "RAISES", "ColumnWording", "Wording", "readable"]
