"""From a configuration to a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from churnlib.models.baselines import BASELINES
from churnlib.models.baselines.baseline import Baseline
from churnlib.models.baselines.packages import library


def recipe_of(spec: Mapping[str, Any]) -> Baseline | None:
    """Return the recipe that a configuration describes, with its packages imported; None if it is a network.

    Args:
        spec: ``_target_`` and arguments of a model.

    Raises:
        MissingPackageError: If a package that the fit needs is not installed.
    """
    target = spec["_target_"]
    if target not in BASELINES.values():
        return None
    module, _, name = target.rpartition(".")
    recipe = getattr(import_module(module), name)(**{key: value for key, value in spec.items() if key != "_target_"})
    for package in recipe.packages:
        library(package)
    return recipe
