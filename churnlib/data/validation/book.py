"""The rules as a user writes them, read and bound to the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.config.checks import nearest
from churnlib.config.rules import read_rules_file
from churnlib.data.row_expressions import check_row_by_row, row_expression
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, Schema, parsing, unknown_column
from churnlib.schema.rules import Check, Rule

MAX_SHARE = 0.01
"""Share of the rows that may break rules before a run fails, unless the rules say otherwise."""

FORMATS = {
    "email": r"[^@\s]+@[^@\s]+\.[^@\s]+",
    "phone": r"\+[1-9][0-9]{6,14}",
    "country": r"[A-Z]{2}",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
"""Patterns with a name: an address, a number as of E.164, a code as of ISO 3166, an identifier as of RFC 9562."""

NUMBERS = (Kind.numeric, Kind.datetime)
TEXTS = (Kind.categorical, Kind.ordinal, Kind.boolean, Kind.text, Kind.identifier)

COLUMN_OPTIONS: dict[str, tuple[Kind, ...]] = {
    "required": tuple(Kind),
    "readable": (Kind.numeric, Kind.datetime, Kind.sequence),
    "min": NUMBERS,
    "max": NUMBERS,
    "whole": (Kind.numeric,),
    "values": (Kind.numeric, *TEXTS),
    "pattern": TEXTS,
    "format": TEXTS,
    "unit": (Kind.numeric,),
    "max_missing": tuple(Kind),
}
"""What may be said of a column, and the kinds of columns that it suits."""

_BOOK = ("max_share", "columns", "rows", "unique", "fresh")


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Rules before they meet a table.

    Attributes:
        max_share: Share of the rows, in [0, 1], above which a run fails.
        columns: By column: ``required``, ``readable``, ``whole`` (true), ``min``, ``max`` (a number, or a date as
            text), ``values`` (a list), ``pattern`` (of the whole cell) or ``format`` (one of :data:`FORMATS`), ``unit``
            (a word), and ``max_missing`` (share of the rows).
        rows: By a name: an expression in polars' SQL that must not be false; where it is null, nothing is broken.
        unique: Lists of columns whose values together name one row.
        fresh: By column of dates: days that its newest value may lie behind.
    """

    max_share: float = MAX_SHARE
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    unique: tuple[tuple[str, ...], ...] = ()
    fresh: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.columns or self.rows or self.unique or self.fresh)

    def names(self) -> tuple[str, ...]:
        """Return the columns that the rules name, but for those inside expressions."""
        keys = [name for key in self.unique for name in key]
        return tuple(dict.fromkeys([*self.columns, *keys, *self.fresh]))

    def bind(self, schema: Schema, typed: pl.DataFrame) -> tuple[Rule, ...]:
        """Return the rules of rows, with limits in the types of the columns.

        Args:
            schema: What the columns are.
            typed: The columns, read as their kinds say.

        Raises:
            ConfigError: If a rule names no column of the table, or does not suit it.
        """
        for name in self.names():
            if name not in schema:
                known = [column.name for column in schema.columns]
                raise ConfigError(unknown_column(name, known, option="data.rules"))
        rules = [rule for name, options in self.columns.items() for rule in _column_rules(schema[name], options)]
        rules += [self._expression(name, sql, typed) for name, sql in self.rows.items()]
        names = [rule.name for rule in rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"data.rules has two rules called {twice!r}; rename the one under rows")
        return tuple(rules)

    def _expression(self, name: str, sql: str, typed: pl.DataFrame) -> Rule:
        option = f"data.rules.rows.{name}"
        expression = row_expression(sql, dict(typed.schema), option=option)
        dtype = typed.lazy().select(expression.alias(name)).collect_schema()[name]
        if dtype != pl.Boolean:
            raise ConfigError(f"{option} must be true or false for each row, such as 'a <= b', got {sql!r} ({dtype})")
        check_row_by_row(typed, {name: expression}, option="data.rules.rows")
        return Rule(name, expression.meta.root_names()[0], Check.holds, sql, sql)


def read_rules(given: Any) -> RuleBook:
    """Read rules from the configuration.

    Args:
        given: None, a mapping of :class:`RuleBook`'s attributes, the path of a YAML file with one, or the name of one
            that churnlib ships (``telco``, ``mlc``, ``isp``, ``simulator``).

    Raises:
        ConfigError: If the file cannot be read, or something in it is unknown or of the wrong type.
    """
    if given is None or isinstance(given, RuleBook):
        return given or RuleBook()
    values = given if isinstance(given, Mapping) else read_rules_file(str(given))
    for key in values:
        if key not in _BOOK:
            raise ConfigError(f"unknown option data.rules.{key}{nearest(str(key), _BOOK) or _known(_BOOK)}")
    share = MAX_SHARE if values.get("max_share") is None else values["max_share"]
    if not _is_number(share) or not 0 <= share <= 1:
        raise ConfigError(f"data.rules.max_share must be in [0, 1], got {share!r}")
    columns = {
        str(name): _options(str(name), one) for name, one in _mapping(values, "columns").items() if one is not None
    }
    rows = {str(name): str(sql).strip() for name, sql in _mapping(values, "rows").items() if sql is not None}
    fresh = {str(name): days for name, days in _mapping(values, "fresh").items() if days is not None}
    for name, days in fresh.items():
        if not _is_number(days) or days < 0:
            raise ConfigError(f"data.rules.fresh.{name} must be a number of days, at least 0, got {days!r}")
    return RuleBook(float(share), columns, rows, tuple(_keys(values.get("unique"))), fresh)


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    given = values.get(key)
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"data.rules.{key} must be a mapping of names to rules, got {given!r}")
    return {str(name): value for name, value in (given or {}).items() if value is not None}


def _options(name: str, given: Any) -> Mapping[str, Any]:
    where = f"data.rules.columns.{name}"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a mapping such as {{min: 0}}, got {given!r}")
    options = {str(key): value for key, value in given.items() if value is not None}
    for key, value in options.items():
        if key not in COLUMN_OPTIONS:
            known = list(COLUMN_OPTIONS)
            raise ConfigError(f"unknown option {where}.{key}{nearest(key, known) or _known(known)}")
        if key in ("required", "readable", "whole") and not isinstance(value, bool):
            raise ConfigError(f"{where}.{key} must be true or false, got {value!r}")
    missing = options.get("max_missing", 0)
    if not _is_number(missing) or not 0 <= missing <= 1:
        raise ConfigError(f"{where}.max_missing must be in [0, 1], got {missing!r}")
    if "values" in options and not (isinstance(options["values"], list | tuple) and options["values"]):
        raise ConfigError(f"{where}.values must be a list such as [low, high], got {options['values']!r}")
    if "pattern" in options and "format" in options:
        raise ConfigError(f"{where} has both a pattern and a format; leave one out")
    if "format" in options and options["format"] not in FORMATS:
        raise ConfigError(f"{where}.format must be one of {', '.join(FORMATS)}, got {options['format']!r}")
    return options


def _keys(given: Any) -> Iterator[tuple[str, ...]]:
    for key in given or ():
        names = (key,) if isinstance(key, str) else key
        if isinstance(given, str) or not isinstance(names, Sequence) or not names:
            raise ConfigError(f"data.rules.unique must be a list of columns or of lists of them, got {given!r}")
        yield tuple(map(str, names))


def _column_rules(column: Column, options: Mapping[str, Any]) -> Iterator[Rule]:
    where = f"data.rules.columns.{column.name}"
    unit = str(options.get("unit", ""))
    for key, value in options.items():
        if column.kind not in COLUMN_OPTIONS[key]:
            kinds = ", ".join(COLUMN_OPTIONS[key])
            raise ConfigError(
                f"{where}.{key} suits columns that are {kinds}, but {column.name!r} is {column.kind}; leave it out, or "
                f"correct data.columns.{column.name}.kind"
            )
        name = f"{column.name}.{key}"
        if key in ("required", "readable", "whole") and value:
            yield Rule(name, column.name, Check(key))
        elif key in ("min", "max"):
            yield Rule(name, column.name, Check(key), _border(column, value, f"{where}.{key}"), _shown(value), unit)
        elif key == "values":
            words = ", ".join(_shown(one) for one in value)
            yield Rule(name, column.name, Check.values, _known_values(column, value, where), words, unit)
        elif key in ("pattern", "format"):
            pattern = FORMATS[value] if key == "format" else _pattern(value, where)
            yield Rule(name, column.name, Check.pattern, pattern, str(value))


def _border(column: Column, value: Any, option: str) -> float | int:
    """Return a limit as the column holds its values: a number, or microseconds since 1970."""
    if column.kind is Kind.numeric:
        if not _is_number(value):
            raise ConfigError(f"{option} must be a number, got {value!r}")
        return float(value)
    text = pl.Series("moment", [_shown(value)])
    moment = text.to_frame().select(parsing.moment(pl.col("moment"), text.dtype, column.formats)).to_series()
    if moment.has_nulls():
        raise ConfigError(f"{option} must be a date such as 2024-01-31, got {value!r}")
    return int(moment.to_physical()[0])


def _known_values(column: Column, values: Sequence[Any], where: str) -> tuple[float | str, ...]:
    """Return the values as the column's cells are read."""
    texts = pl.Series("value", [_shown(value) for value in values])
    read = texts.to_frame().select(parsing.as_kind(pl.col("value"), texts.dtype, column.kind)).to_series()
    if read.has_nulls():
        raise ConfigError(f"{where}.values must hold values of a {column.kind} column, got {list(values)!r}")
    return tuple(read.to_list())


def _pattern(value: Any, where: str) -> str:
    try:
        pl.Series(["x"]).str.contains(f"^(?:{value})$")
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("error: ")
        raise ConfigError(f"{where}.pattern cannot be read ({reason}), got {value!r}") from error
    return str(value)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _known(names: Sequence[str]) -> str:
    return f"; known are {', '.join(names)}"


__all__ = ["COLUMN_OPTIONS", "FORMATS", "MAX_SHARE", "RuleBook", "read_rules"]
