"""What a user says of a table: its target, its customers, its dates, and what else is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from churnlib.data.events import EventDefinition
from churnlib.data.lifetimes import LifetimeSpec
from churnlib.schema import Kind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """What a table is, as far as its cells cannot say it.

    Wherever one is taken, its attributes may be given as arguments instead:
    ``prepare_customers(frame, target="churn", id="customer")``.

    Attributes:
        target: Column that says who left.
        positive: Its value that means "left"; may be left out for 0/1, yes/no, true/false.
        id: Column that names the customer; without it every row is a customer of its own.
        time: Column with the date at which each row was taken.
        drop: Columns that are not read.
        columns: Corrections to the schema, see :func:`churnlib.schema.infer_schema`.
        events: How columns of the table were made from event tables, see :func:`churnlib.data.events.gather_events`.
        rules: Rules of the table, see :func:`churnlib.data.validation.read_rules`; rows that break some are left out.
        latest: Column that says which of a customer's rows is the newest; it is not read otherwise.
        show_unreadable: Different unreadable cells of a column that the report may show.
        about: What the schema keeps about the table: ``owner``, ``purpose``, ...
        lifetimes: How long customers stayed, for a model that learns when they leave; None for one that learns whether.
    """

    target: str
    positive: str | None = None
    id: str | None = None
    time: str | None = None
    drop: Sequence[str] = ()
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: Sequence[EventDefinition] = ()
    rules: Any = None
    latest: str | None = None
    show_unreadable: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    lifetimes: LifetimeSpec | None = None

    @property
    def unread(self) -> list[str]:
        """Columns that are no feature whatever they hold."""
        return [*self.drop, *(name for name in (self.latest,) if name not in (None, self.id))]

    def without(self, *names: str | None) -> TableSpec:
        """Return the same of a table of which some more columns are not read; the customers' name always is."""
        return replace(self, drop=[*self.drop, *(name for name in names if name not in (None, self.id))])

    def with_lifetimes(self, lifetimes: LifetimeSpec) -> TableSpec:
        """Return the same with the columns that say how long customers stayed kept from the features."""
        kept = lifetimes.elapsed
        spec = self.without(
            *(name for name in dict.fromkeys(lifetimes.columns) if name != kept and name not in self.drop)
        )
        if kept is None:
            return replace(spec, lifetimes=lifetimes)
        declared = {**spec.columns.get(kept, {}), "role": Role.elapsed, "kind": Kind.numeric}
        return replace(spec, lifetimes=lifetimes, columns={**spec.columns, kept: declared})

    def format_of(self, column: str) -> str | None:
        """Return the date format that the user gave a column, if any."""
        return self.columns.get(column, {}).get("format")


def table_spec(spec: TableSpec | None, said: Mapping[str, Any]) -> TableSpec:
    """Return what is said of a table: by a spec, by attributes of one, or by a spec and what differs from it.

    >>> whole = table_spec(None, {"target": "churn", "id": "customer"})
    >>> table_spec(TableSpec(target="churn"), {"id": "customer"}) == whole
    True
    """
    return TableSpec(**said) if spec is None else replace(spec, **said)


__all__ = ["TableSpec", "table_spec"]
