"""From the rows of a table to those that are used, and what they hold: the way until rows are dealt to sides.

    rows with a target ─► without duplicates ─► described ─► those that keep the rules

Each function takes what the one before returned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from churnlib.data.cleaning import CleaningReport, column_readings, count_near_duplicates
from churnlib.data.coercion import Coerced, coerce, read_columns
from churnlib.data.duplicates import deduplicate
from churnlib.data.events import infer_with_events
from churnlib.data.lifetimes import read_times, usable
from churnlib.data.table_spec import TableSpec
from churnlib.data.target import check_target, encode_target, target_given
from churnlib.data.validation import RuleBook, Validated, read_rules, validate
from churnlib.data.validation.masks import kept_when_scoring
from churnlib.data.validation.validate import with_other_roles
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Schema, unknown_column


@dataclass(frozen=True, slots=True)
class UsedRows:
    """Some rows of a table.

    Attributes:
        frame: The rows, cells as they came.
        number: ``(n,)`` int64, their numbers in the table, ascending.
        report: Why the others are not among them.
    """

    frame: pl.DataFrame
    number: np.ndarray
    report: CleaningReport

    @classmethod
    def all_of(cls, frame: pl.DataFrame) -> UsedRows:
        """Return all rows of a table."""
        return cls(frame, np.arange(len(frame)), CleaningReport(len(frame)))

    def keep(self, rows: pl.Series, **left_out: int) -> UsedRows:
        """Return some of the rows.

        Args:
            rows: Their numbers here, ascending, or Boolean.
            left_out: How many of the others are left out for which reason, by attributes of the report.
        """
        chosen = np.flatnonzero(rows.to_numpy()) if rows.dtype == pl.Boolean else rows.to_numpy()
        report = replace(self.report, **left_out)
        if len(chosen) == len(self.number):
            return UsedRows(self.frame, self.number, report)
        return UsedRows(self.frame[chosen], self.number[chosen], report)


@dataclass(frozen=True, slots=True)
class DescribedTable:
    """Rows with what is known of them.

    Attributes:
        rows: Which they are.
        label: ``(n,)`` int64 class of each row; 1 is churn for two classes.
        schema: What the columns are.
        coerced: The cells, read.
        validated: The rules of the table and the rows that break them, if there are rules.
    """

    rows: UsedRows
    label: np.ndarray
    schema: Schema
    coerced: Coerced
    validated: Validated | None = None

    @property
    def frame(self) -> pl.DataFrame:
        """The rows, cells as they came."""
        return self.rows.frame

    @property
    def typed(self) -> pl.DataFrame:
        """The rows, with the types of the schema."""
        return self.coerced.typed


def rows_with_target(frame: pl.DataFrame, spec: TableSpec) -> UsedRows:
    """Return the rows that say whether their customer left, and when where that is asked for.

    Raises:
        DataError: If there is no such column, it has one class or too many, or no row says how long.
        ConfigError: If the positive value is not one of two classes.
    """
    check_target(frame, spec.target, positive=spec.positive)
    given = target_given(frame[spec.target])
    rows = UsedRows.all_of(frame).keep(given, without_target=int((~given).sum()))
    if spec.lifetimes is None:
        return rows
    timed = usable(read_times(rows.frame, spec.lifetimes))
    if not timed.any():
        raise DataError(
            f"no row has a duration above 0 in {spec.lifetimes.duration!r}; name the column that says how long each "
            "customer was followed (task.duration)"
        )
    return rows.keep(timed, without_duration=int((~timed).sum()))


def without_duplicates(rows: UsedRows, spec: TableSpec) -> UsedRows:
    """Leave out exact copies, and all but the newest row of a customer.

    Raises:
        ConfigError: If the table lacks the column that says which row is the newest.
    """
    names = rows.frame.columns
    if spec.latest is not None and spec.latest not in names:
        raise ConfigError(unknown_column(spec.latest, names, option="data.latest"))
    given = None if spec.latest is None else spec.format_of(spec.latest)
    # A wrong name of these two is reported with the schema.
    id_column, time_column = (name if name in names else None for name in (spec.id, spec.time))
    unique = deduplicate(
        rows.frame, id=id_column, time=time_column, latest=spec.latest, formats=(given,) if given else ()
    )
    return rows.keep(unique.kept, exact_duplicates=unique.exact, repeated_customers=unique.repeated)


def describe(rows: UsedRows, spec: TableSpec, *, sensitive: bool = True) -> DescribedTable:
    """Read the target, find what the columns hold, and read them.

    Args:
        rows: Of the table, with a target each.
        spec: What is said of it.
        sensitive: Read the sensitive columns too, by which models are judged.

    Raises:
        DataError: If the table cannot be read as customers.
        ConfigError: If an option is wrong.
    """
    frame = rows.frame
    label, classes = encode_target(frame[spec.target], spec.positive)
    schema = infer_with_events(
        frame, spec.events, target=spec.target, id=spec.id, time=spec.time, drop=spec.unread, columns=spec.columns,
        classes=classes,
    )  # fmt: skip
    schema = replace(schema, about=dict(spec.about))
    return DescribedTable(rows, label, schema, coerce(frame, schema, sensitive=sensitive))


def keep_valid(table: DescribedTable, spec: TableSpec) -> DescribedTable:
    """Leave out the rows that break rules, and describe the others anew.

    The rules that a row can be asked ever after stand in the schema from here on.

    Raises:
        BrokenRules: If too many rows break rules.
        ConfigError: If a rule does not suit the table.
    """
    book = read_rules(spec.rules)
    if not book:
        return table
    validated = validate(table.frame, table.coerced, table.schema, book)
    validated.check()
    if not validated.kept.all():
        broken = validated.report.quarantined
        table = describe(table.rows.keep(pl.Series(validated.kept), breaking_rules=broken), spec)
    return replace(table, schema=_with_rules(table, book), validated=validated)


def _with_rules(table: DescribedTable, book: RuleBook) -> Schema:
    rules = book.bind(table.schema, with_other_roles(table.frame, table.typed, table.schema))
    read = [column.name for column in read_columns(table.schema)]
    return replace(table.schema, rules=kept_when_scoring(rules, read))


def cleaning_report(table: DescribedTable, *, show_unreadable: int = 0) -> CleaningReport:
    """Return what was done to the rows, and how their cells were read.

    Args:
        table: The rows.
        show_unreadable: Different unreadable cells of a column to show.
    """
    return replace(
        table.rows.report,
        near_duplicates=count_near_duplicates(table.frame, table.schema),
        columns=tuple(column_readings(table.frame, table.coerced, table.schema, failures=show_unreadable)),
    )


__all__ = [
    "DescribedTable",
    "UsedRows",
    "cleaning_report",
    "describe",
    "keep_valid",
    "rows_with_target",
    "without_duplicates",
]
