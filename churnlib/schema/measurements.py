"""Columns that are measurements at first sight, found many at a time.

:func:`churnlib.schema.kinds.find_kind` looks at one column after another, and asks polars a dozen questions about each.
Of a table with 10,000 columns most are plainly numbers, and what it would say of those is told here in a few questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.schema import parsing
from churnlib.schema.columns import Kind, Role
from churnlib.schema.kinds import Finding
from churnlib.schema.stacking import CELLS, is_worth_stacking, stacked


def find_measurements(frame: pl.DataFrame) -> dict[str, Finding]:
    """Return what the values of a column suggest, for those that plainly are measurements of a wide and short table.

    All given cells are finite numbers without leading zeros, some of them are outside of 0 to 1, and there are gaps,
    fractions or repetitions, as there are not in customer numbers.

    Returns:
        Findings by column, as :func:`churnlib.schema.kinds.find_kind` would return them; any column may be left out.
    """
    found: dict[str, Finding] = {}
    if not len(frame):
        return found
    for dtype in set(frame.dtypes):
        names = [name for name, other in frame.schema.items() if other == dtype]
        if (dtype == pl.String or dtype.is_numeric()) and is_worth_stacking(len(names), len(frame)):
            found |= _among(frame, names, dtype)
    return found


def _among(frame: pl.DataFrame, names: Sequence[str], dtype: pl.DataType) -> Iterator[tuple[str, Finding]]:
    cells = stacked(frame, names)
    numbers = _by_column(cells.select(parsing.number(CELLS, dtype).fill_null(np.nan)), frame)
    gaps = np.isnan(numbers)
    came_empty = frame.select(cs.by_name(*names).null_count()).row(0)
    low, high = np.fmin.reduce(numbers, axis=1), np.fmax.reduce(numbers, axis=1)
    plain = (gaps.sum(axis=1) == came_empty) & ((low < 0) | (high > 1)) & (low < high)
    if dtype == pl.String:
        plain &= ~_by_column(cells.select(parsing.padded(CELLS).fill_null(False)), frame).any(axis=1)
    whole = (numbers == np.floor(numbers)).all(axis=1)  # nor has it gaps, which equal nothing
    asked = [name for name, one in zip(names, plain & whole, strict=True) if one]
    distinct = frame.select(cs.by_name(*asked).n_unique()).row(0, named=True) if asked else {}
    for name, one, missing in zip(names, plain, came_empty, strict=True):
        if one and distinct.get(name) != len(frame):
            yield name, Finding(Kind.numeric, Role.feature, missing)


def _by_column(cells: pl.DataFrame, frame: pl.DataFrame) -> np.ndarray:
    """Return stacked cells as ``(columns, rows)``."""
    return cells.to_series().to_numpy().reshape(-1, len(frame))


__all__ = ["find_measurements"]
