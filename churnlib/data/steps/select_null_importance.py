"""Columns that are no more important to a forest than they are when the labels mean nothing go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churnlib.data.steps.proxies import column_codes
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked
from churnlib.data.steps.step import Training

LEAVES = 16
"""Of each tree. In deep trees all columns share out what there is to explain, down to the noise, and a strong column
leaves less of it to a weak one than chance would; the same goes for importances that are made to sum to 1."""


@dataclass(frozen=True)
class SelectNullImportance(Selection):
    """Keep the columns whose importance stands out from the one they have for labels dealt at random.

    A forest finds something in any column, and the more the more values it has; dealing the labels anew shows how much
    of it that is (Altmann et al., Bioinformatics 26(10), 2010).

    Attributes:
        draws: How often the labels are dealt anew.
        quantile: Of the importances for those labels that a column must lie above, in (0, 1].
        trees: Of each forest.
    """

    word = "select_null_importance"
    rows: int = 20_000
    draws: int = 20
    quantile: float = 0.95
    trees: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_range("draws", 2)
        self.check_range("quantile", 0, 1, open_ends="low")
        self.check_range("trees", 1)

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        table, _ = column_codes(training, names)
        rng = np.random.default_rng(training.seed)
        own = self._importance(table, training.label, training.seed)
        null = [self._importance(table, rng.permutation(training.label), training.seed) for _ in range(self.draws)]
        bound = np.quantile(null, self.quantile, axis=0)
        ratio = own / np.maximum(bound, np.finfo(np.float32).tiny)
        scores = {
            name: {"importance": float(own[place]), "by_chance": float(bound[place])}
            for place, name in enumerate(names)
        }
        dropped = {
            name: f"importance {own[place]:.4f}, and {bound[place]:.4f} where the labels mean nothing"
            for place, name in enumerate(names)
            if own[place] <= bound[place]
        }
        return Ranking(ranked(scores, dict(zip(names, ratio.tolist(), strict=True))), dropped)

    def _importance(self, table: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(self.trees, max_leaf_nodes=LEAVES, min_samples_leaf=5, random_state=seed)
        trees = forest.fit(table, label).estimators_
        return np.mean([tree.tree_.compute_feature_importances(normalize=False) for tree in trees], axis=0)


__all__ = ["FittedSelection", "SelectNullImportance"]
