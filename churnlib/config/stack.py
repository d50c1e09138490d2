"""Arguments of ``model=stack``."""

from __future__ import annotations

from dataclasses import dataclass

from churnlib.errors import ConfigError


@dataclass(kw_only=True)
class StackConfig:
    """Arguments of :class:`churnlib.training.stacking.Stack`."""

    _target_: str
    models: list[str]
    """Two or more models, each with its own recipe: a name, or a name and its options as on the command line."""

    def __post_init__(self) -> None:
        if len(set(self.models)) != len(self.models) or len(self.models) < 2:
            raise ConfigError(f"model.models needs two or more different models, got {list(self.models)}")
