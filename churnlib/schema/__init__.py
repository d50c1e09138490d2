"""What a customer table looks like: columns, their kinds and roles, and how their cells are read."""

from churnlib.schema.columns import FEATURE_KINDS, Column, Kind, Role, Schema
from churnlib.schema.declared import near_misses, unknown_column
from churnlib.schema.inference import infer_schema
from churnlib.schema.rules import Rule

__all__ = ["FEATURE_KINDS", "Column", "Kind", "Role", "Rule", "Schema", "infer_schema", "near_misses", "unknown_column"]
