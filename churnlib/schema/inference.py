"""Finding out what the columns of a table hold: the data decide, the user corrects.

Only the values are looked at, never the name (but for the target, id and time columns that the user names), and never
the target: the same table with its target shuffled has the same schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing
from churnlib.schema.columns import FEATURE_KINDS, Column, Kind, Role, Schema
from churnlib.schema.declared import Correction, declared_roles
from churnlib.schema.kinds import Cells, Finding, date_formats, find_kind
from churnlib.schema.measurements import find_measurements


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
        columns: Corrections by column name: ``kind``, ``role``, ``order``, ``format``, ``sensitive``, ``use``,
            ``purpose``, ``owner``.
        classes: Names of the target's classes by label.

    Returns:
        The schema, columns in table order.

    Raises:
        ConfigError: If a named column is not in the table, or a correction is impossible.
        DataError: If no column is left to learn from.
    """
    corrections = {name: Correction.from_options(name, options) for name, options in (columns or {}).items()}
    roles = declared_roles(frame.columns, corrections, target=target, id=id, time=time, drop=drop)
    measured = find_measurements(frame)
    described: list[Column] = []
    unique: list[int] = []
    for place, values in enumerate(frame):
        correction, role = corrections.get(values.name, Correction()), roles.get(values.name)
        column, is_unique = _describe(values, correction, role, measured.get(values.name))
        described.append(replace(column, purpose=correction.purpose, owner=correction.owner))
        if is_unique and role is None and values.name not in corrections:
            unique.append(place)
    if Role.id not in roles.values() and len(unique) == 1:
        described[unique[0]] = replace(described[unique[0]], role=Role.id)
    schema = Schema(tuple(described), classes=tuple(classes))
    if not schema.features:
        notes = "; ".join(f"{column.name}: {column.note or column.role}" for column in schema.columns[:8])
        raise DataError(f"no column is left to learn from ({notes}); correct one with data.columns.NAME.kind=...")
    return schema


def _describe(
    values: pl.Series, correction: Correction, role: Role | None, known: Finding | None
) -> tuple[Column, bool]:
    """Return a column's entry, and whether it is an identifier in which each value comes once.

    Args:
        values: The column.
        correction: What the user says about it.
        role: The role that the user gave it, in whatever way.
        known: What its values suggest, where that is known already.
    """
    name, sensitive = values.name, bool(correction.sensitive)
    if role is Role.target:
        return Column(name, Kind.categorical, role, sensitive=sensitive, note="who left"), False
    if not (parsing.is_plain(values.dtype) or _may_be_sequence(values, correction, role)):
        return _without_cells(values, correction, role), False
    if correction.kind:
        found = _declared(Cells(values), correction, name)
    else:
        found = known or find_kind(Cells(values), dates_first=role is Role.time)
    if role is Role.time and found.kind is not Kind.datetime:
        raise DataError(
            f"data.time names {name!r}, which holds no dates ({_examples(values)}); set data.columns.{name}.format=..."
        )
    note = "as declared" if role in (Role.ignored, Role.feature) and not correction.kind else found.note
    note = "known only of those who left" if role is Role.event_time else note
    if role in (None, Role.feature, Role.sensitive):
        role = correction.role_of(role or found.role)
    column = Column(
        name,
        Kind.identifier if role is Role.id else found.kind,
        role or found.role,
        nullable=found.missing > 0,
        sensitive=sensitive,
        order=correction.order,
        formats=found.formats,
        note=note,
    )
    # Free text is a feature where the user says so: a step of the preparation makes numbers of it.
    text = column.kind is Kind.text and correction.role is Role.feature
    if column.role in (Role.feature, Role.sensitive) and column.kind not in FEATURE_KINDS and not text:
        raise ConfigError(
            f"data.columns.{name} has the kind {column.kind}, which no model reads; set data.columns.{name}.kind to "
            f"one of {', '.join(FEATURE_KINDS)}, or data.columns.{name}.role=ignored (text may have the role feature "
            "where a preparation step reads it)"
        )
    return column, found.unique and column.kind is Kind.identifier


def _may_be_sequence(values: pl.Series, correction: Correction, role: Role | None) -> bool:
    """Whether a column of lists is one that a model may read, and that nothing else is asked of."""
    other = correction.kind in FEATURE_KINDS and correction.kind is not Kind.sequence
    return parsing.is_sequence(values.dtype) and role in (None, Role.feature, Role.ignored) and not other


def _without_cells(values: pl.Series, correction: Correction, role: Role | None) -> Column:
    """Describe a column of lists, bytes and the like, which nothing here reads."""
    if role not in (None, Role.ignored) or correction.kind in FEATURE_KINDS:
        raise DataError(
            f"the column {values.name!r} holds {values.dtype}, not single values; it cannot be used as "
            f"{role or correction.kind}"
        )
    return Column(values.name, Kind.text, Role.ignored, nullable=True, note=f"holds {values.dtype}, not single values")


def _declared(cells: Cells, correction: Correction, name: str) -> Finding:
    """Return what the cells are by the user's word; refuse a kind in which none of them can be read."""
    kind, note = correction.kind, "as declared"
    assert kind is not None
    if kind not in FEATURE_KINDS:
        return replace(find_kind(cells), kind=kind, note=note)
    formats = (correction.format,) if correction.format else ()
    if kind is Kind.datetime and not formats:
        formats = date_formats(cells) or ()
    missing = cells.missing(kind, formats)
    strange = cells.count(~cells.read(kind).is_in(correction.order)) if correction.order else 0
    if cells.given and missing + strange == cells.n_rows:
        option = "format" if correction.format else "order" if correction.order else "kind"
        raise ConfigError(
            f"data.columns.{name}.{option} does not fit: no value can be read by it ({_examples(cells.values)})"
        )
    if strange:
        note += f"; cells outside the order: {strange:,}"
    return Finding(kind, Role.feature, missing, formats, note)


def _examples(values: pl.Series) -> str:
    """Return the first values of a column, for a message."""
    shown = [str(value) for value in values.drop_nulls().head(3).to_list()]
    return f"such as {', '.join(map(repr, shown))}" if shown else "all are missing"
