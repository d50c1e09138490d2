"""All figures of several classes, for the rows as they are or as resampled.

What has no form for several classes is taken of each class against the rest: ROC AUC, average precision, and the parts
of the Brier score, whose sums over the classes are exactly the parts of the summed score. KS, lift and the calibration
line stand beside each class and have no mean; profit has no meaning here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from churnlib.decision import decide
from churnlib.evaluation.binary import CALIBRATION, RANKING, BinaryRows
from churnlib.evaluation.bootstrap import resampled
from churnlib.evaluation.decisions import macro_figures, ratio
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.probabilities import ECE_BINS, bin_starts, row_losses
from churnlib.evaluation.ranking import Ranking, average_precision_of, none_if_nan, roc_auc_of


class MulticlassRows:
    """Rows of several classes, sorted once for each class.

    Args:
        label: ``(n,)`` class indices.
        probability: ``(n, k)``.
        customers: ``(n,)`` number of the customer of each row; None where each row is its own.
    """

    def __init__(self, label: Ints, probability: Floats, customers: Ints | None = None) -> None:
        self.label, self.probability, self.customers = label, probability, customers
        n, self.k = probability.shape
        self.decision = decide(probability)
        self._cell = label * self.k + self.decision
        self._losses = row_losses(label, probability)
        self._squares = (probability**2).sum(axis=1) - 2.0 * probability[np.arange(n), label] + 1.0
        self._rankings = [Ranking.of(probability[:, index]) for index in range(self.k)]
        top = probability.max(axis=1)
        self._top = Ranking.of(top)
        self._bins = bin_starts(self._top, ECE_BINS)
        self._gap = (top - (self.decision == label))[self._top.order]

    def matrix(self, weights: Floats | None = None) -> Floats:
        """Return ``(k, k)`` counts, a row per true and a column per decided class."""
        counts = np.bincount(self._cell, weights=weights, minlength=self.k**2)
        return counts.astype(np.float64).reshape(self.k, self.k)

    def figures(self, weights: Floats | None = None) -> dict[str, float]:
        """Return each figure for ``(n,)`` weights of the rows; NaN where it does not exist."""
        drawn = np.ones(len(self.label)) if weights is None else weights
        total = drawn.sum()
        errors = np.add.reduceat((drawn[self._top.order] * self._gap), self._bins)
        return {
            **self._one_vs_rest(drawn),
            "log_loss": float(drawn @ self._losses / total),
            "brier": float(drawn @ self._squares / total),
            **macro_figures(self.matrix(drawn)),
            "ece": float(np.abs(errors).sum() / total),
        }

    def replicates(self, *, replicates: int, seed: int, stratified: bool = True) -> dict[str, Floats]:
        """Return ``(replicates,)`` of each figure, from resampled customers."""
        drawn = resampled(self.label, self.customers, replicates=replicates, seed=seed, stratified=stratified)
        found = [self.figures(one) for block in drawn for one in block]
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def of_classes(self, classes: Sequence[str], layers: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Return for each class what it shows against the rest."""
        matrix, wanted = self.matrix(), tuple(layer for layer in layers if layer in (RANKING, CALIBRATION))
        found = {}
        for index, name in enumerate(classes):
            rows = BinaryRows((self.label == index).astype(np.int64), self.probability[:, index],
                              (self.decision == index).astype(np.int64))  # fmt: skip
            figures = {key: none_if_nan(value[0]) for key, value in rows.figures(wanted).items()}
            found[name] = {**figures, "n": int(matrix[index].sum()), "predicted": int(matrix[:, index].sum())}
        return found

    def brier_parts(self) -> dict[str, float]:
        """Return the parts of the summed Brier score."""
        parts = [
            BinaryRows((self.label == index).astype(np.int64), self.probability[:, index], self.decision * 0).figures(
                (CALIBRATION,)
            )
            for index in range(self.k)
        ]
        return {
            name: float(sum(part[name][0] for part in parts)) for name in ("reliability", "resolution", "uncertainty")
        }

    def _one_vs_rest(self, drawn: Floats) -> dict[str, float]:
        counts = np.bincount(self.label, weights=drawn, minlength=self.k)
        present = np.flatnonzero(counts)
        if len(present) < 2:
            return dict.fromkeys(("roc_auc", "average_precision", "weighted_roc_auc"), np.nan)
        areas, precisions = np.empty(len(present)), np.empty(len(present))
        for place, index in enumerate(present):
            ranking = self._rankings[index]
            weights = drawn[ranking.order]
            tp = ranking.cumulated(weights * (self.label[ranking.order] == index))
            fp = ranking.cumulated(weights) - tp
            areas[place], precisions[place] = roc_auc_of(tp, fp), average_precision_of(tp, fp)
        return {
            "roc_auc": float(areas.mean()),
            "average_precision": float(precisions.mean()),
            "weighted_roc_auc": float(ratio(areas @ counts[present], counts.sum())),
        }
