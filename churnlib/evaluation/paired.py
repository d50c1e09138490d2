"""Two models on the same customers: how much they differ, customer by customer, and how sure that is.

Both meet the same easy and hard customers, so the difference of two figures is known far better than either figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.evaluation.probabilities import row_losses

REPLICATES = 2_000
MOST_PARTS = 5_000
"""Resampled sets, and what is drawn for each at most: of more rows, equal parts that were dealt at random."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """The rows that a model was tested on, and what each cost.

    Attributes:
        customers: ``(n,)`` their names.
        label: ``(n,)`` int64 classes.
        loss: ``(n,)`` float64 log loss of each.
    """

    customers: pl.Series
    label: NDArray[np.int64]
    loss: NDArray[np.float64]

    @classmethod
    def from_predictions(cls, predictions: pl.DataFrame) -> Self:
        """Read what a run wrote as ``predictions.parquet``, for two or several classes."""
        label = predictions["label"].to_numpy()
        of_classes = [name for name in predictions.columns if name.startswith("probability_")]
        probability = predictions.select(of_classes or ["churn_probability"]).to_numpy()
        losses = row_losses(label, probability if of_classes else probability[:, 0])
        return cls(predictions["customer_id"], label, losses)

    def same_rows(self, other: ScoredRows) -> bool:
        """Whether both are about the same customers in the same order."""
        return self.customers.equals(other.customers) and np.array_equal(self.label, other.label)


def paired_difference(
    loss: NDArray[np.float64], other: NDArray[np.float64], *, seed: int, confidence: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Return how much higher one mean loss is than another on the same rows, and the interval of that.

    The percentile bootstrap of the rows' differences.

    Args:
        loss: ``(n,)`` loss of each row.
        other: ``(n,)`` loss of the same rows by the other model.
        seed: Of the resampling.
        confidence: Fraction in (0, 1) of such intervals that hold the true difference.

    >>> paired_difference(np.array([0.75, 0.5]), np.array([0.5, 0.25]), seed=0)
    (0.25, (0.25, 0.25))
    """
    rng = np.random.default_rng(seed)
    differences = loss - other
    sums, sizes = _parts(differences, rng)
    means = np.empty(REPLICATES)
    for place in range(REPLICATES):
        drawn = rng.integers(len(sums), size=len(sums))
        means[place] = sums[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]).tolist()
    return float(differences.mean()), (low, high)


def _parts(differences: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return sums and sizes of what is drawn: rows, or parts of equal size to one where there are many rows.

    The mean of a part varies as a row does, divided by its size, so that the mean over parts varies as that over rows.
    """
    n = len(differences)
    if n <= MOST_PARTS:
        return differences, np.ones(n, dtype=np.int64)
    part = rng.permutation(n) % MOST_PARTS
    sums = np.bincount(part, weights=differences, minlength=MOST_PARTS).astype(np.float64)
    return sums, np.bincount(part, minlength=MOST_PARTS)
