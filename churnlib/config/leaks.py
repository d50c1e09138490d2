"""Options of the leak checks."""

from __future__ import annotations

from dataclasses import dataclass, field

from churnlib.config.checks import check_choice


@dataclass(kw_only=True)
class LeaksConfig:
    """What is done about columns that say more than anybody could know on the day of the prediction."""

    action: str
    """warn (say so and go on), error (stop before anything is written) or off; set by the group: ``leaks=error``."""
    names: list[str] = field(default_factory=list)
    """Words of names that shall be taken for leaks beside the known ones, such as ``[refund, exit survey]``."""
    allow: list[str] = field(default_factory=list)
    """Columns that are no leaks, because they were known on the day of the prediction."""

    def __post_init__(self) -> None:
        check_choice("leaks.action", self.action, ("warn", "error", "off"))
