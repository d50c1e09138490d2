"""Options of the commands beside ``train``, with their values: they have no groups to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_local, check_range, check_variable
from churnlib.config.data import (
    URL_ENV,
    DataConfig,
    HistoryConfig,
    PreprocessConfig,
    PseudonymConfig,
    SplitConfig,
    event_tables,
)
from churnlib.config.files import FileOptions
from churnlib.config.goal import GoalConfig
from churnlib.config.leaks import LeaksConfig
from churnlib.config.levers import LeversConfig
from churnlib.config.money import MoneyConfig
from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class ScoreConfig(FileOptions):
    """``scripts/score.py``: a table in, probabilities out."""

    bundle: str = "outputs/latest/bundle"
    """Folder of the bundle."""
    input: str | None = None
    """CSV, Parquet, NDJSON, Excel or a Delta table: a path, a glob, or an s3://, gs://, az:// address; or a .sql file
    with a query (docs/sql.md)."""
    output: str | None = None
    """File to write; its ending says CSV or Parquet."""
    url_env: str = URL_ENV
    """Environment variable that holds the address of the query's database."""
    timeout_seconds: float = 3600
    """After which reading from the database has failed."""
    on_error: str | None = "raise"
    """raise (stop at bad rows, write nothing) or null (bad rows get empty results)."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """The long table of these customers' histories, for a model that was trained with one (``data.history``)."""
    events: dict[str, Any] = field(default_factory=dict)
    """The event tables of these customers, for a model that was trained with some: ``events.NAME.path=FILE``."""
    horizon: float | None = None
    """Of a model that says when customers leave (task=hazard): time ahead of which churn_probability speaks."""
    batch_rows: int = 65_536
    """Rows scored at a time."""
    pseudonymise: PseudonymConfig = field(default_factory=PseudonymConfig)
    """Write pseudonyms in place of the customers' names, as ``data.pseudonymise`` of train."""
    opt_out: str | None = None
    """Table of the customers who have objected to being scored, named as in the input: no model is asked about them."""
    backend: str = "auto"
    """What answers: onnx (ONNX Runtime), torch (the model as it was trained), or auto: the former if it is at hand."""
    trust: list[str] = field(default_factory=list)
    """Packages of your own whose networks a bundle may name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("backend", self.backend, ("auto", "torch", "onnx"))
        for option in ("input", "output"):
            if not getattr(self, option):
                raise ConfigError(f"{option} is missing: score needs input=FILE and output=FILE")
        check_local("output", self.output)
        self.on_error = "null" if self.on_error is None else self.on_error  # YAML's null, on the command line a word
        check_choice("on_error", self.on_error, ("raise", "null"))
        self.events = event_tables(self.events, option="events")
        check_range("horizon", self.horizon, low=0, open_low=True)
        check_range("batch_rows", self.batch_rows, low=1)
        check_variable("url_env", self.url_env)
        check_range("timeout_seconds", self.timeout_seconds, low=0, open_low=True)


@dataclass(kw_only=True)
class ReportConfig:
    """``scripts/report.py``: what a run has to tell, as one page."""

    run: str = "outputs/latest"
    """Folder of a finished run."""
    out: str | None = None
    """Page to write; report.html in the folder when left out."""
    refresh: bool = False
    """Read the run's table again and compute everything anew, even where report.json holds the numbers."""
    levers: LeversConfig = field(default_factory=LeversConfig)
    """What can be offered to a customer, in place of the run's; with some everything is computed anew."""
    budget: float | None = None
    """Money that may be spent on the test customers, in place of reporting.budget of the run."""
    capacity: float | None = None
    """What the team can do for them, in place of reporting.capacity of the run."""

    def __post_init__(self) -> None:
        check_local("out", self.out)
        for name in ("budget", "capacity"):
            check_range(name, getattr(self, name), low=0)
        if self.out is not None and not self.out.lower().endswith((".html", ".htm")):
            raise ConfigError(f"out={self.out} must end in .html")


@dataclass(kw_only=True)
class ScorecardConfig:
    """``scripts/scorecard.py``: an additive model as points."""

    bundle: str = "outputs/latest/bundle"
    """Folder of the bundle."""
    output: str | None = None
    """File to write, JSON or CSV by its ending."""
    points_to_double: float = 20.0
    """Points that double the odds of leaving."""
    decimals: int | None = 1
    """Decimals of the points; null for unrounded ones."""
    trust: list[str] = field(default_factory=list)
    """Packages of your own whose networks a bundle may name."""

    def __post_init__(self) -> None:
        check_local("output", self.output)
        check_range("points_to_double", self.points_to_double, low=0, open_low=True)
        check_range("decimals", self.decimals, low=0, high=12)
        if self.output is not None and not self.output.lower().endswith((".json", ".csv")):
            raise ConfigError(f"output={self.output} must end in .json or .csv")


@dataclass(kw_only=True)
class ExportConfig:
    """``scripts/export.py``: a model for other programs."""

    bundle: str = "outputs/latest/bundle"
    """Folder of the bundle."""
    output: str | None = None
    """File to write; with format=triton a folder."""
    format: str = "onnx"
    """onnx, onnx_int8, torch_export (.pt2), torchscript (deprecated by PyTorch) or triton."""
    trust: list[str] = field(default_factory=list)
    """Packages of your own whose networks a bundle may name."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("output is missing: export needs output=PATH")
        check_local("output", self.output)
        check_choice("format", self.format, ("onnx", "onnx_int8", "torch_export", "torchscript", "triton"))


@dataclass(kw_only=True)
class IngestConfig:
    """``churnlib ingest``: a table into a folder of Parquet files with a manifest."""

    data: DataConfig
    output: str | None = None
    """Folder of the table; it is made, or must be one that ingest has written."""
    rows_per_file: int = 1_000_000
    """Rows of a file, at most."""
    accept_columns: bool = False
    """Take columns that differ from those of the folder: what a row lacks is missing."""
    verify: bool = False
    """Ingest nothing: compare every file of the folder with its checksum."""
    seed: int = 42
    """Of simulated customers."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("output is missing: ingest needs output=FOLDER")
        check_range("rows_per_file", self.rows_per_file, low=1)
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class TemplateConfig:
    """``churnlib template``: an empty table to be filled in by hand."""

    data: DataConfig
    bundle: str | None = None
    """Folder of the bundle whose model shall score the rows; without it the table is like that of data."""
    output: str | None = None
    """CSV file to write; it must not be there yet, nor the one beside it with the ending .md."""
    separator: str = ","
    """Between the cells."""
    seed: int = 42
    """Of simulated customers."""

    def __post_init__(self) -> None:
        if not self.output or not self.output.lower().endswith(".csv"):
            raise ConfigError("output is missing: template needs output=FILE.csv")
        if len(self.separator) != 1 or self.separator.isalnum():
            raise ConfigError(f"separator must be one character such as ',' or ';', got {self.separator!r}")
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class PrepareConfig:
    """``churnlib prepare``: a table of any size, prepared into a Parquet file."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    output: str | None = None
    """Folder to write; it must not be there yet."""
    sample_rows: int = 1_000_000
    """Rows, spread over the table, from which kinds and steps are learned: the training rows among them."""
    seed: int = 42
    """Fixes the sides, the sample and what the steps draw."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("output is missing: prepare needs output=FOLDER")
        check_local("output", self.output)
        if not self.data.target:
            raise ConfigError("data.target is missing; name the column that says who left, such as data.target=churn")
        if self.split.by not in ("auto", "random"):
            raise ConfigError(
                f"split.by={self.split.by}: prepare deals customers at random by their name; leave the option out"
            )
        if self.split.stratify or self.split.group is not None:
            raise ConfigError(
                "split.stratify and split.group are for train: prepare deals customers by their name alone"
            )
        check_range("sample_rows", self.sample_rows, low=100)
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class ProfileConfig:
    """``churnlib profile``: a readable report of a table."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    output: str = "profile.html"
    """Page to write; the figures go beside it as JSON."""
    quasi_identifiers: list[str] = field(default_factory=list)
    """Columns that together might single a person out; sensitive columns count anyway."""
    fewest: int = 5
    """Customers that a cell of the report needs; smaller ones are merged."""
    sample_rows: int = 100_000
    """Rows, spread over the table, from which associations between columns are computed."""
    seed: int = 42
    """Of the sample, and of simulated customers."""

    def __post_init__(self) -> None:
        check_local("output", self.output)
        if not self.output.lower().endswith((".html", ".htm")):
            raise ConfigError(f"output={self.output} must end in .html; the figures go beside it as .json")
        if not self.data.target:
            raise ConfigError("data.target is missing; name the column that says who left, such as data.target=churn")
        check_range("fewest", self.fewest, low=2)
        check_range("sample_rows", self.sample_rows, low=1_000)
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class DoctorConfig:
    """``churnlib doctor``: what a table can give, and what is too good to be true."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    leaks: LeaksConfig
    money: MoneyConfig
    goal: GoalConfig
    output: str = "doctor.json"
    """File to write."""
    claim: float | None = None
    """What somebody says a model shows on test rows, in the figure of the goal (F1 without one)."""
    sample_rows: int = 20_000
    """Rows that are looked at, at most, drawn at random."""
    seed: int = 42
    """Of folds, samples and draws, and of simulated customers."""

    def __post_init__(self) -> None:
        check_local("output", self.output)
        if not self.output.lower().endswith(".json"):
            raise ConfigError(f"output={self.output} must end in .json")
        if not self.data.target:
            raise ConfigError("data.target is missing; name the column that says who left, such as data.target=churn")
        check_range("sample_rows", self.sample_rows, low=500)
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class PseudonymiseConfig(PseudonymConfig, FileOptions):
    """``churnlib pseudonymise``: a table with keyed pseudonyms in place of names."""

    input: str | None = None
    """CSV, Parquet, NDJSON, Excel or a Delta table: a path, a glob, or an s3://, gs://, az:// address."""
    output: str | None = None
    """File to write, CSV or Parquet by its ending; it must not be there yet."""
    id: str | None = None
    """Column that names the customers."""

    def __post_init__(self) -> None:
        PseudonymConfig.__post_init__(self)
        FileOptions.__post_init__(self)
        for option in ("input", "output", "id"):
            if not getattr(self, option):
                raise ConfigError(f"{option} is missing: pseudonymise needs input=FILE output=FILE id=COLUMN")
        check_local("output", self.output)
        if not self.named:
            raise ConfigError("pseudonymise needs a key: key_env=VARIABLE or key_file=FILE, and key_id=NAME")


@dataclass(kw_only=True)
class PersonConfig:
    """What ``churnlib forget`` and ``churnlib subject-report`` have in common."""

    # A number must not lose its leading zeros, and a word must not become a truth value: text, whatever it looks like.
    id: str | None = None
    """The customer's name, as the source system has it; quote numbers twice: "id='00123'"."""
    folders: list[str] = field(default_factory=lambda: ["outputs", "multirun"])
    """Folders to search, with all below them; those that are not there are left out."""
    id_columns: list[str] = field(default_factory=list)
    """Names of columns that name customers, beside customer_id and those that a bundle or a manifest knows."""
    keys: list[PseudonymConfig] = field(default_factory=list)
    """Keys of pseudonyms that tables may hold: [{key_env: VARIABLE, key_id: NAME}, ...], with tenant and purpose."""


@dataclass(kw_only=True)
class ForgetConfig(PersonConfig):
    """``churnlib forget``: a customer's rows removed from every table that churnlib has written."""

    record: str = "outputs/erasures.jsonl"
    """File to which a line about each erasure is added; it holds no name."""
    reapply: str | None = None
    """File of such lines: remove everybody they concern again, after a backup was restored."""
    dry_run: bool = False
    """Say what would be removed, and change nothing."""

    def __post_init__(self) -> None:
        if (self.id is None) == (self.reapply is None):
            raise ConfigError("forget needs id=CUSTOMER or reapply=FILE, one of them")


@dataclass(kw_only=True)
class SubjectReportConfig(PersonConfig):
    """``churnlib subject-report``: everything that is stored about a customer."""

    output: str = "subject-report.json"
    """File to write; it must not be there yet."""

    def __post_init__(self) -> None:
        if self.id is None:
            raise ConfigError("id is missing: subject-report needs id=CUSTOMER")
        check_local("output", self.output)


@dataclass(kw_only=True)
class SimulateConfig:
    """``churnlib simulate``: a file of simulated customers."""

    output: str | None = None
    """Parquet file to write."""
    n_customers: int = 10_000
    """Distinct customers; a few rows come twice on top, as in real exports."""
    n_snapshots: int = 1
    """Month-end snapshot dates over which the customers are spread."""
    history_months: int = 0
    """Most months of two usage histories (list columns); 0 for a table without them."""
    usage_events: str | None = None
    """Parquet file for one record of usage per customer and day; its trend then bears on churn."""
    ticket_events: str | None = None
    """Parquet file for the customers' support tickets."""
    event_days: int = 90
    """Most days before the snapshot of usage records."""
    seed: int = 42
    truth: bool = False
    """Add the column of the true churn probabilities; a model must never see it."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("output is missing: simulate needs output=FILE.parquet")
        check_local("output", self.output)
        check_range("n_customers", self.n_customers, low=1)
        check_range("n_snapshots", self.n_snapshots, low=1)
        check_range("history_months", self.history_months, low=0, high=120)
        check_range("event_days", self.event_days, low=1, high=1096)
        check_range("seed", self.seed, low=0)
