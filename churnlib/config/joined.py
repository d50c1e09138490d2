"""Options of ``data=joined``: several sources that become one customer table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_range, check_variable, nearest
from churnlib.config.data import DataConfig, HistoryConfig
from churnlib.config.files import FileOptions
from churnlib.errors import ConfigError

JOINS = ("static", "exact", "newest")


@dataclass(kw_only=True)
class SourceConfig(FileOptions):
    """One source (``data.sources.NAME``); its columns may be called as before ``rename`` or as after it."""

    path: str | None = None
    """A file, a folder or an address, as data.path; or"""
    query: str | None = None
    """one SELECT, or the path of a .sql file with one, as data.query of data=sql."""
    url_env: str = "CHURNLIB_SQL_URL"
    """Environment variable that holds the address of its database."""
    partition_on: str | None = None
    """Column of the query whose ranges are read at once."""
    partitions: int = 4
    """How many ranges."""
    timeout_seconds: float = 3600
    """After which a read has failed."""
    id: str | None = None
    """Its column that names the customer; called as data.id when left out."""
    id_width: int | None = None
    """Digits to which its customer numbers are filled up with zeros (3: 7 is 007); 0 where 7 and 007 are two people."""
    time: str | None = None
    """Its column with the date of each row; the base's is data.time."""
    format: str | None = None
    """strftime pattern of dates that come as text or whole numbers; that of the base is data.columns.TIME.format."""
    join: str | None = None
    """static (one row per customer), exact (one for each snapshot) or newest (the last one that is no later than the
    snapshot); static without a time, else newest."""
    max_age_days: float | None = None
    """With newest: rows that are older than this at the snapshot do not count."""
    rename: dict[str, str] = field(default_factory=dict)
    """Names of its columns, and what they are called in the table."""
    keep: list[str] = field(default_factory=list)
    """Columns that are taken; all when left out, but for the id and the time."""
    drop: list[str] = field(default_factory=list)
    """Columns that are not taken."""
    latest: str | None = None
    """Column that says which of several rows with one key is the newest; that one counts."""
    required: bool = False
    """Refuse the table if a row of the base has no partner here."""

    def querying(self) -> dict[str, Any]:
        """Return what :func:`churnlib.data.sources.sql.fetch_sql` takes besides the query and the folder."""
        return {key: getattr(self, key) for key in ("url_env", "partition_on", "partitions", "timeout_seconds")}

    @property
    def kind(self) -> str:
        """How it is joined."""
        return self.join or ("static" if self.time is None else "newest")


SOURCE_FIELDS = {one.name: one for one in dataclasses.fields(SourceConfig)}

_WANTED: dict[str, tuple[Any, str]] = {
    "rename": (Mapping, "a mapping of its names to ours, such as {KUNDENNR: customer_id}"),
    "null_values": (list | tuple, "a list of cells"),
    "header_row": (int, "a whole number"),
    "keep": (list | tuple, "a list of columns"),
    "drop": (list | tuple, "a list of columns"),
    "required": (bool, "true or false"),
    "id_width": (int, "a whole number"),
    "max_age_days": (int | float, "a number of days"),
    "partitions": (int, "a whole number"),
    "timeout_seconds": (int | float, "a number of seconds"),
}


def _source(name: str, given: Any) -> SourceConfig:
    """Return one source with its types checked."""
    option = f"data.sources.{name}"
    if isinstance(given, SourceConfig):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{option} must be a mapping of {', '.join(SOURCE_FIELDS)}, got {given!r}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in SOURCE_FIELDS:
            hint = nearest(str(key), list(SOURCE_FIELDS)) or f"; known are {', '.join(SOURCE_FIELDS)}"
            raise ConfigError(f"unknown option {option}.{key}{hint}")
        wanted, words = _WANTED.get(key, (str, "text"))
        if value is None:
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"{option}.{key} must be {words}, got {value!r}")
        values[key] = value
    source = SourceConfig(**values)
    if bool(source.path) == bool(source.query):
        raise ConfigError(f"{option} needs a path (a CSV or Parquet file) or a query (to a database), one of them")
    _check(option, source)
    return source


def _check(option: str, source: SourceConfig) -> None:
    if source.join is not None:
        check_choice(f"{option}.join", source.join, JOINS)
    check_variable(f"{option}.url_env", source.url_env)
    check_range(f"{option}.partitions", source.partitions, low=1)
    check_range(f"{option}.timeout_seconds", source.timeout_seconds, low=0, open_low=True)
    check_range(f"{option}.id_width", source.id_width, low=0, high=64)
    check_range(f"{option}.max_age_days", source.max_age_days, low=0)
    if source.kind != "static" and source.time is None:
        raise ConfigError(f"{option}.join={source.kind} needs {option}.time, the column with the date of each row")
    if source.kind == "static" and source.time is not None:
        raise ConfigError(f"{option}.join=static has one row per customer; leave {option}.time out")
    if source.max_age_days is not None and source.kind != "newest":
        raise ConfigError(f"{option}.max_age_days is only read with join=newest; leave it out")


@dataclass(kw_only=True)
class JoinedConfig(DataConfig):
    """``data=joined``: several sources, joined on the customer and on the date of the snapshot."""

    base: str | None = None
    """The source whose rows are the table's; the first one when left out."""
    # A typed value would keep Hydra from adding sources; __post_init__ gives the type.
    sources: dict[str, Any] = field(default_factory=dict)
    """By a name of your choice, each a :class:`SourceConfig`."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """A long table with the customers' histories."""

    @property
    def queries(self) -> bool:
        """Whether rows come from databases."""
        return any(source.query is not None for source in self.sources.values())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ConfigError(
                "data.sources is missing: data=joined needs data.sources.NAME.path=FILE for each source, and data.id"
            )
        if self.id is None:
            raise ConfigError("data.id is missing: data=joined must know which column names the customers")
        given = {str(name): values for name, values in self.sources.items() if values is not None}
        self.base = next(iter(given), None) if self.base is None else self.base
        if self.base not in given:
            raise ConfigError(f"data.base={self.base} is none of data.sources ({', '.join(given)})")
        own = dict(given[self.base]) if isinstance(given[self.base], Mapping) else given[self.base]
        if isinstance(own, dict) and own.get("time") is not None and self.time is None:
            raise ConfigError(f"data.time is missing; say what to call the date of {self.base} in the table")
        self.sources = {name: _source(name, values) for name, values in given.items()}
        for name, source in self.sources.items():
            if name != self.base and source.kind != "static" and self.time is None:
                raise ConfigError(
                    f"data.sources.{name}.time needs data.time, the column of {self.base} with the date of each row"
                )
