"""What can be wrong with the keys of a source: several rows for one, customers that nobody knows, lost zeros."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from churnlib.data.dates import TRIED_ROWS, find_formats
from churnlib.data.joined.reading import reading_source
from churnlib.data.joined.source import KEY, MOMENT, Source
from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing

DIGITS = r"^\d+$"


def one_row_per_key(source: Source) -> tuple[Source, list[str]]:
    """Return the source with one row for each key, and sentences about the rows that are not used.

    Rows without a customer, or without a date where dates are joined, have no key. Exact copies of a row count once.

    Raises:
        DataError: If it has no rows, or several different ones for a key and no ``latest`` to choose by.
    """
    keys, said = source.keys, []
    with reading_source(source.config):
        rows, *keyless = (
            source.table.select(pl.len(), cs.by_name(*keys).null_count()).collect(engine="streaming").row(0)
        )
        if not rows:
            raise DataError(f"{source.name} ({source.config.path}) has columns but no rows; export it again")
        for count, what in zip(keyless, ("customer", "date"), strict=False):
            if count:
                said.append(f"{source.name}: {count:,} of {rows:,} rows have no {what} that can be read")
        table = source.table.drop_nulls(keys)
        repeated = table.group_by(keys).agg(n=pl.len()).filter(pl.col("n") > 1).collect(engine="streaming")
    if not len(repeated):
        return source.with_table(table), said
    left_out = int(repeated["n"].sum()) - len(repeated)
    if source.latest is not None:
        said.append(f"{source.name}: {left_out:,} older rows of a key are not used ({source.option}.latest)")
        return source.with_table(_newest(table, source, source.latest)), said
    with reading_source(source.config):
        different = table.join(repeated.lazy(), on=keys, how="semi").unique().collect(engine="streaming")
    if len(different) > len(repeated):
        raise DataError(_several(source, repeated))
    said.append(f"{source.name}: {left_out:,} exact copies of other rows are not used")
    return source.with_table(table.unique(subset=keys, keep="any")), said


def _newest(table: pl.LazyFrame, source: Source, latest: str) -> pl.LazyFrame:
    """Return the newest row of each key, by dates or by numbers; of equals the last one."""
    cell, dtype = parsing.cell_of(latest), table.collect_schema()[latest]
    with reading_source(source.config):
        head = table.select(cell).head(TRIED_ROWS).collect().to_series()
    age = parsing.number(cell, dtype)
    if head.to_frame().select(parsing.number(pl.first(), dtype)).to_series().null_count() > head.null_count():
        option = f"{source.option}.latest"
        age = parsing.moment(cell, dtype, find_formats(head, None, option=option, remedy=option)).to_physical()
    ordered = table.with_columns(age.alias("\0age")).sort("\0age", nulls_last=False, maintain_order=True)
    return ordered.unique(subset=source.keys, keep="last", maintain_order=True).drop("\0age")


def _several(source: Source, repeated: pl.DataFrame) -> str:
    """Return the sentence about a source with several rows for a key."""
    example = repeated.sort("n", *source.keys, descending=[True, *(False for _ in source.keys)]).row(0, named=True)
    dated = f" at {example[MOMENT]}" if source.dated else ""
    remedy = f"set {source.option}.latest=COLUMN to take the newest"
    if not source.dated:
        remedy += f", {source.option}.time=COLUMN if they have dates, or give it as data.events if they are events"
    return (
        f"{source.name} ({source.config.path}) has several rows for {len(repeated):,} of its customers"
        f"{' and dates' if source.dated else ''} (such as {example['n']} for {example[KEY]!r}{dated}); {remedy}"
    )


def customers_of(source: Source) -> pl.DataFrame:
    """Return the different customers of a source, in one column ``KEY``."""
    with reading_source(source.config):
        return source.table.select(KEY).drop_nulls().unique().collect(engine="streaming")


def unknown_customers(source: Source, base: Source, customers: pl.DataFrame) -> tuple[int, int]:
    """Return how many customers a source has, and how many of them the base does not know.

    Args:
        source: The source.
        base: The base.
        customers: Those of the base.

    Raises:
        DataError: If the base knows none of them, or knows some under numbers with other leading zeros.
    """
    known, own = customers.lazy(), customers_of(source)
    unknown = own.lazy().join(known, on=KEY, how="anti").collect()
    if len(unknown) and source.config.id_width is None:
        _check_zeros(source, base, known, unknown)
    if len(unknown) == len(own):
        raise DataError(
            f"none of the {len(own):,} customers of {source.name} is in {base.name} (such as {own[KEY].sort()[0]!r}, "
            f"and there {known.select(pl.col(KEY).min()).collect().item()!r}); does {source.option}.id name the "
            "customers as data.id does?"
        )
    return len(own), len(unknown)


def _check_zeros(source: Source, base: Source, known: pl.LazyFrame, unknown: pl.DataFrame) -> None:
    """Refuse customer numbers that are known but for their leading zeros: 7 where the base has 007."""
    bare = pl.col(KEY).str.strip_chars_start("0").alias("bare")
    numbers = pl.col(KEY).str.contains(DIGITS)
    theirs = known.filter(numbers).select(KEY, bare).unique(subset="bare", keep="any")
    found = unknown.lazy().filter(numbers).select(KEY, bare).join(theirs, on="bare", suffix="_base").sort(KEY).collect()
    if not len(found):
        return
    own, other = found.row(0, named=True)[KEY], found.row(0, named=True)[f"{KEY}_base"]
    where, width = (source, len(other)) if len(other) > len(own) else (base, len(own))
    raise ConfigError(
        f"{len(found):,} customers of {source.name} differ from those of {base.name} in leading zeros alone (such as "
        f"{own!r} and {other!r}): one of them was saved as a number; export it as text, or set "
        f"{where.option}.id_width={width} ({source.option}.id_width=0 if they are different customers)"
    )


__all__ = ["customers_of", "one_row_per_key", "unknown_customers"]
