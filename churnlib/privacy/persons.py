"""Whom to look for in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.data.pseudonyms import Pseudonyms
from churnlib.errors import ConfigError
from churnlib.schema import parsing


@dataclass(frozen=True)
class Person:
    """One customer, by the name and by the pseudonyms that the given keys make of it.

    Attributes:
        name: As :func:`churnlib.schema.parsing.category` reads it from a cell.
        keys: Keys of the pseudonyms that tables may hold.
    """

    name: str
    keys: tuple[Pseudonyms, ...] = ()
    names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset({self.name, *(key.of(self.name) for key in self.keys)}))

    def match(self, texts: pl.Series) -> pl.Series:
        """Return for each cell of an id column, read as text, whether it names the person; Boolean without nulls."""
        return texts.is_in(list(self.names)).fill_null(False)

    def fragments(self) -> tuple[bytes, ...]:
        """Return bytes of which every line of a CSV file that names the person holds one."""
        return tuple(name.replace('"', '""').encode() for name in sorted(self.names)) + tuple(
            name.encode() for name in sorted(self.names) if '"' in name
        )

    def trace(self) -> list[dict[str, Any]]:
        """Return what the record of an erasure may keep: keyed hashes, and never the name."""
        return [
            {**key.note(), "trace": key.trace(self.name), "pseudonym": key.of(self.name)} for key in self.keys
        ]  # fmt: skip


@dataclass(frozen=True)
class Erased:
    """The persons of earlier erasures, of whom only keyed hashes are known.

    Attributes:
        keys: The keys, by what the records call them.
        traces: By key the keyed hashes of the names.
        pseudonyms: The pseudonyms of all of them.
    """

    keys: tuple[Pseudonyms, ...]
    traces: Mapping[str, frozenset[str]]
    pseudonyms: frozenset[str]

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]], keys: Sequence[Pseudonyms]) -> Erased:
        """Read what the records of erasures know.

        Raises:
            ConfigError: If a key that a record needs is not given, or a record knows of nobody.
        """
        given = {_name(key.note()): key for key in keys}
        traces: dict[str, set[str]] = {}
        pseudonyms: set[str] = set()
        for record in records:
            subject = record.get("subject") or []
            known = [one for one in subject if _name(one) in given]
            if subject and not known:
                wanted = ", ".join(repr(one["key_id"]) for one in subject)
                raise ConfigError(f"the record of {record.get('time')} needs the key {wanted}; add it to keys")
            for one in known:
                traces.setdefault(_name(one), set()).add(one["trace"])
            pseudonyms |= {one["pseudonym"] for one in subject}
        if not traces:
            raise ConfigError(
                "the records hold no trace of whom they concern; erasures need keys=[...] to be re-applied"
            )
        return cls(tuple(keys), {name: frozenset(found) for name, found in traces.items()}, frozenset(pseudonyms))

    def match(self, texts: pl.Series) -> pl.Series:
        """Return for each cell of an id column, read as text, whether it names one of them; Boolean without nulls."""
        distinct = texts.unique().drop_nulls()
        found = [name for name in distinct.to_list() if name in self.pseudonyms or self._traced(name)]
        return texts.is_in(found).fill_null(False)

    def fragments(self) -> tuple[bytes, ...]:
        """Return nothing: of a name that is only known by its hash no part can be looked for."""
        return ()

    def _traced(self, name: str) -> bool:
        return any(key.trace(name) in self.traces.get(_name(key.note()), ()) for key in self.keys)


def named(text: str) -> str:
    """Return a name as cells are read: blanks around it gone, ``12.0`` as ``12``.

    Raises:
        ConfigError: If nothing is left.
    """
    read = pl.DataFrame({"id": [text]}, schema={"id": pl.String})
    name = read.select(parsing.category(pl.col("id"), pl.String())).item()
    if name is None:
        raise ConfigError("id is empty; give the name of the customer, as the table has it")
    return name


def _name(note: Mapping[str, Any]) -> str:
    return "\0".join((note["key_id"], note["tenant"], note["purpose"]))


__all__ = ["Erased", "Person", "named"]
