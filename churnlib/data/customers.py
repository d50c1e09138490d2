"""One customer table on its way to a model: read, cleaned, split, prepared. Nothing here knows torch.

The order of the steps is the order of the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.cleaning import CleaningReport, column_readings
from churnlib.data.coercion import Coerced, coerce
from churnlib.data.dealing import Dealing, customer_groups
from churnlib.data.described import (
    DescribedTable,
    UsedRows,
    cleaning_report,
    describe,
    keep_valid,
    rows_with_target,
    without_duplicates,
)
from churnlib.data.lifetimes import (
    Lifetimes,
    LifetimeSpec,
    fit_lifetimes,
    read_times,
    time_in_disguise,
    with_elapsed,
)
from churnlib.data.missing import Gaps, mostly_missing
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.sides import prepare_sides
from churnlib.data.splits import Split, check_classes
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.data.table_split import deal, read_split
from churnlib.data.validation import Validated
from churnlib.data.values import column_numbers
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, Schema, infer_schema


@dataclass(frozen=True, slots=True)
class Customers:
    """A customer table, ready for a model.

    Attributes:
        frame: The rows that are used, cells as they came.
        typed: The same rows with the types of the schema.
        label: ``(n,)`` int64 class of each row; 1 is churn for two classes.
        schema: What the columns are.
        split: Which rows are for training, validation, test.
        preparation: Learned from the training rows.
        encoded: What a network reads, by side.
        report: What was left out.
        truth: ``(n,)`` float64 true churn probability, if the rows were simulated.
        sources: What to remember of the files that the rows came from, if they did.
        validated: The rules of the table and the rows that break them, if there are rules.
        dealing: What the split heeded, for folds and earlier windows of the same rows.
        lifetimes: How long each customer stayed, for a model that learns when they leave.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    label: np.ndarray
    schema: Schema
    split: Split
    preparation: Preparation
    encoded: Mapping[str, Encoded]
    report: CleaningReport
    truth: np.ndarray | None = None
    sources: tuple[Mapping[str, Any], ...] = ()
    validated: Validated | None = None
    dealing: Dealing = field(default_factory=Dealing)
    lifetimes: Lifetimes | None = None

    def rows(self, side: str) -> np.ndarray:
        """Return the row numbers of a side."""
        return self.split.sides()[side]

    def labels(self, side: str) -> np.ndarray:
        """Return the labels of a side, ``(n,)`` int64."""
        return self.label[self.rows(side)]

    def targets(self, side: str) -> np.ndarray:
        """Return what a network learns of a side: the labels, or ``(n, 3)`` float32 of when customers leave."""
        return self.labels(side) if self.lifetimes is None else self.lifetimes.targets(self.rows(side))

    def class_counts(self, side: str) -> np.ndarray:
        """Return the number of rows of each class on a side, ``(n_classes,)`` int64."""
        return np.bincount(self.labels(side), minlength=len(self.schema.classes))

    def customer_ids(self, side: str) -> pl.Series:
        """Return the names of a side's customers as they came, or row numbers where the table has none."""
        return self.ids(self.rows(side))

    def ids(self, rows: np.ndarray) -> pl.Series:
        """Return the names of the customers in some rows as they came, or row numbers where the table has none."""
        if self.schema.id is None:
            return pl.Series("customer_id", rows)
        return self.frame[self.schema.id][rows].alias("customer_id")


def prepare_customers(
    frame: pl.DataFrame,
    spec: TableSpec | None = None,
    *,
    split: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    seed: int = 42,
    truth: np.ndarray | None = None,
    **said: Any,
) -> Customers:
    """Take a table from cells to a model's inputs.

    Args:
        frame: The table; columns may be typed or all text.
        spec: What the table is.
        split: ``train``, ``validation``, ``test`` (shares), ``by`` (auto, random, time, column), ``column``, ``seed``,
            ``stratify``, ``group``, ``gap_days``; see :class:`churnlib.config.SplitConfig`.
        preprocess: See :func:`churnlib.data.sides.prepare_sides`.
        seed: Of the split, unless ``split`` has its own, and of what the steps draw.
        truth: ``(n,)`` true churn probabilities of the rows, kept beside them.
        said: ``target``, ``id`` and what else is said of the table, in place of a spec: see
            :class:`~churnlib.data.table_spec.TableSpec`.

    Raises:
        DataError: If the table cannot be learned from; :class:`~churnlib.data.validation.BrokenRules` if too many rows
            break rules.
        ConfigError: If an option is wrong.

    >>> rows = {"tenure": list(range(40)), "plan": ["a", "b"] * 20, "churn": ["no", "no", "yes", "no"] * 10}
    >>> customers = prepare_customers(pl.DataFrame(rows), target="churn")
    >>> {side: len(encoded) for side, encoded in customers.encoded.items()}
    {'train': 28, 'validation': 6, 'test': 6}
    """
    spec = table_spec(spec, said)
    options = read_split(split, frame.columns, time=spec.time)
    spec = spec.without(options.column, options.group)
    if spec.lifetimes is not None:
        frame, lifetimes = with_elapsed(frame, spec.lifetimes)
        spec = spec.with_lifetimes(lifetimes)
    rows = without_duplicates(rows_with_target(frame, spec), spec)
    table = keep_valid(describe(rows, spec), spec)
    sides, dealing = deal(table, options, seed=seed)
    report = cleaning_report(table, show_unreadable=spec.show_unreadable)
    customers = _prepared(table, sides, dealing, report, preprocess=preprocess, seed=seed)
    if spec.lifetimes is not None:
        customers = _timed(customers, read_times(table.frame, spec.lifetimes), spec.lifetimes)
    return replace(customers, truth=None if truth is None else truth[table.rows.number])


def _timed(customers: Customers, times: pl.DataFrame, spec: LifetimeSpec) -> Customers:
    """Return the table with how long its customers stayed.

    Raises:
        ConfigError: If the target has more than two classes, or the intervals do not suit the durations.
    """
    classes = customers.schema.classes
    if len(classes) != 2:
        raise ConfigError(
            f"task=hazard learns when customers leave, and the target {customers.schema.target!r} has {len(classes)} "
            "classes; name one with two, left or still there"
        )
    train = customers.rows("train")
    lifetimes = fit_lifetimes(times, customers.label == 1, train, spec)
    numbers = [column.name for column in customers.schema.features if column.kind is Kind.numeric]
    said = (*customers.report.steps, *time_in_disguise(customers.typed, numbers, lifetimes, train))
    return replace(customers, lifetimes=lifetimes, report=replace(customers.report, steps=said))


def prepare_labelled(
    frame: pl.DataFrame,
    label: np.ndarray,
    *,
    target: Column,
    classes: Sequence[str],
    split: Split,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> Customers:
    """Take rows whose labels and sides a program gives from cells to a model's inputs.

    No row is left out. Any column may lack values in later rows: which of them lack some in these says little, where a
    program gives one part of a table at a time.

    Args:
        frame: The rows, without their target.
        label: ``(n,)`` int64 class of each row.
        target: The schema's entry for the target.
        classes: Names of the classes by label.
        split: The rows of each side.
        columns: Corrections to the schema, see :func:`churnlib.schema.infer_schema`.
        preprocess: See :func:`churnlib.data.sides.prepare_sides`.

    Raises:
        DataError: If no column is left to learn from.
        ConfigError: If an option is wrong.
    """
    inferred = infer_schema(frame, columns=columns).columns
    schema = Schema((*(replace(column, nullable=True) for column in inferred), target), classes=tuple(classes))
    table = DescribedTable(UsedRows.all_of(frame), label, schema, coerce(frame, schema, sensitive=True))
    report = replace(table.rows.report, columns=tuple(column_readings(frame, table.coerced, schema)))
    return _prepared(table, split, Dealing(customer_groups(frame, schema)), report, preprocess=preprocess)


def _prepared(
    table: DescribedTable,
    split: Split,
    dealing: Dealing,
    report: CleaningReport,
    *,
    preprocess: Mapping[str, Any] | None,
    seed: int = 0,
) -> Customers:
    """Learn the preparation from the training rows, and encode the rows of each side."""
    typed, label, schema = table.typed, table.label, table.schema
    done = prepare_sides(typed, label, schema, split, preprocess=preprocess, groups=dealing.groups, seed=seed)
    gaps = _proposals(typed, label, schema, split, preprocess)
    return Customers(
        frame=blank_unreadable(table.frame, table.coerced),
        typed=typed,
        label=label,
        schema=schema,
        split=done.split,
        preparation=done.preparation,
        encoded=done.encoded,
        report=replace(report, gaps=gaps, steps=done.said),
        validated=table.validated,
        dealing=dealing,
    )


def redealt(
    customers: Customers, split: Split, *, preprocess: Mapping[str, Any] | None = None, seed: int = 0
) -> Customers:
    """Return the table with other sides, prepared anew from their training rows.

    Args:
        customers: A prepared table.
        split: The rows of each side; validation and test rows may be absent.
        preprocess: See :func:`churnlib.data.sides.prepare_sides`.
        seed: Of what the steps draw.

    Raises:
        DataError: If a side lacks a class.
    """
    if len(split.validation):
        check_classes(customers.label, split, customers.schema.classes)
    done = prepare_sides(
        customers.typed,
        customers.label,
        customers.schema,
        split,
        preprocess=preprocess,
        groups=customers.dealing.groups,
        seed=seed,
    )
    return replace(customers, split=done.split, preparation=done.preparation, encoded=done.encoded)


def _proposals(
    typed: pl.DataFrame, label: np.ndarray, schema: Schema, split: Split, preprocess: Mapping[str, Any] | None
) -> tuple[Gaps, ...]:
    """Return the columns with more gaps than values, unless a step of the user's looks after them."""
    steps = ((preprocess or {}).get("steps") or {}).items()
    if any("drop_missing" in (name, dict(options or {}).get("step")) for name, options in steps):
        return ()
    names = [column.name for column in schema.features]
    return mostly_missing(typed[split.train], names, label[split.train])


def blank_unreadable(frame: pl.DataFrame, coerced: Coerced) -> pl.DataFrame:
    """Return the table with unreadable cells emptied: in training they count as missing."""
    return frame.with_columns(
        pl.when(~coerced.unreadable[name]).then(pl.col(name)).alias(name) for name in coerced.unreadable.columns
    )


def customer_value(customers: Customers, column: str, *, option: str = "loss.value") -> np.ndarray:
    """Return the numbers in a column of any role but the target's, ``(n,)`` float64 with NaN for missing.

    Args:
        customers: The table.
        column: Name of the column.
        option: That named it, for what is said of a wrong one.

    Raises:
        ConfigError: If there is no such column, or no numbers in it.
    """
    if column == customers.schema.target:
        raise ConfigError(f"{option}={column} is the target; name a column that says what a customer is worth")
    return column_numbers(customers.frame, column, option=option)


__all__ = [
    "Customers",
    "TableSpec",
    "blank_unreadable",
    "customer_value",
    "prepare_customers",
    "prepare_labelled",
    "redealt",
]
