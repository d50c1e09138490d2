"""One customer table on its way to a model: read, cleaned, split, prepared. Nothing here knows torch.

The order of the steps is the order of the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from churnlib.data.cleaning import CleaningReport, column_readings, count_near_duplicates
from churnlib.data.coercion import Coerced, coerce, read_columns
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
from churnlib.data.events import EventDefinition, infer_with_events
from churnlib.data.missing import Gaps, mostly_missing
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.rolling import split_time
from churnlib.data.sides import prepare_sides
from churnlib.data.splits import SIDES, Split, check_classes, check_shares, split_column, split_random
from churnlib.data.target import check_target, encode_target, target_given
from churnlib.data.validation import RuleBook, Validated, read_rules, validate
from churnlib.data.validation.masks import kept_when_scoring
from churnlib.data.validation.validate import with_other_roles
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, Schema, infer_schema, parsing, unknown_column


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
        validated: The rules of the table and the rows that break them, if there are rules.
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
    validated: Validated | None = None
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
    events: Sequence[EventDefinition] = (),
    split: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    seed: int = 42,
    truth: np.ndarray | None = None,
    rules: Any = None,
    latest: str | None = None,
    show_unreadable: int = 0,
    about: Mapping[str, Any] | None = None,
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
        events: How columns of the table were made from event tables, see :func:`churnlib.data.events.gather_events`.
        split: ``train``, ``validation``, ``test`` (shares), ``by`` (auto, random, time, column), ``column``, ``seed``,
            ``stratify``, ``group``, ``gap_days``; see :class:`churnlib.config.SplitConfig`.
        preprocess: See :func:`churnlib.data.sides.prepare_sides`.
        seed: Of the split, unless ``split`` has its own.
        truth: ``(n,)`` true churn probabilities of the rows, kept beside them.
        rules: Rules of the table, see :func:`churnlib.data.validation.read_rules`; rows that break some are left out.
        latest: Column that says which of a customer's rows is the newest; it is not read otherwise.
        show_unreadable: Different unreadable cells of a column that the report may show.
        about: What the schema keeps about the table: ``owner``, ``purpose``, ...

    Raises:
        DataError: If the table cannot be learned from; :class:`~churnlib.data.validation.BrokenRules` if too many rows
            break rules.
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
    formats = _format_of(latest, frame, columns)
    unique = deduplicate(frame[row], id=_named(frame, id), time=_named(frame, time), latest=latest, formats=formats)
    row = row[unique.kept]

    hidden = [*drop, *(name for name in (options["column"], options["group"], latest) if name not in (None, id))]
    roles: dict[str, Any] = {"target": target, "id": id, "time": time, "drop": hidden, "columns": columns}
    describe = partial(_describe, positive=positive, roles=roles, events=events, about=about or {})
    table = describe(frame[row])
    book = read_rules(rules)
    validated = validate(table.frame, table.coerced, table.schema, book) if book else None
    if validated is not None:
        validated.check()
        row = row.filter(pl.Series(validated.kept))
        table = _with_rules(table if validated.kept.all() else describe(frame[row]), book)
    frame, label, schema, coerced = table
    seed_of_split = seed if options["seed"] is None else options["seed"]
    dealing = _dealing(frame, coerced.typed, schema, options)
    dealt = _split(frame, label, dealing, options, shares, seed_of_split)
    check_classes(label, dealt, schema.classes)

    report = CleaningReport(
        n_rows, without_target, unique.exact, unique.repeated,
        near_duplicates=count_near_duplicates(frame, schema),
        breaking_rules=0 if validated is None else validated.report.quarantined,
        columns=tuple(column_readings(frame, coerced, schema, failures=show_unreadable)),
    )  # fmt: skip
    kept_truth = None if truth is None else truth[row.to_numpy()]
    done = _prepared(frame, coerced, label, schema, dealt, dealing, preprocess, report, kept_truth, seed=seed)
    return replace(done, validated=validated)


class _Table(NamedTuple):
    """Rows with what is known of them."""

    frame: pl.DataFrame
    label: np.ndarray
    schema: Schema
    coerced: Coerced


def _describe(
    frame: pl.DataFrame,
    *,
    positive: str | None,
    roles: Mapping[str, Any],
    events: Sequence[EventDefinition],
    about: Mapping[str, Any],
) -> _Table:
    """Read the target, find what the columns hold, and read them."""
    label, classes = encode_target(frame[roles["target"]], positive)
    schema = replace(infer_with_events(frame, events, **roles, classes=classes), about=dict(about))
    return _Table(frame, label, schema, coerce(frame, schema, sensitive=True))


def _with_rules(table: _Table, book: RuleBook) -> _Table:
    """Write the rules that a row can be asked ever after into the schema."""
    rules = book.bind(table.schema, with_other_roles(table.frame, table.coerced.typed, table.schema))
    read = [column.name for column in read_columns(table.schema)]
    return table._replace(schema=replace(table.schema, rules=kept_when_scoring(rules, read)))


def _format_of(name: str | None, frame: pl.DataFrame, columns: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the date format that the user gave a column, if any."""
    if name is None:
        return ()
    if name not in frame.columns:
        raise ConfigError(unknown_column(name, frame.columns, option="data.latest"))
    given = (columns or {}).get(name, {}).get("format")
    return (given,) if given else ()


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
    coerced = coerce(frame, schema, sensitive=True)
    report = CleaningReport(len(frame), columns=tuple(column_readings(frame, coerced, schema)))
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
    report = replace(report, gaps=_proposals(coerced.typed, label, schema, split, preprocess), steps=done.said)
    return Customers(
        shown, coerced.typed, label, schema, done.split, done.preparation, done.encoded, report, truth, dealing=dealing
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
    frame = customers.frame
    if column not in frame.columns:
        raise ConfigError(unknown_column(column, frame.columns, option=option))
    if column == customers.schema.target:
        raise ConfigError(f"{option}={column} is the target; name a column that says what a customer is worth")
    numbers = frame.select(parsing.as_kind(parsing.cell_of(column), frame.schema[column], Kind.numeric)).to_series()
    if numbers.null_count() == len(numbers):
        raise ConfigError(f"{option}={column} holds no numbers; name a column that says what a customer is worth")
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
