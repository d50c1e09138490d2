"""Principal components of the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from churnlib.data.steps.block import numbers_of, with_block
from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError

MOST_SAID, LARGEST = 5, 4
"""Components that are described when they are found, and weights that are told of each."""


@dataclass(frozen=True)
class PrincipalComponents(Step):
    """The directions in which standardised numbers vary most; a missing number counts as the mean.

    Attributes:
        columns: Numbers to combine; all if none is named.
        n_components: How many (a whole number), or the share of the variance that they hold at least, in (0, 1).
        keep: Whether the numbers stay beside their components.
    """

    word = "pca"
    columns: tuple[str, ...] = ()
    n_components: float = 0.95
    keep: bool = False

    def __post_init__(self) -> None:
        self.check_range("n_components", 0, open_ends="low")
        if self.n_components >= 1 and self.n_components != int(self.n_components):
            raise ConfigError(
                f"{self.option('n_components')} must be a whole number, or a share below 1, got {self.n_components}"
            )

    def fit(self, training: Training) -> Learned:
        """Find the components."""
        from sklearn.decomposition import PCA

        names = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        numbers = numbers_of(training.rows.select(names))
        count = (~np.isnan(numbers)).sum(axis=0)
        if not count.any():
            raise ConfigError(f"the step {self.word!r} finds no numbers to combine; leave it out")
        mean = np.nansum(numbers, axis=0) / np.maximum(count, 1)
        spread = np.sqrt(np.nansum((numbers - mean) ** 2, axis=0) / np.maximum(count, 1))
        # A spread of rounding errors is none.
        varies = spread > 1e-12 * np.maximum(np.abs(mean), 1e-12)
        factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        n_components = self._wanted(int(varies.sum()), len(numbers))
        found = PCA(n_components, svd_solver="covariance_eigh").fit(np.nan_to_num((numbers - mean) * factor))
        loadings = tuple(map(tuple, np.asarray(found.components_).tolist()))
        shares = tuple(np.asarray(found.explained_variance_ratio_).tolist())
        fitted = FittedComponents(names, tuple(mean.tolist()), tuple(factor.tolist()), loadings, shares, self.keep)
        columns = self.columns_after(training, map(number, fitted.made), in_place_of=() if self.keep else names)
        said = f"{len(fitted.made)} components of {len(names)} numbers hold {sum(fitted.shares):.1%} of their variance"
        return Learned(fitted, columns, said=(said, *_said(fitted)))

    def _wanted(self, n_varying: int, n_rows: int) -> float:
        if not n_varying or n_rows < 2:
            raise ConfigError(f"the step {self.word!r} finds no numbers that vary; leave it out")
        return self.n_components if self.n_components < 1 else min(int(self.n_components), n_varying, n_rows)


def _said(fitted: FittedComponents) -> list[str]:
    """Say what the first components are made of: the numbers with the largest weights, of standardised numbers."""
    lines = []
    for name, share, loadings in zip(fitted.made[:MOST_SAID], fitted.shares, fitted.loadings, strict=False):
        largest = np.argsort(-np.abs(loadings), kind="stable")[:LARGEST]
        weights = ", ".join(f"{loadings[place]:+.2f} {fitted.columns[place]}" for place in largest.tolist())
        lines.append(f"{name} ({share:.1%} of the variance): {weights}")
    return lines


@dataclass(frozen=True)
class FittedComponents(Fitted):
    """The components.

    Attributes:
        columns: The numbers.
        mean: Of each.
        factor: Reciprocal standard deviation of each; 0 for a constant.
        loadings: For each component the weight of each standardised number.
        shares: Share of the variance that each component holds.
        keep: Whether the numbers stay.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    factor: tuple[float, ...]
    loadings: tuple[tuple[float, ...], ...]
    shares: tuple[float, ...]
    keep: bool

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(f"component {place}" for place in range(1, len(self.loadings) + 1))

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        rows = with_block(rows, self.columns, self.made, self._components)
        return rows if self.keep else rows.drop(self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return dict.fromkeys(self.made, self.columns)

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.array(self.loadings).T * np.array(self.factor)[:, None]

    def _components(self, table: pl.DataFrame) -> np.ndarray:
        return np.nan_to_num(numbers_of(table) - np.array(self.mean)) @ self._weights
