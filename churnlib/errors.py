"""The errors a user of churnlib may meet.

    ChurnlibError            anything the user can mend; the commands print its one sentence and exit with 1
      ConfigError            an option is wrong, or two options contradict each other
      DataError              a table is wrong: its file, its columns, or a cell of it
        RowErrors            cells of a table that cannot be scored; holds each of them
      BundleError            a bundle is damaged, unfinished, or of a version this release cannot read
      MissingPackageError    a model needs a package that is not installed

A mistake of the programmer (a wrong shape, an impossible argument) is a plain ``ValueError`` or ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ChurnlibError(Exception):
    """Something the user can mend; its text is one sentence with the thing, the value and the remedy."""


class ConfigError(ChurnlibError):
    """An option is wrong, or two options contradict each other."""


class DataError(ChurnlibError):
    """A table cannot be used as it is."""


class BundleError(ChurnlibError):
    """A bundle is damaged, unfinished, or of a version this release cannot read."""


class MissingPackageError(ChurnlibError):
    """A model needs a package that is not installed."""


@dataclass(frozen=True, slots=True)
class CellError:
    """One cell that cannot be scored.

    Attributes:
        row: Number of the row in the table, counted from 0.
        column: Name of the column.
        problem: What is wrong, without the value ("must be a number").
        value: The value as it came, for files and Python; servers never show it.
    """

    row: int
    column: str
    problem: str
    value: object = None

    def __str__(self) -> str:
        shown = "" if self.value is None else f", got {self.value!r:.80}"
        return f"row {self.row}: column {self.column!r} {self.problem}{shown}"


class RowErrors(DataError):
    """Some rows of a table cannot be scored; nothing was scored.

    Attributes:
        errors: At least one error for each bad row, in row order.
    """

    def __init__(self, errors: Sequence[CellError]) -> None:
        self.errors = list(errors)
        rows = len({error.row for error in self.errors})
        count = "1 row" if rows == 1 else f"{rows:,} rows"
        super().__init__(f"{count} cannot be scored; the first is {self.errors[0]} (correct it or leave the row out)")
