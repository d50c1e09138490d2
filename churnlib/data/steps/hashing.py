"""Categories of any number of values, seen or not, in a fixed number of columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from churnlib.data.murmur import bucket_and_sign
from churnlib.data.steps.block import with_block
from churnlib.data.steps.coding import coded
from churnlib.data.steps.step import CATEGORIES, Fitted, Learned, Step, Training, category, number
from churnlib.errors import ConfigError
from churnlib.schema.parsing import cell_of

OUTPUTS = ("numbers", "category")


@dataclass(frozen=True)
class Hashing(Step):
    """Feature hashing: each value counts +1 or -1 in one of ``n_features`` columns, which its hash chooses.

    Nothing is learned, so that a value the training rows did not have is no exception. Values may share a place.

    Attributes:
        columns: Categories to hash; all if none is named.
        n_features: Places.
        output: ``numbers``: all columns share ``n_features`` columns of numbers (scikit-learn's ``FeatureHasher``);
            ``category``: each becomes a category of as many values, for a network to embed.
    """

    word = "hashing"
    columns: tuple[str, ...] = ()
    n_features: int = 32
    output: str = "numbers"

    def __post_init__(self) -> None:
        self.check_range("n_features", 2, 2**16)
        self.check_choice("output", OUTPUTS)

    def fit(self, training: Training) -> Learned:
        """Only choose the columns."""
        names = training.choose(self.columns, CATEGORIES, option=self.option("columns"))
        if not names:
            raise ConfigError(f"the step {self.word!r} finds no category to hash; leave it out")
        fitted = FittedHashing(names, self.n_features, self.output)
        entry = number if self.output == "numbers" else category
        return Learned(fitted, self.columns_after(training, map(entry, fitted.made), in_place_of=names))


@dataclass(frozen=True)
class FittedHashing(Fitted):
    """What is hashed into how many places.

    Attributes:
        columns: The columns.
        n_features: Places.
        output: See :class:`Hashing`.
    """

    columns: tuple[str, ...]
    n_features: int
    output: str

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        if self.output == "category":
            return tuple(f"{name} hash" for name in self.columns)
        return tuple(f"hash {place}" for place in range(self.n_features))

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        if self.output == "numbers":
            return with_block(rows, self.columns, self.made, self._numbers).drop(self.columns)
        hashed = [
            cell_of(name)
            .map_batches(partial(_place_names, name, self.n_features), return_dtype=pl.String(), is_elementwise=True)
            .alias(made)
            for name, made in zip(self.columns, self.made, strict=True)
        ]
        return rows.with_columns(hashed).drop(self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return (
            {made: (name,) for name, made in zip(self.columns, self.made, strict=True)}
            if self.output == "category"
            else dict.fromkeys(self.made, self.columns)
        )

    def _numbers(self, table: pl.DataFrame) -> np.ndarray:
        numbers, rows = np.zeros((len(table), self.n_features)), np.arange(len(table))
        for name in self.columns:
            place, sign = _hashed(name, table[name], self.n_features)
            numbers[rows, place] += sign
        return numbers


def _hashed(name: str, values: pl.Series, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return places and signs, 0 for what is missing; each different value is hashed once."""
    code, known = coded(values)
    place, sign = bucket_and_sign(known.to_frame("value").select(pl.lit(name + "=") + pl.col("value")).to_series(), n)
    return np.append(place, 0)[code], np.append(sign, 0.0)[code]


def _place_names(name: str, n: int, values: pl.Series) -> pl.Series:
    place, sign = _hashed(name, values, n)
    names = pl.Series([None, *(f"h{place}" for place in range(n))], dtype=pl.String)
    return names.gather(np.where(sign == 0, 0, place + 1)).alias(values.name)
