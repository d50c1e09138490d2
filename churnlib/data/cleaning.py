"""What was done to the rows of a table before the split, and what was noticed: printed, and kept in the run.

Counts only. A cell of a customer is shown, and written, only where the user has asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from churnlib.data.coercion import Coerced, read_columns
from churnlib.data.duplicates import NearDuplicates, near_duplicates
from churnlib.data.missing import Gaps
from churnlib.schema import Schema, parsing

CLEANING = "cleaning.json"
"""File of a run with all of this."""

TELLING = 0.05
"""Share of rows with a twin up to which that is worth a line: above, the columns do not tell customers apart."""


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """How the cells of a column were read.

    Attributes:
        column: Its name.
        came_as: The type that the cells had.
        kind: What they were read as.
        parsed: Cells with a value.
        missing: Cells without.
        failed: Cells with something that could not be read; it counts as missing.
        failures: Some of those, as they came, if they were asked for.
    """

    column: str
    came_as: str
    kind: str
    parsed: int
    missing: int
    failed: int = 0
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        such = f", such as {', '.join(map(repr, self.failures))}" if self.failures else ""
        return f"{self.failed:,} unreadable cells of {self.column!r} count as missing{such}"


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """What was done to the rows before the split.

    Attributes:
        rows: Rows of the table as read.
        without_target: Rows left out because the target is missing.
        without_duration: Rows left out because they do not say for how long above 0 a customer was followed.
        exact_duplicates: Rows left out because an earlier row is the same.
        repeated_customers: Rows left out because a later row has the same customer.
        near_duplicates: Rows under another name with the same values; they stay.
        breaking_rules: Rows left out because they break rules.
        columns: How the cells of each column were read.
        gaps: Columns with so many gaps that dropping them is proposed.
        steps: What the steps of the preparation found, a sentence each.
    """

    rows: int
    without_target: int = 0
    exact_duplicates: int = 0
    repeated_customers: int = 0
    near_duplicates: NearDuplicates | None = None
    breaking_rules: int = 0
    without_duration: int = 0
    columns: tuple[ColumnReading, ...] = ()
    gaps: tuple[Gaps, ...] = ()
    steps: tuple[str, ...] = field(default=())

    @property
    def unreadable(self) -> Mapping[str, int]:
        """Cells that could not be read and count as missing, by column."""
        return {reading.column: reading.failed for reading in self.columns if reading.failed}

    def lines(self) -> list[str]:
        """Return one sentence for each thing that was done or noticed."""
        counts = (
            (self.without_target, "without a target value left out"),
            (self.without_duration, "without a duration above 0 left out"),
            (self.exact_duplicates, "equal to an earlier row left out"),
            (self.repeated_customers, "with a later row of the same customer left out"),
            (self.breaking_rules, "that break rules left out"),
        )
        said = [f"{count:,} rows {what}" for count, what in counts if count]
        twins = self.near_duplicates
        if twins is not None and 0 < twins.rows <= TELLING * self.rows:
            said.append(
                f"{twins.rows:,} rows ({twins.groups:,} groups, the largest of {twins.largest:,}) are equal to a row "
                "under another name in every feature; is a customer there twice?"
            )
        said += [str(reading) for reading in self.columns if reading.failed]
        said += [f"{gaps}; to drop it, confirm it with a step drop_missing" for gaps in self.gaps]
        return [*said, *self.steps]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        return asdict(self)


def count_near_duplicates(frame: pl.DataFrame, schema: Schema) -> NearDuplicates | None:
    """Count rows that are equal but for their customer's name; without names there are none."""
    if schema.id is None:
        return None
    return near_duplicates(frame, [column.name for column in read_columns(schema)])


def column_readings(frame: pl.DataFrame, coerced: Coerced, schema: Schema, *, failures: int = 0) -> list[ColumnReading]:
    """Return how the cells of each column were read.

    Args:
        frame: The table, cells as they came.
        coerced: The same, read.
        schema: What the columns are.
        failures: Different unreadable cells of a column to show.
    """
    empty = coerced.typed.null_count().row(0, named=True) if coerced.typed.width else {}
    failed = coerced.unreadable_counts()
    came = dict(frame.schema)
    readings = []
    for column in read_columns(schema):
        missing, wrong = empty[column.name], failed.get(column.name, 0)
        came_as = str(came.get(column.name, "absent"))
        shown = _failures(frame, coerced, column.name, failures) if wrong and failures else ()
        parsed = len(frame) - missing
        readings.append(ColumnReading(column.name, came_as, str(column.kind), parsed, missing - wrong, wrong, shown))
    return readings


def _failures(frame: pl.DataFrame, coerced: Coerced, name: str, most: int) -> tuple[str, ...]:
    cells = frame.filter(coerced.unreadable[name]).select(parsing.cell_of(name)).to_series()
    plain = cells.cast(pl.String) if parsing.is_plain(cells.dtype) else cells.map_elements(str, return_dtype=pl.String)
    return tuple(plain.unique(maintain_order=True).head(most).to_list())


__all__ = ["CLEANING", "CleaningReport", "ColumnReading", "column_readings", "count_near_duplicates"]
