"""What no row shows by itself: repeated keys, columns with too many gaps, columns that are out of date."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

import polars as pl

from churnlib.data.validation.book import RuleBook
from churnlib.data.validation.report import Entry
from churnlib.errors import ConfigError
from churnlib.schema import Kind, Schema
from churnlib.schema.parsing import cell_of

MICROSECONDS_PER_DAY = 86_400e6


def repeated(typed: pl.DataFrame, book: RuleBook) -> pl.DataFrame:
    """Return a Boolean column for each key that comes twice: the rows with an earlier row of the same key.

    Keys with a gap are compared with none.

    >>> table = pl.DataFrame({"phone": ["1", "2", "1", None, None]})
    >>> repeated(table, RuleBook(unique=(("phone",),))).to_dict(as_series=False)
    {'phone.unique': [False, False, True, False, False]}
    """
    masks = []
    for key in book.unique:
        cells = [cell_of(name) for name in key]
        later = ~pl.struct(cells).is_first_distinct() & pl.all_horizontal(cell.is_not_null() for cell in cells)
        masks.append(typed.select(later.alias(f"{'+'.join(key)}.unique")).to_series())
    return pl.DataFrame([mask for mask in masks if mask.any()])


def share_missing(typed: pl.DataFrame, book: RuleBook) -> list[Entry]:
    """Return an entry for each column whose gaps are limited."""
    return missing_entries({name: typed[name].null_count() for name in book.columns}, len(typed), book)


def missing_entries(missing: Mapping[str, int], n_rows: int, book: RuleBook) -> list[Entry]:
    """Return the entries of limited gaps, from counts of them by column."""
    entries = []
    for name, options in book.columns.items():
        if "max_missing" in options:
            limit, share = float(options["max_missing"]), missing.get(name, 0) / max(n_rows, 1)
            asked = f"missing in at most {limit:.4g} of the rows"
            entries.append(Entry(f"{name}.max_missing", asked, found=f"{share:.4f}", holds=share <= limit))
    return entries


def freshness(
    typed: pl.DataFrame, book: RuleBook, schema: Schema, *, now: dt.datetime | None = None
) -> Iterator[Entry]:
    """Yield an entry for each column whose age is limited.

    The newest date of a column is measured from the snapshot, for each snapshot on its own, and the worst counts; the
    column of the snapshots themselves, and any column of a table without them, from now.

    Args:
        typed: Read columns, among them those of the rules.
        book: The rules.
        schema: The table's schema.
        now: UTC, naive; the clock's when left out.

    Raises:
        ConfigError: If a column holds no dates.
    """
    for name, days in book.fresh.items():
        if schema[name].kind is not Kind.datetime and name != schema.time:
            raise ConfigError(
                f"data.rules.fresh names {name!r}, which is {schema[name].kind}; it takes columns of dates"
            )
        from_snapshot = schema.time is not None and name != schema.time
        age = _from_snapshot(typed, name, schema.time) if from_snapshot else _from_now(typed, name, now)
        found = "no dates" if age is None else f"{age:.1f} days"
        behind = "the snapshot" if from_snapshot else "today"
        asked = f"newest value at most {days:g} days before {behind}"
        yield Entry(f"{name}.fresh", asked, found=found, holds=age is not None and age <= days)


def _from_snapshot(typed: pl.DataFrame, name: str, time: str | None) -> float | None:
    assert time is not None
    known = typed.select(snapshot=cell_of(time), value=cell_of(name)).drop_nulls()
    ages = (
        known.group_by("snapshot").agg(pl.col("value").max()).select(pl.col("snapshot") - pl.col("value")).to_series()
    )
    return None if ages.is_empty() else int(ages.to_physical().max()) / MICROSECONDS_PER_DAY  # type: ignore[arg-type]


def _from_now(typed: pl.DataFrame, name: str, now: dt.datetime | None) -> float | None:
    newest = typed[name].max()
    if not isinstance(newest, dt.datetime):
        return None
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None) if now is None else now
    return (now - newest).total_seconds() / 86_400


__all__ = ["freshness", "missing_entries", "repeated", "share_missing"]
