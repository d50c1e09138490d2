"""Parts of the calendar: month, weekday and the like, as numbers or as points on a circle, and days before the row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from churnlib.data.steps.step import Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError
from churnlib.schema import Kind
from churnlib.schema.parsing import cell_of

PARTS: dict[str, tuple[int, int] | None] = {
    "month": (1, 12),
    "weekday": (1, 7),
    "quarter": (1, 4),
    "day": (1, 31),
    "week": (1, 53),
    "hour": (0, 24),
    "year": None,
}
"""First value and number of values of each part; a year does not come again."""

MICROSECONDS_PER_DAY = 86_400e6


@dataclass(frozen=True)
class Dates(Step):
    """Numbers from dates: ``joined_month``, ``joined_weekday_sin``, ``joined_days_before``.

    Attributes:
        columns: Date columns, the time column among them if wanted; all features that are dates when empty.
        parts: Parts given as numbers; Monday is weekday 1.
        cyclic: Parts given as sine and cosine, so that December and January are neighbours.
        days_before: Add the days from the date to the row's own date; None: where there is a time column.
        keep: Keep the date columns themselves, which the network reads as days before the row's date too.
    """

    word = "dates"
    columns: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("month", "weekday", "quarter", "day")
    cyclic: tuple[str, ...] = ()
    days_before: bool | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        for option in ("parts", "cyclic"):
            for part in getattr(self, option):
                if part not in PARTS:
                    raise ConfigError(f"{self.option(option)} must be of {', '.join(PARTS)}, got {part!r}")
        if "year" in self.cyclic:
            raise ConfigError(f"{self.option('cyclic')} names year, which does not come again; give it as one of parts")

    def fit(self, training: Training) -> Learned:
        """Find the date columns; nothing else is learned."""
        names = self._choose(training)
        if self.days_before and training.time is None:
            raise ConfigError(f"{self.option('days_before')} needs the date of each row: set data.time=COLUMN")
        since = training.time if self.days_before is not False else None
        fitted = FittedDates(names, self.parts, self.cyclic, since)
        made = map(number, fitted.names())
        return Learned(fitted, self.columns_after(training, made, in_place_of=() if self.keep else names))

    def _choose(self, training: Training) -> tuple[str, ...]:
        """Return the columns; the time column is no feature, but its parts may be features."""
        named = tuple(name for name in self.columns if name != training.time)
        if self.columns and not named:
            return self.columns
        chosen = training.choose(named, (Kind.datetime,), option=self.option("columns"))
        return self.columns or chosen


@dataclass(frozen=True)
class FittedDates(Fitted):
    """Which parts of which columns are made.

    Attributes:
        columns: Date columns.
        parts: As numbers.
        cyclic: As sine and cosine.
        time: Column that days are counted to; None for no such number.
    """

    columns: tuple[str, ...]
    parts: tuple[str, ...]
    cyclic: tuple[str, ...]
    time: str | None

    def names(self) -> tuple[str, ...]:
        """Return the names of the new columns."""
        return tuple(expression.meta.output_name() for expression in self._expressions())

    def _expressions(self) -> list[pl.Expr]:
        return [made for name in self.columns for made in self._of(name)]

    def _of(self, name: str) -> list[pl.Expr]:
        """Return what is made of a column."""
        made = [_part(name, part).alias(f"{name}_{part}") for part in self.parts]
        for part in self.cyclic:
            first, period = PARTS[part] or (0, 1)
            angle = (_part(name, part) - first) * (2 * math.pi / period)
            made += [angle.sin().alias(f"{name}_{part}_sin"), angle.cos().alias(f"{name}_{part}_cos")]
        if self.time is not None and name != self.time:
            before = (cell_of(self.time) - cell_of(name)).dt.total_microseconds() / MICROSECONDS_PER_DAY
            made.append(before.alias(f"{name}_days_before"))
        return made

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(self._expressions())

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        made = {one.meta.output_name(): (name,) for name in self.columns for one in self._of(name)}
        counted = {f"{name}_days_before": (name, self.time) for name in self.columns if self.time not in (None, name)}
        return {**made, **counted}  # type: ignore[dict-item]


def _part(name: str, part: str) -> pl.Expr:
    return getattr(cell_of(name).dt, part)().cast(pl.Float64)


__all__ = ["Dates", "FittedDates"]
