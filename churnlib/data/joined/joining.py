"""Several sources become one table: each row of the base gets what the others know of its customer at its date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl
import polars.selectors as cs

from churnlib.config.joined import SourceConfig
from churnlib.data.joined.keys import customers_of, one_row_per_key, unknown_customers
from churnlib.data.joined.reading import reading_sources
from churnlib.data.joined.source import KEY, MOMENT, Source, open_base, open_source
from churnlib.errors import ConfigError, DataError

ROW = "\0row"


@dataclass(frozen=True, slots=True)
class Joined:
    """A joined table.

    Attributes:
        table: The base's columns, then those of each source; the rows of the base in their order, not read yet.
        said: Sentences on what has a partner and what has none.
    """

    table: pl.LazyFrame
    said: tuple[str, ...]


def join_sources(
    sources: Mapping[str, SourceConfig],
    *,
    base: str,
    id: str,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    format: str | None = None,  # noqa: A002
) -> Joined:
    """Join sources on the customer and, where they have dates, on the date of the snapshot.

    The keys of all sources are read here, and checked; the other columns are read when the table is. A date without a
    time of day is the beginning of its day.

    Args:
        sources: By name; see :class:`churnlib.config.joined.SourceConfig`.
        base: The one whose rows are the table's. It may have several rows for one key: they are found, as in every
            table, when it is cleaned.
        id: What the customer is called in the table.
        time: What the date of a row is called there; None for a table without dates.
        format: strftime pattern of the base's dates, if they come as text that is not ISO 8601; found when None.

    Raises:
        ConfigError: If a column is not there, or two sources have one of the same name.
        DataError: If a source cannot be read, or its keys are none.
    """
    first = open_base(base, sources[base], id=id, time=time, format=format)
    others = [open_source(name, config, id=id) for name, config in sources.items() if name != base]
    _check_names([first, *others])
    said: list[str] = []
    checked: list[Source] = []
    for other in others:
        unique, lines = one_row_per_key(other)
        checked.append(unique)
        said += lines
    with reading_sources(sources):
        said += _count(first, checked)
        columns = [*first.columns, *(name for other in checked for name in other.columns)]
        return Joined(_joined(first, checked).select(cs.by_name(*columns)), tuple(said))


def _check_names(sources: Sequence[Source]) -> None:
    """Refuse two columns of one name."""
    owner: dict[str, Source] = {}
    for source in sources:
        for name in source.columns:
            if name in owner:
                raise ConfigError(
                    f"{owner[name].name} and {source.name} both have a column {name!r}; set "
                    f'"{source.option}.rename={{{name}: {source.name}_{name}}}", or {source.option}.drop=[{name}]'
                )
            owner[name] = source


def _joined(base: Source, others: Sequence[Source]) -> pl.LazyFrame:
    """Return the base with the columns of the others, in its order."""
    table = reduce(_with_equal, [other for other in others if other.config.kind != "newest"], base.table)
    newest = [other for other in others if other.config.kind == "newest"]
    if not newest:
        return table
    ordered = table.with_row_index(ROW).sort(MOMENT, nulls_last=True)
    return reduce(_with_newest, newest, ordered).sort(ROW)


def _with_equal(table: pl.LazyFrame, other: Source) -> pl.LazyFrame:
    """Join the row with the same customer, and the same date where the source has dates."""
    own = other.table.select(*other.keys, cs.by_name(*other.columns), _mark(other))
    return table.join(own, on=other.keys, how="left", maintain_order="left")


def _with_newest(table: pl.LazyFrame, other: Source) -> pl.LazyFrame:
    """Join the newest row of the customer that is no later than the snapshot.

    Both sides are in the order of their dates. Rows without a customer or a date find nothing, since the source's have
    both.
    """
    time = f"{MOMENT}{other.name}"
    own = other.table.select(KEY, pl.col(MOMENT).alias(time), cs.by_name(*other.columns), _mark(other)).sort(time)
    days = other.config.max_age_days
    joined = table.join_asof(
        own,
        left_on=MOMENT,
        right_on=time,
        by=KEY,
        strategy="backward",
        tolerance=None if days is None else dt.timedelta(days=days),
        coalesce=False,
        check_sortedness=False,  # polars cannot check it by customer, and warns of that
    )
    return joined.drop(time)


def _mark(other: Source) -> pl.Expr:
    """Return the column that says which rows have a partner; null after the join where there is none."""
    return pl.lit(True).alias(_mark_name(other))


def _mark_name(other: Source) -> str:
    return f"\0in {other.name}"


def _count(base: Source, others: Sequence[Source]) -> list[str]:
    """Return a sentence about each source: rows of the base without a partner, customers that the base does not know.

    Raises:
        DataError: If a source that is required lacks a customer.
    """
    marks = [_mark_name(other) for other in others]
    found = _joined(base, others).select(pl.len(), cs.by_name(*marks).null_count()).collect(engine="streaming").row(0)
    rows, lacking = found[0], dict(zip(marks, found[1:], strict=True))
    if not rows:
        raise DataError(f"{base.name} ({base.config.path}) has columns but no rows; export it again with its customers")
    said, customers = [], customers_of(base)
    for other in others:
        without = lacking[_mark_name(other)]
        n_known, unknown = unknown_customers(other, base, customers)
        if without and other.config.required:
            raise DataError(_required(base, other, without, rows))
        lines = f"{other.name}: {rows - without:,} of {rows:,} rows of {base.name} have a row of it"
        said.append(f"{lines}; {unknown:,} of its {n_known:,} customers are not in {base.name}" if unknown else lines)
    return said


def _required(base: Source, other: Source, without: int, rows: int) -> str:
    alone = _joined(base, [other]).filter(pl.col(_mark_name(other)).is_null()).select(KEY).head(1).collect()
    when = "" if not other.dated else " no later than the snapshot" if other.config.kind == "newest" else " of its date"
    return (
        f"{without:,} of {rows:,} rows of {base.name} have no row{when} in {other.name} (such as {alone.item()!r}), "
        f"which {other.option}.required=true asks for; complete {other.name}, or leave the option out"
    )


__all__ = ["Joined", "join_sources"]
