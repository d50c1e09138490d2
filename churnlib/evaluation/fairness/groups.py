"""Which groups of customers are compared: the values of a column, large enough to say something about.

Groups are learned from the rows that figures are about, for these must be enough; other rows fall into the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.cells import MISSING, NUMBERS, as_numbers, bins_of
from churnlib.schema import Column, Kind

MIN_GROUP, MIN_CROSSED = 50, 200
"""Rows that a group needs, and one where two columns meet: of fewer, little more than chance would be told."""

OTHER = "other"

CROSS = " × "
"""Between the names of two columns that meet."""

MOST_CELLS = 7
"""Numbers and dates come in five groups of about equal size, or by themselves up to seven different ones."""

NOBODY = -1
"""Group of rows that no figure is about: there are too few like them."""


@dataclass(frozen=True, slots=True)
class Groups:
    """A column's groups.

    Attributes:
        name: Column, or columns.
        labels: Groups in the order of their values; texts with the largest group first.
        codes: ``(n,)`` int64 group of each row, :data:`NOBODY` of those in none.
        merged: Values that make up the group :data:`OTHER`, each of which is too rare to stand alone.
        left_out: Values of the rows in no group.
    """

    name: str
    labels: tuple[str, ...]
    codes: np.ndarray
    merged: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def counts(self) -> np.ndarray:
        """Return the rows of each group, ``(len(labels),)`` int64."""
        return np.bincount(self.codes[self.codes != NOBODY], minlength=len(self.labels))


@dataclass(frozen=True, slots=True)
class Grouping:
    """How rows fall into groups.

    Attributes:
        groups: Of the rows that it was learned from.
    """

    groups: Groups
    _cells: Callable[[pl.Series], np.ndarray]
    _group_of: np.ndarray

    @classmethod
    def learn(cls, values: pl.Series, column: Column, *, min_group: int = MIN_GROUP) -> Grouping:
        """Learn groups from a typed column.

        Values in too few rows are put together as :data:`OTHER`; if they are still too few, no figure is about them.

        Args:
            values: ``(n,)`` as :func:`churnlib.data.coercion.coerce` returns them.
            column: Its entry in the schema.
            min_group: Rows that a group needs.
        """
        names, cells = _cells_of(values, column, min_group)
        codes = cells(values)
        counts = np.bincount(codes, minlength=len(names))
        small = np.flatnonzero((counts < min_group) & (counts > 0))
        kept = np.flatnonzero(counts >= min_group)
        merge = len(small) > 1 and counts[small].sum() >= min_group
        group_of = np.full(len(names), NOBODY)
        group_of[kept] = np.arange(len(kept))
        if merge:
            group_of[counts < min_group] = len(kept)
        rare = tuple(names[place] for place in small)
        found = Groups(
            column.name,
            (*(names[place] for place in kept), *([OTHER] if merge else [])),
            group_of[codes],
            merged=rare if merge else (),
            left_out=() if merge else rare,
        )
        return cls(found, cells, group_of)

    def codes(self, values: pl.Series) -> np.ndarray:
        """Return the groups of other rows of the same column, ``(m,)`` int64."""
        return self._group_of[self._cells(values)]


def _cells_of(values: pl.Series, column: Column, min_group: int) -> tuple[list[str], Callable[[pl.Series], np.ndarray]]:
    """Return the names of all cells, that of missing values last, and what puts rows into them.

    A value that was not there before has no cell of its own, and goes with the missing ones.
    """
    if column.kind in NUMBERS:
        bins = bins_of(values, column, fewest=min_group, most=MOST_CELLS)
        known = [label for label in bins.labels if label != MISSING]

        def cells(some: pl.Series) -> np.ndarray:
            numbers = as_numbers(some, column)
            return np.where(np.isnan(numbers), len(known), np.minimum(bins.numbers_into(numbers), len(known)))

        return [*known, MISSING], cells
    names = _names_in_order(values, column)
    places = {name: place for place, name in enumerate(names)}

    def cells_of_texts(some: pl.Series) -> np.ndarray:
        texts = some.cast(pl.String)
        return texts.replace_strict(places, default=len(names), return_dtype=pl.Int64).fill_null(len(names)).to_numpy()

    return [*names, MISSING], cells_of_texts


def _names_in_order(values: pl.Series, column: Column) -> list[str]:
    counts = values.cast(pl.String).drop_nulls().alias("value").value_counts(name="n")
    names: list[str] = counts.sort(["n", "value"], descending=[True, False])["value"].to_list()
    if column.kind is Kind.ordinal:
        place = {value: number for number, value in enumerate(column.order)}
        return sorted(names, key=lambda name: (place.get(name, len(place)), name))
    return sorted(names) if set(names) <= {"true", "false"} else names


def crossed(one: Groups, other: Groups, *, min_group: int = MIN_CROSSED) -> Groups:
    """Return the groups where two columns meet; those with too few rows are left out, for no two of them are alike.

    >>> plan = Groups("plan", ("a", "b"), np.array([0, 0, 1, 1, 1]))
    >>> sex = Groups("sex", ("f", "m"), np.array([0, 0, 0, 1, 1]))
    >>> both = crossed(plan, sex, min_group=2)
    >>> both.labels, both.left_out, both.codes.tolist()
    (('a, f', 'b, m'), ('b, f',), [0, 0, -1, 1, 1])
    """
    known = (one.codes != NOBODY) & (other.codes != NOBODY)
    cell = np.where(known, one.codes * len(other.labels) + other.codes, NOBODY)
    counts = np.bincount(cell[known], minlength=len(one.labels) * len(other.labels))
    names = [f"{a}, {b}" for a in one.labels for b in other.labels]
    kept = np.flatnonzero(counts >= min_group)
    group_of = np.full(len(names) + 1, NOBODY)  # the last one is that of rows in no cell, whose number is -1
    group_of[kept] = np.arange(len(kept))
    rare = tuple(names[place] for place in np.flatnonzero((counts > 0) & (counts < min_group)))
    labels = tuple(names[place] for place in kept)
    return Groups(f"{one.name}{CROSS}{other.name}", labels, group_of[cell], left_out=rare)


def groups_of(name: str, values: Iterable[object], *, min_group: int = MIN_GROUP) -> Groups:
    """Return the groups of a column that no schema describes: numbers are cut into cells, all else counts as text.

    >>> found = groups_of("plan", ["a", "b", "a", "b", "c", None], min_group=2)
    >>> found.labels, found.merged, found.codes.tolist()
    (('a', 'b', 'other'), ('c', 'missing'), [0, 1, 0, 1, 2, 2])
    """
    series = values if isinstance(values, pl.Series) else pl.Series(name, list(values), strict=False)
    numbers = series.dtype.is_numeric()
    column = Column(name, Kind.numeric if numbers else Kind.categorical)
    typed = series.cast(pl.Float64 if numbers else pl.String)
    return Grouping.learn(typed, column, min_group=min_group).groups


__all__ = ["CROSS", "MIN_CROSSED", "MIN_GROUP", "NOBODY", "OTHER", "Grouping", "Groups", "crossed", "groups_of"]
