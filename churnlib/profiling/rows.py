"""The rows that a profile describes: those that a training run would use, without a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.cleaning import CleaningReport, column_readings, count_near_duplicates
from churnlib.data.coercion import coerce
from churnlib.data.duplicates import deduplicate
from churnlib.data.target import check_target, encode_target, target_given
from churnlib.schema import Kind, Role, Schema, infer_schema

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


def read_rows(
    frame: pl.DataFrame,
    *,
    target: str,
    positive: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    drop: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Rows:
    """Clean a table as :func:`churnlib.data.customers.prepare_customers` does, and stop before the split.

    Args:
        frame: The table.
        target: Column that says who left.
        positive: Its value that means "left".
        id: Column that names the customer.
        time: Column with the date of each row.
        drop: Columns that are not read.
        columns: Corrections to the schema.
        about: What the schema keeps about the table.

    Raises:
        DataError: If the table cannot be read as customers.
        ConfigError: If an option is wrong.
    """
    check_target(frame, target, positive=positive)
    n_rows = len(frame)
    frame = frame.filter(target_given(frame[target]))
    without_target = n_rows - len(frame)
    known = {name: column if column in frame.columns else None for name, column in (("id", id), ("time", time))}
    unique = deduplicate(frame, id=known["id"], time=known["time"])
    frame = frame[unique.kept]
    label, classes = encode_target(frame[target], positive)
    schema = infer_schema(frame, target=target, id=id, time=time, drop=drop, columns=columns, classes=classes)
    schema = replace(schema, about=dict(about or {}))
    coerced = coerce(frame, schema, sensitive=True)
    report = CleaningReport(
        n_rows,
        without_target,
        unique.exact,
        unique.repeated,
        near_duplicates=count_near_duplicates(frame, schema),
        columns=tuple(column_readings(frame, coerced, schema)),
    )
    return Rows(frame, coerced.typed, label, schema, report)


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
