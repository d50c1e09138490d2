"""What steps that choose among the columns have in common: they take some away, and say which and why."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.steps.step import CATEGORIES, NUMBERS, Fitted, Learned, Step, Training
from churnlib.errors import ConfigError
from churnlib.schema import Kind

SELECTABLE = (*NUMBERS, Kind.datetime, *CATEGORIES)
"""Kinds that are chosen among; lists and texts always stay."""

MOST_SAID = 20
"""Columns that are named one by one in what a step says."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a selection has found.

    Attributes:
        scores: By column the figures it was judged by, the best column first.
        dropped: Why, by column that is to go.
        said: Sentences on the whole.
    """

    scores: Mapping[str, Mapping[str, float]]
    dropped: Mapping[str, str]
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection(Step):
    """Options of every selection.

    Attributes:
        always: Columns that stay whatever is found.
        rows: Training rows that are looked at, drawn at random where there are more.
    """

    always: tuple[str, ...] = ()
    rows: int = 50_000

    def __post_init__(self) -> None:
        self.check_range("rows", 10)

    @abstractmethod
    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:
        """Judge the columns.

        Args:
            training: At most ``rows`` rows.
            names: Columns to judge, two or more.
        """

    def fit(self, training: Training) -> Learned:
        """Judge the columns, and take those away that fail."""
        names = training.names(*SELECTABLE)
        always = training.choose(self.always, tuple(Kind), option=self.option("always")) if self.always else ()
        if len(names) < 2:
            return Learned(FittedSelection((), {}), training.columns, said=("there is no choice of columns",))
        ranking = self.rank(sampled(training, self.rows), names)
        reasons = {name: why for name, why in ranking.dropped.items() if name not in always}
        if len(reasons) == len(training.columns):
            best = next(iter(ranking.scores))
            del reasons[best]
        dropped = tuple(name for name in names if name in reasons)
        said = [f"dropped {name!r}: {reasons[name]}" for name in dropped[:MOST_SAID]]
        said += [f"... and {len(dropped) - MOST_SAID:,} more columns"] if len(dropped) > MOST_SAID else []
        said += [f"{len(names) - len(dropped):,} of {len(names):,} columns stay"]
        fitted = FittedSelection(dropped, {name: dict(scores) for name, scores in ranking.scores.items()})
        return Learned(fitted, training.kept(*dropped), said=(*ranking.said, *said))


@dataclass(frozen=True)
class FittedSelection(Fitted):
    """What goes, and the figures on which that rests.

    Attributes:
        dropped: Columns that go.
        scores: By column the figures it was judged by, the best column first.
    """

    dropped: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.drop(self.dropped)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {}


def sampled(training: Training, most: int) -> Training:
    """Return the training rows, or as many of them at random."""
    if len(training.rows) <= most:
        return training
    drawn = np.random.default_rng(training.seed).choice(len(training.rows), most, replace=False)
    return at_rows(training, np.sort(drawn))


def at_rows(training: Training, rows: np.ndarray) -> Training:
    """Return some of the training rows."""
    groups = None if training.groups is None else training.groups[rows]
    return replace(training, rows=training.rows[rows], label=training.label[rows], groups=groups)


def two_classes(step: Step, training: Training) -> None:
    """Refuse more than two classes.

    Raises:
        ConfigError: With the number of classes.
    """
    if training.n_classes != 2:
        raise ConfigError(f"the step {step.word!r} is for two classes, and there are {training.n_classes}")


def ranked(scores: Mapping[str, Any], by: Mapping[str, float]) -> dict[str, Any]:
    """Return the scores with the best column first; of equals, the one that comes first in the table."""
    return {name: scores[name] for name in sorted(scores, key=lambda name: -by[name])}
