"""Columns that users declare: expressions in polars' SQL over the columns of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from churnlib.data.row_expressions import check_row_by_row, row_expression
from churnlib.data.steps.step import Fitted, Learned, Step, Training
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind


@dataclass(frozen=True)
class Expressions(Step):
    """Columns from expressions: ``{avg_gb: "data_usage / NULLIF(tenure, 0)"}``.

    Numbers and truth values become numbers, texts become categories, dates stay dates. What is not finite (a division
    by zero) is missing.

    Attributes:
        columns: Expression of each new column, by its name; a later one may read an earlier one.
    """

    word = "expressions"
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise ConfigError(f"{self.option('columns')} must be a mapping of names to expressions")

    def fit(self, training: Training) -> Learned:
        """Check the expressions on the training rows; nothing is learned but their types."""
        rows, columns = training.rows, training.columns
        readable = [*(column.name for column in columns), *([training.time] if training.time else [])]
        dtypes = {name: rows.schema[name] for name in readable}
        made: list[tuple[str, str, str]] = []
        for name, sql in ((str(name), str(sql)) for name, sql in self.columns.items() if sql is not None):
            if name in rows.columns:
                raise ConfigError(f"features.{name} is a column of the table already; choose another name")
            expression = row_expression(sql, dtypes, option=f"features.{name}", barred=training.barred)
            check_row_by_row(rows, {name: expression}, option="features")
            kind = _kind(name, rows.lazy().select(expression.alias(name)).collect_schema()[name])
            made.append((name, sql, str(kind)))
            rows = rows.with_columns(_as_kind(expression, kind).alias(name))
            dtypes[name] = rows.schema[name]
            columns = (*columns, Column(name, kind, nullable=True, note=sql))
        return Learned(FittedExpressions(tuple(made)), columns, rows=rows)


@dataclass(frozen=True)
class FittedExpressions(Fitted):
    """Expressions in the order in which they are computed.

    Attributes:
        columns: Name, expression and kind of each.
    """

    columns: tuple[tuple[str, str, str], ...]

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        return [_as_kind(pl.sql_expr(sql), Kind(kind)).alias(name) for name, sql, kind in self.columns]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        for expression in self._expressions:
            rows = rows.with_columns(expression)
        return rows

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        made: dict[str, tuple[str, ...]] = {}
        for expression in self._expressions:
            # One may read what an earlier one has made.
            roots = [root for name in expression.meta.root_names() for root in made.get(name, (name,))]
            made[expression.meta.output_name()] = tuple(dict.fromkeys(roots))
        return made


def _kind(name: str, dtype: pl.DataType) -> Kind:
    if isinstance(dtype, pl.Datetime | pl.Date):
        return Kind.datetime
    if dtype == pl.String:
        return Kind.categorical
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return Kind.numeric
    raise ConfigError(
        f"features.{name} must give numbers, truth values, texts or dates, not {dtype}; for a difference of dates take "
        "its number of days"
    )


def _as_kind(expression: pl.Expr, kind: Kind) -> pl.Expr:
    """Return the values in the type that rows have for their kind."""
    if kind is Kind.categorical:
        return expression
    if kind is Kind.datetime:
        return expression.cast(pl.Datetime("us"))
    value = expression.cast(pl.Float64)
    return pl.when(value.is_finite()).then(value)
