"""What the user says about columns: names, roles and corrections, checked before the data are looked at."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import polars as pl

from churnlib.errors import ConfigError
from churnlib.schema import parsing
from churnlib.schema.columns import Kind, Role

Choice = TypeVar("Choice", Kind, Role)


@dataclass(frozen=True, slots=True)
class Correction:
    """What the user says about one column; None and empty where nothing is said.

    Attributes:
        kind: What the cells are; ``order`` and ``format`` imply it.
        role: What the column is for.
        order: Values of an ordinal column from lowest to highest, as categories are read.
        format: strftime pattern of dates that come as text or whole numbers.
        sensitive: Whether the column says something about a person that a decision should not rest on.
        use: Whether a model may read it all the same; only of a sensitive column.
        purpose: What the column is kept for.
        owner: Who answers for it.
    """

    kind: Kind | None = None
    role: Role | None = None
    order: tuple[str, ...] = ()
    format: str | None = None
    sensitive: bool | None = None
    use: bool | None = None
    purpose: str = ""
    owner: str = ""

    @classmethod
    def from_options(cls, column: str, options: Mapping[str, Any]) -> Correction:
        """Read the options ``data.columns.NAME.*`` of one column; None says nothing.

        Raises:
            ConfigError: If an option is unknown, has no such value, or contradicts another.
        """
        said = {key: value for key, value in options.items() if value is not None}
        where = f"data.columns.{column}"
        for key in said:
            if key not in cls.__slots__:
                raise ConfigError(f"unknown option {where}.{key}; known are {', '.join(cls.__slots__)}")
        kind = _choice(Kind, said["kind"], f"{where}.kind") if "kind" in said else None
        role = _choice(Role, said["role"], f"{where}.role") if "role" in said else None
        order = _order(said["order"], f"{where}.order") if "order" in said else ()
        implied = Kind.ordinal if order else Kind.datetime if "format" in said else kind
        if kind not in (None, implied) or (order and "format" in said):
            raise ConfigError(f"{where} says two kinds: order makes it ordinal, format datetime; leave one out")
        if implied is Kind.ordinal and not order:
            raise ConfigError(f"{where}.kind=ordinal needs {where}.order=[lowest, ..., highest]")
        sensitive = said.get("sensitive", True if role is Role.sensitive else None)
        _check_sensitive(where, role, sensitive, said.get("use"))
        told = {key: str(said.get(key, "")) for key in ("purpose", "owner")}
        return cls(implied, role, order, said.get("format"), sensitive, said.get("use"), **told)

    def role_of(self, role: Role) -> Role:
        """Return the role that a column has in the end: a sensitive one is a feature only if its use is declared."""
        return Role.sensitive if role is Role.feature and self.sensitive and not self.use else role


def _check_sensitive(where: str, role: Role | None, sensitive: bool | None, use: bool | None) -> None:
    """Refuse what contradicts itself: a column is kept from the model, or read by it, by one clear word."""
    if use is not None and not sensitive:
        raise ConfigError(f"{where}.use belongs to sensitive columns; to leave a column out set {where}.role=ignored")
    if role is Role.sensitive and (use or sensitive is False):
        raise ConfigError(f"{where}.role=sensitive keeps it from the model; leave the role out to let it be read")
    if role is Role.feature and sensitive and not use:
        raise ConfigError(f"{where} is sensitive, and no model reads it unless you set {where}.use=true")


def _choice(choices: type[Choice], value: str, option: str) -> Choice:
    try:
        return choices(value)
    except ValueError:
        raise ConfigError(f"{option} must be one of {', '.join(choices)}, got {value!r}") from None


def _order(values: Sequence[Any], option: str) -> tuple[str, ...]:
    """Return the values as they are read from cells: " 1.0" is "1"."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{option} must be a list such as [low, high], got {values!r}")
    texts = pl.Series("order", [str(value) for value in values], dtype=pl.String)
    order = texts.to_frame().select(parsing.category(pl.first(), texts.dtype)).to_series().to_list()
    if len(order) < 2 or len(set(order)) < len(order) or None in order:
        raise ConfigError(f"{option} must name two or more different values, lowest first, got {list(values)}")
    return tuple(order)


def declared_roles(
    names: Sequence[str],
    corrections: Mapping[str, Correction],
    *,
    target: str | None,
    id: str | None,  # noqa: A002 - the field's and the configuration's name
    time: str | None,
    drop: Sequence[str],
) -> dict[str, Role]:
    """Return the role of each column that the user gave one.

    Raises:
        ConfigError: If the table has no such column, a column has two roles, or a role two columns.
    """
    wanted: list[tuple[str | None, Role | None, str]] = [(name, Role.ignored, "data.drop") for name in drop]
    wanted += [(time, Role.time, "data.time"), (id, Role.id, "data.id"), (target, Role.target, "data.target")]
    wanted += [(name, correction.role, f"data.columns.{name}") for name, correction in corrections.items()]
    known, declared = set(names), {}
    for name, role, option in wanted:
        if name is not None and name not in known:
            raise ConfigError(unknown_column(name, names, option=option))
        if name is None or role is None:
            continue
        if declared.setdefault(name, role) is not role:
            raise ConfigError(f"the column {name!r} is named both as {declared[name]} and as {role}; give it one role")
    for role in (Role.target, Role.id, Role.time):
        named = [name for name, given in declared.items() if given is role]
        if len(named) > 1:
            raise ConfigError(f"{len(named)} columns have the role {role} ({', '.join(named)}); give it to one")
    return declared


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
