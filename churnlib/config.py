"""The typed shape of every option: what ``conf/`` may say and the command line may override.

The values of a training run live in ``conf/*.yaml`` and nowhere else; the dataclasses here give each its type, its
range and its meaning, so that a mistyped key or a wrong type is refused before anything runs. A default of None is an
option that may be absent. The commands that have no groups to choose from (score, simulate) have their values here.

The arguments of the classes that a configuration names (networks, optimizers, ...) are in ``component_config``;
``compose`` puts a whole configuration together. Nothing here imports torch, Lightning or polars.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from churnlib.errors import ConfigError


def config_dir() -> Path:
    """Return the folder of the YAML files: in an installed wheel ``churnlib/conf``, in a checkout ``conf``."""
    packaged = Path(str(files("churnlib") / "conf"))
    return packaged if packaged.is_dir() else packaged.parents[1] / "conf"


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean X?"`` for the known word most like this one, else an empty text.

    >>> nearest("trane", ["train", "score"])
    '; did you mean train?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def check_range(
    option: str, value: Any, *, low: float, high: float = float("inf"), open_low: bool = False, open_high: bool = False
) -> None:
    """Refuse a number outside its range; None and interpolations (text) pass.

    Raises:
        ConfigError: With the option, its range and the value.
    """
    if not isinstance(value, int | float):
        return
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if above and below:
        return
    if high == float("inf"):
        wanted = f"{'above' if open_low else 'at least'} {low:,}"
    else:
        wanted = f"in {'(' if open_low else '['}{low:,}, {high:,}{')' if open_high else ']'}"
    raise ConfigError(f"{option} must be {wanted}, got {value!r}")


def check_choice(option: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices; None and interpolations pass.

    Raises:
        ConfigError: With the option, its choices and the value.
    """
    if value is None or value in choices or (isinstance(value, str) and "${" in value):
        return
    raise ConfigError(f"{option} must be one of {', '.join(choices)}, got {value!r}{nearest(str(value), choices)}")


# --- data -----------------------------------------------------------------------------------------------------------


@dataclass
class ColumnConfig:
    """Corrections to what was inferred about one column (``data.columns.NAME.kind=...``)."""

    kind: str | None = None
    """numeric, categorical, ordinal, boolean, datetime, sequence, text or identifier."""
    role: str | None = None
    """feature, target, id, time or ignored."""
    order: list[str] | None = None
    """Values of an ordinal column from lowest to highest; implies ``kind=ordinal``."""
    format: str | None = None
    """strftime pattern of a datetime column that came as text."""
    sensitive: bool | None = None
    """Declared by the user (gender, age, ...), never inferred."""


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
    order, sensitive = values.get("order"), values.get("sensitive")
    if order is not None:
        if not isinstance(order, list | tuple):
            raise ConfigError(f"data.columns.{name}.order must be a list such as [low,high], got {order!r}")
        values["order"] = [str(value) for value in order]
    if not isinstance(sensitive, bool | None):
        raise ConfigError(f"data.columns.{name}.sensitive must be true or false, got {sensitive!r}")
    return ColumnConfig(**values)


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
    # A typed value would keep Hydra from adding columns that are not there yet; __post_init__ gives the type.
    columns: dict[str, Any] = field(default_factory=dict)
    """Corrections by column name, each a :class:`ColumnConfig`."""

    def __post_init__(self) -> None:
        self.columns = {str(name): _column(name, given) for name, given in self.columns.items()}


@dataclass(kw_only=True)
class HistoryConfig:
    """A long table, one row per customer and month or event, gathered into list columns of the customer table."""

    path: str | None = None
    """CSV or Parquet, as data.path; null for no history."""
    id: str | None = None
    """Its column that names the customer; called as in the customer table when left out."""
    time: str | None = None
    """Its column with the date (or number) that orders a customer's rows."""
    columns: list[str] = field(default_factory=list)
    """Its columns of numbers; each becomes a list column of that name."""
    format: str | None = None
    """strftime pattern of times that come as text or whole numbers."""
    separator: str | None = None
    """Delimiter of a CSV file; detected from the header when left out."""


@dataclass(kw_only=True)
class TableConfig(DataConfig):
    """``data=table``: a file, several files, or an object store."""

    path: str | None = None
    """CSV or Parquet: a path, a glob, or an s3://, gs://, az:// address."""
    separator: str | None = None
    """Delimiter of a CSV file; detected from the header when left out."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """A second, long table with the customers' histories."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("path", "target"):
            if not getattr(self, option):
                raise ConfigError(f"data.{option} is missing: data=table needs data.path=FILE and data.target=COLUMN")


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
    seed: int | None = None
    """Seed of the draw; the run's seed when left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("data.n_customers", self.n_customers, low=1)
        check_range("data.n_snapshots", self.n_snapshots, low=1)
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
    """auto (time when the time column has several dates, else random), random (stratified), time, or column."""
    column: str | None = None
    """With ``by=column``: a column that says train, validation or test for each row; it is never a feature."""
    seed: int | None = None
    """Seed of the split alone; the run's seed when left out."""

    def __post_init__(self) -> None:
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

    def __post_init__(self) -> None:
        check_choice("preprocess.impute", self.impute, ("median", "mean", "constant"))
        scales = ("robust_clip", "robust", "standard", "minmax", "quantile", "none")
        check_choice("preprocess.scale", self.scale, scales)
        check_range("preprocess.winsorize", self.winsorize, low=0, high=0.5, open_high=True)
        check_range("preprocess.one_hot_max", self.one_hot_max, low=0)
        check_range("preprocess.embedding_dim", self.embedding_dim, low=1)
        check_range("preprocess.max_steps", self.max_steps, low=1)


# --- models and training --------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class LossConfig:
    """What training minimises; probabilities stay those of the data whatever it is."""

    name: str
    """bce, focal, logit_adjusted or cost_sensitive; set by the group: ``loss=focal``."""


@dataclass(kw_only=True)
class CrossEntropyConfig(LossConfig):
    """``loss=bce``: the cross-entropy, of two or more classes."""

    pos_weight: Any = None
    """Weight of a churner's loss: a number above 0, "balanced" (stayers per churner), or null for 1."""

    def __post_init__(self) -> None:
        value = self.pos_weight
        if isinstance(value, str) and value != "balanced" and "${" not in value:
            raise ConfigError(f"loss.pos_weight must be a number above 0, balanced or null, got {value!r}")
        check_range("loss.pos_weight", value, low=0, open_low=True)


@dataclass(kw_only=True)
class FocalConfig(LossConfig):
    """``loss=focal``: customers that are predicted well already count less."""

    gamma: float
    """How much less, at least 0; 0 is the cross-entropy."""
    alpha: float | None = None
    """Weight of churners, in (0, 1), that of stayers being 1 - alpha; null for equal ones."""

    def __post_init__(self) -> None:
        check_range("loss.gamma", self.gamma, low=0)
        check_range("loss.alpha", self.alpha, low=0, high=1, open_low=True, open_high=True)


@dataclass(kw_only=True)
class LogitAdjustedConfig(LossConfig):
    """``loss=logit_adjusted``: the network need not learn how rare each class is."""

    tau: float
    """Share of the classes' log-frequencies that is added to the logits in training; 1 in the paper."""

    def __post_init__(self) -> None:
        check_range("loss.tau", self.tau, low=0)


@dataclass(kw_only=True)
class CostSensitiveConfig(CrossEntropyConfig):
    """``loss=cost_sensitive``: the cross-entropy, where customers count as much as they are worth."""

    value: str | None = None
    """Numeric column that says what a customer is worth, such as the monthly charges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.value:
            raise ConfigError("loss.value is missing: loss=cost_sensitive needs loss.value=COLUMN")


@dataclass(kw_only=True)
class AugmentConfig:
    """How training rows are altered; all 0 is not at all."""

    mixup: float
    """Rows are mixed in pairs, by shares drawn from Beta(mixup, mixup) for each batch."""
    noise: float
    """Standard deviation of what is added to each scaled number."""
    swap: float
    """Probability that a value is that of another customer, in [0, 1)."""
    hide: float
    """Probability that a column is hidden from a customer's row, in [0, 1)."""

    def __post_init__(self) -> None:
        for name in ("mixup", "noise"):
            check_range(f"augment.{name}", getattr(self, name), low=0)
        for name in ("swap", "hide"):
            check_range(f"augment.{name}", getattr(self, name), low=0, high=1, open_high=True)


@dataclass(kw_only=True)
class TrainerConfig:
    """The training loop."""

    max_epochs: int
    """Passes over the training rows at most; early stopping usually ends sooner."""
    batch_size: int
    """Rows per optimizer step."""
    precision: str
    """auto, 32-true, bf16-mixed or 16-mixed; predictions and metrics are float32 whatever it says."""
    accelerator: str
    """auto, cpu, gpu, ..."""
    gradient_clip_val: float | None
    """Largest norm of the gradient; null for no clipping."""
    threads: int | None
    """Processor threads of the training; null for as many as PyTorch takes."""
    progress: bool
    """Live progress bar."""

    def __post_init__(self) -> None:
        check_range("trainer.max_epochs", self.max_epochs, low=1)
        check_range("trainer.batch_size", self.batch_size, low=1)
        check_range("trainer.threads", self.threads, low=1)
        check_choice("trainer.precision", self.precision, ("auto", "32-true", "bf16-mixed", "16-mixed"))
        check_choice("trainer.accelerator", self.accelerator, ("auto", "cpu", "gpu", "cuda", "mps"))
        check_range("trainer.gradient_clip_val", self.gradient_clip_val, low=0, open_low=True)


@dataclass(kw_only=True)
class PretrainConfig:
    """Training without labels, before the labels are read (``pretrain=on``; TabNet only)."""

    passes: int
    """Epochs over the rows; 0 for none."""
    mask_share: float
    """Share of the columns of a row that are hidden and guessed, in (0, 1)."""
    lr: float
    """Learning rate: the peak of a cosine."""
    batch_size: int
    """Rows per optimizer step."""
    path: str | None = None
    """More customers, without labels: CSV or Parquet, as ``data.path``."""
    separator: str | None = None
    """Delimiter of a CSV file; detected from the header when left out."""

    def __post_init__(self) -> None:
        check_range("pretrain.passes", self.passes, low=0)
        check_range("pretrain.mask_share", self.mask_share, low=0, high=1, open_low=True, open_high=True)
        check_range("pretrain.lr", self.lr, low=0, open_low=True)
        check_range("pretrain.batch_size", self.batch_size, low=1)
        if self.path is not None and self.passes == 0:
            raise ConfigError(f"pretrain.path={self.path} is only read when there is pretraining; add pretrain=on")


@dataclass(kw_only=True)
class ThresholdConfig:
    """The decision threshold, chosen on validation rows."""

    rule: str
    """f1, youden, cost or fixed; set by the group: ``threshold=cost``."""
    value: float | None = None
    """The threshold of ``threshold=fixed``, in [0, 1]."""
    cost_false_positive: float
    """Money lost on an offer to a customer who would have stayed."""
    cost_false_negative: float
    """Money lost with a customer who left unnoticed."""

    def __post_init__(self) -> None:
        check_choice("threshold.rule", self.rule, ("f1", "youden", "cost", "fixed"))
        check_range("threshold.value", self.value, low=0, high=1)
        check_range("threshold.cost_false_positive", self.cost_false_positive, low=0, open_low=True)
        check_range("threshold.cost_false_negative", self.cost_false_negative, low=0, open_low=True)
        if self.rule == "fixed" and self.value is None:
            raise ConfigError("threshold.value is missing: threshold=fixed needs a threshold in [0, 1]")
        if self.rule != "fixed" and self.value is not None:
            raise ConfigError(
                f"threshold.value={self.value} is only read with threshold=fixed, but the rule is {self.rule}; "
                "add threshold=fixed or leave the value out"
            )


@dataclass(kw_only=True)
class TrainConfig:
    """Everything one training run is told."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    model: Any
    """``_target_`` and the arguments of a network."""
    loss: LossConfig
    augment: AugmentConfig
    optimizer: Any
    """``_target_`` and the arguments of a torch optimizer."""
    scheduler: Any = None
    """``_target_`` and the arguments of a learning rate schedule; null for a constant rate."""
    trainer: TrainerConfig
    pretrain: PretrainConfig
    callbacks: dict[str, Any]
    """By a name of your choice: ``_target_`` and arguments of a Lightning callback, or null to leave one out."""
    logger: Any = None
    """``_target_`` and the arguments of a Lightning logger; null for none."""
    calibration: str
    """temperature or none; fitted on validation rows."""
    threshold: ThresholdConfig
    seed: int
    """Fixes the split, the initial weights and the order of the batches."""
    output_dir: str | None = None
    """Folder of the run; a dated one under outputs/ when left out."""
    ckpt_path: str | None = None
    """checkpoints/last.ckpt of an unfinished run, to go on with it."""

    def __post_init__(self) -> None:
        check_choice("calibration", self.calibration, ("temperature", "none"))
        check_range("seed", self.seed, low=0, high=2**32 - 1)
        # Schemas of networks, optimizers, ... have done their work (types, ranges) once their values are checked.
        for name in ("model", "optimizer", "scheduler", "logger"):
            setattr(self, name, _plain(getattr(self, name)))
        self.callbacks = {name: _plain(value) for name, value in self.callbacks.items()}


# --- the other commands ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class ScoreConfig:
    """``scripts/score.py``: a table in, probabilities out."""

    bundle: str = "outputs/latest/bundle"
    """Folder of the bundle."""
    input: str | None = None
    """CSV or Parquet: a path, a glob, or an s3://, gs://, az:// address."""
    output: str | None = None
    """File to write; its ending says CSV or Parquet."""
    on_error: str | None = "raise"
    """raise (stop at bad rows, write nothing) or null (bad rows get empty results)."""
    separator: str | None = None
    """Delimiter of a CSV file; detected from the header when left out."""
    history: HistoryConfig = field(default_factory=HistoryConfig)
    """The long table of these customers' histories, for a model that was trained with one (``data.history``)."""
    batch_rows: int = 65_536
    """Rows scored at a time."""
    trust: list[str] = field(default_factory=list)
    """Packages of your own whose networks a bundle may name."""

    def __post_init__(self) -> None:
        for option in ("input", "output"):
            if not getattr(self, option):
                raise ConfigError(f"{option} is missing: score needs input=FILE and output=FILE")
        self.on_error = "null" if self.on_error is None else self.on_error  # YAML's null, on the command line a word
        check_choice("on_error", self.on_error, ("raise", "null"))
        check_range("batch_rows", self.batch_rows, low=1)


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
    seed: int = 42
    truth: bool = False
    """Add the column of the true churn probabilities; a model must never see it."""

    def __post_init__(self) -> None:
        if not self.output:
            raise ConfigError("output is missing: simulate needs output=FILE.parquet")
        check_range("n_customers", self.n_customers, low=1)
        check_range("n_snapshots", self.n_snapshots, low=1)
        check_range("history_months", self.history_months, low=0, high=120)
        check_range("seed", self.seed, low=0)


# --- dataclasses and plain values -------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Return a checked schema as a plain dict; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def loss_options(loss: LossConfig) -> dict[str, Any]:
    """Return the name and the options of a loss, without the column that only the data know."""
    options = dataclasses.asdict(loss)
    options.pop("value", None)
    return options


def to_yaml(config: TrainConfig) -> str:
    """Return the options of a run as YAML, as its ``config.yaml`` holds them."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
