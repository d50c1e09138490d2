"""The rows that a profile describes: those that a training run would use, without a split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.cleaning import CleaningReport
from churnlib.data.described import cleaning_report, describe, rows_with_target, without_duplicates
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.schema import Kind, Role, Schema

DESCRIBED = (Role.feature, Role.sensitive)
"""Roles whose columns are described."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table to be described.

    Attributes:
        frame: Its rows as they came, without those that a training run leaves out.
        typed: Features, time and sensitive columns, with the types of the schema.
        label: ``(n,)`` int64 class; 1 is churn for two classes.
        schema: What the columns are.
        report: What was left out.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    label: np.ndarray
    schema: Schema
    report: CleaningReport

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def binary(self) -> bool:
        """Whether there are two classes, so that a churn rate can be told."""
        return len(self.schema.classes) == 2


def read_rows(frame: pl.DataFrame, spec: TableSpec | None = None, **said: Any) -> Rows:
    """Clean a table as :func:`churnlib.data.customers.prepare_customers` does, and stop before rules and split.

    Args:
        frame: The table.
        spec: What it is.
        said: What is said of it, in place of a spec: see :class:`~churnlib.data.table_spec.TableSpec`.

    Raises:
        DataError: If the table cannot be read as customers.
        ConfigError: If an option is wrong.
    """
    spec = table_spec(spec, said)
    table = describe(without_duplicates(rows_with_target(frame, spec), spec), spec)
    return Rows(table.frame, table.typed, table.label, table.schema, cleaning_report(table))


def in_days(rows: Rows) -> Rows:
    """Return the rows with dates as days before the row's own date, as models read them; as they are without dates.

    A calendar date moves on with every snapshot, and says nothing by that.
    """
    time = rows.schema.time
    dates = [column.name for column in rows.schema.columns if column.kind is Kind.datetime and column.role in DESCRIBED]
    if time is None or not dates:
        return rows
    days = [((pl.col(time) - pl.col(name)).dt.total_hours() / 24).round().alias(name) for name in dates]
    columns = tuple(replace(c, kind=Kind.numeric) if c.name in dates else c for c in rows.schema.columns)
    return replace(rows, typed=rows.typed.with_columns(days), schema=replace(rows.schema, columns=columns))


__all__ = ["DESCRIBED", "Rows", "in_days", "read_rows"]
