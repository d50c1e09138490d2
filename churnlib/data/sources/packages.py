"""Packages that read one format each, and that a user without such files does not need."""

from __future__ import annotations

import importlib
from types import ModuleType

from churnlib.errors import MissingPackageError


def reader(package: str, *, extra: str, what: str) -> ModuleType:
    """Import the package that reads a format.

    Args:
        package: Name of the module.
        extra: Extra of churnlib that brings it.
        what: The format, for the error.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{what} are read with the package {package}, which is not installed; add it with: "
            f"pip install 'churnlib[{extra}]'"
        ) from error
