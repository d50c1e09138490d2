"""From configuration to objects: the one place that calls Hydra's ``instantiate``.

Networks are built elsewhere (``churnlib.models.network``), because bundles, which know nothing of Hydra, hold them too.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.config import TrainConfig, nearest
from churnlib.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer

WANDB_TIMEOUT = 10
"""Seconds to reach the Weights & Biases server; its own limit is 90."""

OURS = ("churnlib.", "torch.", "lightning.")
"""Targets whose arguments the tests check against conf/; anything else is checked before a run starts."""


def instantiate(option: str, spec: Mapping[str, Any], **arguments: Any) -> Any:
    """Build the object that a part of the configuration describes.

    Args:
        option: What to call it in an error: ``optimizer``, ``callbacks.early_stopping``.
        spec: ``_target_`` and arguments.
        **arguments: Arguments that do not stand in the configuration.

    Raises:
        ConfigError: If the target cannot be imported or refuses its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    _target(option, spec)
    try:
        return hydra_instantiate({**spec}, _convert_="all", **arguments)
    except InstantiationException as error:
        reason = error.__cause__ or str(error).splitlines()[0]
        raise ConfigError(f"{option} cannot be built from {spec['_target_']}: {reason}") from error


def build_optimizer(spec: Mapping[str, Any]) -> Callable[[Any], Optimizer]:
    """Return a function from parameter groups to the configured optimizer."""
    return instantiate("optimizer", spec, _partial_=True)


def build_scheduler(spec: Mapping[str, Any] | None) -> Callable[[Optimizer, int], dict[str, Any]] | None:
    """Return a function from optimizer and number of steps to Lightning's ``lr_scheduler`` dictionary, or None."""
    return None if spec is None else instantiate("scheduler", spec, _partial_=True)


def build_callbacks(specs: Mapping[str, Any], folder: Path, *, progress: bool = False) -> list[Callback]:
    """Build the configured Lightning callbacks.

    Args:
        specs: By name: ``_target_`` and arguments, or None for a callback that is left out.
        folder: The run's folder; a ``dirpath`` that is not absolute lies in it.
        progress: Add the live progress bar.
    """
    wanted = {f"callbacks.{name}": spec for name, spec in specs.items() if spec is not None}
    callbacks = [instantiate(option, _within(folder, spec, "dirpath")) for option, spec in wanted.items()]
    if progress:
        from churnlib.progress import EpochProgress

        callbacks.append(EpochProgress())
    return callbacks


def build_logger(spec: Mapping[str, Any] | None, folder: Path) -> Logger | bool:
    """Build the configured Lightning logger; False, which turns logging off, if there is none.

    Args:
        spec: ``_target_`` and arguments.
        folder: The run's folder; a ``save_dir`` that is not absolute lies in it.

    Raises:
        ConfigError: If Weights & Biases shall be reached but cannot be: it would ask for a key, or wait.
    """
    if spec is None:
        return False
    spec = _within(folder, spec, "save_dir")
    return _wandb(spec, folder) if spec.get("_target_", "").endswith(".WandbLogger") else instantiate("logger", spec)


def close_logger(logger: Logger | bool, *, failed: bool = False) -> None:
    """End what the logger has open, or the next run of this process would go on in the same Weights & Biases run."""
    if not isinstance(logger, bool):
        logger.finalize("failed" if failed else "success")
        if type(logger).__name__ == "WandbLogger":
            import wandb

            wandb.finish(exit_code=int(failed))


def check_components(config: TrainConfig) -> None:
    """Refuse a class of the user's own that cannot be imported or lacks an argument, before anything is read.

    Raises:
        ConfigError: With the option, the class, and what is wrong.
    """
    parts = {option: getattr(config, option) for option in ("model", "optimizer", "scheduler", "logger")}
    parts |= {f"callbacks.{name}": spec for name, spec in config.callbacks.items()}
    for option, spec in parts.items():
        if spec is not None and not _target(option, spec).startswith(OURS):
            _check_arguments(option, spec)
    if config.model is None:
        raise ConfigError("model is missing: choose one with model=mlp, model=tabnet or a YAML file of your own")


def _target(option: str, spec: Any) -> str:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("_target_"), str):
        raise ConfigError(f"{option} needs a mapping with _target_ (a class) and its arguments, got {spec!r}")
    return spec["_target_"]


def _check_arguments(option: str, spec: Mapping[str, Any]) -> None:
    from hydra.utils import get_object

    target = spec["_target_"]
    try:
        parameters = inspect.signature(get_object(target)).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        root = error
        while root.__cause__ is not None:
            root = root.__cause__
        raise ConfigError(
            f"{option}._target_={target} cannot be imported ({root}); "
            "install its package or add its folder to PYTHONPATH"
        ) from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in spec:
        if not name.startswith("_") and name not in parameters:
            raise ConfigError(f"{option}.{name} is no argument of {target}{nearest(name, list(parameters))}")


def _within(folder: Path, spec: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the spec with a relative path under this key put into the run's folder."""
    return {**spec, key: str(folder / spec[key])} if spec.get(key) is not None else dict(spec)


def _wandb(spec: Mapping[str, Any], folder: Path) -> Logger:
    """Start Weights & Biases so that it neither asks nor waits, under a name that tells the runs of a sweep apart."""
    import wandb

    settings = wandb.Settings(init_timeout=WANDB_TIMEOUT, silent=True)
    online = not spec.get("offline", False) and os.environ.get("WANDB_MODE", "online") == "online"
    if online and not wandb.login(prompt=False, verify=False):
        raise ConfigError(
            "logger.offline=false needs a Weights & Biases key: "
            "run `wandb login`, set WANDB_API_KEY, or leave the option out"
        )
    name = spec.get("name") or "/".join(folder.absolute().parts[-2:])
    logger = instantiate("logger", {**spec, "name": name}, settings=settings)
    try:
        _ = logger.experiment  # starts it now rather than in the middle of the first epoch
    except wandb.Error as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"Weights & Biases cannot be reached ({reason}); leave out logger.offline=false") from error
    return logger
