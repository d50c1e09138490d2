"""Files of rules: ``data.rules=FILE.yaml``, or the name of one that churnlib ships."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churnlib.config.folder import config_dir
from churnlib.errors import ConfigError


def read_rules_file(given: str) -> Mapping[str, Any]:
    """Return what a YAML file of rules says.

    Args:
        given: A path, or the name of a file in ``conf/rules``.

    Raises:
        ConfigError: If there is no such file, or it is no mapping.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    path, shipped = Path(given).expanduser(), config_dir() / "rules" / f"{given}.yaml"
    if not path.is_file() and re.fullmatch(r"\w+", given) and shipped.is_file():
        path = shipped
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in (config_dir() / "rules").glob("*.yaml")))
        raise ConfigError(f"data.rules={given} is no file; give a YAML file of rules, or one of {names}")
    try:
        # As conf/ is read: yes and no are words here, not truth values.
        values = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(f"data.rules={given} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"data.rules={given} must hold a mapping such as {{columns: {{tenure: {{min: 0}}}}}}")
    return {str(key): value for key, value in values.items()}
