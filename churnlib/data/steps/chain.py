"""Several steps in a row: fitted one after the other, applied as one, kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.steps.registry import fitted_class, read_steps
from churnlib.data.steps.step import Fitted, Training
from churnlib.errors import BundleError
from churnlib.schema import Column


@dataclass(frozen=True, slots=True)
class Link:
    """One fitted step of a chain.

    Attributes:
        name: What the user calls it.
        word: Which step it is.
        fitted: What it has learned.
    """

    name: str
    word: str
    fitted: Fitted


@dataclass(frozen=True, slots=True)
class Chain:
    """Fitted steps in the order in which they are applied."""

    links: tuple[Link, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.links)

    def apply(self, typed: pl.DataFrame) -> pl.DataFrame:
        """Return the rows after the last step; the columns that no step took away are all still there."""
        return self.scan(typed.lazy()).collect() if self.links else typed

    def scan(self, typed: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rows after the last step, not read yet."""
        for link in self.links:
            typed = link.fitted.apply(typed)
        return typed

    def flagged(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by the flags of :meth:`~churnlib.data.steps.step.Fitted.warning_flags` whether a row has it, bool."""
        found = {}
        for place, link in enumerate(self.links, start=1):
            flags = link.fitted.warning_flags()
            rows = Chain(self.links[:place]).apply(typed) if flags else typed
            found |= {flag: rows[flag].to_numpy() == 1.0 for flag in flags}
        return found

    def origins(self, names: Sequence[str], wanted: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the columns of the table that columns after the last step are made of.

        Args:
            names: Columns before the first step, in table order, which is the order of the answers.
            wanted: Columns after the last step.
        """
        place = {name: number for number, name in enumerate(names)}
        origins = {name: (name,) for name in names}
        unknown: tuple[str, ...] = ()
        for link in self.links:
            made = link.fitted.made_of()
            if made is None:  # it may have mixed everything, under any name
                origins, unknown = {}, tuple(names)
                continue
            roots = {new: {root for one in read for root in origins.get(one, unknown)} for new, read in made.items()}
            origins |= {new: tuple(sorted(those, key=place.__getitem__)) for new, those in roots.items()}
        return [origins.get(name, unknown) for name in wanted]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return what was learned as JSON-ready values."""
        return [{"name": link.name, "step": link.word, "learned": link.fitted.to_dict()} for link in self.links]

    @classmethod
    def from_dict(cls, values: Sequence[Mapping[str, Any]]) -> Chain:
        """Build a chain from what :meth:`to_dict` returned.

        Raises:
            BundleError: If a step is unknown, or its values are not those of the step.
        """
        links = []
        for one in values:
            kept = fitted_class(one["step"])
            try:
                links.append(Link(one["name"], one["step"], kept.from_dict(one["learned"])))
            except TypeError as error:
                raise BundleError(f"the step {one['name']!r} cannot be read ({error}); train again") from error
        return cls(tuple(links))


@dataclass(frozen=True, slots=True)
class FittedChain:
    """What fitting a chain gives.

    Attributes:
        chain: The fitted steps.
        columns: The features after the last step.
        before: The training rows, without those that a step left out, as they stand before the steps of ``pending``.
        pending: The steps at the end that the rows have not been through: nothing had to be learned behind them.
        kept: ``(n,)`` int64 numbers of the training rows that stayed.
        said: Sentences on what the steps found.
    """

    chain: Chain
    columns: tuple[Column, ...]
    before: pl.DataFrame
    pending: Chain
    kept: np.ndarray
    said: tuple[str, ...]

    @property
    def rows(self) -> pl.DataFrame:
        """The training rows after the last step, made anew each time."""
        return self.pending.apply(self.before)


def fit_chain(steps: Mapping[str, Any], training: Training) -> FittedChain:
    """Fit steps to training rows, each to what the ones before have made of them.

    Args:
        steps: As :func:`~churnlib.data.steps.registry.read_steps` takes them.
        training: The rows.

    Raises:
        ConfigError: If a step is unknown, or does not suit the columns.
    """
    links, said = [], []
    kept, pending = np.arange(len(training.rows)), Chain()
    for name, step in read_steps(steps).items():
        training = replace(training, rows=pending.apply(training.rows))
        learned = step.fit(training)
        link = Link(name, step.word, learned.fitted)
        links.append(link)
        said += [f"{name}: {line}" for line in learned.said]
        training = replace(training, columns=learned.columns)
        pending = Chain((link,)) if learned.rows is None else Chain()
        if learned.rows is not None:
            training = replace(training, rows=learned.rows)
        if learned.kept is not None:
            stays = np.flatnonzero(learned.kept)
            kept = kept[stays]
            groups = None if training.groups is None else training.groups[stays]
            training = replace(training, rows=training.rows[stays], label=training.label[stays], groups=groups)
    return FittedChain(Chain(tuple(links)), training.columns, training.rows, pending, kept, tuple(said))
