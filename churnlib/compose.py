"""Putting a configuration together from ``conf/`` and ``key=value`` words."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.config import (
    baselines,
    checks,
    commands,
    data,
    explain,
    goal,
    joined,
    leaks,
    losses,
    networks,
    optimizers,
    plan,
    resample,
    stack,
    task,
    training,
    uplift,
)
from churnlib.config import config_dir as yaml_folder
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

SCHEMAS: dict[str, dict[str, type]] = {
    "": {
        "train": training.TrainConfig,
        "score": commands.ScoreConfig,
        "ingest": commands.IngestConfig,
        "template": commands.TemplateConfig,
        "explain": explain.ExplainConfig,
        "explain-model": explain.ExplainModelConfig,
        "plan": plan.PlanConfig,
        "uplift": uplift.UpliftConfig,
        "prepare": commands.PrepareConfig,
        "report": commands.ReportConfig,
        "scorecard": commands.ScorecardConfig,
        "export": commands.ExportConfig,
        "simulate": commands.SimulateConfig,
        "profile": commands.ProfileConfig,
        "doctor": commands.DoctorConfig,
        "pseudonymise": commands.PseudonymiseConfig,
        "forget": commands.ForgetConfig,
        "subject-report": commands.SubjectReportConfig,
    },
    "data": {
        "table": data.TableConfig,
        "sql": data.SqlConfig,
        "joined": joined.JoinedConfig,
        "reference": data.ReferenceConfig,
        "simulator": data.SimulatorConfig,
    },
    "model": {
        "mlp": networks.MLPConfig,
        "mlp_plain": networks.PlainMLPConfig,
        "realmlp": networks.RealMLPConfig,
        "additive": networks.AdditiveConfig,
        "tabnet": networks.TabNetConfig,
        "ft_transformer": networks.FTTransformerConfig,
        "gru": networks.RecurrentConfig,
        "lstm": networks.RecurrentConfig,
        "cnn": networks.CNNConfig,
        "logistic": baselines.LinearConfig,
        "linear_svm": baselines.LinearConfig,
        "rbf_svm": baselines.RBFSVMConfig,
        "random_forest": baselines.RandomForestConfig,
        "hist_gradient_boosting": baselines.HistGradientBoostingConfig,
        "lightgbm": baselines.LightGBMConfig,
        "xgboost": baselines.XGBoostConfig,
        "catboost": baselines.CatBoostConfig,
        "stack": stack.StackConfig,
    },
    "leaks": {"default": leaks.LeaksConfig},
    "goal": {"default": goal.GoalConfig},
    "resample": {
        "default": resample.ResampleConfig,
        "neighbors": resample.NeighborsConfig,
        "nearmiss": resample.NearMissConfig,
    },
    "pretrain": {"masked": training.PretrainConfig},
    "loss": {
        "bce": losses.CrossEntropyConfig,
        "focal": losses.FocalConfig,
        "logit_adjusted": losses.LogitAdjustedConfig,
        "cost_sensitive": losses.CostSensitiveConfig,
    },
    "task": {"classify": task.TaskConfig, "hazard": task.HazardConfig},
    "augment": {"default": training.AugmentConfig},
    "optimizer": {
        "adam": optimizers.AdamConfig,
        "adamw": optimizers.AdamConfig,
        "rmsprop": optimizers.RMSpropConfig,
        "sgd": optimizers.SGDConfig,
    },
    "scheduler": {
        "coslog": optimizers.CoslogConfig,
        "cosine": optimizers.CosineConfig,
        "onecycle": optimizers.OneCycleConfig,
        "plateau": optimizers.PlateauConfig,
    },
}
"""Group, name in the group, dataclass: what the YAML files refer to as ``/schema/<group>: <name>``."""


@cache
def register() -> None:
    """Make the schemas known to Hydra, once: its store is one for the whole process."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}".rstrip("/"), name=name, node=schema, provider="churnlib")


def from_hydra(composed: DictConfig) -> Any:
    """Turn what Hydra composed into its dataclass, with every range checked.

    Raises:
        ConfigError: If an option is unknown, a value is out of its range, or options contradict each other.
    """
    from omegaconf import OmegaConf

    _refuse_unknown(composed)
    return OmegaConf.to_object(composed)


def _refuse_unknown(node: DictConfig, prefix: str = "") -> None:
    """Refuse keys that a ``+`` has forced into a schema, where nothing would read them."""
    from omegaconf import DictConfig, OmegaConf

    schema = OmegaConf.get_type(node)
    known = [one.name for one in fields(schema)] if schema is not None and is_dataclass(schema) else None
    for key in node:
        if known is not None and key not in known:
            raise ConfigError(f"unknown option {prefix}{key}{checks.nearest(str(key), known)}")
        child = None if OmegaConf.is_missing(node, key) else node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _refuse_unknown(child, f"{prefix}{key}.")


def compose(words: Sequence[str] = (), *, name: str = "train", config_dir: str | Path | None = None) -> Any:
    """Compose a configuration in Python, as the command line does.

    Args:
        words: ``group=option`` and ``key=value``, as on the command line.
        name: Which command's configuration: train, prepare, score, scorecard or simulate.
        config_dir: A folder of your own YAML files beside churnlib's.

    Returns:
        A :class:`~churnlib.config.TrainConfig` (``ScoreConfig``, ``SimulateConfig``).

    Raises:
        ConfigError: If a value is out of its range.
        hydra.errors.HydraException: If a word is mistyped; the commands turn it into a ``ConfigError``.

    >>> compose(["model=tabnet", "trainer.max_epochs=3"]).trainer.max_epochs
    3
    """
    if config_dir is not None:
        return _composed((*words, f"hydra.searchpath=['file://{Path(config_dir).absolute()}']"), name)
    if any("hydra." in word or "$" in word for word in words):
        return _composed(tuple(words), name)
    return deepcopy(_composed_once(tuple(words), name))


def _composed(words: tuple[str, ...], name: str) -> Any:
    """Compose from the files as they are now."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import get_gh_backup, restore_gh_from_backup

    register()
    # Within a command Hydra holds that command's configuration, and takes no second one beside it.
    outer = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(yaml_folder()), version_base="1.3"):
            return from_hydra(hydra_compose(name, overrides=[*words]))
    finally:
        restore_gh_from_backup(outer)


_composed_once = lru_cache(maxsize=256)(_composed)
"""Of churnlib's own files, which stay as they are: composing takes longer than training on a few rows, and a search, a
stack and its models ask for the same again and again."""
