"""Packages of baselines: imported when a model needs them, since the boosting libraries are an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from churnlib.errors import MissingPackageError

BOOSTING = ("lightgbm", "xgboost", "catboost")
CORE = {"sklearn": "scikit-learn"}
"""Distributions that are not called like their module."""


def library(package: str) -> Any:
    """Import a package that not everybody has installed.

    Args:
        package: Name of the module, such as ``lightgbm`` or ``sklearn.svm``.

    Raises:
        MissingPackageError: If it is not installed, with the command that installs it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        name = package.partition(".")[0]
        if error.name != name:
            raise
        wanted = "churnlib[boosting]" if name in BOOSTING else CORE.get(name, name)
        raise MissingPackageError(
            f"this model needs the package {name}, which is not installed; add it with: pip install '{wanted}'"
        ) from error
