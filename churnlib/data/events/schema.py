"""The schema of a table with columns made from events: they are numbers, and the schema says how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from churnlib.data.events.definition import EventDefinition
from churnlib.schema import Schema, infer_schema


def infer_with_events(
    frame: pl.DataFrame,
    events: Sequence[EventDefinition],
    *,
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Schema:
    """Infer the schema of a table with the columns of these definitions.

    They are numbers whatever their values look like, and those that are missing without events may be missing, whether
    or not a row of this table has none.

    Args:
        frame: The table.
        events: What its event columns were made by.
        columns: Corrections by column name.
        options: Further arguments of :func:`churnlib.schema.infer_schema`.
    """
    if not events:
        return infer_schema(frame, columns=columns, **options)
    corrections: dict[str, Mapping[str, Any]] = dict(columns or {})
    for name in (name for definition in events for name in definition.names):
        said = {key: value for key, value in corrections.get(name, {}).items() if value is not None}
        corrections[name] = {"kind": "numeric", **said}
    inferred = infer_schema(frame, columns=corrections, **options)
    nullable = {name for definition in events for name in definition.nullable}
    described = tuple(
        replace(column, nullable=True) if column.name in nullable else column for column in inferred.columns
    )
    return replace(inferred, columns=described, events=tuple(definition.to_dict() for definition in events))


def events_of(schema: Schema) -> tuple[EventDefinition, ...]:
    """Return how columns of a schema are made from event tables.

    Raises:
        BundleError: If a newer release wrote them.
    """
    return tuple(EventDefinition.from_dict(values) for values in schema.events)


__all__ = ["events_of", "infer_with_events"]
