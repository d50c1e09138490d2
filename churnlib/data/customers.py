"""One customer table on its way to a model: read, cleaned, split, prepared. Nothing here knows torch.

The order of the steps is the order of the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.coercion import Coerced, coerce
from churnlib.data.dealing import (
    MICROSECONDS_PER_DAY,
    Dealing,
    check_dealing,
    customer_groups,
    goes_by_time,
    moments_of,
    strata_of,
)
from churnlib.data.duplicates import deduplicate
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.rolling import split_time
from churnlib.data.sides import prepare_sides
from churnlib.data.splits import SIDES, Split, check_classes, check_shares, split_column, split_random
from churnlib.data.target import check_target, encode_target, target_given
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, Schema, infer_schema, parsing, unknown_column


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """What was done to the rows before the split; printed, and kept in the run.

    Attributes:
        rows: Rows of the table as read.
        without_target: Rows left out because the target is missing.
        exact_duplicates: Rows left out because an earlier row is the same.
        repeated_customers: Rows left out because a later row has the same customer.
        unreadable: Cells that could not be read and count as missing, by column.
        steps: What the steps of the preparation found, a sentence each.
    """

    rows: int
    without_target: int = 0
    exact_duplicates: int = 0
    repeated_customers: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one sentence for each thing that was done."""
        counts = (
            (self.without_target, "without a target value left out"),
            (self.exact_duplicates, "equal to an earlier row left out"),
            (self.repeated_customers, "with a later row of the same customer left out"),
        )
        said = [f"{count:,} rows {what}" for count, what in counts if count]
        said += [f"{count:,} unreadable cells of {name!r} count as missing" for name, count in self.unreadable.items()]
        return [*said, *self.steps]


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
        dealing: What the split heeded, for folds and earlier windows of the same rows.
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
    dealing: Dealing = field(default_factory=Dealing)

    def rows(self, side: str) -> np.ndarray:
        """Return the row numbers of a side."""
        return self.split.sides()[side]

    def labels(self, side: str) -> np.ndarray:
        """Return the labels of a side, ``(n,)`` int64."""
        return self.label[self.rows(side)]

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
    *,
    target: str,
    positive: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    drop: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    split: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    seed: int = 42,
    truth: np.ndarray | None = None,
) -> Customers:
    """Take a table from cells to a model's inputs.

    Args:
        frame: The table; columns may be typed or all text.
        target: Column that says who left.
        positive: Its value that means "left"; may be left out for 0/1, yes/no, true/false.
        id: Column that names the customer.
        time: Column with the date at which each row was taken.
        drop: Columns that are not read.
        columns: Corrections to the schema, see :func:`churnlib.schema.infer_schema`.
        split: ``train``, ``validation``, ``test`` (shares), ``by`` (auto, random, time, column), ``column``, ``seed``,
            ``stratify``, ``group``, ``gap_days``; see :class:`churnlib.config.SplitConfig`.
        preprocess: See :func:`churnlib.data.sides.prepare_sides`.
        seed: Of the split, unless ``split`` has its own.
        truth: ``(n,)`` true churn probabilities of the rows, kept beside them.

    Raises:
        DataError: If the table cannot be learned from.
        ConfigError: If an option is wrong.
    """
    options = {
        "train": 0.7,
        "validation": 0.15,
        "test": 0.15,
        "by": "auto",
        "column": None,
        "seed": None,
        "stratify": (),
        "group": None,
        "origins": 1,
        "gap_days": 0.0,
        **(split or {}),
    }
    shares = (options["train"], options["validation"], options["test"])
    check_shares(shares)
    _check_split_options(options, frame.columns, time)
    check_target(frame, target, positive=positive)
    n_rows = len(frame)
    row = pl.Series("row", np.arange(n_rows))

    row = row.filter(target_given(frame[target]))
    without_target = n_rows - len(row)
    unique = deduplicate(frame[row], id=_named(frame, id), time=_named(frame, time))
    row = row[unique.kept]
    frame = frame[row]

    label, classes = encode_target(frame[target], positive)
    hidden = [*drop, *(name for name in (options["column"], options["group"]) if name not in (None, id))]
    schema = infer_schema(frame, target=target, id=id, time=time, drop=hidden, columns=columns, classes=classes)
    coerced = coerce(frame, schema)
    seed_of_split = seed if options["seed"] is None else options["seed"]
    dealing = _dealing(frame, coerced.typed, schema, options)
    dealt = _split(frame, label, dealing, options, shares, seed_of_split)
    check_classes(label, dealt, classes)

    report = CleaningReport(n_rows, without_target, unique.exact, unique.repeated, coerced.unreadable_counts())
    kept_truth = None if truth is None else truth[row.to_numpy()]
    return _prepared(frame, coerced, label, schema, dealt, dealing, preprocess, report, kept_truth, seed=seed)


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
    coerced = coerce(frame, schema)
    report = CleaningReport(len(frame), unreadable=coerced.unreadable_counts())
    dealing = Dealing(customer_groups(frame, schema))
    return _prepared(frame, coerced, label, schema, split, dealing, preprocess, report)


def _prepared(
    frame: pl.DataFrame,
    coerced: Coerced,
    label: np.ndarray,
    schema: Schema,
    split: Split,
    dealing: Dealing,
    preprocess: Mapping[str, Any] | None,
    report: CleaningReport,
    truth: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> Customers:
    """Learn the preparation from the training rows, and encode the rows of each side."""
    done = prepare_sides(coerced.typed, label, schema, split, preprocess=preprocess, groups=dealing.groups, seed=seed)
    shown = blank_unreadable(frame, coerced)
    report = replace(report, steps=done.said)
    return Customers(
        shown, coerced.typed, label, schema, done.split, done.preparation, done.encoded, report, truth, dealing
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


def blank_unreadable(frame: pl.DataFrame, coerced: Coerced) -> pl.DataFrame:
    """Return the table with unreadable cells emptied: in training they count as missing."""
    return frame.with_columns(
        pl.when(~coerced.unreadable[name]).then(pl.col(name)).alias(name) for name in coerced.unreadable.columns
    )


def customer_value(customers: Customers, column: str) -> np.ndarray:
    """Return the numbers in a column of any role but the target's, ``(n,)`` float64 with NaN for missing.

    Raises:
        ConfigError: If there is no such column, or no numbers in it.
    """
    frame = customers.frame
    if column not in frame.columns:
        raise ConfigError(unknown_column(column, frame.columns, option="loss.value"))
    if column == customers.schema.target:
        raise ConfigError(f"loss.value={column} is the target; name a column that says what a customer is worth")
    numbers = frame.select(parsing.as_kind(parsing.cell_of(column), frame.schema[column], Kind.numeric)).to_series()
    if numbers.null_count() == len(numbers):
        raise ConfigError(f"loss.value={column} holds no numbers; name a column that says what a customer is worth")
    return numbers.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _named(frame: pl.DataFrame, name: str | None) -> str | None:
    """A column that is in the table; a wrong name is reported with the schema."""
    return name if name in frame.columns else None


def _check_split_options(options: Mapping[str, Any], names: Sequence[str], time: str | None) -> None:
    by, column = options["by"], options["column"]
    if by not in ("auto", "random", "time", "column"):
        raise ConfigError(f"split.by must be one of auto, random, time, column, got {by!r}")
    if by == "time" and time is None:
        raise ConfigError("split.by=time needs the column with the dates: set data.time=COLUMN")
    if (by == "column") != (column is not None):
        raise ConfigError("split.by=column and split.column=COLUMN go together; give both or neither")
    for option, named in (("split.column", column), ("split.group", options["group"])):
        if named is not None and named not in names:
            raise ConfigError(unknown_column(named, names, option=option))


def _dealing(frame: pl.DataFrame, typed: pl.DataFrame, schema: Schema, options: Mapping[str, Any]) -> Dealing:
    """Return what the dealing must heed."""
    by_time = goes_by_time(typed, schema, options["by"])
    check_dealing(options, by_time=by_time)
    return Dealing(
        groups=customer_groups(frame, schema, group=options["group"]),
        strata=strata_of(frame, options["stratify"]),
        moments=moments_of(typed, schema.time) if by_time and schema.time is not None else None,
        gap=round(options["gap_days"] * MICROSECONDS_PER_DAY),
    )


def _split(
    frame: pl.DataFrame,
    label: np.ndarray,
    dealing: Dealing,
    options: Mapping[str, Any],
    shares: Sequence[float],
    seed: int,
) -> Split:
    if options["by"] == "column":
        return split_column(frame[options["column"]].cast(pl.String).to_list(), column=options["column"])
    if dealing.moments is not None:
        return split_time(dealing.moments, shares, seed=seed, groups=dealing.groups, gap=dealing.gap)
    return split_random(label, shares, seed=seed, groups=dealing.groups, strata=dealing.strata)


__all__ = [
    "SIDES",
    "CleaningReport",
    "Customers",
    "blank_unreadable",
    "customer_groups",
    "prepare_customers",
    "prepare_labelled",
    "redealt",
]
