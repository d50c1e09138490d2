"""Expressions in polars' SQL that people write in the configuration: read, checked, and refused if not row by row.

What a row's expression gives may depend on that row alone, or one customer would get different answers in a file and
in a request. Hence no aggregates, no windows, no ranks, no subqueries, no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from churnlib.errors import ConfigError
from churnlib.schema import near_misses

ROW_NODES = frozenset({"Column", "Literal", "BinaryExpr", "Ternary", "Cast", "Function", "Alias"})
"""Kinds of expressions that give one value per row from the values of the row."""

ROWS_TRIED = 24
"""Rows on which an expression must give the same alone, together and in reverse order."""

_CLOCK = re.compile(r"\b(current_(date|time|timestamp)|now)\b", re.IGNORECASE)


def row_expression(
    sql: str, dtypes: Mapping[str, pl.DataType], *, option: str, barred: Mapping[str, str] | None = None
) -> pl.Expr:
    """Read one expression.

    Args:
        sql: In polars' SQL, such as ``monthly_charges / services``; names with blanks stand in double quotes.
        dtypes: The columns it may read.
        option: What the user would have to change, for errors.
        barred: Further columns of the table, which it may not read, and why not.

    Raises:
        ConfigError: If it cannot be read, names a column that is not there, does not suit the columns' types, or is not
            made of one row.
    """
    text = str(sql).strip()
    if re.search(r"\bselect\b", text, re.IGNORECASE) or _CLOCK.search(text):
        raise ConfigError(f"{option} must read the columns of one row only, without queries and clocks, got {text!r}")
    if "?" in text:
        raise ConfigError(f"{option} must not hold question marks, got {text!r}")
    try:
        expression = pl.sql_expr(text)
        names = expression.meta.root_names()
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ConfigError(f"{option} cannot be read as an expression ({_first_line(error)}), got {text!r}") from error
    for name in names:
        if name not in dtypes and name in (barred or {}):
            raise ConfigError(f"{option} reads {name!r}, {(barred or {})[name]}")
        if name not in dtypes:
            near = near_misses(name, list(dtypes))
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, list(dtypes)[:8]))}"
            raise ConfigError(f"{option} names the column {name!r}, which it cannot read; {hint}")
    nodes = _nodes(json.loads(expression.meta.serialize(format="json")))
    if "Strict" in nodes:
        raise ConfigError(f"{option} must say TRY_CAST for CAST, which fails on cells it cannot read, got {text!r}")
    if not names or not nodes <= ROW_NODES:
        raise ConfigError(
            f"{option} must give one value per row from that row alone (no averages, counts, windows or constants), "
            f"got {text!r}"
        )
    try:
        pl.DataFrame(schema=dict(dtypes)).select(expression)
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{option} does not suit its columns ({_first_line(error)}), got {text!r}") from error
    return expression


def check_row_by_row(rows: pl.DataFrame, expressions: Mapping[str, pl.Expr], *, option: str) -> None:
    """Refuse expressions that give a row something else when other rows stand beside it.

    Args:
        rows: Some rows of the table.
        expressions: By name.
        option: What the user would have to change, for errors; the name is put behind it.

    Raises:
        ConfigError: With the first such expression.
    """
    some = rows.head(ROWS_TRIED)
    for name, expression in expressions.items():
        try:
            together = some.select(expression.alias(name))
            backwards = some.reverse().select(expression.alias(name)).reverse()
            alone = [some[place : place + 1].select(expression.alias(name)) for place in range(len(some))]
            assert_frame_equal(together, backwards)
            if alone:
                assert_frame_equal(together, pl.concat(alone))
        except AssertionError as error:
            raise ConfigError(f"{option}.{name} must give one value per row from that row alone") from error
        except pl.exceptions.PolarsError as error:
            raise ConfigError(f"{option}.{name} cannot be computed ({_first_line(error)})") from error


def _nodes(tree: Any) -> set[str]:
    """Return the kinds of expressions in a serialised one; ``Strict`` stands for a cast that may fail."""
    if isinstance(tree, str):
        return {tree} & {"Len", "Element"}
    if isinstance(tree, list):
        return {node for one in tree for node in _nodes(one)}
    if not isinstance(tree, Mapping):
        return set()
    found: set[str] = set()
    for key, value in tree.items():
        if key == "options" and value == "Strict":
            found.add("Strict")
        elif key[:1].isupper():
            found |= {key} if key in ("Column", "Literal") else {key} | _nodes(value)
        elif key not in ("function", "dtype", "options"):  # names of functions and types are no expressions
            found |= _nodes(value)
    return found


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].strip().rstrip(".")
