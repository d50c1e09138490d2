"""Numbers cut into bins, as categories or as weights of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
import polars as pl

from churnlib.data.steps.step import NUMBERS, Fitted, Learned, Step, Training, category, number, tuples
from churnlib.data.steps.weight_of_evidence import count_classes, information_value, weights_of_evidence
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind
from churnlib.schema.parsing import cell_of

METHODS = ("quantile", "equal_width", "tree")
OUTPUTS = ("category", "ordinal", "woe")
MISSING = "missing"

TREE_ROWS = 200_000
"""Training rows that a tree is grown from at most, drawn at random: its edges hardly move from there on."""


@dataclass(frozen=True)
class Bins(Step):
    """Cut numbers into bins whose edges the training rows give; missing values have a bin of their own.

    Attributes:
        columns: Numbers to cut; all if none is named.
        method: ``quantile`` (equally many rows), ``equal_width``, or ``tree`` (where a decision tree on the column
            alone would cut to tell the classes apart).
        n_bins: Bins at most; ties between quantiles and an early end of the tree make it fewer.
        output: ``category`` (such as ``[10, 20)``; ``missing``), ``ordinal`` (the same, in order; missing stays
            missing) or ``woe`` (the weight of evidence, two classes only).
        min_share: Share of the rows that a bin of the tree holds at least.
        monotone: Whether the churn rate along the bins of the tree may only rise, or only fall; two classes only.
        folds: Parts of the training rows of which each gets the weights of evidence that the others say.
        keep: Whether the numbers stay beside their bins.
    """

    word = "bins"
    columns: tuple[str, ...] = ()
    method: str = "quantile"
    n_bins: int = 5
    output: str = "category"
    min_share: float = 0.05
    monotone: bool = False
    folds: int = 5
    keep: bool = False

    def __post_init__(self) -> None:
        self.check_choice("method", METHODS)
        self.check_choice("output", OUTPUTS)
        self.check_range("n_bins", 2, 1000)
        self.check_range("min_share", 0, 0.5, open_ends="low high")
        self.check_range("folds", 2)
        if self.monotone and self.method != "tree":
            raise ConfigError(f"{self.option('monotone')} needs method=tree, got method={self.method}")

    def fit(self, training: Training) -> Learned:
        """Learn the edges, and for weights of evidence the training rows' own from the other folds."""
        for option, asked in (("output=woe", self.output == "woe"), ("monotone", self.monotone)):
            if asked and training.n_classes != 2:
                raise ConfigError(f"{self.option(option)} is for two classes, and there are {training.n_classes}")
        names = training.choose(self.columns, NUMBERS, option=self.option("columns"))
        label, seed = training.label, training.seed
        columns = {name: training.rows.get_column(name) for name in names}
        fitted = FittedBins(
            tuple(self._cut(values, label, seed) for values in columns.values()), self.output, self.keep
        )
        made = [self._entry(cut, name) for cut, name in zip(fitted.columns, fitted.made, strict=True)]
        after = self.columns_after(training, made, in_place_of=() if self.keep else names)
        said = [cut.said() for cut in fitted.columns]
        return Learned(fitted, after, self._out_of_fold(training, columns, fitted), said=tuple(said))

    def _out_of_fold(
        self, training: Training, columns: Mapping[str, pl.Series], fitted: FittedBins
    ) -> pl.DataFrame | None:
        """Return the training rows with weights of evidence that their own labels had no part in."""
        if self.output != "woe":
            return None
        if len(training.rows) < self.folds:
            raise ConfigError(
                f"{self.option('folds')}={self.folds} is more than the {len(training.rows)} training rows"
            )
        fold = training.folds(self.folds)
        own = []
        for values, made in zip(columns.values(), fitted.made, strict=True):
            weights = np.empty(len(values))
            for part in range(self.folds):
                cut = self._cut(values.filter(fold != part), training.label[fold != part], training.seed)
                weights[fold == part] = np.array(cut.weights)[cut.places(values.filter(fold == part))]
            own.append(pl.Series(made, weights))
        rows = training.rows.with_columns(own)
        return rows if self.keep else rows.drop(columns)

    def _entry(self, cut: Cut, made: str) -> Column:
        if self.output == "woe":
            return number(made, note=f"information value {cut.information:.3f}")
        if self.output == "ordinal" and len(cut.labels) > 1:
            return Column(made, Kind.ordinal, nullable=True, order=cut.labels)
        return category(made)

    def _cut(self, values: pl.Series, label: np.ndarray, seed: int) -> Cut:
        given = values.is_not_null().to_numpy()
        numbers = values.drop_nulls().to_numpy()
        edges = self._edges(numbers, label[given], seed) if len(numbers) else []
        bare = Cut(values.name, tuple(edges), (), 0.0)
        # For several classes the counts tell the first from all others, and only the edges are used.
        counts = count_classes(bare.places(values), np.minimum(label, 1), len(edges) + 2)
        return Cut(values.name, tuple(edges), tuple(weights_of_evidence(counts).tolist()), information_value(counts))

    def _edges(self, numbers: np.ndarray, label: np.ndarray, seed: int) -> list[float]:
        """Return the inner edges, ascending."""
        if self.method == "tree":
            return _tree_edges(numbers, label, self.n_bins, self.min_share, self.monotone, seed)
        if self.method == "equal_width":
            edges = np.linspace(numbers.min(), numbers.max(), self.n_bins + 1)
        else:
            edges = np.quantile(numbers, np.linspace(0, 1, self.n_bins + 1))
        return [float(edge) for edge in np.unique(edges[1:-1]) if numbers.min() < edge <= numbers.max()]


def _tree_edges(
    numbers: np.ndarray, label: np.ndarray, n_bins: int, min_share: float, monotone: bool, seed: int
) -> list[float]:
    from sklearn.tree import DecisionTreeClassifier

    if len(numbers) > TREE_ROWS:
        drawn = np.random.default_rng(seed).choice(len(numbers), TREE_ROWS, replace=False)
        numbers, label = numbers[drawn], label[drawn]
    best, edges = -1.0, []
    for direction in (1, -1) if monotone else (0,):
        tree = DecisionTreeClassifier(
            max_leaf_nodes=n_bins,
            min_samples_leaf=max(1, int(np.ceil(min_share * len(numbers)))),
            monotonic_cst=[direction] if monotone else None,
            random_state=seed,
        ).fit(numbers[:, None], label)
        cuts = tree.tree_.threshold[tree.tree_.feature >= 0]
        # A tree sends what equals its threshold down, and bins here begin at their edge.
        found = np.unique(np.nextafter(cuts, np.inf)).tolist()
        places = np.searchsorted(found, numbers, side="right")
        worth = information_value(count_classes(places, np.minimum(label, 1), len(found) + 1))
        if worth > best:
            best, edges = worth, found
    return edges


@dataclass(frozen=True)
class Cut:
    """The bins of one column; ``len(edges) + 1`` of numbers, and the last one of missing values.

    Attributes:
        name: Column.
        edges: Where a next bin begins, ascending.
        weights: Weight of evidence of each bin.
        information: The column's information value in these bins.
    """

    name: str
    edges: tuple[float, ...]
    weights: tuple[float, ...]
    information: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the bins of numbers, in order."""
        for digits in (4, 6, 9, 17):
            texts = [f"{edge:.{digits}g}" for edge in self.edges]
            if len(set(texts)) == len(texts):
                break
        inner = [f"[{low}, {high})" for low, high in pairwise(texts)]
        return (f"below {texts[0]}", *inner, f"from {texts[-1]}") if self.edges else ("any",)

    def places(self, values: pl.Series) -> np.ndarray:
        """Return the bin of each number, ``(n,)`` int64."""
        numbers = values.fill_null(float("nan")).to_numpy()
        places = np.searchsorted(np.array(self.edges, dtype=np.float64), numbers, side="right")
        return np.where(np.isnan(numbers), len(self.edges) + 1, places)

    def said(self) -> str:
        """Return a sentence on the column."""
        return f"{self.name!r} in {len(self.edges) + 1} bins has an information value of {self.information:.3f}"


@dataclass(frozen=True)
class FittedBins(Fitted):
    """The bins.

    Attributes:
        columns: The bins of each column.
        output: See :class:`Bins`.
        keep: Whether the numbers stay.
    """

    columns: tuple[Cut, ...]
    output: str
    keep: bool

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(f"{cut.name} {'evidence' if self.output == 'woe' else 'bin'}" for cut in self.columns)

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return [
            cell_of(cut.name)
            .map_batches(partial(_take, cut, answers), return_dtype=answers.dtype, is_elementwise=True)
            .alias(name)
            for cut, name, answers in zip(self.columns, self.made, map(self._answers, self.columns), strict=True)
        ]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        rows = rows.with_columns(self._expressions)
        return rows if self.keep else rows.drop(cut.name for cut in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {new: (cut.name,) for cut, new in zip(self.columns, self.made, strict=True)}

    def _answers(self, cut: Cut) -> pl.Series:
        """Return what stands for each bin."""
        if self.output == "woe":
            return pl.Series(cut.weights, dtype=pl.Float64)
        return pl.Series([*cut.labels, None if self.output == "ordinal" else MISSING], dtype=pl.String)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:  # noqa: D102
        read = tuples(values)
        return cls(**{**read, "columns": tuple(Cut(**one) for one in read["columns"])})


def _take(cut: Cut, answers: pl.Series, values: pl.Series) -> pl.Series:
    return answers.gather(cut.places(values)).alias(values.name)
