"""The options of a finished run, as far as its table and its money are concerned, read from its ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from churnlib.compose import compose
from churnlib.config import MoneyConfig
from churnlib.config.data import (
    DataConfig,
    PreprocessConfig,
    ReferenceConfig,
    SimulatorConfig,
    SplitConfig,
    SqlConfig,
    TableConfig,
)
from churnlib.config.joined import JoinedConfig
from churnlib.config.levers import LeversConfig
from churnlib.config.reporting import ReportingConfig
from churnlib.config.task import HazardConfig, TaskConfig
from churnlib.errors import ConfigError

SOURCES = (TableConfig, SqlConfig, JoinedConfig, ReferenceConfig, SimulatorConfig)

T = TypeVar("T")


@dataclass(frozen=True)
class PastRun:
    """What a run was told of its table.

    Attributes:
        data: Where the table is, and what.
        task: What was learned from it.
        preprocess: How it is prepared.
        split: How it is dealt.
        money: What a campaign costs.
        levers: What can be offered.
        reporting: What its report holds.
        seed: Of the split.
        options: All options, as plain values.
    """

    data: DataConfig
    task: TaskConfig
    preprocess: PreprocessConfig
    split: SplitConfig
    money: MoneyConfig
    levers: LeversConfig
    reporting: ReportingConfig
    seed: int
    options: Mapping[str, Any]


def past_run(path: Path) -> PastRun:
    """Read the options of a run.

    Args:
        path: Its ``config.yaml``.

    Raises:
        ConfigError: If they cannot be read, or are those of another release.
    """
    import yaml
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = _source(plain["data"])
        task = HazardConfig if plain["task"]["name"] == "hazard" else TaskConfig
        return PastRun(
            data=_typed(kind, plain["data"]),
            task=_typed(task, plain["task"]),
            preprocess=_typed(PreprocessConfig, plain["preprocess"]),
            split=_typed(SplitConfig, plain["split"]),
            money=_typed(MoneyConfig, plain["money"]),
            # What an older run knew nothing of is as it is now.
            levers=_typed(LeversConfig, plain.get("levers") or {}),
            reporting=_typed(compose([]).reporting, plain.get("reporting") or {}),
            seed=int(plain["seed"]),
            options=plain,
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, OmegaConfBaseException) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"the options in {path} cannot be read ({said}); were they written by this release?"
        ) from error


def _source(data: Mapping[str, Any]) -> type[DataConfig]:
    """Return the kind of source whose options these are: each has some of its own."""
    for kind in SOURCES:
        if {one.name for one in fields(kind)} == set(data):
            return kind
    raise ValueError("data is of no known kind")


def _typed(kind: type[T] | T, plain: Mapping[str, Any]) -> T:
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), plain))  # pyright: ignore[reportReturnType]


__all__ = ["PastRun", "past_run"]
