"""``impute_iterative``: gaps filled by regressions of each column on the others, one after the other, several times."""

from __future__ import annotations

import warnings
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
from churnlib.errors import ConfigError

MOST_COLUMNS = 200
"""There are as many regressions as columns in each round, each as long as there are columns."""

Regression = tuple[int, tuple[float, ...], float]
"""The place of the column it fills, a coefficient of each column (0 of its own), and the intercept."""


@dataclass(frozen=True)
class ImputeIterative(Step):
    """Fill the gaps of numeric columns by Bayesian ridge regressions, fitted by scikit-learn's ``IterativeImputer``.

    Columns are brought to mean 0 and standard deviation 1 first. A filled value stays within the range of the training
    rows.

    Attributes:
        columns: Numeric columns to fill and to fill from; all of them when left out, up to 200.
        rounds: Times that every column is filled anew, at most; fewer where nothing moves any more.
        sample: Training rows that the regressions are fitted to, at most.
    """

    word = "impute_iterative"
    columns: tuple[str, ...] = ()
    rounds: int = 10
    sample: int = 20_000

    def __post_init__(self) -> None:
        self.check_range("rounds", 1)
        self.check_range("sample", 2)

    def fit(self, training: Training) -> Learned:
        """Fit the regressions."""
        chosen = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        names, empty = with_values(training.rows, chosen)
        if len(names) > MOST_COLUMNS:
            raise ConfigError(
                f"{self.option('columns')} takes up to {MOST_COLUMNS} columns, there are {len(names):,}; name the ones "
                "that have gaps and those that say something about them"
            )
        said = [f"{name!r} has no value in the training rows and stays empty" for name in empty]
        if not names:
            return Learned(FittedIterative((), (), (), (), (), ()), training.columns, said=tuple(said))
        block = numeric_block(training.rows, names)
        center, spread = center_and_spread(block)
        scaled = (block - center) / spread
        low, high = np.nanmin(scaled, axis=0), np.nanmax(scaled, axis=0)
        rows = scaled[some_rows(len(scaled), self.sample, training.seed)]
        regressions, rounds = fit_regressions(rows, low, high, rounds=self.rounds)
        gaps = int(np.isnan(block).sum())
        said.append(f"{gaps:,} gaps in {len(names)} columns filled by regressions on the others in {rounds} rounds")
        scale = [tuple(values.tolist()) for values in (center, spread, low, high)]
        fitted = FittedIterative(names, scale[0], scale[1], scale[2], scale[3], regressions)
        return Learned(fitted, training.columns, said=tuple(said))


def fit_regressions(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray, *, rounds: int
) -> tuple[tuple[Regression, ...], int]:
    """Return the regressions in the order in which they fill, and the number of rounds.

    Args:
        rows: ``(n, d)`` scaled, NaN for a gap.
        low: ``(d,)`` lowest values, and
        high: ``(d,)`` highest ones, to which what is filled is kept.
        rounds: At most.
    """
    if rows.shape[1] < 2 or np.isnan(rows).all(axis=0).any():
        return (), 0  # without a value in the sample a column keeps its mean, and so do the others
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    constant = low == high  # sklearn wants a range; a constant column is filled by its mean, which is the constant
    imputer = IterativeImputer(
        max_iter=rounds,
        min_value=np.where(constant, low - 1, low),  # type: ignore[arg-type]
        max_value=np.where(constant, high + 1, high),  # type: ignore[arg-type]
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer.fit(rows)
    regressions = []
    for step in imputer.imputation_sequence_:
        coefficients = np.zeros(rows.shape[1])
        coefficients[step.neighbor_feat_idx] = step.estimator.coef_
        regressions.append((int(step.feat_idx), tuple(coefficients.tolist()), float(step.estimator.intercept_)))
    return tuple(regressions), int(imputer.n_iter_)


@dataclass(frozen=True)
class FittedIterative(Fitted):
    """Regressions of scaled columns on each other.

    Attributes:
        names: Columns.
        center: Their means, and
        spread: their standard deviations.
        low, high: Range of the training rows, scaled.
        regressions: In the order in which they are applied.
    """

    names: tuple[str, ...]
    center: tuple[float, ...]
    spread: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    regressions: tuple[Regression, ...]

    @cached_property
    def _arrays(self) -> list[tuple[int, np.ndarray, float]]:
        return [(place, np.array(coefficients), start) for place, coefficients, start in self.regressions]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return by_pieces(rows, self._fill) if self.names else rows

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return dict.fromkeys(self.names, self.names)

    def _fill(self, rows: pl.DataFrame) -> pl.DataFrame:
        block = numeric_block(rows, self.names)
        gaps = np.isnan(block)
        wanting = np.flatnonzero(gaps.any(axis=1))
        if not len(wanting):
            return rows
        center, spread = np.array(self.center), np.array(self.spread)
        # A row far outside may have any value; what is filled from it stays within the range.
        scaled = np.where(gaps[wanting], 0.0, (block[wanting] - center) / spread)
        takers = [np.flatnonzero(gaps[wanting, place]) for place in range(len(self.names))]
        for place, coefficients, start in self._arrays:
            rows_to_fill = takers[place]
            if len(rows_to_fill):
                filled = (scaled[rows_to_fill] * coefficients).sum(axis=1) + start
                scaled[rows_to_fill, place] = np.clip(filled, self.low[place], self.high[place])
        block[wanting] = np.where(gaps[wanting], scaled * spread + center, block[wanting])
        return rows.with_columns(as_columns(block, self.names))
