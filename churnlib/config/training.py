"""Options of one training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_local, check_range
from churnlib.config.data import DataConfig, PreprocessConfig, SplitConfig
from churnlib.config.fairness import FairnessConfig
from churnlib.config.files import FileOptions
from churnlib.config.goal import GoalConfig
from churnlib.config.leaks import LeaksConfig
from churnlib.config.levers import LeversConfig
from churnlib.config.losses import LossConfig
from churnlib.config.money import MoneyConfig
from churnlib.config.reporting import CardConfig, ReportingConfig
from churnlib.config.resample import ResampleConfig
from churnlib.config.task import TaskConfig
from churnlib.errors import ConfigError

CALIBRATIONS = ("auto", "temperature", "platt", "beta", "isotonic", "none")


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
    compile: Any
    """Compile the network's training pass: auto (where the run is longer than that takes), true or false."""
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
        self.compile = str(self.compile).lower()  # YAML's true and false
        check_choice("trainer.compile", self.compile, ("auto", "true", "false"))
        check_choice("trainer.accelerator", self.accelerator, ("auto", "cpu", "gpu", "cuda", "mps"))
        check_range("trainer.gradient_clip_val", self.gradient_clip_val, low=0, open_low=True)


@dataclass(kw_only=True)
class PretrainConfig(FileOptions):
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
    """More customers, without labels: a file or an address, as ``data.path``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("pretrain.passes", self.passes, low=0)
        check_range("pretrain.mask_share", self.mask_share, low=0, high=1, open_low=True, open_high=True)
        check_range("pretrain.lr", self.lr, low=0, open_low=True)
        check_range("pretrain.batch_size", self.batch_size, low=1)
        if self.path is not None and self.passes == 0:
            raise ConfigError(f"pretrain.path={self.path} is only read when there is pretraining; add pretrain=on")


RULES = ("f1", "fbeta", "mcc", "youden", "precision", "capacity", "profit", "value", "cost", "fixed")


@dataclass(kw_only=True)
class ThresholdConfig:
    """The decision threshold, chosen on validation rows."""

    rule: str
    """One of ``RULES``; set by the group: ``threshold=cost``."""
    value: float | None = None
    """The threshold of ``threshold=fixed``, in [0, 1]."""
    cost_false_positive: float
    """Money lost on an offer to a customer who would have stayed."""
    cost_false_negative: float
    """Money lost with a customer who left unnoticed."""
    beta: float
    """How much more recall counts than precision, for ``threshold=fbeta``."""
    precision: float | None = None
    """Share of churners among those selected, at least, for ``threshold=precision``; in (0, 1]."""
    share: float | None = None
    """Share of the customers that can be contacted, for ``threshold=capacity``; in (0, 1]."""
    count: int | None = None
    """Customers that can be contacted, of so many as ``of`` says, instead of ``share``."""
    of: int | None = None
    """Customers that are scored at a time, with ``count``."""

    def __post_init__(self) -> None:
        check_choice("threshold.rule", self.rule, RULES)
        check_range("threshold.beta", self.beta, low=0, open_low=True)
        check_range("threshold.precision", self.precision, low=0, high=1, open_low=True)
        check_range("threshold.share", self.share, low=0, high=1, open_low=True)
        check_range("threshold.count", self.count, low=1)
        check_range("threshold.of", self.of, low=1)
        if (self.count is None) != (self.of is None):
            raise ConfigError("threshold.count and threshold.of go together: so many customers of so many")
        if self.count is not None and self.of is not None and self.count > self.of:
            raise ConfigError(f"threshold.count={self.count} is more than threshold.of={self.of}")
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
class BundleConfig:
    """What a run's bundle holds beside the model."""

    onnx: Any
    """auto (``model.onnx`` where the model has that form, else a line says why not), true (or else the run fails) or
    false."""
    background: str = "made"
    """Customers that reasons are measured against: made (up), rows (training rows, without names) or none."""

    def __post_init__(self) -> None:
        check_choice("bundle.background", self.background, ("made", "rows", "none"))
        self.onnx = str(self.onnx).lower()  # YAML's true and false
        check_choice("bundle.onnx", self.onnx, ("auto", "true", "false"))


@dataclass(kw_only=True)
class SweepConfig:
    """How the runs of a sweep (``-m``) are trained."""

    together: Any
    """auto (in one pass where their networks have the same shapes and learn alike) or false (one after the other)."""

    def __post_init__(self) -> None:
        self.together = str(self.together).lower()  # YAML's false
        check_choice("sweep.together", self.together, ("auto", "false"))


@dataclass(kw_only=True)
class TrainConfig:
    """Everything one training run is told."""

    data: DataConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    leaks: LeaksConfig
    model: Any
    """``_target_`` and the arguments of a network."""
    task: TaskConfig
    loss: LossConfig
    augment: AugmentConfig
    resample: ResampleConfig
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
    """temperature, platt, beta, isotonic, auto or none; fitted on validation rows."""
    threshold: ThresholdConfig
    money: MoneyConfig
    goal: GoalConfig
    fairness: FairnessConfig
    bundle: BundleConfig
    report: bool
    """Write report.html, and its numbers beside it; runs of a sweep do so only where it is said on the command line."""
    reporting: ReportingConfig
    levers: LeversConfig = field(default_factory=LeversConfig)
    """What can be offered to a customer; with some the report holds an offer plan of the test customers."""
    card: CardConfig = field(default_factory=CardConfig)
    sweep: SweepConfig
    cv: int | None = None
    """Folds of a cross-validation over all rows but the test rows; null for one division into two sides."""
    cv_repeats: int
    """How often the rows are dealt into folds anew."""
    ensemble: int
    """Models that differ in their seed alone and answer together; with cv so many for each fold."""
    teacher: str | None = None
    """Bundle of a run on the same rows, whose probabilities the network learns from; null for the labels alone."""
    teacher_share: float
    """Share of the teacher's probability in what is learned, in (0, 1]; the rest is the label."""
    teacher_copies: int
    """Altered copies of each training row that the teacher is asked about too."""
    teacher_swap: float
    """Probability that a copy's cell is another customer's, in (0, 1)."""
    seed: int
    """Fixes the split, the initial weights and the order of the batches."""
    output_dir: str | None = None
    """Folder of the run; a dated one under outputs/ when left out."""
    ckpt_path: str | None = None
    """checkpoints/last.ckpt of an unfinished run, to go on with it."""

    def __post_init__(self) -> None:
        check_local("output_dir", self.output_dir)
        check_choice("calibration", self.calibration, CALIBRATIONS)
        check_range("seed", self.seed, low=0, high=2**32 - 1)
        check_range("cv", self.cv, low=2)
        check_range("cv_repeats", self.cv_repeats, low=1)
        check_range("ensemble", self.ensemble, low=1)
        check_range("teacher_copies", self.teacher_copies, low=0)
        check_range("teacher_swap", self.teacher_swap, low=0, high=1, open_low=True, open_high=True)
        check_range("teacher_share", self.teacher_share, low=0, high=1, open_low=True)
        if self.threshold.rule == "value" and self.money.column is None:
            raise ConfigError(
                "threshold=value decides by what each customer is worth; name the numeric column that says so, "
                "money.column=NAME, or use threshold=profit"
            )
        for name in ("budget", "capacity"):
            limit = getattr(self.reporting, name)
            if limit is not None and not self.levers.offers:
                raise ConfigError(
                    f"reporting.{name}={limit:g} is a limit of the offer plan, and there is nothing to offer; add "
                    "levers=NAME (docs/plan.md)"
                )
        if self.cv is None and self.cv_repeats > 1:
            raise ConfigError(f"cv_repeats={self.cv_repeats} repeats a cross-validation; add cv=5 or leave it out")
        # Schemas of networks, optimizers, ... have done their work (types, ranges) once their values are checked.
        for name in ("model", "optimizer", "scheduler", "logger"):
            setattr(self, name, _plain(getattr(self, name)))
        self.callbacks = {name: _plain(value) for name, value in self.callbacks.items()}


def _plain(value: Any) -> Any:
    """Return a checked schema as a plain dict; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def to_yaml(config: TrainConfig) -> str:
    """Return the options of a run as YAML, as its ``config.yaml`` holds them."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
