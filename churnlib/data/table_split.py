"""How the rows of a table are dealt to training, validation and test: the options, and the way that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from churnlib.config.checks import nearest
from churnlib.data.dealing import MICROSECONDS_PER_DAY, Dealing, customer_groups, goes_by_time, moments_of, strata_of
from churnlib.data.described import DescribedTable
from churnlib.data.rolling import split_time
from churnlib.data.splits import Split, check_classes, check_shares, split_column, split_random
from churnlib.errors import ConfigError
from churnlib.schema import unknown_column


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How rows are dealt, see :class:`churnlib.config.SplitConfig`.

    Attributes:
        train, validation, test: Shares of the rows; they sum to 1.
        by: auto, random, time or column.
        column: Says train, validation or test in each row.
        seed: Of the draw; the run's when None.
        stratify: Columns whose values are dealt in equal shares too.
        group: Column that names what must stay together.
        origins: Windows of time that are trained one after the other.
        gap_days: Days that must lie between a row and the next side.
    """

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    by: str = "auto"
    column: str | None = None
    seed: int | None = None
    stratify: Sequence[str] = ()
    group: str | None = None
    origins: int = 1
    gap_days: float = 0.0

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of train, validation and test."""
        return self.train, self.validation, self.test


def read_split(given: Mapping[str, Any] | None, names: Sequence[str], *, time: str | None) -> SplitOptions:
    """Return the options with those that are not given, and refuse what is impossible.

    Args:
        given: The options by name.
        names: Columns of the table.
        time: Column with the date of each row, if there is one.

    Raises:
        ConfigError: With the option and the remedy.
    """
    known = [one.name for one in fields(SplitOptions)]
    for key in given or {}:
        if key not in known:
            hint = nearest(key, known) or f"; known are {', '.join(known)}"
            raise ConfigError(f"unknown option split.{key}{hint}")
    options = SplitOptions(**(given or {}))
    check_shares(options.shares)
    if options.by not in ("auto", "random", "time", "column"):
        raise ConfigError(f"split.by must be one of auto, random, time, column, got {options.by!r}")
    if options.by == "time" and time is None:
        raise ConfigError("split.by=time needs the column with the dates: set data.time=COLUMN")
    if (options.by == "column") != (options.column is not None):
        raise ConfigError("split.by=column and split.column=COLUMN go together; give both or neither")
    for option, named in (("split.column", options.column), ("split.group", options.group)):
        if named is not None and named not in names:
            raise ConfigError(unknown_column(named, names, option=option))
    return options


def deal(table: DescribedTable, options: SplitOptions, *, seed: int) -> tuple[Split, Dealing]:
    """Deal the rows to the sides, and return them with what was heeded.

    Args:
        table: The rows.
        options: How.
        seed: Of the draw, unless the options have their own.

    Raises:
        ConfigError: If an option does not go with the way in which the rows are dealt.
        DataError: If a side would lack a class.
    """
    by_time = goes_by_time(table.typed, table.schema, options.by)
    _check_way(options, by_time=by_time)
    dealing = Dealing(
        groups=customer_groups(table.frame, table.schema, group=options.group),
        strata=strata_of(table.frame, options.stratify),
        moments=moments_of(table.typed, table.schema.time) if by_time and table.schema.time is not None else None,
        gap=round(options.gap_days * MICROSECONDS_PER_DAY),
    )
    split = _split(table, dealing, options, seed=seed if options.seed is None else options.seed)
    check_classes(table.label, split, table.schema.classes)
    return split, dealing


def _check_way(options: SplitOptions, *, by_time: bool) -> None:
    """Refuse options that do not go with the way in which rows are dealt."""
    how = "time" if by_time else "column" if options.by == "column" else "random"
    if options.stratify and how != "random":
        raise ConfigError(
            f"split.stratify is for sides at random, and these go by {how}; add split.by=random, or leave it out"
        )
    if options.group is not None and how == "column":
        raise ConfigError("split.group does not go with split.column, which says itself who stands where; give one")
    for option, value, none in (("origins", options.origins, 1), ("gap_days", options.gap_days, 0)):
        if value != none and not by_time:
            raise ConfigError(
                f"split.{option}={value} is for sides that go by time, and these go by {how}; add "
                "split.by=time and data.time=COLUMN, or leave it out"
            )


def _split(table: DescribedTable, dealing: Dealing, options: SplitOptions, *, seed: int) -> Split:
    if options.column is not None:
        return split_column(table.frame[options.column].cast(pl.String).to_list(), column=options.column)
    if dealing.moments is not None:
        return split_time(dealing.moments, options.shares, seed=seed, groups=dealing.groups, gap=dealing.gap)
    return split_random(table.label, options.shares, seed=seed, groups=dealing.groups, strata=dealing.strata)


__all__ = ["SplitOptions", "deal", "read_split"]
