"""The typed shape of every option: what ``conf/`` may say and the command line may override.

The values of a training run live in ``conf/*.yaml`` and nowhere else; the dataclasses here give each its type, its
range and its meaning, so that a mistyped key or a wrong type is refused before anything runs. A default of None is an
option that may be absent. What depends on the data (``in_features``, ``groups``, ...) is no option.

``compose`` puts a whole configuration together. Nothing here imports torch, Lightning or polars.
"""

from churnlib.config.checks import check_choice, check_range, nearest
from churnlib.config.commands import (
    DoctorConfig,
    ForgetConfig,
    IngestConfig,
    PersonConfig,
    PrepareConfig,
    ProfileConfig,
    PseudonymiseConfig,
    ScorecardConfig,
    ScoreConfig,
    SimulateConfig,
    SubjectReportConfig,
    TemplateConfig,
)
from churnlib.config.data import (
    COLUMN_FIELDS,
    ColumnConfig,
    DataConfig,
    EventsConfig,
    HistoryConfig,
    PreprocessConfig,
    PseudonymConfig,
    ReferenceConfig,
    SimulatorConfig,
    SplitConfig,
    SqlConfig,
    TableConfig,
    event_tables,
)
from churnlib.config.folder import config_dir
from churnlib.config.goal import GoalConfig
from churnlib.config.joined import JoinedConfig, SourceConfig
from churnlib.config.leaks import LeaksConfig
from churnlib.config.losses import CostSensitiveConfig, LossConfig, loss_options
from churnlib.config.money import MoneyConfig
from churnlib.config.resample import ResampleConfig
from churnlib.config.task import HazardConfig, TaskConfig, lifetime_options
from churnlib.config.training import PretrainConfig, ThresholdConfig, TrainConfig, TrainerConfig, to_yaml

__all__ = [
    "COLUMN_FIELDS",
    "ColumnConfig",
    "CostSensitiveConfig",
    "DataConfig",
    "DoctorConfig",
    "EventsConfig",
    "ForgetConfig",
    "GoalConfig",
    "HazardConfig",
    "HistoryConfig",
    "IngestConfig",
    "JoinedConfig",
    "LeaksConfig",
    "LossConfig",
    "MoneyConfig",
    "PersonConfig",
    "PrepareConfig",
    "PreprocessConfig",
    "PretrainConfig",
    "ProfileConfig",
    "PseudonymConfig",
    "PseudonymiseConfig",
    "ReferenceConfig",
    "ResampleConfig",
    "ScoreConfig",
    "ScorecardConfig",
    "SimulateConfig",
    "SimulatorConfig",
    "SourceConfig",
    "SplitConfig",
    "SqlConfig",
    "SubjectReportConfig",
    "TableConfig",
    "TaskConfig",
    "TemplateConfig",
    "ThresholdConfig",
    "TrainConfig",
    "TrainerConfig",
    "check_choice",
    "check_range",
    "config_dir",
    "event_tables",
    "lifetime_options",
    "loss_options",
    "nearest",
    "to_yaml",
]
