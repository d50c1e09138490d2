"""From cells as they came to typed columns: the first step of every row, in training, scoring and serving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from churnlib.errors import CellError
from churnlib.schema import Column, Kind, Role, Schema, parsing

PROBLEMS = {Kind.numeric: "must be a finite number", Kind.datetime: "must be a date"}
"""What is wrong with a cell that cannot be read; categories have no unreadable cells, only unseen ones."""

READ_ROLES = (Role.feature, Role.time)
"""Roles whose columns are read when a row is scored."""


def read_columns(schema: Schema) -> tuple[Column, ...]:
    """Return the columns that scoring reads, in table order."""
    return tuple(column for column in schema.columns if column.role in READ_ROLES)


@dataclass(frozen=True, slots=True)
class Coerced:
    """A table whose columns have the types of the schema.

    Attributes:
        typed: Columns of the roles feature and time: numbers ``Float64``, dates ``Datetime("us")``, the rest ``String``;
            missing and unreadable cells are null. Columns that the table lacks are all null.
        unreadable: One Boolean column for each numeric or datetime column with at least one unreadable cell.
        absent: Names of the schema's columns that the table lacks.
    """

    typed: pl.DataFrame
    unreadable: pl.DataFrame
    absent: tuple[str, ...]

    def unreadable_counts(self) -> dict[str, int]:
        """Return how many cells of each column could not be read."""
        return {column.name: int(column.sum()) for column in self.unreadable}

    def unreadable_cells(self, frame: pl.DataFrame, schema: Schema) -> Iterator[CellError]:
        """Yield each unreadable cell with the value it came with, column by column."""
        for mask in self.unreadable:
            problem = PROBLEMS[schema[mask.name].kind]
            for row in mask.arg_true():
                yield CellError(int(row), mask.name, problem, frame[mask.name][row])


def coerce(frame: pl.DataFrame, schema: Schema) -> Coerced:
    """Read the cells of a table as its schema says.

    Args:
        frame: Any columns in any order; those that the schema does not read are left out.
        schema: The schema.
    """
    wanted = read_columns(schema)
    absent = tuple(column.name for column in wanted if column.name not in frame.columns)
    full = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    typed = full.select(_value(column, full.schema[column.name]).alias(column.name) for column in wanted)
    fallible = [column for column in wanted if column.kind in PROBLEMS]
    masks = pl.concat([full.select(c.name for c in fallible), typed.select(pl.col(c.name).alias(f"\0{c.name}") for c in fallible)],
                      how="horizontal") if fallible else pl.DataFrame()  # fmt: skip
    masks = masks.select(
        (parsing.given(pl.col(c.name), full.schema[c.name]) & pl.col(f"\0{c.name}").is_null()).alias(c.name)
        for c in fallible
    )
    bad = [name for name, any_bad in zip(masks.columns, masks.select(pl.all().any()).row(0), strict=True) if any_bad] if len(masks) else []
    return Coerced(typed, masks.select(bad), absent)


def _value(column: Column, dtype: pl.DataType) -> pl.Expr:
    cell = pl.col(column.name)
    if not parsing.is_plain(dtype):
        dtype, cell = pl.String(), pl.lit(None, dtype=pl.String)
    if column.kind is Kind.numeric:
        return parsing.number(cell, dtype)
    if column.kind is Kind.datetime:
        return parsing.moment(cell, dtype, column.formats)
    if column.kind is Kind.boolean:
        return parsing.truth(cell, dtype)
    return parsing.category(cell, dtype)
