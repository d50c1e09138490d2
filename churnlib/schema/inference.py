"""Finding out what the columns of a table hold: the data decide, the user corrects.

Only the values are looked at, never the name (but for the target, id and time columns that the user names), and never
the target: the same table with its target shuffled has the same schema.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing
from churnlib.schema.columns import FEATURE_KINDS, Column, Kind, Role, Schema

READABLE_SHARE = 0.9
"""Share of the given cells that must read as a number (or date) for text to be a numeric (or datetime) column.

The others are counted, reported and treated as missing in training."""

NEARLY_UNIQUE = 0.95
"""Share of distinct values from which a text column says nothing about customers not yet seen."""

LONG_TEXT = 40
"""Mean number of characters from which a varied text column is free text."""

FEW_ROWS = 20
"""Below this number of rows, unique whole numbers are not taken for an identifier."""


def infer_schema(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's and the configuration's name
    time: str | None = None,
    drop: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    classes: Sequence[str] = (),
) -> Schema:
    """Infer the schema of a table and apply the user's corrections.

    Args:
        frame: The whole table; columns may be typed or all text.
        target: Column that says who left.
        id: Column that names the customer. Without it, the one column whose values are all different, if there is
            exactly one, becomes the id.
        time: Column with the date at which each row was taken.
        drop: Columns that are not read.
        columns: Corrections by column name: ``kind``, ``role``, ``order``, ``format``, ``sensitive``.
        classes: Names of the target's classes by label.

    Returns:
        The schema, columns in table order.

    Raises:
        ConfigError: If a named column is not in the table, or a correction is impossible.
        DataError: If no column is left to learn from.
    """
    corrections = {name: {k: v for k, v in c.items() if v is not None} for name, c in (columns or {}).items()}
    roles = _declared_roles(frame.columns, target=target, id=id, time=time, drop=drop, corrections=corrections)
    inferred = [
        _corrected(_infer(frame[name], roles.get(name), corrections.get(name, {})), corrections.get(name, {}))
        for name in frame.columns
    ]
    if not any(column.role is Role.id for column in inferred):
        inferred = _promote_identifier(inferred, corrections)
    schema = Schema(tuple(inferred), classes=tuple(classes))
    if not schema.features:
        notes = "; ".join(f"{column.name}: {column.note or column.role}" for column in schema.columns[:8])
        raise DataError(f"no column is left to learn from ({notes}); correct one with data.columns.NAME.kind=...")
    return schema


def near_misses(name: str, names: Sequence[str], *, most: int = 3) -> list[str]:
    """Return the names most like ``name``, ignoring case, blanks and underscores.

    >>> near_misses("churned", ["Churn", "tenure"])
    ['Churn']
    """
    plain = {_plain(n): n for n in reversed(names)}
    return [plain[match] for match in difflib.get_close_matches(_plain(name), list(plain), n=most, cutoff=0.5)]


def _plain(name: str) -> str:
    return "".join(name.lower().split()).replace("_", "")


def unknown_column(name: str, names: Sequence[str], *, option: str) -> str:
    """Return the sentence about a column that the table does not have."""
    near = near_misses(name, names)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(map(repr, names[:8]))}"
    return f"{option} names the column {name!r}, which the table does not have; {hint}"


def _declared_roles(
    names: Sequence[str],
    *,
    target: str | None,
    id: str | None,  # noqa: A002
    time: str | None,
    drop: Sequence[str],
    corrections: Mapping[str, Mapping[str, Any]],
) -> dict[str, Role]:
    declared: dict[str, Role] = {}
    wanted = [(name, Role.ignored, "data.drop") for name in drop]
    wanted += [(time, Role.time, "data.time"), (id, Role.id, "data.id"), (target, Role.target, "data.target")]
    wanted += [(name, None, f"data.columns.{name}") for name in corrections]
    for name, role, option in wanted:
        if name is None:
            continue
        if name not in names:
            raise ConfigError(unknown_column(name, names, option=option))
        if role is None:
            role = _as(Role, corrections[name]["role"], f"data.columns.{name}.role") if "role" in corrections[name] else None
        if role is None:
            continue
        if declared.get(name, role) is not role:
            raise ConfigError(f"the column {name!r} is named both as {declared[name]} and as {role}; give it one role")
        declared[name] = role
    for role in (Role.target, Role.id, Role.time):
        named = [name for name, given in declared.items() if given is role]
        if len(named) > 1:
            raise ConfigError(f"{len(named)} columns have the role {role} ({', '.join(named)}); give it to one")
    return declared


def _as(enum: Any, value: str, option: str) -> Any:
    try:
        return enum(value)
    except ValueError:
        raise ConfigError(f"{option} must be one of {', '.join(enum)}, got {value!r}") from None


def _corrected(column: Column, correction: Mapping[str, Any]) -> Column:
    """Apply the user's word about one column."""
    if not correction:
        return column
    option = f"data.columns.{column.name}"
    changes: dict[str, Any] = {}
    if "kind" in correction:
        changes["kind"] = _as(Kind, correction["kind"], f"{option}.kind")
    if "order" in correction:
        changes |= {"kind": Kind.ordinal, "order": tuple(str(value).strip() for value in correction["order"])}
    if "format" in correction:
        changes |= {"kind": Kind.datetime, "formats": (correction["format"],)}
    if "sensitive" in correction:
        changes["sensitive"] = bool(correction["sensitive"])
    if changes.get("kind", column.kind) is Kind.ordinal and not changes.get("order", column.order):
        raise ConfigError(f"{option}.kind=ordinal needs {option}.order=[lowest, ..., highest]")
    if "kind" in changes and column.role is Role.ignored and "role" not in correction and changes["kind"] in FEATURE_KINDS:
        changes["role"] = Role.feature
    note = "as declared" if {"kind", "order", "format", "role"} & set(correction) else column.note
    corrected = replace(column, **changes, note=note)
    if corrected.role is Role.feature and corrected.kind not in FEATURE_KINDS:
        raise ConfigError(
            f"{option} has the kind {corrected.kind}, which no model reads; set {option}.kind to one of "
            f"{', '.join(FEATURE_KINDS)}, or {option}.role=ignored"
        )
    return corrected


def _promote_identifier(columns: list[Column], corrections: Mapping[str, Any]) -> list[Column]:
    """Make the one identifier that nobody spoke about the id; several are left alone."""
    unique = [c for c in columns if c.kind is Kind.identifier and c.role is Role.ignored and c.name not in corrections]
    if len(unique) != 1:
        return columns
    promoted = replace(unique[0], role=Role.id)
    return [promoted if column is unique[0] else column for column in columns]


# --- one column ---------------------------------------------------------------------------------------------------


def _infer(values: pl.Series, role: Role | None, correction: Mapping[str, Any]) -> Column:
    """Infer kind, role and nullability of one column; ``role`` is what the user declared."""
    name, dtype = values.name, values.dtype
    if role is Role.target:
        return Column(name, Kind.categorical, role, note="who left")
    if not parsing.is_plain(dtype):
        return Column(name, Kind.text, Role.ignored, nullable=True, note=f"holds {dtype}, not single values")
    kind, formats, note, found = _kind(values, time=role is Role.time)
    if role is Role.time and kind is not Kind.datetime and "format" not in correction:
        example = values.drop_nulls().cast(pl.String).head(1).to_list()
        raise DataError(f"data.time names {name!r}, which holds no dates ({example}); set data.columns.{name}.format=...")
    as_read = _as(Kind, correction["kind"], f"data.columns.{name}.kind") if "kind" in correction else kind
    as_read = Kind.ordinal if "order" in correction else Kind.datetime if "format" in correction else as_read
    nullable = missing_count(values, as_read, (correction["format"],) if "format" in correction else formats) > 0
    chosen = role or found
    if role is Role.id:
        kind, note = Kind.identifier, note
    return Column(name, kind, chosen, nullable=nullable, formats=formats, note=note)


def missing_count(values: pl.Series, kind: Kind, formats: Sequence[str] = ()) -> int:
    """Return how many cells hold no value of this kind (unreadable ones are missing in training)."""
    cell = pl.col(values.name)
    if kind is Kind.numeric:
        read = parsing.number(cell, values.dtype)
    elif kind is Kind.datetime:
        read = parsing.moment(cell, values.dtype, formats)
    elif kind is Kind.boolean:
        read = parsing.truth(cell, values.dtype)
    else:
        read = parsing.category(cell, values.dtype)
    return int(values.to_frame().select(read.is_null().sum()).item())


def _kind(values: pl.Series, *, time: bool) -> tuple[Kind, tuple[str, ...], str, Role]:
    """Return kind, date formats, note and role that the values suggest."""
    dtype, n = values.dtype, len(values)
    cell = pl.col(values.name)
    shown = values.to_frame().select(category=parsing.category(cell, dtype)).get_column("category")
    filled = shown.drop_nulls()
    if not len(filled) or not values.to_frame().select(parsing.given(cell, dtype).any()).item():
        return Kind.categorical, (), "all values are missing", Role.ignored
    distinct = filled.n_unique()
    if dtype.is_temporal():
        if not isinstance(dtype, pl.Date | pl.Datetime):
            return Kind.text, (), f"holds {dtype}, not dates", Role.ignored
        return _constant_or(Kind.datetime, (), distinct, n - len(filled), "")
    words = set(filled.unique().str.to_lowercase().to_list()) if distinct <= 16 else set()
    words -= set(parsing.MISSING_WORDS)
    if words and words <= {*parsing.TRUE_WORDS, *parsing.FALSE_WORDS} and not time:
        note = "yes/no" if len(words & {"0", "1"}) == 0 else "0/1"
        return _constant_or(Kind.boolean, (), len(words), n - len(filled), note)
    if dtype.is_numeric():
        return _number_kind(values.drop_nulls(), distinct, missing=n - len(filled), note="")
    return _text_kind(values, filled, distinct)


def _constant_or(
    kind: Kind, formats: tuple[str, ...], distinct: int, missing: int, note: str
) -> tuple[Kind, tuple[str, ...], str, Role]:
    """A single value without gaps says nothing; with gaps, the gaps may say something."""
    if distinct == 1 and not missing:
        return kind, formats, "always the same value", Role.ignored
    return kind, formats, note, Role.feature


def _text_kind(values: pl.Series, filled: pl.Series, distinct: int) -> tuple[Kind, tuple[str, ...], str, Role]:
    frame, cell = values.to_frame(), pl.col(values.name)
    counts = frame.select(
        given=parsing.given(cell, values.dtype).sum(),
        numbers=parsing.number(cell, values.dtype).is_not_null().sum(),
        padded=parsing.stripped(cell).str.contains(r"^0\d+$").sum(),
    ).row(0, named=True)
    given = max(counts["given"], 1)
    if counts["numbers"] >= READABLE_SHARE * given and not counts["padded"]:
        numbers = frame.select(parsing.number(cell, values.dtype)).to_series().drop_nulls()
        unreadable = given - counts["numbers"]
        note = f"text read as numbers, {unreadable:,} unreadable" if unreadable else ""
        return _number_kind(numbers, distinct, missing=len(values) - len(numbers), note=note)
    dates = _date_formats(frame, cell, values.dtype, given)
    if dates is not None:
        return _constant_or(Kind.datetime, dates, distinct, len(values) - len(filled), ", ".join(dates) or "ISO dates")
    rows = len(filled)
    if distinct == rows and rows > 1:
        return Kind.identifier, (), "every value is different", Role.ignored
    if distinct >= max(NEARLY_UNIQUE * rows, 2):
        return Kind.identifier, (), f"{distinct / rows:.0%} of the values are different", Role.ignored
    if distinct > rows / 2 and (filled.str.len_chars().mean() or 0) >= LONG_TEXT:  # type: ignore[operator]
        return Kind.text, (), "free text", Role.ignored
    return _constant_or(Kind.categorical, (), distinct, len(values) - rows, f"{distinct:,} values")


def _number_kind(
    numbers: pl.Series, distinct: int, *, missing: int, note: str
) -> tuple[Kind, tuple[str, ...], str, Role]:
    if distinct > 1 and not missing and _counts_customers(numbers):
        return Kind.identifier, (), "every value is different, as in a customer number", Role.ignored
    return _constant_or(Kind.numeric, (), distinct, missing, note)


def _counts_customers(numbers: pl.Series) -> bool:
    """Whether whole numbers look like customer numbers rather than like a measurement.

    All different is not enough (so are large measurements): they also follow the order of the file, fill their range,
    or all have the same number of digits (five or more).
    """
    numbers = numbers.cast(pl.Float64)
    n = len(numbers)
    if n < FEW_ROWS or numbers.n_unique() != n or not bool((numbers == numbers.floor()).all()):
        return False
    low, high = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
    ordered = numbers.is_sorted() or numbers.is_sorted(descending=True)
    same_length = low >= 10_000 and len(f"{low:.0f}") == len(f"{high:.0f}")
    return ordered or high - low + 1 <= 2 * n or same_length


def _date_formats(frame: pl.DataFrame, cell: pl.Expr, dtype: pl.DataType, given: int) -> tuple[str, ...] | None:
    """Return the formats besides ISO 8601 that are needed to read a text column as dates; None if it holds no dates."""
    sample = frame.select(cell.str.strip_chars()).to_series().drop_nulls().head(200)
    if not sample.str.contains(r"\d{1,4}[-/. ]\w{1,9}[-/., ]|\w{3,9} \d{1,2}, \d{4}").any():
        return None
    formats: list[str] = []
    while True:
        unread = frame.filter(parsing.given(cell, dtype) & parsing.moment(cell, dtype, formats).is_null())
        if len(unread) <= (1 - READABLE_SHARE) * given:
            return tuple(formats)
        reads = {f: unread.select(parsing.moment(cell, dtype, [f]).is_not_null().sum()).item() for f in parsing.DATE_FORMATS}
        best = max(reads, key=reads.__getitem__)
        if not reads[best]:
            return None
        formats.append(best)
