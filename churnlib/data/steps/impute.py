"""``impute``: gaps filled by one value per column, learned from training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from churnlib.data.scaling import in_range, quantiles
from churnlib.data.steps.arrays import for_each_column
from churnlib.data.steps.step import CATEGORIES, NUMBERS, Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind
from churnlib.schema.parsing import cell_of

FOR_NUMBERS = ("median", "mean", "mode", "constant", "none")
FOR_CATEGORIES = ("missing", "mode", "none")


@dataclass(frozen=True)
class Impute(Step):
    """Fill gaps: numbers by the median, categories by a category of their own, unless something else is asked for.

    Attributes:
        columns: Columns to fill; all numbers and categories when left out.
        numbers: ``median``, ``mean``, ``mode`` (the smallest of equally frequent ones), ``constant`` or ``none``.
        categories: ``missing`` (a category of its own), ``mode`` or ``none``. An ordinal column has no place for one
            more value in its order and takes the mode instead of ``missing``.
        constant: The number of ``numbers=constant``.
        missing: What the category of gaps is called.
        each: By column what differs: one of these words, or ``{constant: VALUE}``.
        indicator: Add ``NAME_missing`` (0 or 1) for each filled column that had gaps in the training rows.
    """

    word = "impute"
    columns: tuple[str, ...] = ()
    numbers: str = "median"
    categories: str = "missing"
    constant: float = 0.0
    missing: str = "missing"
    each: Mapping[str, Any] = field(default_factory=dict)
    indicator: bool = True

    def __post_init__(self) -> None:
        self.check_choice("numbers", FOR_NUMBERS)
        self.check_choice("categories", FOR_CATEGORIES)
        self.check_range("constant", float("-inf"), float("inf"), open_ends="low high")
        if not isinstance(self.each, Mapping):
            raise ConfigError(f"{self.option('each')} must be a mapping such as {{usage: mean}}, got {self.each!r}")

    def fit(self, training: Training) -> Learned:
        """Learn one value for each column."""
        names = training.choose(self.columns, (*NUMBERS, *CATEGORIES), option=self.option("columns"))
        named = training.choose(tuple(self.each), (*NUMBERS, *CATEGORIES), option=self.option("each"))
        kinds = {column.name: column for column in training.columns}
        fills: dict[str, float | str] = {}
        flagged: list[str] = []
        said: list[str] = []
        methods = {name: self._method(kinds[name]) for name in dict.fromkeys((*names, *(named if self.each else ())))}
        filled = [name for name, (method, _) in methods.items() if method != "none"]
        learned = for_each_column(training.rows, filled, lambda values: _fill(values, *methods[values.name]))
        for name, fill in zip(filled, learned, strict=True):
            values, (method, _) = training.rows[name], methods[name]
            if fill is None:
                said.append(f"{name!r} has no value in the training rows and stays empty")
                continue
            fills[name] = fill
            gaps = values.null_count()
            if gaps:
                how = "" if method in ("missing", "constant") else f" by the {method}"
                said.append(f"{name!r}: {gaps:,} gaps ({gaps / len(values):.1%}) filled{how}")
                flagged += [name] if self.indicator else []
        for name in flagged:
            if f"{name}_missing" in training.rows.columns:
                raise ConfigError(f"{self.option('indicator')} needs the column {name}_missing, which is there already")
        fitted = FittedImpute(fills, tuple(flagged))
        columns = tuple(_filled(column, fills.get(column.name)) for column in training.columns)
        flags = tuple(number(f"{name}_missing", note=f"gaps of {name}") for name in flagged)
        return Learned(fitted, (*columns, *flags), said=tuple(said))

    def _method(self, column: Column) -> tuple[str, float | str]:
        """Return how a column is filled, and its constant."""
        numeric = column.kind is Kind.numeric
        default: Any = self.numbers if numeric else self.categories
        if column.kind is Kind.ordinal and default == "missing":
            default = "mode"
        given = self.each.get(column.name, default)
        option = f"each.{column.name} of the step {self.word!r}"
        if isinstance(given, Mapping) and set(given) == {"constant"}:
            return "constant", _constant(column, given["constant"], option)
        allowed = FOR_NUMBERS if numeric else FOR_CATEGORIES
        if given not in allowed:
            raise ConfigError(f"{option} must be one of {', '.join(allowed)} or {{constant: VALUE}}, got {given!r}")
        if column.kind is Kind.ordinal and given == "missing":
            raise ConfigError(f"{option} must be mode, none or {{constant: VALUE}}: {column.name!r} is ordinal")
        return str(given), float(self.constant) if numeric else str(self.missing)


@dataclass(frozen=True)
class FittedImpute(Fitted):
    """What gaps are filled with.

    Attributes:
        fills: By column.
        flagged: Columns with an indicator.
    """

    fills: Mapping[str, float | str]
    flagged: tuple[str, ...]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        flags = [cell_of(name).is_null().cast(pl.Float64).alias(f"{name}_missing") for name in self.flagged]
        filled = [cell_of(name).fill_null(pl.lit(value)) for name, value in self.fills.items()]
        return rows.with_columns([*filled, *flags])

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: (name,) for name in self.fills} | {f"{name}_missing": (name,) for name in self.flagged}


def _constant(column: Column, value: Any, option: str) -> float | str:
    if column.kind is Kind.numeric:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"{option} must be a number, got {value!r}")
        return float(value)
    if column.order and str(value) not in column.order:
        raise ConfigError(f"{option} must be one of {', '.join(column.order)}, got {value!r}")
    return str(value)


def _fill(values: pl.Series, method: str, constant: float | str) -> float | str | None:
    """Return what fills a column; None if its values say nothing."""
    if method in ("missing", "constant"):
        return constant
    given = values.drop_nulls()
    if not len(given):
        return None
    if method == "mode":
        counts = given.alias("value").value_counts(name="n").sort(["n", "value"], descending=[True, False])
        return counts["value"][0]
    within = in_range(given)  # the sum stays finite
    return quantiles(within.to_numpy(), [0.5])[0] if method == "median" else float(within.mean())  # type: ignore[arg-type]


def _filled(column: Column, fill: float | str | None) -> Column:
    """Return the schema's entry of a column without gaps; a truth value with a third word is a category."""
    if fill is None:
        return column
    other = column.kind is Kind.boolean and fill not in ("true", "false")
    return replace(column, nullable=False, kind=Kind.categorical if other else column.kind)
