"""K-fold cross-validation: every row that is not for the test is held out once, and answered for by who did not see it.

Each fold is a table of customers of its own: prepared from its own training rows, validated on the rows it holds out.
What the folds share is only how cells are written down as codes, so that their models can answer for the same rows
(:func:`recode`); where each has learned preparation steps of its own, what these make of a row stands side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from churnlib.data.customers import Customers, redealt
from churnlib.data.inputs import FIRST_KNOWN, MISSING, UNSEEN
from churnlib.data.preparation import Preparation, side_by_side
from churnlib.data.rolling import time_folds
from churnlib.data.splits import fold_of_rows
from churnlib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Folds:
    """A customer table dealt into folds.

    Attributes:
        whole: The table, prepared from all rows that are not for the test: the common way of writing cells down.
        parts: One table per fold and repeat, each with ``train`` and ``validation`` (held out) rows of its own and
            the test rows of ``whole``.
    """

    whole: Customers
    parts: tuple[Customers, ...]

    @property
    def held_out(self) -> np.ndarray:
        """Row numbers that are held out in some fold, ascending, ``(n,)`` int64."""
        return np.unique(np.concatenate([part.rows("validation") for part in self.parts]))


def deal_folds(
    customers: Customers, n_folds: int, *, repeats: int = 1, seed: int = 0, preprocess: Mapping[str, Any] | None = None
) -> Folds:
    """Deal the training and validation rows of a table into folds; its test rows stay what they are.

    Args:
        customers: A prepared table; its own division into training and validation rows is forgotten.
        n_folds: Folds, at least 2; each class is spread evenly, and rows of one customer stay together. Where the
            sides go by time, so do the folds: each learns from all that is older than what it holds out.
        repeats: How often the rows are dealt anew.
        seed: Of the draws.
        preprocess: See :func:`~churnlib.data.sides.prepare_sides`.

    Raises:
        ConfigError: If there are fewer rows of a class than folds.
        DataError: If a fold lacks a class all the same, because few customers have all its rows.
    """
    check_folds(customers, n_folds, repeats)
    pool = np.sort(np.concatenate([customers.rows("train"), customers.rows("validation")]))
    parts = []
    for repeat in range(repeats):
        dealt = deal_rows(customers, pool, n_folds, seed=seed, repeat=repeat)
        parts += [_part(customers, train, held_out, preprocess, seed) for train, held_out in dealt]
    whole = _part(customers, pool, pool[:0], preprocess, seed)
    if any(part.preparation.chain != whole.preparation.chain for part in parts):
        whole = _beside_each_other(whole, parts)
    return Folds(whole, tuple(parts))


def deal_rows(
    customers: Customers, pool: np.ndarray, n_folds: int, *, seed: int = 0, repeat: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to learn from and the rows to hold out of each fold.

    Args:
        customers: A table.
        pool: ``(n,)`` numbers of the rows to deal.
        n_folds: Folds; see :func:`deal_folds` for how rows are dealt.
        seed: Of the draws.
        repeat: Number of the dealing, from 0.
    """
    dealing = customers.dealing
    if dealing.moments is not None:
        return time_folds(pool, dealing, n_folds, seed=seed)
    rng = np.random.default_rng((seed, repeat))
    groups, strata = (None if one is None else one[pool] for one in (dealing.groups, dealing.strata))
    fold = fold_of_rows(customers.label[pool], n_folds, rng, groups=groups, strata=strata)
    return [(pool[fold != number], pool[fold == number]) for number in range(n_folds)]


def _beside_each_other(whole: Customers, parts: Sequence[Customers]) -> Customers:
    """Return the table as the models of the folds read it together, where each fold has learned steps of its own."""
    preparation = side_by_side([part.preparation for part in parts], seen=whole.preparation.seen)
    encoded = {side: preparation.encode(whole.typed[rows]) for side, rows in whole.split.sides().items()}
    return replace(whole, preparation=preparation, encoded=encoded)


def check_folds(customers: Customers, n_folds: int, repeats: int = 1) -> None:
    """Refuse folds for which there are too few rows, and repeats that would be all the same.

    Raises:
        ConfigError: With the largest number of folds.
    """
    if repeats > 1 and customers.dealing.moments is not None:
        raise ConfigError(
            f"cv_repeats={repeats} deals folds anew, and folds by time are the same each time; leave it out, take "
            "ensemble=N for more models, or split.by=random"
        )
    least = int((customers.class_counts("train") + customers.class_counts("validation")).min())
    if not 2 <= n_folds <= least:
        raise ConfigError(f"cv must be between 2 and {least} (the rows of the rarest class), got {n_folds}")


def _part(
    customers: Customers, train: np.ndarray, validation: np.ndarray, preprocess: Mapping[str, Any] | None, seed: int
) -> Customers:
    """Return the table with these sides, prepared from these training rows."""
    split = replace(customers.split, train=train, validation=validation, left_out=0, purged=0, later=0)
    return redealt(customers, split, preprocess=preprocess, seed=seed)


@dataclass(frozen=True, slots=True)
class Recoding:
    """How rows encoded by one preparation are read by a model of another one.

    Attributes:
        numeric: For each numeric input of the model its place among those given.
        categorical: For each categorical input of the model its place among those given.
        codes: For each of these a table from the code given to the model's own.
    """

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    codes: tuple[tuple[int, ...], ...]


def recode(given: Preparation, own: Preparation) -> Recoding:
    """Return how rows that ``given`` encoded reach a model that was fitted with ``own``.

    A value that the model's own training rows did not have is an unseen one to it, whatever the others know.
    """
    if given.branches:
        return _of_branch(given, given.branches.index(own))
    places = {statistics.name: place for place, statistics in enumerate(given.numeric)}
    known = {vocabulary.name: (place, vocabulary.values) for place, vocabulary in enumerate(given.categorical)}
    found = [known[vocabulary.name] for vocabulary in own.categorical]
    tables = [_table(values, vocabulary.values) for (_, values), vocabulary in zip(found, own.categorical, strict=True)]
    return Recoding(
        tuple(places[statistics.name] for statistics in own.numeric), tuple(place for place, _ in found), tuple(tables)
    )


def _of_branch(given: Preparation, number: int) -> Recoding:
    """Return the part of the inputs that one branch has made; its codes are the model's own already."""
    before, own = given.branches[:number], given.branches[number]
    numeric, categorical = sum(len(b.numeric) for b in before), sum(len(b.categorical) for b in before)
    return Recoding(
        tuple(range(numeric, numeric + len(own.numeric))),
        tuple(range(categorical, categorical + len(own.categorical))),
        tuple(_table(vocabulary.values, vocabulary.values) for vocabulary in own.categorical),
    )


def _table(given: Sequence[str], own: Sequence[str]) -> tuple[int, ...]:
    code = {value: FIRST_KNOWN + place for place, value in enumerate(own)}
    return (MISSING, UNSEEN, *(code.get(value, UNSEEN) for value in given))
