"""Checks of names and numbers: what a column is called, and whether the order of customer numbers says who left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from churnlib.data.leaks.association import area_of_ranks
from churnlib.data.leaks.names import is_called_id, known_leak
from churnlib.data.leaks.report import CERTAIN, SUSPECTED, Check, Finding
from churnlib.schema import Column, Kind, Role, Schema, parsing

MOST_ORDER = 0.55
"""Area under the ROC curve of an order; the lower end of its interval must be above."""


def check_identifiers(frame: pl.DataFrame, schema: Schema, rows: np.ndarray, churned: np.ndarray) -> Check:
    """Look for customer numbers whose order says who left: they grow with the day of joining.

    Args:
        frame: The whole table as it came.
        schema: What its columns are.
        rows: The training rows that are looked at.
        churned: ``(len(rows),)`` bool.
    """
    columns = [column for column in schema.columns if _names_customers(column)]
    if not columns:
        return Check("identifiers", "no column names customers", applies=False)
    findings, seen = [], []
    for column in columns:
        given = _in_order(frame[column.name][rows])
        known = given.is_not_null().to_numpy()
        found = area_of_ranks(given.drop_nulls().to_numpy(), churned[known])
        seen.append(f"the order of {column.name!r} has a ROC AUC of {found}")
        if found.low > MOST_ORDER:
            said = f"its order alone has a ROC AUC of {found}: such numbers grow with the day of joining"
            read = column.role is Role.feature
            findings.append(Finding(said, column.name, SUSPECTED, read=read, figures=found.figures()))
    return Check("identifiers", "; ".join(seen), tuple(findings))


def _names_customers(column: Column) -> bool:
    if column.role in (Role.target, Role.time) or (column.role is Role.ignored and column.note == "as declared"):
        return False
    called = column.role is Role.feature and column.kind is Kind.numeric and is_called_id(column.name)
    return column.role is Role.id or column.kind is Kind.identifier or called


def _in_order(values: pl.Series) -> pl.Series:
    """Return ranks of customer numbers: by number where all are numbers, else as text."""
    if not parsing.is_plain(values.dtype):
        return pl.Series([None] * len(values), dtype=pl.Float64)
    cells = values.alias("cell").to_frame()
    numbers = cells.select(parsing.number(pl.col("cell"), values.dtype)).to_series()
    if numbers.null_count() > values.null_count():
        numbers = values.cast(pl.String)
    return numbers.rank("average")


def check_names(schema: Schema, also: Sequence[str]) -> Check:
    """Look for columns that are called like what is only known once a customer has left."""
    entries = {column.name: known_leak(column.name, also) for column in schema.features}
    findings = tuple(
        Finding(f"its name is one of what is known after the customer left ({entry!r})", name)
        for name, entry in entries.items()
        if entry is not None
    )
    return Check("known names", f"{len(findings) or 'none'} of {len(entries)} columns are called so", findings)


def check_dates(typed: pl.DataFrame, schema: Schema) -> Check:
    """Look for dates after the day on which the row was taken.

    Args:
        typed: Training rows.
        schema: What the columns are.
    """
    name = "dates after the snapshot"
    dates = [column.name for column in schema.features if column.kind is Kind.datetime]
    if schema.time is None or not dates:
        why = "no column has the role time (data.time=COLUMN)" if dates else "no feature is a date"
        return Check(name, why, applies=False)
    later = typed.select((pl.col(date) > pl.col(schema.time)).sum() for date in dates).row(0)
    given = typed.select(pl.col(date).is_not_null().sum() for date in dates).row(0)
    findings = tuple(
        Finding(
            f"{n:,} of {known:,} dates lie after the snapshot in {schema.time!r}",
            date,
            CERTAIN if n == known else SUSPECTED,
            figures={"rows": n, "given": known},
        )
        for date, n, known in zip(dates, later, given, strict=True)
        if n
    )
    return Check(name, f"{sum(later):,} of {sum(given):,} in {', '.join(map(repr, dates))}", findings)
