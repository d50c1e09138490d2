"""Ordered categories as the ranks of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.data.steps.step import CATEGORIES, Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError
from churnlib.schema import Kind
from churnlib.schema.declared import Correction
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class Ordinal(Step):
    """The rank of a value in its declared order: 0, 1, ...; a value outside the order is missing.

    Attributes:
        columns: What to encode; without names, every column whose order is known.
        orders: Values from lowest to highest by column, for columns whose order ``data.columns.NAME.order`` does not
            declare.
    """

    word = "ordinal"
    columns: tuple[str, ...] = ()
    orders: Mapping[str, Any] = field(default_factory=dict)

    def fit(self, training: Training) -> Learned:
        """Look the orders up; nothing is learned from the rows but what lies outside them."""
        orders = {column.name: column.order for column in training.columns if column.kind is Kind.ordinal}
        for name, order in self.orders.items():
            orders[str(name)] = Correction.from_options(str(name), {"order": order}).order
        names = training.choose(self.columns or tuple(orders), CATEGORIES, option=self.option("columns"))
        for name in names if self.columns or orders else ():
            if name not in orders:
                raise ConfigError(
                    f"the step {self.word!r} knows no order of {name!r}; declare it lowest first, such as "
                    f"data.columns.{name}.order=[low,high]"
                )
        if not orders:
            raise ConfigError(
                f"the step {self.word!r} finds no ordered column; declare data.columns.NAME.order=[low,high]"
            )
        fitted = FittedOrdinal({name: orders[name] for name in names})
        ranked = fitted.apply(training.rows.lazy().select(names)).collect()
        said = []
        for name in names:
            outside = ranked[name].null_count() - training.rows[name].null_count()
            said += [f"{outside:,} cells of {name!r} lie outside its order and count as missing"] if outside else []
        columns = tuple(number(c.name, note="rank") if c.name in names else c for c in training.columns)
        return Learned(fitted, columns, said=tuple(said))


@dataclass(frozen=True)
class FittedOrdinal(Fitted):
    """The orders.

    Attributes:
        orders: Values from lowest to highest by column.
    """

    orders: Mapping[str, tuple[str, ...]]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        return rows.with_columns(
            cell_of(name).replace_strict(
                list(order), list(map(float, range(len(order)))), default=None, return_dtype=pl.Float64()
            )
            for name, order in self.orders.items()
        )

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {name: (name,) for name in self.orders}
