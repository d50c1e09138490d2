"""Groups of a number by edges that people have fixed: tenure of 0-12 months, 13-24, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class Cut(Step):
    """A group for each number: ``{columns: [age], edges: [30, 60], labels: [young, middle, old]}``.

    Attributes:
        columns: Columns of numbers.
        edges: Where one group ends and the next begins, rising.
        labels: Names of the groups, one more than edges; intervals such as ``(30, 60]`` when empty.
        right: Whether an edge belongs to the group below it.
        suffix: What the new column is called, behind the name of the old one and a ``_``.
        ordered: Whether the groups are read in their order (one number), rather than as categories.
        keep: Keep the columns themselves.
    """

    word = "cut"
    columns: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    right: bool = True
    suffix: str = "group"
    ordered: bool = True
    keep: bool = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise ConfigError(f"{self.option('columns')} must name the columns to cut: edges of one suit no other")
        wrong = [edge for edge in self.edges if isinstance(edge, bool) or not isinstance(edge, int | float)]
        if not self.edges or wrong or any(not low < high for low, high in pairwise(self.edges)):
            raise ConfigError(f"{self.option('edges')} must be rising numbers such as [12, 24], got {list(self.edges)}")
        if self.labels and (
            len(self.labels) != len(self.edges) + 1 or len(set(map(str, self.labels))) < len(self.labels)
        ):
            raise ConfigError(
                f"{self.option('labels')} must be {len(self.edges) + 1} different names, one more than edges, "
                f"got {list(self.labels)}"
            )

    def fit(self, training: Training) -> Learned:
        """Check that the columns hold numbers; nothing is learned."""
        columns = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        labels = tuple(map(str, self.labels)) or _intervals(self.edges, right=self.right)
        made = tuple((name, f"{name}_{self.suffix}") for name in columns)
        fitted = FittedCut(made, tuple(map(float, self.edges)), labels, self.right)
        kind, order = (Kind.ordinal, labels) if self.ordered else (Kind.categorical, ())
        groups = (Column(name, kind, nullable=True, order=order) for _, name in made)
        return Learned(fitted, self.columns_after(training, groups, in_place_of=() if self.keep else columns))


@dataclass(frozen=True)
class TenureGroups(Step):
    """Groups of whole months, ``0-12``, ``13-24`` and so on.

    Attributes:
        columns: Columns of months.
        edges: Last month of each group but the last.
        ordered: As in :class:`Cut`.
        keep: Keep the columns themselves.
    """

    word = "tenure_groups"
    columns: tuple[str, ...] = ()
    edges: tuple[int, ...] = (12, 24, 36, 48, 60)
    ordered: bool = True
    keep: bool = True

    def __post_init__(self) -> None:
        if not self.columns:
            raise ConfigError(f"{self.option('columns')} must name the column with the months, such as [tenure]")
        whole = all(isinstance(edge, int) and not isinstance(edge, bool) and edge > 0 for edge in self.edges)
        if not self.edges or not whole or any(not low < high for low, high in pairwise(self.edges)):
            raise ConfigError(f"{self.option('edges')} must be rising whole numbers above 0, got {list(self.edges)}")

    def fit(self, training: Training) -> Learned:
        """Check that the columns hold numbers; nothing is learned."""
        starts = (0, *(edge + 1 for edge in self.edges))
        labels = (*(f"{low}-{high}" for low, high in zip(starts, self.edges, strict=False)), f"{starts[-1]}+")
        columns = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        return Cut(columns, self.edges, labels, ordered=self.ordered, keep=self.keep).fit(training)


def _intervals(edges: tuple[float, ...], *, right: bool) -> tuple[str, ...]:
    left, close = ("(", "]") if right else ("[", ")")
    inner = [f"{left}{low:g}, {high:g}{close}" for low, high in pairwise(edges)]
    first, last = ("<=", ">") if right else ("<", ">=")
    return (f"{first} {edges[0]:g}", *inner, f"{last} {edges[-1]:g}")


@dataclass(frozen=True)
class FittedCut(Fitted):
    """Edges and names of groups.

    Attributes:
        columns: Old and new name of each column.
        edges: Rising.
        labels: One more.
        right: Whether an edge belongs to the group below it.
    """

    columns: tuple[tuple[str, str], ...]
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    right: bool

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(self._group(cell_of(name)).alias(new) for name, new in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {new: (name,) for name, new in self.columns}

    def _group(self, cell: pl.Expr) -> pl.Expr:
        group = pl.when(cell.is_not_null()).then(pl.lit(self.labels[-1]))
        for edge, label in zip(reversed(self.edges), reversed(self.labels[:-1]), strict=True):
            group = pl.when(cell <= edge if self.right else cell < edge).then(pl.lit(label)).otherwise(group)
        return group


__all__ = ["Cut", "FittedCut", "TenureGroups"]
