"""Options of the customer table: where it is, what its columns are, how it is split and prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from churnlib.config.checks import check_choice, check_range, check_variable, nearest
from churnlib.config.files import FILE_OPTIONS, FileOptions
from churnlib.errors import ConfigError

URL_ENV = "CHURNLIB_SQL_URL"
"""Environment variable that holds the address of a database where no other one is named."""


@dataclass
class ColumnConfig:
    """Corrections to what was inferred about one column (``data.columns.NAME.kind=...``)."""

    kind: str | None = None
    """numeric, categorical, ordinal, boolean, datetime, sequence, text or identifier."""
    role: str | None = None
    """feature, target, id, time, event_time (says something only of those who left; never a feature) or ignored."""
    order: list[str] | None = None
    """Values of an ordinal column from lowest to highest; implies ``kind=ordinal``."""
    format: str | None = None
    """strftime pattern of a datetime column that came as text."""
    sensitive: bool | None = None
    """Declared by the user (gender, age, ...), never inferred; keeps the column from the model."""
    use: bool | None = None
    """Let the model read a sensitive column all the same."""
    purpose: str | None = None
    """What the column is kept for; goes into the schema and the profile."""
    owner: str | None = None
    """Who answers for the column; likewise."""


COLUMN_FIELDS = tuple(one.name for one in dataclasses.fields(ColumnConfig))


def _column(name: str, given: Any) -> ColumnConfig:
    """Return the corrections of one column with their types checked."""
    if isinstance(given, ColumnConfig):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"data.columns.{name} must be a mapping of {', '.join(COLUMN_FIELDS)}, got {given!r}")
    for key in given:
        if key not in COLUMN_FIELDS:
            hint = nearest(str(key), COLUMN_FIELDS) or f"; known are {', '.join(COLUMN_FIELDS)}"
            raise ConfigError(f"unknown option data.columns.{name}.{key}{hint}")
    values = dict(given)
    order = values.get("order")
    if order is not None:
        if not isinstance(order, list | tuple):
            raise ConfigError(f"data.columns.{name}.order must be a list such as [low,high], got {order!r}")
        values["order"] = [str(value) for value in order]
    for key in ("sensitive", "use"):
        if not isinstance(values.get(key), bool | None):
            raise ConfigError(f"data.columns.{name}.{key} must be true or false, got {values[key]!r}")
    for key in ("purpose", "owner"):
        if values.get(key) is not None:
            values[key] = str(values[key])
    return ColumnConfig(**values)


@dataclass(kw_only=True)
class EventsConfig(FileOptions):
    """An event table (``data.events.NAME``), from which columns are made as of each row's date."""

    path: str | None = None
    """A file or an address, as data.path."""
    id: str | None = None
    """Its column that names the customer; called as in the customer table when left out."""
    time: str | None = None
    """Its column with the date of each event."""
    format: str | None = None
    """strftime pattern of dates that come as text or whole numbers."""
    windows: list[Any] = field(default_factory=list)
    """Days before the snapshot, or all: [7, 30, all]."""
    aggregations: list[str] = field(default_factory=list)
    """What is made of the events of each window, such as [count, mean, slope]."""
    columns: list[str] = field(default_factory=list)
    """Columns of the event table that are aggregated."""
    features: dict[str, Any] = field(default_factory=dict)
    """Columns with names of their own: ``{aggregation: count, column: null, window: 90, value: null}``."""

    def definition(self) -> dict[str, Any]:
        """Return what belongs to a model: all but where the table lies."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in ("path", *FILE_OPTIONS)}


EVENT_FIELDS = tuple(one.name for one in dataclasses.fields(EventsConfig))


def event_tables(given: Mapping[str, Any], *, option: str) -> dict[str, EventsConfig]:
    """Return the event tables of a configuration with their types checked; None leaves one out.

    Args:
        given: By name.
        option: What the user would have to change, for errors.

    Raises:
        ConfigError: If an option is unknown or of another type.
    """
    named = {str(name): values for name, values in given.items() if values is not None}
    return {name: _event_table(values, option=f"{option}.{name}") for name, values in named.items()}


def _event_table(given: Any, *, option: str) -> EventsConfig:
    if isinstance(given, EventsConfig):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{option} must be a mapping of {', '.join(EVENT_FIELDS)}, got {given!r}")
    for key, value in given.items():
        if key not in EVENT_FIELDS:
            hint = nearest(str(key), EVENT_FIELDS) or f"; known are {', '.join(EVENT_FIELDS)}"
            raise ConfigError(f"unknown option {option}.{key}{hint}")
        wanted, name = {
            "windows": (list | tuple, "a list such as [7,30,90]"),
            "aggregations": (list | tuple, "a list such as [count,mean]"),
            "columns": (list | tuple, "a list of columns"),
            "null_values": (list | tuple, "a list such as [-,unknown]"),
            "header_row": (int, "a whole number"),
            "delta_version": (str | int, "a number or a moment"),
            "features": (Mapping, "a mapping of names to {aggregation: ..., window: ...}"),
        }.get(key, (str, "text"))
        if value is not None and not isinstance(value, wanted):
            raise ConfigError(f"{option}.{key} must be {name}, got {value!r}")
    return EventsConfig(**{str(key): value for key, value in given.items() if value is not None})


@dataclass(kw_only=True)
class PseudonymConfig:
    """Keyed pseudonyms in place of the customers' names; where no key is named, names stay as they are.

    The key itself is never an option: options are printed and kept.
    """

    key_env: str | None = None
    """Environment variable that holds the key, at least 32 characters; or"""
    key_file: str | None = None
    """file that holds it."""
    key_id: str | None = None
    """What the key is called, such as 2026-01; kept beside the data."""
    tenant: str = ""
    """Whose customers they are: the same name has another pseudonym for another tenant ..."""
    purpose: str = "churn"
    """... and for another purpose, so that tables of two purposes cannot be joined."""

    @property
    def named(self) -> bool:
        """Whether a key is named."""
        return self.key_env is not None or self.key_file is not None

    def __post_init__(self) -> None:
        if not self.named and self.key_id is not None:
            raise ConfigError(f"pseudonymise.key_id={self.key_id} names no key; add key_env=VARIABLE or key_file=FILE")
        if self.key_env is not None and self.key_file is not None:
            raise ConfigError("pseudonymise.key_env and pseudonymise.key_file both name a key; give one")
        if self.named and not self.key_id:
            raise ConfigError("pseudonymise.key_id is missing; call the key something, such as key_id=2026-01")


@dataclass(kw_only=True)
class DataConfig:
    """What all tables have in common."""

    name: str
    """What to call the table in what is printed."""
    target: str | None = None
    """Column that says who left."""
    positive: str | None = None
    """Value of the target that means "left"; may be left out for 0/1, yes/no, true/false."""
    id: str | None = None
    """Column that names the customer; never a feature."""
    time: str | None = None
    """Column with the date at which a row was taken (the snapshot); dates are measured from it."""
    drop: list[str] = field(default_factory=list)
    """Columns that are not read."""
    latest: str | None = None
    """Column that says which of several rows of one customer is the newest; the last one of the table when left out."""
    rules: Any = None
    """Rules that rows must keep: a YAML file, or a mapping of max_share, columns, rows, unique, fresh."""
    show_unreadable: int = 0
    """Unreadable cells of a column to print and to keep in the run; none by default, since they are customers' data."""
    # A typed value would keep Hydra from adding columns that are not there yet; __post_init__ gives the type.
    columns: dict[str, Any] = field(default_factory=dict)
    """Corrections by column name, each a :class:`ColumnConfig`."""
    events: dict[str, Any] = field(default_factory=dict)
    """Event tables by a name of your choice, each an :class:`EventsConfig` (see ``conf/events``)."""
    owner: str | None = None
    """Who answers for the table; goes into the schema and the profile."""
    purpose: str | None = None
    """What the table may be used for; likewise."""
    retention_days: int | None = None
    """Days after its date that a row may be kept; likewise. ``churnlib profile`` says which rows are older."""
    pseudonymise: PseudonymConfig = field(default_factory=PseudonymConfig)
    """Replace the customers' names at the door; see ``docs/privacy.md``."""

    def __post_init__(self) -> None:
        self.columns = {str(name): _column(name, given) for name, given in self.columns.items()}
        self.events = event_tables(self.events, option="data.events")
        check_range("data.show_unreadable", self.show_unreadable, low=0, high=100)
        check_range("data.retention_days", self.retention_days, low=1)
        if self.pseudonymise.named and self.id is None:
            raise ConfigError("data.id is missing; data.pseudonymise must know which column names the customers")

    def about(self) -> dict[str, Any]:
        """Return what is to be known of the table besides its columns, as :class:`churnlib.schema.Schema` keeps it."""
        told = {key: getattr(self, key) for key in ("owner", "purpose", "retention_days")}
        if self.pseudonymise.named:
            names = ("key_id", "tenant", "purpose")
            told["pseudonyms"] = {key: getattr(self.pseudonymise, key) for key in names}
        return {key: value for key, value in told.items() if value is not None}


@dataclass(kw_only=True)
class HistoryConfig(FileOptions):
    """A long table, one row per customer and month or event, gathered into list columns of the customer table."""

    path: str | None = None
    """A file or an address, as data.path; null for no history."""
    id: str | None = None
    """Its column that names the customer; called as in the customer table when left out."""
    time: str | None = None
    """Its column with the date (or number) that orders a customer's rows."""
    columns: list[str] = field(default_factory=list)
    """Its columns of numbers; each becomes a list column of that name."""
    format: str | None = None
    """strftime pattern of times that come as text or whole numbers."""


@dataclass(kw_only=True)
class OwnTableConfig(DataConfig):
    """What tables of the user's own have in common: they must be named; commands that learn ask for the target too."""

    NEEDED: ClassVar[Mapping[str, str]] = {}
    """Options without which there is no table, each with an example."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, example in self.NEEDED.items():
            if not getattr(self, option):
                raise ConfigError(
                    f"data.{option} is missing; give data.{option}={example}, and data.target=COLUMN to train"
                )


@dataclass(kw_only=True)
class TableConfig(OwnTableConfig, FileOptions):
    """``data=table``: a file, several files, or an object store."""

    NEEDED: ClassVar[Mapping[str, str]] = {"path": "FILE"}

    path: str | None = None
    """CSV, Parquet, NDJSON, Excel or a Delta table: a path, a glob, or an s3://, gs://, az:// address."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """A second, long table with the customers' histories."""

    def __post_init__(self) -> None:
        OwnTableConfig.__post_init__(self)
        FileOptions.__post_init__(self)


@dataclass(kw_only=True)
class SqlConfig(OwnTableConfig):
    """``data=sql``: the rows of a query to PostgreSQL, MySQL or MariaDB.

    The address of the database, which holds a password, is never an option: options are printed and kept.
    """

    NEEDED: ClassVar[Mapping[str, str]] = {"query": "SQL"}

    query: str | None = None
    """One SELECT, or the path of a .sql file with one."""
    url_env: str
    """Environment variable that holds the address, postgresql://user:password@host:5432/database or mysql://..."""
    partition_on: str | None = None
    """Column of the query, of whole numbers or dates, whose ranges are read at once; rows without a value too."""
    partitions: int
    """How many ranges."""
    timeout_seconds: float
    """After which a read has failed, from connecting to the last row."""

    def __post_init__(self) -> None:
        check_variable("data.url_env", self.url_env)
        super().__post_init__()
        check_range("data.partitions", self.partitions, low=1)
        check_range("data.timeout_seconds", self.timeout_seconds, low=0, open_low=True)

    def reading(self) -> dict[str, Any]:
        """Return what :func:`churnlib.data.sources.sql.read_sql` takes besides the query."""
        return {key: getattr(self, key) for key in ("url_env", "partition_on", "partitions", "timeout_seconds")}


@dataclass(kw_only=True)
class ReferenceConfig(DataConfig):
    """``data=telco|mlc|isp``: a public table, found by its name."""

    reference: str
    """telco, mlc or isp."""


@dataclass(kw_only=True)
class SimulatorConfig(DataConfig):
    """``data=simulator``: customers drawn from a written-down model whose best result is known."""

    n_customers: int
    """Distinct customers; a few rows come twice on top, as in real exports."""
    n_snapshots: int
    """Month-end snapshot dates over which the customers are spread; more than one gives a split by time."""
    history_months: int
    """Most months of two usage histories (list columns whose order bears on churn); 0 for a table without them."""
    treatment_share: float = 0.0
    """Share of the customers, chosen at random, who are treated: a column ``treated``; 0 for a table without it."""
    seed: int | None = None
    """Seed of the draw; the run's seed when left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.n_customers", self.n_customers, low=1)
        check_range("data.n_snapshots", self.n_snapshots, low=1)
        check_range("data.treatment_share", self.treatment_share, low=0, high=0.95)
        check_range("data.history_months", self.history_months, low=0, high=120)
        check_range("data.seed", self.seed, low=0)


@dataclass(kw_only=True)
class SplitConfig:
    """How rows are dealt to training, validation and test."""

    train: float
    """Share of rows in [0, 1]; the three shares sum to 1."""
    validation: float
    test: float
    by: str
    """auto (time when the time column has three dates or more, else random), random (stratified), time, or column."""
    column: str | None = None
    """With ``by=column``: a column that says train, validation or test for each row; it is never a feature."""
    seed: int | None = None
    """Seed of the split alone; the run's seed when left out."""
    stratify: list[str] = field(default_factory=list)
    """At random: columns whose values are dealt in equal shares too, beside the classes; each of few values."""
    group: str | None = None
    """Column that names what must stay together, such as a household; it is never a feature."""
    origins: int
    """By time: how many windows are trained and tested one after the other; the newest one makes the bundle."""
    gap_days: float
    """By time: days that must lie between a row and the first one of the next side; rows in between are left out.
    Take the outcome window (and the lead time): so long does a row's label say something about later days."""

    def __post_init__(self) -> None:
        check_range("split.origins", self.origins, low=1)
        check_range("split.gap_days", self.gap_days, low=0)
        for name in ("train", "validation", "test"):
            check_range(f"split.{name}", getattr(self, name), low=0, high=1)
        check_choice("split.by", self.by, ("auto", "random", "time", "column"))
        check_range("split.seed", self.seed, low=0)


@dataclass(kw_only=True)
class PreprocessConfig:
    """How raw columns become the numbers a network reads; learned from training rows only."""

    impute: str
    """median, mean or constant: what replaces a missing number."""
    impute_value: float
    """The constant of ``impute=constant``."""
    indicator: bool
    """Add a 0/1 column for each numeric column that had missing values in the training rows."""
    scale: str
    """robust_clip (robust scale, then smooth clip to +-3), robust, standard, minmax, quantile or none."""
    winsorize: float
    """Share of training rows cut off at each end of a numeric column before scaling, in [0, 0.5)."""
    one_hot_max: int
    """Categorical columns with up to this many values are one-hot encoded, larger ones embedded."""
    max_steps: int
    """Most steps of a sequence that are read, counted from its end; the longest training row where it is shorter."""
    embedding_dim: int | None = None
    """Width of an embedding; ``min(16, ceil(1.6 * values ** 0.56))`` when left out."""
    features: dict[str, Any] = field(default_factory=dict)
    """New columns by name, each an expression in polars' SQL over the columns of a row (see ``conf/features``)."""
    steps: dict[str, Any] = field(default_factory=dict)
    """Steps before all this, by a name of your choice: ``{step: WORD, ...options}``, in the order given."""

    def __post_init__(self) -> None:
        check_choice("preprocess.impute", self.impute, ("median", "mean", "constant"))
        scales = ("robust_clip", "robust", "standard", "minmax", "quantile", "none")
        check_choice("preprocess.scale", self.scale, scales)
        check_range("preprocess.winsorize", self.winsorize, low=0, high=0.5, open_high=True)
        check_range("preprocess.one_hot_max", self.one_hot_max, low=0)
        check_range("preprocess.embedding_dim", self.embedding_dim, low=1)
        check_range("preprocess.max_steps", self.max_steps, low=1)
