"""What a customer's fields may hold, as JSON Schema: the bundle's own columns for ``/openapi.json``.

What is described is what clients should send and what is served. The server reads more than that (numbers as text,
other spellings of dates); the descriptions say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from churnlib.data.coercion import read_columns
from churnlib.schema import Column, Kind, Rule
from churnlib.schema.rules import Check

if TYPE_CHECKING:
    from churnlib.predictor import Predictor

SHOWN = 8
"""Known values of a column that are shown."""

WORDS = {
    Kind.numeric: "a number; one as text is read too",
    Kind.boolean: "true or false; yes, no, 1 and 0 are read too",
    Kind.categorical: "text; a value that training did not see is served with a warning",
    Kind.ordinal: "text; a value that training did not see is served with a warning",
    Kind.text: "text",
    Kind.datetime: "a date as of ISO 8601; a date with a time is read too",
    Kind.sequence: "numbers, oldest first, null for a missing one",
}

_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.numeric: {"type": "number"},
    Kind.boolean: {"type": ["boolean", "string"]},
    Kind.datetime: {"type": "string", "format": "date"},
    Kind.sequence: {"type": "array", "items": {"type": ["number", "null"]}},
}
_TEXT = {"type": ["string", "number", "boolean"]}
_LIMITS = {Check.min: "minimum", Check.max: "maximum"}

CUSTOMER_ID: dict[str, Any] = {
    "type": ["string", "number", "boolean", "null"],
    "description": "what you call the customer; comes back as sent",
}

WORTH: dict[str, Any] = {
    "type": ["number", "null"],
    "description": "what the customer is worth, by which his threshold follows; may be left out",
}


def row_schema(predictor: Predictor, *, unknown: str, longest: int) -> dict[str, Any]:
    """Return the schema of one customer.

    Args:
        predictor: The model.
        unknown: ``refuse`` where fields that are no columns of the model are refused.
        longest: Most characters of a text.
    """
    schema = predictor.schema
    known = {column["name"]: column.get("values", ()) for column in predictor.input_schema()}
    names = [name for name in ("customer_id", schema.id) if name is not None and name not in known]
    own = {column.name: _column(column, predictor, known[column.name], longest) for column in read_columns(schema)}
    if predictor.bundle.own_threshold is not None:
        own.setdefault(predictor.bundle.own_threshold.column, WORTH)
    about = "One customer as your system has him: names of the table's columns, in any order"
    return {
        "type": "object",
        "description": f"{about}; others are {'refused' if unknown == 'refuse' else 'named in a warning'}.",
        "properties": dict.fromkeys(names, CUSTOMER_ID) | own,
        "required": [name for name in known if name in set(schema.required())],
        "additionalProperties": unknown != "refuse",
    }


def _column(column: Column, predictor: Predictor, known: Any, longest: int) -> dict[str, Any]:
    required = column.name in set(predictor.schema.required())
    schema = dict(_TYPES.get(column.kind, _TEXT))
    text = "string" in schema["type"] and "format" not in schema
    if text:
        schema |= {"maxLength": longest}
    if text and required:
        schema["pattern"] = r"[^\s]"  # a blank is a missing value
    rules = [rule for rule in predictor.schema.rules if rule.column == column.name]
    for rule in rules:
        schema |= _of_rule(rule, column)
    schema["description"] = "; ".join([WORDS[column.kind], *_said(rules)])
    if known:
        schema["examples"] = _examples(column, known)
    if not required:
        schema["type"] = [*schema["type"], "null"] if isinstance(schema["type"], list) else [schema["type"], "null"]
        schema["description"] += "; may be left out"
    return schema


def _of_rule(rule: Rule, column: Column) -> Mapping[str, Any]:
    """Return what JSON Schema can say of a rule."""
    if column.kind is Kind.numeric and rule.check in _LIMITS:
        return {_LIMITS[rule.check]: rule.limit}
    if column.kind is Kind.numeric and rule.check is Check.whole:
        return {"multipleOf": 1}
    if rule.check is Check.pattern and isinstance(rule.limit, str):
        try:
            re.compile(rule.limit)
        except re.error:  # of polars' dialect alone
            return {}
        return {"pattern": f"^(?:{rule.limit})$"}
    return {}


def _said(rules: list[Rule]) -> list[str]:
    return [f"must be {rule.asked}" for rule in rules if rule.check not in (Check.required, Check.readable)]


def _examples(column: Column, known: Any) -> list[Any]:
    words = {"true": True, "false": False} if column.kind is Kind.boolean else {}
    return [words.get(value, value) for value in list(known)[:SHOWN]]


__all__ = ["CUSTOMER_ID", "row_schema"]
