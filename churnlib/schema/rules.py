"""Rules that a row of a table must keep, as the schema holds them: a column, what is asked of it, and a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """What a rule asks of a row; a missing cell breaks no rule but ``required``."""

    required = "required"
    readable = "readable"
    min = "min"
    max = "max"
    whole = "whole"
    values = "values"
    pattern = "pattern"
    holds = "holds"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: What reports and answers call it: ``tenure.max``, or the user's name of an expression.
        column: The column that is named to whoever sent the row; of an expression the first it reads.
        check: What is asked.
        limit: A number (of dates, microseconds since 1970), the values, the pattern, the expression; None where there
            is nothing to say.
        words: The limit as the user wrote it.
        unit: Unit of the column's numbers, where declared.
    """

    name: str
    column: str
    check: Check
    limit: float | int | str | tuple[float | str, ...] | None = None
    words: str = ""
    unit: str = ""

    @property
    def asked(self) -> str:
        """What a row has to be, in a few words."""
        limit = f"{self.words} {self.unit}".strip()
        words = {
            Check.required: "there",
            Check.readable: "readable",
            Check.min: f"at least {limit}",
            Check.max: f"at most {limit}",
            Check.whole: "a whole number",
            Check.values: f"one of {limit}",
            Check.pattern: f"of the form {limit}",
            Check.holds: f"such that {limit}",
        }
        return words[self.check]

    @property
    def problem(self) -> str:
        """What is wrong with a row that breaks the rule, without any value of it; follows the column's name.

        >>> Rule("tenure.max", "tenure", Check.max, 120.0, "120", "months").problem
        'must be at most 120 months (rule tenure.max)'
        """
        missing = self.check is Check.required
        return f"{'is required and missing' if missing else f'must be {self.asked}'} (rule {self.name})"

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON-ready values."""
        return {**asdict(self), "check": str(self.check)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rule:
        """Build a rule from what :meth:`to_dict` returned.

        Raises:
            TypeError, ValueError: If the values are no rule.
        """
        limit = values.get("limit")
        return cls(
            **{**values, "check": Check(values["check"]), "limit": tuple(limit) if isinstance(limit, list) else limit}
        )


__all__ = ["Check", "Rule"]
