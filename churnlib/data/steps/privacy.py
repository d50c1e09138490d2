"""Coarser columns, which say less about each person: numbers in bands, rare categories under one word.

Both take the place of the column they come from, so that nothing after them sees the exact value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.anonymity import FEWEST, joined_edges, n_joined
from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training
from churnlib.errors import ConfigError
from churnlib.schema import Kind
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class Band(Step):
    """Numbers in bands: an age of 37 becomes ``35 to under 45``.

    The bands keep their order. A band with few training rows is joined to its smaller neighbour; beyond the last edges
    every number is in the first or the last band, so that no later row stands out. Missing stays missing.

    Attributes:
        columns: Numeric columns; they must be named, since a network usually does better with exact numbers.
        edges: Where one band ends and the next begins, ascending; or
        width: of every band: edges are the multiples of it between the smallest and the largest training value.
        fewest: Training rows that a band needs; 0 for none.
    """

    word = "band"
    columns: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    width: float | None = None
    fewest: int = FEWEST

    def __post_init__(self) -> None:
        if not self.columns:
            raise ConfigError(f"{self.option('columns')} is missing: name the columns, such as columns: [age]")
        if bool(self.edges) == (self.width is not None):
            raise ConfigError(f"{self.option('edges')} or {self.option('width')}: give one of them")
        if not all(_is_number(edge) for edge in self.edges) or any(a >= b for a, b in pairwise(self.edges)):
            raise ConfigError(f"{self.option('edges')} must be ascending numbers, got {list(self.edges)}")
        self.check_range("width", 0, open_ends="low")
        self.check_range("fewest", 0)

    def fit(self, training: Training) -> Learned:
        """Choose the edges of each column."""
        names = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        edges = {name: self._edges(training.rows.get_column(name).drop_nulls().to_numpy()) for name in names}
        bands = {name: tuple(_labels(found)) for name, found in edges.items()}
        columns = tuple(
            replace(column, kind=Kind.ordinal, order=bands[column.name], nullable=True, note="in bands")
            if column.name in bands
            else column
            for column in training.columns
        )
        said = tuple(f"{name} in {len(found)} bands: {', '.join(found)}" for name, found in bands.items())
        return Learned(FittedBand(edges, bands), columns, said=said)

    def _edges(self, values: np.ndarray) -> tuple[float, ...]:
        edges = [float(edge) for edge in self.edges]
        if self.width is not None and len(values):
            first, last = math.floor(values.min() / self.width) + 1, math.floor(values.max() / self.width)
            if last - first >= 1_000:
                raise ConfigError(f"{self.option('width')}={self.width:g} makes {last - first + 2:,} bands; widen it")
            edges = [place * self.width for place in range(first, last + 1)]
        counts = np.histogram(values, [-np.inf, *edges, np.inf])[0].tolist() if edges else [len(values)]
        return tuple(edges[place] for place in joined_edges(counts, self.fewest))


@dataclass(frozen=True)
class FittedBand(Fitted):
    """Edges of bands.

    Attributes:
        edges: Of each column, ascending; a number on an edge is in the band above it.
        bands: What they are called, one more than edges.
    """

    edges: Mapping[str, tuple[float, ...]]
    bands: Mapping[str, tuple[str, ...]]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(self._band(name) for name in self.edges)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: (name,) for name in self.edges}

    def _band(self, name: str) -> pl.Expr:
        cell, bands = cell_of(name), self.bands[name]
        banded: pl.Expr = pl.lit(bands[0])
        for edge, band in zip(self.edges[name], bands[1:], strict=True):
            banded = pl.when(cell >= edge).then(pl.lit(band)).otherwise(banded)
        return pl.when(cell.is_not_null()).then(banded).alias(name)


@dataclass(frozen=True)
class Rare(Step):
    """Categories with few training rows, and those that training did not see, under one word.

    So many of the smallest are joined that the word itself stands for enough rows, where there are any at all. Missing
    stays missing.

    Attributes:
        columns: Categorical columns; all of them if none is named.
        min_count: Training rows that a category needs to keep its name.
        word_for: What the others are called.
    """

    word = "rare"
    columns: tuple[str, ...] = ()
    min_count: int = FEWEST
    word_for: str = "(rare)"

    def __post_init__(self) -> None:
        self.check_range("min_count", 1)
        if not isinstance(self.word_for, str) or not self.word_for.strip():
            raise ConfigError(f"{self.option('word_for')} must be a word, got {self.word_for!r}")

    def fit(self, training: Training) -> Learned:
        """Count the categories of each column."""
        names = training.choose(self.columns, (Kind.categorical,), option=self.option("columns"))
        kept, said = {}, []
        for name in names:
            values = training.rows.get_column(name).drop_nulls().alias("value")
            kept[name], joined = self._common(values)
            if self.word_for in kept[name]:
                raise ConfigError(f"{self.option('word_for')}={self.word_for} is a value of {name!r}; choose another")
            if joined:
                said.append(f"{joined:,} values of {name} with fewer than {self.min_count:,} rows are {self.word_for}")
        return Learned(FittedRare(kept, self.word_for), training.columns, said=tuple(said))

    def _common(self, values: pl.Series) -> tuple[tuple[str, ...], int]:
        """Return the categories that keep their name, sorted, and how many do not."""
        counts: list[tuple[Any, int]] = list(values.value_counts(name="n").sort("n", "value").iter_rows())
        joined = n_joined([n for _, n in counts], self.min_count)
        return tuple(sorted(value for value, _ in counts[joined:])), joined


@dataclass(frozen=True)
class FittedRare(Fitted):
    """Categories that keep their name.

    Attributes:
        kept: Of each column, sorted.
        word: What all others are called.
    """

    kept: Mapping[str, tuple[str, ...]]
    word: str

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(
            pl.when(cell_of(name).is_null() | cell_of(name).is_in(list(kept)))
            .then(cell_of(name))
            .otherwise(pl.lit(self.word))
            .alias(name)
            for name, kept in self.kept.items()
        )

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: (name,) for name in self.kept}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _labels(edges: tuple[float, ...]) -> list[str]:
    """Return what bands are called.

    >>> _labels((18.0, 30.0))
    ['under 18', '18 to under 30', '30 or more']
    """
    if not edges:
        return ["any"]
    shown = [np.format_float_positional(edge, precision=10, trim="-") for edge in edges]
    return [f"under {shown[0]}", *(f"{a} to under {b}" for a, b in pairwise(shown)), f"{shown[-1]} or more"]


__all__ = ["Band", "FittedBand", "FittedRare", "Rare"]
