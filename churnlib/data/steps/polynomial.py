"""Squares, products, ratios and crossed categories that people declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from churnlib.data.steps.step import CATEGORIES, NUMBERS, Fitted, Learned, Step, Training, category, number
from churnlib.errors import ConfigError
from churnlib.schema import Column
from churnlib.schema.parsing import cell_of

Term = tuple[str, str, str, str]
"""``product``, ``ratio`` or ``cross``, the two columns, and the name of what is made of them."""

BETWEEN = {"product": "_x_", "ratio": "_per_", "cross": "_x_"}


@dataclass(frozen=True)
class Polynomial(Step):
    """Declared terms: ``{squares: [tenure], products: [[charges, tenure]], crosses: [[contract, internet]]}``.

    They are called ``tenure_squared``, ``charges_x_tenure``, ``usage_per_charges`` and ``contract_x_internet``. A
    missing part makes a missing term, and so does what is not finite: a ratio to 0 is missing.

    Attributes:
        squares: Columns of numbers.
        products: Pairs of columns of numbers.
        ratios: Pairs of columns of numbers, the first over the second.
        crosses: Pairs of categories; each pair of values becomes one.
    """

    word = "polynomial"
    squares: tuple[str, ...] = ()
    products: tuple[tuple[str, str], ...] = ()
    ratios: tuple[tuple[str, str], ...] = ()
    crosses: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not (self.squares or self.products or self.ratios or self.crosses):
            raise ConfigError(f"the step {self.word!r} has nothing to make; give squares, products, ratios or crosses")
        for option in ("products", "ratios", "crosses"):
            for pair in getattr(self, option):
                if not _is_pair(pair):
                    raise ConfigError(f"{self.option(option)} must be pairs such as [[charges, tenure]], got {pair!r}")

    def fit(self, training: Training) -> Learned:
        """Check that the columns suit; nothing is learned."""
        wanted = (("products", "product", NUMBERS), ("ratios", "ratio", NUMBERS), ("crosses", "cross", CATEGORIES))
        squared = training.choose(self.squares, NUMBERS, option=self.option("squares")) if self.squares else ()
        terms = [("product", name, name, f"{name}_squared") for name in squared]
        for option, way, kinds in wanted:
            for pair in getattr(self, option):
                left, right = training.choose(pair, kinds, option=self.option(option))
                terms.append((way, left, right, term_name(way, left, right)))
        return with_terms(training, terms, option=f"the step {self.word!r}")


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(name, str) for name in pair)


def term_name(way: str, left: str, right: str) -> str:
    """Return what a term is called."""
    return f"{left}{BETWEEN[way]}{right}"


def with_terms(
    training: Training, terms: Sequence[Term], *, option: str, notes: Sequence[str] = (), said: Sequence[str] = ()
) -> Learned:
    """Return the terms as what a step has learned.

    Args:
        training: The rows.
        terms: What is made.
        option: What the user would have to change, for errors.
        notes: On each term, for the schema.
        said: Sentences for whoever reads the run.

    Raises:
        ConfigError: If a name is taken.
    """
    training.check_new([name for *_, name in terms], option=option)
    notes = notes or [""] * len(terms)
    made = tuple(_column(term, note) for term, note in zip(terms, notes, strict=True))
    return Learned(FittedTerms(tuple(terms)), (*training.columns, *made), said=tuple(said))


def _column(term: Term, note: str) -> Column:
    return category(term[3], note=note) if term[0] == "cross" else number(term[3], note=note)


@dataclass(frozen=True)
class FittedTerms(Fitted):
    """Terms in their order.

    Attributes:
        terms: See :data:`Term`.
    """

    terms: tuple[Term, ...]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(term_expression(*term) for term in self.terms)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: tuple(dict.fromkeys((left, right))) for _, left, right, name in self.terms}


def term_expression(way: str, left: str, right: str, name: str) -> pl.Expr:
    """Return the expression of a term; what is not finite is missing."""
    one, other = cell_of(left), cell_of(right)
    if way == "cross":
        return (one + " & " + other).alias(name)
    value = one * other if way == "product" else one / other
    return pl.when(value.is_finite()).then(value).alias(name)


__all__ = ["FittedTerms", "Polynomial", "Term", "term_expression", "term_name", "with_terms"]
