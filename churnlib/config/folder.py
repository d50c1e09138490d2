"""Where the YAML files are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def config_dir() -> Path:
    """Return the folder of the YAML files: in an installed wheel ``churnlib/conf``, in a checkout ``conf``."""
    packaged = Path(str(files("churnlib") / "conf"))
    return packaged if packaged.is_dir() else packaged.parents[1] / "conf"
