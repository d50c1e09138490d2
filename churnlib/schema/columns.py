"""A table's schema: what each column holds and what it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.errors import BundleError
from churnlib.schema.rules import Rule

if TYPE_CHECKING:
    from rich.table import Table


class Kind(StrEnum):
    """What the cells of a column are."""

    numeric = "numeric"
    categorical = "categorical"
    ordinal = "ordinal"
    boolean = "boolean"
    datetime = "datetime"
    sequence = "sequence"
    text = "text"
    identifier = "identifier"


class Role(StrEnum):
    """What a column is for."""

    feature = "feature"
    target = "target"
    id = "id"
    time = "time"
    event_time = "event_time"
    """Says something only of those who left (the day they did, its month, ...): for labels, never a feature."""
    elapsed = "elapsed"
    """How long the customer has been there, by which a model of when they leave answers; never a feature."""
    sensitive = "sensitive"
    ignored = "ignored"


FEATURE_KINDS = (Kind.numeric, Kind.categorical, Kind.ordinal, Kind.boolean, Kind.datetime, Kind.sequence)
"""Kinds a model can read; identifiers are carried along, and so is free text that no preparation step reads."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a customer table.

    Attributes:
        name: Header, with blanks at the ends removed and inner runs of blanks collapsed.
        kind: What the cells are.
        role: What the column is for.
        nullable: Whether the training table had missing values here; a column without them is required.
        sensitive: Declared by the user (gender, age, ...), never inferred; a feature only where the user says so too,
            else of the role ``sensitive``: no model reads it, and it stays beside the rows for comparing groups.
        order: Values of an ordinal column from lowest to highest.
        formats: Date formats of a datetime column that comes as text, besides ISO 8601.
        note: Why the column was read this way, in a few words.
        purpose: What the company keeps the column for, in the user's words.
        owner: Who answers for it.
    """

    name: str
    kind: Kind
    role: Role = Role.feature
    nullable: bool = False
    sensitive: bool = False
    order: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    note: str = ""
    purpose: str = ""
    owner: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the column as JSON-ready values; purpose and owner only where they are given."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {key: value for key, value in values.items() if value or key not in ("purpose", "owner")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """Build a column from what :meth:`Schema.to_dict` wrote; what an older release lacked takes its default."""
        lists = {key: tuple(values[key]) for key in ("order", "formats") if key in values}
        return cls(**{**values, **lists, "kind": Kind(values["kind"]), "role": Role(values["role"])})


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a customer table, in table order, and the classes of its target.

    Attributes:
        columns: One entry per column of the training table.
        classes: Class names by label: ``(stayed, churned)`` for two classes, sorted names for more.
        events: How columns were made from event tables before the table was looked at, JSON-ready, one entry per event
            table; see :class:`churnlib.data.events.EventDefinition`.
        rules: What every row must keep, in training and ever after.
        about: What else is to be known of the table: ``owner`` and ``purpose`` (texts), ``retention_days`` (days that
            its rows may be kept after their date), and of pseudonyms in its id column ``pseudonyms`` (the key's id,
            tenant and purpose, never the key). Only what is known is there.
    """

    columns: tuple[Column, ...]
    classes: tuple[str, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    rules: tuple[Rule, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @property
    def features(self) -> tuple[Column, ...]:
        """Columns a model reads, in table order."""
        return tuple(column for column in self.columns if column.role is Role.feature)

    @property
    def sensitive(self) -> tuple[Column, ...]:
        """Columns by whose groups a model is to be judged, those that it reads as well as those that it must not."""
        return tuple(column for column in self.columns if column.sensitive)

    @property
    def target(self) -> str | None:
        """Name of the target column."""
        return self._name_of(Role.target)

    @property
    def id(self) -> str | None:
        """Name of the column that names the customer, if there is one."""
        return self._name_of(Role.id)

    @property
    def time(self) -> str | None:
        """Name of the column with the date at which a row was taken, if there is one."""
        return self._name_of(Role.time)

    @property
    def elapsed(self) -> str | None:
        """Name of the column that says how long a customer has been there, where a model answers by it."""
        return self._name_of(Role.elapsed)

    def _name_of(self, role: Role) -> str | None:
        return next((column.name for column in self.columns if column.role is role), None)

    def required(self) -> tuple[str, ...]:
        """Names of the columns a row must have and hold a value in."""
        read = (Role.feature, Role.time, Role.elapsed)
        return tuple(column.name for column in self.columns if column.role in read and not column.nullable)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON-ready values."""
        columns = [column.to_dict() for column in self.columns]
        events = {"events": [dict(one) for one in self.events]} if self.events else {}
        rules = {"rules": [rule.to_dict() for rule in self.rules]} if self.rules else {}
        about = {"about": dict(self.about)} if self.about else {}
        return {"classes": list(self.classes), "columns": columns, **events, **rules, **about}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schema:
        """Build a schema from what :meth:`to_dict` returned.

        Raises:
            BundleError: If the values are no schema.
        """
        try:
            return cls(
                tuple(Column.from_dict(column) for column in values["columns"]),
                classes=tuple(values["classes"]),
                events=tuple(values.get("events", ())),
                rules=tuple(Rule.from_dict(rule) for rule in values.get("rules", ())),
                about=dict(values.get("about", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the schema cannot be read ({error!r}); write it again with this release") from error

    def save(self, path: str | Path) -> None:
        """Write the schema as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Schema:
        """Read a schema written by :meth:`save`.

        Raises:
            BundleError: If the file is no schema.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise BundleError(f"{path} is no schema: it is not JSON ({error})") from error
        return cls.from_dict(values)

    def render(self, *, most: int = 60) -> Table:
        """Return the schema as a rich table of at most ``most`` rows."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"Schema: {len(self.features)} of {len(self.columns)} columns are features")
        table.add_column("column", no_wrap=True, overflow="ellipsis")
        for header in ("kind", "role", "missing", "note"):
            table.add_column(header, overflow="fold")
        for column in self.columns[:most]:
            style = "dim" if column.role is Role.ignored else ""
            read = column.sensitive and column.role is not Role.sensitive
            flags = f"{column.role} (sensitive)" if read else column.role
            missing = "allowed" if column.nullable else "no"
            table.add_row(escape(column.name), column.kind, flags, missing, escape(column.note), style=style)
        if len(self.columns) > most:
            table.caption = f"... and {len(self.columns) - most:,} more columns"
        return table
