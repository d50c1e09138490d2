"""One source of a joined table: its columns under their new names, and the keys by which it is joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
import polars.selectors as cs

from churnlib.config.joined import SourceConfig
from churnlib.data.dates import TRIED_ROWS, find_formats
from churnlib.data.joined.reading import reading_source
from churnlib.data.names import normalize_name
from churnlib.data.sources import scan_table
from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing, unknown_column

KEY, MOMENT = "\0key", "\0moment"
"""The customer as text, and the date of a row; columns of tables have no NUL in their names."""


@dataclass(frozen=True)
class Source:
    """An opened source.

    Attributes:
        name: Of the user's choice.
        config: What the user says of it.
        table: ``KEY``, ``MOMENT`` if it has dates, and the columns; not read yet.
        columns: The columns that are taken.
        latest: Column that says which of several rows is the newest; in the table, whether it is taken or not.
    """

    name: str
    config: SourceConfig
    table: pl.LazyFrame
    columns: tuple[str, ...]
    latest: str | None = None

    @property
    def option(self) -> str:
        """How the user calls its options."""
        return f"data.sources.{self.name}"

    @property
    def dated(self) -> bool:
        """Whether its rows have dates by which they are joined."""
        return self.config.kind != "static"

    @property
    def keys(self) -> list[str]:
        """Columns that name one row."""
        return [KEY, MOMENT] if self.dated else [KEY]

    def with_table(self, table: pl.LazyFrame) -> Source:
        """Return the source with other rows."""
        return replace(self, table=table)


def open_base(name: str, config: SourceConfig, *, id: str, time: str | None, format: str | None) -> Source:  # noqa: A002
    """Open the source whose rows are the table's; its keys are called as the table calls them.

    Raises:
        ConfigError: If it lacks a column that an option names.
        DataError: If it cannot be opened, or its key is no key.
    """
    renamed = _Renamed(name, config)
    own_id = renamed.call(config.id or id, "id", other=f"data.id={id}" if config.id is None else None)
    asked = config.time or time
    own_time = None
    if asked is not None:
        own_time = renamed.call(asked, "time", other=None if config.time else f"data.time={asked}")
    renamed.rename({own_id: id, **({own_time: time} if own_time is not None and time is not None else {})})
    columns = renamed.taken(always=[id, *([time] if time is not None else [])])
    keys = [_key(renamed, id, config)]
    if time is not None:
        keys.append(_moment(renamed, time, format, remedy=f"data.columns.{time}.format"))
    return Source(name, config, renamed.table.select(*keys, cs.by_name(*columns)), tuple(columns))


def open_source(name: str, config: SourceConfig, *, id: str) -> Source:  # noqa: A002
    """Open a source that is joined to the base.

    Raises:
        ConfigError: If it lacks a column that an option names.
        DataError: If it cannot be opened, or its key is no key.
    """
    renamed = _Renamed(name, config)
    own_id = renamed.call(config.id or id, "id", other=None if config.id else f"data.id={id}")
    keys = [_key(renamed, own_id, config)]
    hidden = [own_id]
    if config.time is not None:
        own_time = renamed.call(config.time, "time")
        keys.append(_moment(renamed, own_time, config.format, remedy=f"data.sources.{name}.format"))
        hidden.append(own_time)
    columns = renamed.taken(never=hidden)
    latest = None if config.latest is None else renamed.call(config.latest, "latest")
    also = [latest] if latest is not None and latest not in columns else []
    return Source(name, config, renamed.table.select(*keys, cs.by_name(*columns, *also)), tuple(columns), latest)


class _Renamed:
    """A table under the names that the user wants.

    Args:
        name: Of the source.
        config: Of the source.
    """

    def __init__(self, name: str, config: SourceConfig) -> None:
        self.name, self._config = name, config
        self._option = f"data.sources.{name}"
        path = str(config.path)
        self.table = scan_table(path, **config.reading())
        with reading_source(config):
            self.types = dict(self.table.collect_schema())
        self._called: dict[str, str] = {}
        for theirs, ours in config.rename.items():
            own = normalize_name(theirs)
            if own not in self.types:
                raise ConfigError(unknown_column(own, list(self.types), option=f"{self._option}.rename"))
            self._called[own] = normalize_name(ours)
        self._apply(self._called)

    def call(self, name: str, option: str, *, other: str | None = None) -> str:
        """Return what a column is called now, by its new or its old name."""
        name = normalize_name(name)
        if name in self.types:
            return name
        if name in self._called:
            return self._called[name]
        said = f"{self._option}.{option}"
        if other is not None:
            raise ConfigError(
                f"{self.name} has no column {name!r} ({other}); say how it calls it with {said}=COLUMN (it has "
                f"{', '.join(map(repr, list(self.types)[:8]))})"
            )
        raise ConfigError(unknown_column(name, list(self.types), option=said))

    def rename(self, called: dict[str, str]) -> None:
        """Give columns other names than those they have now."""
        self._apply({old: new for old, new in called.items() if old != new})

    def taken(self, *, always: Sequence[str] = (), never: Sequence[str] = ()) -> list[str]:
        """Return the columns that the options ask for, in the order of the source."""
        keep = [self.call(name, "keep") for name in self._config.keep]
        drop = [self.call(name, "drop") for name in self._config.drop]
        both = set(keep) & set(drop)
        if both:
            raise ConfigError(f"{self._option}.keep and drop both name {sorted(both)[0]!r}; leave one out")
        if keep:
            return [name for name in self.types if name in keep or name in always]
        return [name for name in self.types if name in always or not (name in drop or name in never)]

    def _apply(self, called: dict[str, str]) -> None:
        after = [called.get(name, name) for name in self.types]
        twice = next((name for place, name in enumerate(after) if name in after[:place]), None)
        if twice is not None:
            raise ConfigError(f"{self._option} would have two columns named {twice!r}; rename one of them otherwise")
        self.table = self.table.rename(called)
        self.types = dict(zip(after, self.types.values(), strict=True))


def _key(renamed: _Renamed, name: str, config: SourceConfig) -> pl.Expr:
    """Return the customer as text: 7 and 7.0 are ``7``, and the text 007 stays what it is."""
    dtype = renamed.types[name]
    if not parsing.is_plain(dtype):
        raise DataError(f"data.sources.{renamed.name}.id names {name!r}, which holds {dtype}, not single values")
    text = parsing.category(parsing.cell_of(name), dtype)
    if config.id_width:
        text = pl.when(text.str.contains(r"^\d+$")).then(text.str.zfill(config.id_width)).otherwise(text)
    return text.alias(KEY)


def _moment(renamed: _Renamed, name: str, given: str | None, *, remedy: str) -> pl.Expr:
    dtype = renamed.types[name]
    if not parsing.is_plain(dtype):
        raise DataError(f"data.sources.{renamed.name}.time names {name!r}, which holds {dtype}, not dates")
    with reading_source(renamed._config):
        head = renamed.table.select(parsing.cell_of(name)).head(TRIED_ROWS).collect().to_series()
    formats = find_formats(head, given, option=f"data.sources.{renamed.name}.time", remedy=remedy)
    return parsing.moment(parsing.cell_of(name), dtype, formats).alias(MOMENT)


__all__ = ["KEY", "MOMENT", "Source", "open_base", "open_source"]
