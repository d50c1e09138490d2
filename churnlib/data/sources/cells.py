"""Cells that say something else than they seem to: the user's own marks of a missing value, and decimal commas.

Both are rules about one cell, so that a row reads the same alone, in any batch and in any part.
"""

from __future__ import annotations

import contextlib

import polars as pl

from churnlib.data.sources.options import TableOptions, decimal_comma
from churnlib.schema.parsing import cell_of, is_text

COMMA_NUMBER = r"^\s*[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?\s*$"
"""A number as it is written with a decimal comma, its thousands apart by points or not at all: ``-1.234,5``."""


def with_cells_read(table: pl.LazyFrame, options: TableOptions) -> pl.LazyFrame:
    """Return the table with ``null_values`` missing and numbers with a decimal comma written with a point.

    Raises:
        ConfigError: If an option is wrong.
    """
    marks = [str(mark).strip() for mark in options.get("null_values") or ()]
    comma = decimal_comma(options)
    if not marks and not comma:
        return table
    changed = []
    for name, dtype in table.collect_schema().items():
        cell = cell_of(name)
        if is_text(dtype):
            text = _without_marks(cell.cast(pl.String), marks) if marks else cell.cast(pl.String)
            changed.append((_with_points(text) if comma else text).alias(name))
        elif dtype.is_numeric() and (numbers := _numbers(marks)):
            changed.append(pl.when(~cell.cast(pl.Float64).is_in(numbers)).then(cell).alias(name))
    return table.with_columns(changed)


def _without_marks(text: pl.Expr, marks: list[str]) -> pl.Expr:
    return pl.when(~text.str.strip_chars().is_in(marks)).then(text)


def _with_points(text: pl.Expr) -> pl.Expr:
    pointed = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(text.str.contains(COMMA_NUMBER)).then(pointed).otherwise(text)


def _numbers(marks: list[str]) -> list[float]:
    """Return the marks that are numbers (``-999``), as which a typed column holds them."""
    numbers = []
    for mark in marks:
        with contextlib.suppress(ValueError):
            numbers.append(float(mark))
    return numbers
