"""``map``: one spelling for one thing, and one unit for one quantity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.data.steps.step import CATEGORIES, NUMBERS, Fitted, Learned, Step, Training
from churnlib.errors import ConfigError
from churnlib.schema import Column, parsing
from churnlib.schema.parsing import cell_of

_UNIT = ("factor", "by", "factors", "without")


@dataclass(frozen=True)
class Map(Step):
    """Bring synonyms and units of a column to one form; nothing is learned.

    Attributes:
        values: By category column: new text by old text; null makes a gap. Texts that are not named stay.
        ignore_case: Whether ``two year`` is also ``Two Year`` among the old texts.
        units: By numeric column: ``{factor: 0.001}``, or ``{by: COLUMN, factors: {MB: 0.001, GB: 1}}`` where another
            column says the unit of each row. A value of a unit that is not named becomes a gap, and so does one without
            a unit unless ``without`` gives a factor for it.
        drop: Whether the columns of units are taken away afterwards.
    """

    word = "map"
    values: Mapping[str, Any] = field(default_factory=dict)
    ignore_case: bool = False
    units: Mapping[str, Any] = field(default_factory=dict)
    drop: bool = True

    def __post_init__(self) -> None:
        for name in ("values", "units"):
            given = getattr(self, name)
            if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) and one for one in given.values()):
                raise ConfigError(f"{self.option(name)} must be a mapping of columns to mappings, got {given!r}")

    def fit(self, training: Training) -> Learned:
        """Check the tables against the columns, and count."""
        columns = {column.name: column for column in training.columns}
        texts = training.choose(tuple(self.values), CATEGORIES, option=self.option("values")) if self.values else ()
        numbers = training.choose(tuple(self.units), NUMBERS, option=self.option("units")) if self.units else ()
        tables = {name: self._table(columns[name], self.values[name]) for name in texts}
        units = {name: self._unit(name, self.units[name], training) for name in numbers}
        says_unit = tuple(dict.fromkeys(unit["by"] for unit in units.values() if unit["by"]))
        fitted = FittedMap(tables, bool(self.ignore_case), units, says_unit if self.drop else ())
        after = fitted.apply(training.rows.lazy()).collect()
        said = [_said(name, training.rows[name], after[name]) for name in (*texts, *numbers)]
        return Learned(fitted, training.kept(*fitted.dropped), rows=after, said=tuple(line for line in said if line))

    def _table(self, column: Column, given: Mapping[Any, Any]) -> tuple[tuple[str, str | None], ...]:
        """Return pairs of old and new text, as the column's cells are read."""
        pairs: dict[str, str | None] = {}
        for old, new in given.items():
            read = _as_cell(column, old)
            key = read.lower() if self.ignore_case and read else read
            value = None if new is None else _as_cell(column, new)
            if key is None or key in pairs:
                raise ConfigError(f"values.{column.name} of the step {self.word!r} names {old!r} twice, or not at all")
            if column.order and value is not None and value not in column.order:
                raise ConfigError(
                    f"values.{column.name} of the step {self.word!r} must give one of {', '.join(column.order)}, "
                    f"got {new!r}"
                )
            pairs[key] = value
        return tuple(pairs.items())

    def _unit(self, name: str, given: Mapping[Any, Any], training: Training) -> dict[str, Any]:
        option = f"units.{name} of the step {self.word!r}"
        unknown = [key for key in given if key not in _UNIT]
        if unknown or ("by" in given) != ("factors" in given) or ("factor" in given) == ("by" in given):
            raise ConfigError(f"{option} must be {{factor: 0.001}} or {{by: COLUMN, factors: {{MB: 0.001, GB: 1}}}}")
        if "factor" in given:
            return {"by": "", "factors": (), "without": _factor(given["factor"], f"{option}, factor")}
        (by,) = training.choose((str(given["by"]),), CATEGORIES, option=f"{option}, by,")
        if not isinstance(given["factors"], Mapping):
            raise ConfigError(f"{option} needs factors by unit, such as {{MB: 0.001, GB: 1}}, got {given['factors']!r}")
        factors = tuple((str(unit), _factor(value, f"{option}, {unit}")) for unit, value in given["factors"].items())
        without = given.get("without")
        return {"by": by, "factors": factors, "without": None if without is None else _factor(without, option)}


@dataclass(frozen=True)
class FittedMap(Fitted):
    """Tables of texts and units.

    Attributes:
        values: Pairs of old and new text by column.
        ignore_case: Whether case counts in the old ones, which are in lower case then.
        units: By column: ``by`` (column that says the unit, or empty), pairs of ``factors``, and ``without``, the
            factor where there is no unit.
        dropped: Columns that are taken away.
    """

    values: Mapping[str, tuple[tuple[str, str | None], ...]]
    ignore_case: bool
    units: Mapping[str, Mapping[str, Any]]
    dropped: tuple[str, ...]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        # Units first: the text that says a unit may have a table of its own, but is looked up as it came.
        scaled = [_scaled(name, unit) for name, unit in self.units.items()]
        texts = [self._renamed(name, pairs) for name, pairs in self.values.items()]
        return rows.with_columns([*scaled, *texts]).drop(self.dropped)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: (name,) for name in self.values} | {
            name: (name, unit["by"]) if unit["by"] else (name,) for name, unit in self.units.items()
        }

    def _renamed(self, name: str, pairs: tuple[tuple[str, str | None], ...]) -> pl.Expr:
        cell = cell_of(name)
        key = cell.str.to_lowercase() if self.ignore_case else cell
        old, new = [pair[0] for pair in pairs], pl.Series([pair[1] for pair in pairs], dtype=pl.String)
        return key.replace_strict(old, new, default=cell, return_dtype=pl.String).alias(name)


def _scaled(name: str, unit: Mapping[str, Any]) -> pl.Expr:
    cell = cell_of(name)
    if not unit["by"]:
        return _finite(cell * unit["without"]).alias(name)
    names, factors = [pair[0] for pair in unit["factors"]], [pair[1] for pair in unit["factors"]]
    said = cell_of(unit["by"])
    factor = said.replace_strict(names, pl.Series(factors, dtype=pl.Float64), default=None, return_dtype=pl.Float64)
    if unit["without"] is not None:
        factor = pl.when(said.is_null()).then(unit["without"]).otherwise(factor)
    return _finite(cell * factor).alias(name)


def _finite(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_finite()).then(value)


def _as_cell(column: Column, value: Any) -> str | None:
    """Return a text as cells of the column are read: `1.0` is `1`, and `Yes` of a truth value is `true`."""
    text = pl.Series("cell", [str(value).lower() if isinstance(value, bool) else str(value)])
    return text.to_frame().select(parsing.as_kind(pl.col("cell"), text.dtype, column.kind)).item()


def _factor(value: Any, option: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{option} must be a number above 0, got {value!r}")
    return float(value)


def _said(name: str, before: pl.Series, after: pl.Series) -> str:
    changed = int((before.ne_missing(after)).sum())
    gone = after.null_count() - before.null_count()
    gaps = f", {gone:,} of them to gaps" if gone else ""
    return f"{name!r}: {changed:,} of {len(before):,} training rows changed{gaps}" if changed else ""
