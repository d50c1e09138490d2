"""Products, ratios and crossed categories that are searched for, and kept if they help out of fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from churnlib.data.steps.interaction_gain import Candidates, Gain, fold_numbers, ranked_gains
from churnlib.data.steps.polynomial import FittedTerms, Term, term_expression, term_name, with_terms
from churnlib.data.steps.step import CATEGORIES, NUMBERS, Learned, Step, Training


@dataclass(frozen=True)
class Interactions(Step):
    """The terms of two columns that help a logistic regression most, out of fold, within the training rows.

    Attributes:
        columns: Numbers and categories to pair; all of them when empty.
        top: Most terms that are kept.
        ratios: Try ratios of numbers, both ways round, beside their products.
        max_values: Categories with more values are not crossed.
        folds: Of the cross-validation; a customer's rows are in one fold.
        rows: Training rows that are looked at, at most; the seed draws them.
        significance: Standard errors by which the log loss must fall for a term to be kept.
    """

    word = "interactions"
    columns: tuple[str, ...] = ()
    top: int = 5
    ratios: bool = True
    max_values: int = 20
    folds: int = 3
    rows: int = 10_000
    significance: float = 2.0

    def __post_init__(self) -> None:
        self.check_range("top", 1)
        self.check_range("max_values", 2)
        self.check_range("folds", 2)
        self.check_range("rows", 100)
        self.check_range("significance", 0)

    def fit(self, training: Training) -> Learned:
        """Rank all pairs and keep the best."""
        chosen = training.choose(self.columns, (*NUMBERS, *CATEGORIES), option=self.option("columns"))
        rng = np.random.default_rng(training.seed)
        n = len(training.rows)
        rows = np.sort(rng.choice(n, self.rows, replace=False)) if n > self.rows else np.arange(n)
        groups = None if training.groups is None else training.groups[rows]
        numbers = [name for name in training.names(*NUMBERS) if name in chosen]
        categories = [
            name
            for name in training.names(*CATEGORIES)
            if name in chosen and training.rows[name].n_unique() <= self.max_values
        ]
        terms = [term for term in self._terms(numbers, categories) if term[3] not in training.rows.columns]
        sample = training.rows[rows]
        made = sample.lazy().select(term_expression(*term) for term in terms).collect()
        gains = ranked_gains(
            Candidates(sample, numbers, categories, terms, made),
            training.label[rows],
            training.n_classes,
            fold_numbers(groups, len(rows), self.folds, rng),
            top=self.top,
            significance=self.significance,
        )
        said = [_line(gain) for gain in gains] or [f"none of {len(terms):,} pairs of columns helps"]
        return with_terms(
            training, [gain.term for gain in gains], option=f"the step {self.word!r}",
            notes=[f"searched: log loss -{gain.mean:.4f}" for gain in gains], said=said,
        )  # fmt: skip

    def _terms(self, numbers: list[str], categories: list[str]) -> Iterator[Term]:
        ways: list[tuple[str, Iterable[tuple[str, str]]]] = [
            ("product", combinations(numbers, 2)),
            ("cross", combinations(categories, 2)),
        ]
        if self.ratios:
            ways.append(("ratio", permutations(numbers, 2)))
        for way, pairs in ways:
            for left, right in pairs:
                yield way, left, right, term_name(way, left, right)


def _line(gain: Gain) -> str:
    return f"{gain.term[3]}: log loss out of fold -{gain.mean:.4f} (standard error {gain.error:.4f})"


__all__ = ["FittedTerms", "Interactions"]
