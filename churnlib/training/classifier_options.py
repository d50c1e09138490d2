"""From a classifier's parameters to the configuration that ``train.py`` would be given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from churnlib.compose import compose
from churnlib.config import TrainConfig
from churnlib.errors import ConfigError

OWN_OPTIONS = {
    "model": "model", "seed": "random_state", "threshold": "threshold", "data": "X and y, and columns",
    "split": "validation_fraction and fit(..., eval_set=...)", "leaks": "churnlib.data.leaks.check_leaks",
    "experiment": "the other options", "logger": "no files",
    "output_dir": "save(path)", "ckpt_path": "no checkpoints",
}  # fmt: skip
"""Options of ``train.py`` that are no options here, and what says the same."""


def compose_options(model: str, options: Any, *, threshold: float | str, progress: bool) -> TrainConfig:
    """Compose the configuration of a classifier.

    Args:
        model: Name of a model.
        options: By the key of the command line, or None.
        threshold: A probability or the name of a rule.
        progress: Whether to show the epochs.

    Raises:
        ConfigError: If an option is wrong, or a classifier does not have it.
    """
    decision: dict[str, Any] = {"threshold": threshold}
    if not isinstance(threshold, str):
        decision = {"threshold": "fixed", "threshold.value": threshold}
    words = {"model": model, "logger": "none", "callbacks": "memory", "trainer.progress": progress, **decision}
    words |= _checked(options)
    return _composed(tuple(_word(key, value) for key, value in words.items()))


def _composed(words: tuple[str, ...]) -> TrainConfig:
    from hydra.errors import HydraException

    try:
        return compose(words)
    except HydraException as error:
        raise ConfigError(f"the options {' '.join(words)} cannot be used: {' '.join(str(error).split())}") from error


def _checked(options: Any) -> Mapping[str, Any]:
    """Return the options; refuse those that a classifier does not have."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigError(f'options must be a mapping such as {{"trainer.max_epochs": 30}}, got {options!r}')
    for key in options:
        group = str(key).partition(".")[0]
        if key in OWN_OPTIONS or group in ("data", "split", "leaks"):
            raise ConfigError(f"{key} is no option of a classifier; it has {OWN_OPTIONS[group]} instead")
    return options


def _word(key: str, value: Any) -> str:
    """Return ``key=value`` as the command line takes it; text that is no plain word is quoted.

    >>> _word("model", "mlp"), _word("model.hidden_sizes", [64, 64]), _word("loss.pos_weight", None)
    ('model=mlp', 'model.hidden_sizes=[64, 64]', 'loss.pos_weight=null')
    """
    if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value):
        return f"{key}={value}"
    plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    try:
        return f"{key}={json.dumps(plain, ensure_ascii=False)}"
    except TypeError:
        raise ConfigError(f"the option {key} must be text, a number, a list or None, got {value!r}") from None
