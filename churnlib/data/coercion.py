"""From cells as they came to typed columns: the first step of every row, in training, scoring and serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import polars.selectors as cs

from churnlib.data.distinct import distinct_cells, read_once
from churnlib.errors import CellError
from churnlib.schema import Column, Kind, Role, Schema, parsing
from churnlib.schema.stacking import is_worth_stacking, read_stacked

PROBLEMS = {
    Kind.numeric: "must be a finite number",
    Kind.datetime: "must be a date",
    Kind.sequence: "must be a list of finite numbers",
}
"""What is wrong with a cell that cannot be read; categories have no unreadable cells, only unseen ones."""

SHARED = (Kind.numeric, Kind.categorical, Kind.ordinal)
"""Kinds of which one expression may read many columns: what it returns is named after each."""

READ_ROLES = (Role.feature, Role.time, Role.elapsed)
"""Roles whose columns are read when a row is scored; where models are judged, sensitive ones are read beside them."""


def read_columns(schema: Schema) -> tuple[Column, ...]:
    """Return the columns that scoring reads, in table order."""
    return tuple(column for column in schema.columns if column.role in READ_ROLES)


@dataclass(frozen=True, slots=True)
class Coerced:
    """A table whose columns have the types of the schema.

    Attributes:
        typed: Columns of the roles feature, time and elapsed, and sensitive ones where they were asked for: numbers
            ``Float64``, dates ``Datetime("us")``, sequences ``List(Float64)``, the rest ``String``; missing and
            unreadable cells are null. Columns that the table lacks are all null.
        unreadable: One Boolean column for each numeric, datetime or sequence column with at least one unreadable cell.
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
            problem, values = PROBLEMS[schema[mask.name].kind], frame.get_column(mask.name)
            for row in mask.arg_true():
                yield CellError(int(row), mask.name, problem, cell_value(values, int(row)))


def cell_value(values: pl.Series, row: int) -> object:
    """Return a cell as a plain Python value; a list comes out of polars as a column."""
    value = values[row]
    return value.to_list() if isinstance(value, pl.Series) else value


def coerce(frame: pl.DataFrame, schema: Schema, *, sensitive: bool = False) -> Coerced:
    """Read the cells of a table as its schema says.

    Args:
        frame: Any columns in any order; those that the schema does not read are left out.
        schema: The schema.
        sensitive: Read also the columns that no model reads but by whose groups it is judged.
    """
    roles = (*READ_ROLES, Role.sensitive) if sensitive else READ_ROLES
    wanted = tuple(column for column in schema.columns if column.role in roles)
    present = set(frame.columns)
    absent = tuple(column.name for column in wanted if column.name not in present)
    empty = pl.Series([None], dtype=pl.String).new_from_index(0, len(frame))
    full = frame.with_columns(empty.alias(name) for name in absent)
    dtypes = dict(full.schema)  # asked for column by column it would be built anew each time
    typed = pl.DataFrame(_read(full, wanted, dtypes))
    return Coerced(typed, _unreadable(full, typed, dtypes, wanted), absent)


def _read(frame: pl.DataFrame, wanted: Sequence[Column], dtypes: Mapping[str, pl.DataType]) -> list[pl.Series]:
    """Return the columns as their kinds say.

    Columns that are read alike share one expression: of thousands of columns, most of the time would be spent on
    telling polars of each.
    """
    alike: dict[tuple[Kind, pl.DataType], list[str]] = {}
    texts = [c.name for c in wanted if parsing.is_text(dtypes[c.name]) and c.kind is not Kind.sequence]
    distinct = distinct_cells(frame, texts)
    single: list[pl.Expr] = []
    for column in wanted:
        dtype, cell = dtypes[column.name], parsing.cell_of(column.name)
        if column.name in distinct:
            single.append(_read_distinct(distinct[column.name], column))
        elif column.kind in SHARED and (parsing.is_text(dtype) or dtype.is_numeric()):
            alike.setdefault((column.kind, dtype), []).append(column.name)
        else:
            single.append(parsing.as_kind(cell, dtype, column.kind, column.formats).alias(column.name))
    read: list[pl.Series] = []
    for (kind, dtype), names in alike.items():
        if is_worth_stacking(len(names), len(frame)):
            read += read_stacked(frame, names, partial(parsing.as_kind, dtype=dtype, kind=kind))
        else:
            single.append(parsing.as_kind(cs.by_name(*names).as_expr(), dtype, kind))
    by_name = {column.name: column for column in (*frame.select(single), *read)}
    return [by_name[column.name] for column in wanted]


def _read_distinct(distinct: pl.Series, column: Column) -> pl.Expr:
    """Return a column of text as its kind says, each of its different cells read once."""
    cell = parsing.cell_of(column.name)
    read = distinct.to_frame().select(parsing.as_kind(cell, distinct.dtype, column.kind, column.formats)).to_series()
    if read.dtype == pl.String and read.equals(distinct):
        return cell.cast(pl.String)  # clean already: the longest columns that tables have need no second copy
    return read_once(column.name, distinct, read)


def _unreadable(
    frame: pl.DataFrame, typed: pl.DataFrame, dtypes: Mapping[str, pl.DataType], wanted: Sequence[Column]
) -> pl.DataFrame:
    """Return a mask for each column that holds a cell in which there is something, but not what it should be."""
    before, after = (part.null_count().row(0, named=True) if len(part) else {} for part in (frame, typed))
    # Reading only ever turns cells into null: a column with no more of them than before was read in full.
    names = [c.name for c in wanted if c.kind in PROBLEMS and after.get(c.name, 0) > before.get(c.name, 0)]
    given = frame.select(parsing.given(parsing.cell_of(name), dtypes[name]).alias(name) for name in names)
    empty = typed.select(parsing.cell_of(name).is_null() for name in names)
    masks = (there & missing for there, missing in zip(given, empty, strict=True))
    return pl.DataFrame([mask for mask in masks if mask.any()])
