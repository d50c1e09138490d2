"""From one typed column to the numbers or codes that a network reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.data.scaling import FLOAT32_MAX
from churnlib.schema import Kind
from churnlib.schema.parsing import cell_of

MISSING, UNSEEN, FIRST_KNOWN = 0, 1, 2
"""Codes of a category: no value, a value that the training rows did not have, and the first known value."""

NUMBER_KINDS = (Kind.numeric, Kind.datetime, Kind.ordinal)
"""Kinds that become a number; a sequence becomes several, text only what a step makes of it, the others a code."""

MICROSECONDS_PER_DAY = 86_400e6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The values a categorical column had in the training rows.

    Attributes:
        name: Column.
        values: Sorted values; the code of ``values[i]`` is ``i + 2``.
        missing: Whether the training rows had missing values.
    """

    name: str
    values: tuple[str, ...]
    missing: bool


@dataclass(frozen=True, slots=True)
class History:
    """A sequence column among the numeric inputs: the last steps of each row, the newest one last.

    Attributes:
        name: Column; its inputs are called ``name[-n_steps]``, ..., ``name[-1]``.
        n_steps: Number of inputs. Rows with fewer steps have missing values before their first one.
    """

    name: str
    n_steps: int


def as_number(name: str, dtype: pl.DataType, *, time: str | None = None, order: Sequence[str] = ()) -> pl.Expr:
    """Return the Float64 number of a numeric, datetime or ordinal column, in the range of float32; missing is null.

    Args:
        name: Column of a typed table.
        dtype: Its type.
        time: Column that dates are measured from, in days before it; without it, in days since 1970-01-01.
        order: Values of an ordinal column; the first is 0, the next 1, and so on, others are missing.
    """
    cell = cell_of(name)
    if order:
        ranks = [float(rank) for rank in range(len(order))]
        return cell.replace_strict(list(order), ranks, default=None, return_dtype=pl.Float64)
    if isinstance(dtype, pl.Datetime):
        since = cell_of(time) - cell if time is not None else cell - pl.datetime(1970, 1, 1, time_unit="us")
        return (since.dt.total_microseconds() / MICROSECONDS_PER_DAY).alias(name)
    return _in_range(cell)


def as_numbers(
    wanted: Sequence[tuple[str, Sequence[str]]], dtypes: Mapping[str, pl.DataType], *, time: str | None
) -> Iterator[pl.Expr]:
    """Yield what :func:`as_number` returns for columns with their orders; neighbours alike share one expression."""
    for shared, columns in groupby(wanted, key=lambda column: not column[1] and dtypes[column[0]] == pl.Float64):
        if shared:
            yield _in_range(cs.by_name(*(name for name, _ in columns)).as_expr())
        else:
            yield from (as_number(name, dtypes[name], time=time, order=order) for name, order in columns)


def _in_range(cell: pl.Expr) -> pl.Expr:
    return cell.cast(pl.Float64).clip(-FLOAT32_MAX, FLOAT32_MAX)


def as_steps(history: History) -> list[pl.Expr]:
    """Return the Float64 inputs of a history, oldest first, in the range of float32; a step that is not there is null.

    >>> table = pl.DataFrame({"usage": [[1.0, 2.0, 3.0], [4.0], None]})
    >>> table.select(step.alias(str(i)) for i, step in enumerate(as_steps(History("usage", 2)))).rows()
    [(2.0, 3.0), (None, 4.0), (None, None)]
    """
    lists = cell_of(history.name)
    back = range(-history.n_steps, 0)
    return [lists.list.get(place, null_on_oob=True).clip(-FLOAT32_MAX, FLOAT32_MAX) for place in back]


def as_code(vocabulary: Vocabulary) -> pl.Expr:
    """Return the Int64 code of each cell of a categorical column."""
    cell, values = cell_of(vocabulary.name), list(vocabulary.values)
    if not values:
        return pl.when(cell.is_null()).then(MISSING).otherwise(UNSEEN).cast(pl.Int64).alias(vocabulary.name)
    codes = range(FIRST_KNOWN, FIRST_KNOWN + len(values))
    # A missing cell keeps the null that stands for it among the old values.
    return cell.replace_strict([None, *values], [MISSING, *codes], default=UNSEEN, return_dtype=pl.Int64)


def as_array(frame: pl.DataFrame, n: int, dtype: Any) -> np.ndarray:
    """Return ``n`` rows of numbers as ``(n, columns)``, row by row in memory, which may be written to."""
    if not frame.width:
        return np.zeros((n, 0), dtype=dtype)
    # polars shares its memory of a single column, which torch must not write to.
    return np.require(frame.to_numpy(order="c"), dtype=dtype, requirements=["C", "W"])


__all__ = [
    "FIRST_KNOWN",
    "MICROSECONDS_PER_DAY",
    "MISSING",
    "NUMBER_KINDS",
    "UNSEEN",
    "History",
    "Vocabulary",
    "as_array",
    "as_code",
    "as_number",
    "as_numbers",
    "as_steps",
]
