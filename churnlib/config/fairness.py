"""Options of the comparison of groups after a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from churnlib.config.checks import check_choice, check_range


@dataclass(kw_only=True)
class FairnessConfig:
    """Whose test rows are compared, and how; see docs/fairness.md."""

    columns: list[str] = field(default_factory=list)
    """Columns to compare besides those that are declared sensitive, whatever their role."""
    min_group: int
    """Test rows that a group needs; smaller ones are put together, or left out."""
    min_crossed: int
    """Test rows that a group needs where two columns meet."""
    against: str
    """With whom each group is compared: largest (group of its column) or rest (all others)."""

    def __post_init__(self) -> None:
        check_range("fairness.min_group", self.min_group, low=5)
        check_range("fairness.min_crossed", self.min_crossed, low=5)
        check_choice("fairness.against", self.against, ("largest", "rest"))


__all__ = ["FairnessConfig"]
