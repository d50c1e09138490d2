"""Columns that alone say too little about who leaves go."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.data.steps.associations import strength
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked, two_classes
from churnlib.data.steps.step import Training


@dataclass(frozen=True)
class SelectInformationValue(Selection):
    """Keep the columns whose information value is high enough; two classes only.

    A column that matters only together with another one looks as if it said nothing.

    Attributes:
        min_value: Information value that a column needs to stay.
        top: Columns that stay at most, the best; None for no limit.
    """

    word = "select_information_value"
    min_value: float = 0.02
    top: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_range("min_value", 0)
        self.check_range("top", 1)

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        two_classes(self, training)
        value = {name: strength(training, name) for name in names}
        scores = ranked({name: {"information_value": value[name]} for name in names}, value)
        dropped = {name: f"information value {value[name]:.4f}" for name in names if value[name] < self.min_value}
        for place, name in enumerate(scores, start=1):
            if self.top is not None and place > self.top:
                dropped.setdefault(name, f"information value {value[name]:.4f}, number {place} of {len(names)}")
        return Ranking(scores, dropped)


__all__ = ["FittedSelection", "SelectInformationValue"]
