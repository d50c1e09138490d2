"""When those who left did so, by month and by weekday: of columns that exist only for them, which no model may read."""

from __future__ import annotations

import calendar
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.anonymity import n_joined
from churnlib.profiling.rows import Rows
from churnlib.schema import Role, parsing

PARTS = {"month": tuple(calendar.month_name[1:]), "weekday": tuple(calendar.day_name)}


def leaving(rows: Rows, *, fewest: int) -> list[dict[str, Any]]:
    """Describe the dates of leaving.

    Args:
        rows: The table; its columns of the role ``event_time`` are described, where they hold dates.
        fewest: Customers that a cell needs; smaller ones are told together.

    Returns:
        For each such column ``column``, ``n`` dates, and ``month`` and ``weekday``: cells with ``label``, ``n``,
        ``share``, in the order of the calendar.
    """
    told = []
    for column in rows.schema.columns:
        if column.role is not Role.event_time or column.name not in rows.frame.columns:
            continue
        moment = parsing.moment(parsing.cell_of(column.name), rows.frame.schema[column.name], column.formats)
        dates = rows.frame.select(moment).to_series().drop_nulls()
        if len(dates) >= fewest:
            parts = {part: _cells(_numbers(dates, part), names, fewest) for part, names in PARTS.items()}
            told.append({"column": column.name, "n": len(dates), **parts})
    return told


def _numbers(dates: pl.Series, part: str) -> np.ndarray:
    """Return the month or the weekday of each date, from 0."""
    return (dates.dt.month() if part == "month" else dates.dt.weekday()).to_numpy() - 1


def _cells(numbers: np.ndarray, names: tuple[str, ...], fewest: int) -> list[dict[str, Any]]:
    counts = np.bincount(numbers, minlength=len(names))
    there = [place for place in np.argsort(counts, kind="stable").tolist() if counts[place]]
    few = there[: n_joined(counts[there].tolist(), fewest)]
    cells = [(names[place], int(counts[place])) for place in sorted(set(there) - set(few))]
    cells += [("others", int(counts[few].sum()))] if few else []
    return [{"label": label, "n": n, "share": n / len(numbers)} for label, n in cells]


__all__ = ["leaving"]
