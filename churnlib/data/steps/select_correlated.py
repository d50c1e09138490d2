"""Of columns that say nearly the same, one stays."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.data.steps.associations import association_matrix, strength
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked
from churnlib.data.steps.step import Training


@dataclass(frozen=True)
class SelectCorrelated(Selection):
    """Of each cluster of columns that hang together, keep the one that says most about the label.

    Columns are taken in the order of what each alone says (information value; Cramér's V with several classes; of
    equals, the first in the table). One that hangs together with a column taken already goes, so that whatever goes
    has a near twin that stays.

    Attributes:
        threshold: From where on two columns say nearly the same: |correlation|, Cramér's V or correlation ratio, in
            (0, 1].
        method: ``spearman`` or ``pearson``, for numbers.
    """

    word = "select_correlated"
    threshold: float = 0.9
    method: str = "spearman"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_range("threshold", 0, 1, open_ends="low")
        self.check_choice("method", ("spearman", "pearson"))

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        says = {name: strength(training, name) for name in names}
        matrix = association_matrix(training, names, self.method)
        # Columns that stay anyway come first, so that their twins go.
        order = sorted(
            range(len(names)), key=lambda place: (names[place] not in self.always, -says[names[place]], place)
        )
        taken, dropped = [], {}
        for place in order:
            twins = [other for other in taken if matrix[place, other] >= self.threshold]
            if twins and names[place] not in self.always:
                twin = max(twins, key=lambda other: matrix[place, other])
                dropped[names[place]] = (
                    f"{matrix[place, twin]:.3f} with {names[twin]!r}, which says more about the label"
                )
            else:
                taken.append(place)
        scores = {
            name: {
                "strength": says[name],
                "association": float(max(matrix[place, [o for o in taken if o != place] or [place]])),
            }
            for place, name in enumerate(names)
        }
        return Ranking(ranked(scores, says), dropped)


__all__ = ["FittedSelection", "SelectCorrelated"]
