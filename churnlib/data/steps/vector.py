"""A ready vector in one column (an embedding of a text, say) as columns of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from churnlib.data.steps.step import Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError
from churnlib.schema import Kind
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class Vector(Step):
    """One column of numbers for each place of lists that are all equally long.

    Attributes:
        columns: Columns of lists; all if none is named.
        length: Numbers in each list; found from the training rows when left out. A row whose list has another length
            counts as one without a list.
    """

    word = "vector"
    columns: tuple[str, ...] = ()
    length: int | None = None

    def __post_init__(self) -> None:
        self.check_range("length", 1, 100_000)

    def fit(self, training: Training) -> Learned:
        """Find the lengths."""
        names = training.choose(self.columns, (Kind.sequence,), option=self.option("columns"))
        if not names:
            raise ConfigError(f"the step {self.word!r} finds no column of lists; leave it out")
        found = [self._length(training.rows.get_column(name)) for name in names]
        fitted = FittedVector(tuple((name, length) for name, (length, _) in zip(names, found, strict=True)))
        made = (number(made) for one in fitted.columns for made in _made(*one))
        columns = self.columns_after(training, made, in_place_of=names)
        said = [
            f"{other:,} lists of {name!r} do not have {length} numbers and count as missing"
            for name, (length, other) in zip(names, found, strict=True)
            if other
        ]
        return Learned(fitted, columns, said=tuple(said))

    def _length(self, lists: pl.Series) -> tuple[int, int]:
        """Return the length of a column's lists, and how many have another one."""
        lengths = lists.drop_nulls().list.len()
        if not len(lengths):
            raise ConfigError(f"the step {self.word!r} finds no list in {lists.name!r}; leave the column out")
        counts = lengths.alias("length").value_counts(name="n").sort("n", "length", descending=[True, True])
        length = self.length or int(counts["length"][0])
        other = int((lengths != length).sum())
        if other > len(lengths) / 2 or not length:
            raise ConfigError(
                f"{other:,} of {len(lengths):,} lists of {lists.name!r} do not have {length} numbers, as a vector has; "
                "leave the step out, and the lists are read as histories"
            )
        return length, other


@dataclass(frozen=True)
class FittedVector(Fitted):
    """The lengths.

    Attributes:
        columns: Name and length of each column of lists.
    """

    columns: tuple[tuple[str, int], ...]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        made = [
            pl.when(cell_of(name).list.len() == length)
            .then(cell_of(name).list.get(place, null_on_oob=True))
            .alias(column)
            for name, length in self.columns
            for place, column in enumerate(_made(name, length))
        ]
        return rows.with_columns(made).drop(name for name, _ in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {made: (name,) for name, length in self.columns for made in _made(name, length)}


def _made(name: str, length: int) -> list[str]:
    return [f"{name}[{place}]" for place in range(length)]
