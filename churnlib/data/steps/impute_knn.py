"""``impute_knn``: gaps filled from the nearest of a sample of training rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from churnlib.data.steps.arrays import (
    as_columns,
    by_pieces,
    center_and_spread,
    numeric_block,
    some_rows,
    with_values,
)
from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training

MANY_ROWS = 50_000
"""Training rows above which the step says that it is slow."""

EQUAL = 1e-100
"""Rows nearer than this count as equal: one over the distance stays finite."""

PAIRS = 2_000_000
"""Distances computed at a time."""


@dataclass(frozen=True)
class ImputeKNN(Step):
    """Fill the gaps of numeric columns by the mean of the nearest training rows that have a value there.

    Distances are those of scikit-learn's ``KNNImputer``, between columns brought to mean 0 and standard deviation 1:
    over the columns that both rows have, scaled up for those that they have not. A row without any value is filled by
    the means.

    Attributes:
        columns: Numeric columns to measure by and to fill; all of them when left out.
        k: Neighbours.
        weights: ``uniform``, or ``distance``: by 1/distance, and by equal rows alone where there are some.
        sample: Training rows that are kept to look for neighbours in, at most.
    """

    word = "impute_knn"
    columns: tuple[str, ...] = ()
    k: int = 5
    weights: str = "uniform"
    sample: int = 2_000

    def __post_init__(self) -> None:
        self.check_range("k", 1)
        self.check_range("sample", 1)
        self.check_choice("weights", ("uniform", "distance"))

    def fit(self, training: Training) -> Learned:
        """Keep a sample of the training rows."""
        chosen = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        names, empty = with_values(training.rows, chosen)
        said = [f"{name!r} has no value in the training rows and stays empty" for name in empty]
        if not names:
            return Learned(FittedKNN((), (), (), (), self.k, self.weights), training.columns, said=tuple(said))
        block = numeric_block(training.rows, names)
        center, spread = center_and_spread(block)
        sample = ((block - center) / spread)[some_rows(len(block), self.sample, training.seed)]
        if len(block) > MANY_ROWS:
            said.append(
                f"slow on {len(block):,} rows, each of which is compared with {len(sample):,}; impute_iterative takes "
                "less time"
            )
        gaps = int(np.isnan(block).sum())
        said.append(f"{gaps:,} gaps in {len(names)} columns filled from {self.k} neighbours among {len(sample):,} rows")
        rows = tuple(tuple(None if np.isnan(value) else value for value in row) for row in sample.tolist())
        fitted = FittedKNN(names, tuple(center.tolist()), tuple(spread.tolist()), rows, int(self.k), self.weights)
        return Learned(fitted, training.columns, said=tuple(said))


@dataclass(frozen=True)
class FittedKNN(Fitted):
    """Rows to look for neighbours in.

    Attributes:
        names: Columns.
        center: Their means, and
        spread: their standard deviations.
        sample: Rows of numbers so scaled; None for a gap.
        k: Neighbours.
        weights: ``uniform`` or ``distance``.
    """

    names: tuple[str, ...]
    center: tuple[float, ...]
    spread: tuple[float, ...]
    sample: tuple[tuple[float | None, ...], ...]
    k: int
    weights: str

    @cached_property
    def _reference(self) -> np.ndarray:
        return np.array(self.sample, dtype=np.float64).reshape(-1, len(self.names))

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return by_pieces(rows, self._fill) if self.names else rows

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return dict.fromkeys(self.names, self.names)

    def _fill(self, rows: pl.DataFrame) -> pl.DataFrame:
        block = numeric_block(rows, self.names)
        gaps = np.isnan(block)
        center, spread = np.array(self.center), np.array(self.spread)
        wanting = np.flatnonzero(gaps.any(axis=1))
        if not len(wanting):
            return rows
        scaled = (block[wanting] - center) / spread
        step = max(1, PAIRS // max(1, len(self._reference)))
        for start in range(0, len(wanting), step):
            piece = slice(start, start + step)
            scaled[piece] = self._filled(scaled[piece])
        block[wanting] = np.where(gaps[wanting], scaled * spread + center, block[wanting])
        return rows.with_columns(as_columns(block, self.names))

    def _filled(self, rows: np.ndarray) -> np.ndarray:
        """Return scaled rows, ``(n, d)``, without gaps."""
        filled, distances = rows.copy(), distances_between(rows, self._reference)
        for place in range(rows.shape[1]):
            takers = np.flatnonzero(np.isnan(rows[:, place]))
            givers = np.flatnonzero(~np.isnan(self._reference[:, place]))
            if not len(takers):
                continue
            if not len(givers):
                filled[takers, place] = 0.0
                continue
            values = self._reference[givers, place]
            filled[takers, place] = _neighbours_mean(distances[takers][:, givers], values, self.k, self.weights)
        return filled


def distances_between(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Euclidean distances over the columns that two rows share, ``(n, m)``; infinite where they share none.

    Column by column, so that a distance does not depend on what other rows stand beside these.
    """
    squares, shared = np.zeros((len(rows), len(others))), np.zeros((len(rows), len(others)))
    for place in range(rows.shape[1]):
        difference = rows[:, place, None] - others[None, :, place]
        there = ~np.isnan(difference)
        squares += np.where(there, difference, 0.0) ** 2
        shared += there
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.sqrt(squares * (rows.shape[1] / shared))
    return np.where(shared > 0, scaled, np.inf)


def _neighbours_mean(distances: np.ndarray, values: np.ndarray, k: int, weights: str) -> np.ndarray:
    """Return the mean of the nearest values for each row, ``(n,)``; of rows near nothing 0, the mean of all.

    Args:
        distances: ``(n, m)``.
        values: ``(m,)``.
        k: Neighbours at most.
        weights: ``uniform`` or ``distance``.
    """
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]  # stable: of equally near rows the first
    near = np.take_along_axis(distances, nearest, axis=1)
    weight = np.isfinite(near).astype(np.float64)
    if weights == "distance":
        equal = near < EQUAL
        with np.errstate(divide="ignore"):
            weight = np.where(equal.any(axis=1, keepdims=True), equal, 1 / near)
    total = weight.sum(axis=1)
    return np.divide((values[nearest] * weight).sum(axis=1), total, out=np.zeros(len(total)), where=total > 0)
