"""What a step of preparation is.

A :class:`Step` holds options. Fitted to :class:`Training` rows it becomes a :class:`Fitted`, which turns any rows into
rows with other, more or fewer columns: each row by itself, in a batch of any size, streamed or not, the same in
training, scoring and serving. What it learned are plain numbers and texts, kept as JSON.

Columns have the types that :func:`churnlib.data.coercion.coerce` gives them: numbers ``Float64``, dates
``Datetime("us")``, sequences ``List(Float64)``, everything else ``String``; missing is null. A step makes columns of
these types only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from churnlib.data.splits import fold_of_rows
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, near_misses

NUMBERS = (Kind.numeric,)
CATEGORIES = (Kind.categorical, Kind.ordinal, Kind.boolean)
"""Kinds whose columns are text with few different values."""


@dataclass(frozen=True, slots=True)
class Training:
    """The rows that a step learns from: training rows, and nothing else.

    Attributes:
        rows: Typed columns, as the steps before have left them.
        columns: The features among them; a step may read no other column but ``time``.
        label: ``(n,)`` int64 class of each row, 1 for churn.
        n_classes: Number of classes.
        seed: Of whatever a step draws.
        time: Name of the column with the date of each row, if there is one.
        groups: ``(n,)`` customer of each row, where customers have several; None if each row is one of its own.
        barred: Columns of the table that no step may read, and why not.
    """

    rows: pl.DataFrame
    columns: tuple[Column, ...]
    label: np.ndarray
    n_classes: int = 2
    seed: int = 0
    time: str | None = None
    groups: np.ndarray | None = None
    barred: Mapping[str, str] = field(default_factory=dict)

    def names(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the names of the features of some kinds, in table order."""
        return tuple(column.name for column in self.columns if column.kind in kinds)

    def choose(self, wanted: Sequence[str], kinds: Sequence[Kind], *, option: str) -> tuple[str, ...]:
        """Return the columns a step works on: those wanted, or all of its kinds if none is named.

        Args:
            wanted: Names from the configuration.
            kinds: What the step can read.
            option: What the user would have to change, for errors.

        Raises:
            ConfigError: If there is no such feature, or it is of another kind.
        """
        if not wanted:
            return self.names(*kinds)
        known = {column.name: column.kind for column in self.columns}
        for name in wanted:
            if name in self.barred:
                raise ConfigError(f"{option} names {name!r}, {self.barred[name]}")
            if name not in known:
                near = near_misses(name, list(known))
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, list(known)[:8]))}"
                raise ConfigError(f"{option} names {name!r}, which is no feature at this step; {hint}")
            if known[name] not in kinds:
                allowed = " or ".join(kinds)
                raise ConfigError(f"{option} names {name!r}, which is {known[name]}; it takes {allowed} columns only")
        return tuple(wanted)

    def check_new(self, names: Iterable[str], *, option: str) -> None:
        """Refuse names of new columns that are taken.

        Args:
            names: What the columns would be called.
            option: What makes them, for the error.

        Raises:
            ConfigError: With the first that is.
        """
        names = list(names)
        for place, name in enumerate(names):
            if name in self.rows.columns or name in self.barred:
                raise ConfigError(
                    f"{option} makes the column {name!r}, which the table has already; rename one of them"
                )
            if name in names[:place]:
                raise ConfigError(f"{option} makes the column {name!r} twice; leave one out")

    def kept(self, *without: str) -> tuple[Column, ...]:
        """Return the features but for some."""
        return tuple(column for column in self.columns if column.name not in without)

    def folds(self, n: int) -> np.ndarray:
        """Return the fold of each row, ``(rows,)`` int64: classes spread evenly, rows of a customer together."""
        return fold_of_rows(self.label, n, np.random.default_rng(self.seed), groups=self.groups)


class Fitted(ABC):
    """A step that has learned; a frozen dataclass of numbers, texts, and tuples and dicts of them."""

    @abstractmethod
    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rows with the step's columns, in the same order and number."""

    def made_of(self) -> Mapping[str, tuple[str, ...]] | None:
        """Return by column that the step makes or changes the columns that it is made of, whatever their order.

        Columns of the same values as before, and those that are only taken away, are not listed. None means that any
        column may be made of any other: true of every step, and exact for none.
        """
        return None

    def warning_flags(self) -> tuple[str, ...]:
        """Return the columns it makes whose value 1 is worth a word to whoever asks about the customer."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Return what was learned as JSON-ready values."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a fitted step from what :meth:`to_dict` returned.

        Raises:
            TypeError: If the values are not those of this step.
        """
        return cls(**{key: tuples(value) for key, value in values.items()})


@dataclass(frozen=True, slots=True)
class Learned:
    """What fitting a step gives.

    Attributes:
        fitted: What the step does to any rows from now on.
        columns: The features after the step.
        rows: The training rows after the step, where they differ from what ``fitted`` makes of them: numbers that were
            learned from the labels are taken from folds that a row is not in.
        kept: ``(n,)`` bool, the training rows that stay; None for all. Other rows are never left out.
        said: Sentences on what was found, for whoever reads the run.
    """

    fitted: Fitted
    columns: tuple[Column, ...]
    rows: pl.DataFrame | None = None
    kept: np.ndarray | None = None
    said: tuple[str, ...] = ()


class Step(ABC):
    """Options of a step; a frozen dataclass whose fields are what the configuration may say.

    Attributes:
        word: What the step is called in the configuration.
    """

    word: ClassVar[str]

    @abstractmethod
    def fit(self, training: Training) -> Learned:
        """Learn from training rows.

        Raises:
            ConfigError: If an option does not suit these columns.
        """

    def option(self, name: str) -> str:
        """Return how errors call an option of this step."""
        return f"{name} of the step {self.word!r}"

    def columns_after(
        self, training: Training, made: Iterable[Column], *, in_place_of: Sequence[str] = ()
    ) -> tuple[Column, ...]:
        """Return the features after this step: those that stay, then the new ones.

        Args:
            training: The rows that the step has learned from.
            made: The new columns.
            in_place_of: Features that are no longer there.

        Raises:
            ConfigError: If a name is taken.
        """
        made = tuple(made)
        training.check_new((column.name for column in made), option=f"the step {self.word!r}")
        return (*training.kept(*in_place_of), *made)

    def check_choice(self, name: str, choices: Iterable[str]) -> None:
        """Refuse an option that is none of its choices.

        Raises:
            ConfigError: With the choices.
        """
        value, allowed = getattr(self, name), list(choices)
        if value not in allowed:
            raise ConfigError(f"{self.option(name)} must be one of {', '.join(allowed)}, got {value!r}")

    def check_range(self, name: str, low: float, high: float = float("inf"), *, open_ends: str = "") -> None:
        """Refuse a number outside its range.

        Args:
            name: The option; None passes.
            low: Lowest value.
            high: Highest value.
            open_ends: ``low``, ``high`` or both in one word: ends that do not belong to the range.

        Raises:
            ConfigError: With the range.
        """
        value = getattr(self, name)
        if value is None:
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        above = number and (low < value if "low" in open_ends else low <= value)
        below = number and (value < high if "high" in open_ends else value <= high)
        if above and below:
            return
        left, right = "(" if "low" in open_ends else "[", ")" if "high" in open_ends or high == float("inf") else "]"
        raise ConfigError(f"{self.option(name)} must be a number in {left}{low:g}, {high:g}{right}, got {value!r}")

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Return the names of the options."""
        return tuple(one.name for one in fields(cls))  # type: ignore[arg-type]


def number(name: str, *, note: str = "") -> Column:
    """Return the schema's entry for a number that a step makes."""
    return Column(name, Kind.numeric, nullable=True, note=note)


def category(name: str, *, note: str = "") -> Column:
    """Return the schema's entry for a category that a step makes."""
    return Column(name, Kind.categorical, nullable=True, note=note)


def tuples(value: Any) -> Any:
    """Return JSON's lists as tuples, at any depth."""
    if isinstance(value, list | tuple):
        return tuple(tuples(one) for one in value)
    if isinstance(value, Mapping):
        return {key: tuples(one) for key, one in value.items()}
    return value


__all__ = ["CATEGORIES", "NUMBERS", "Fitted", "Learned", "Step", "Training", "category", "number", "tuples"]
