"""Columns made from event tables (usage records, tickets, payments), as of each row's own date.

    definition.py   what is asked for: windows x aggregations x columns, and features with names of their own
    aggregate.py    from the events of some rows to one number per row and feature
    reading.py      an event table of any size, typed, joined to the rows it belongs to, never read whole
    gathering.py    a customer table in, the same table with the new columns out
    schema.py       the schema of such a table

The columns are ready before the schema is inferred: they are ordinary numbers from there on. The definition travels in
the schema, so that a scored file gets the same columns from its own event table.
"""

from churnlib.data.events.definition import AGGREGATIONS, EventDefinition, EventFeature, read_definition
from churnlib.data.events.gathering import GatheredEvents, gather_events
from churnlib.data.events.schema import events_of, infer_with_events

__all__ = [
    "AGGREGATIONS",
    "EventDefinition",
    "EventFeature",
    "GatheredEvents",
    "events_of",
    "gather_events",
    "infer_with_events",
    "read_definition",
]
