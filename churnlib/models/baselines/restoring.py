"""Reading a fitted baseline back from a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from churnlib.models.baselines.baseline import FittedBaseline

KINDS = {
    "linear": "churnlib.models.baselines.linear.LinearModel",
    "kernel": "churnlib.models.baselines.kernel.KernelModel",
    "trees": "churnlib.models.baselines.trees.TreesModel",
    "lightgbm": "churnlib.models.baselines.lightgbm.LightGBMModel",
    "xgboost": "churnlib.models.baselines.xgboost.XGBoostModel",
    "catboost": "churnlib.models.baselines.catboost.CatBoostModel",
}
"""What a bundle may name, and the class that reads it; nothing else is ever imported."""


def restore(
    values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str] = ()
) -> FittedBaseline:
    """Build the baseline that was written down; see :func:`churnlib.models.fitted.restore`.

    Raises:
        ValueError: If the kind is not known.
    """
    if values["kind"] not in KINDS:
        raise ValueError(f"baseline.json has the kind {values['kind']!r}; this release knows {', '.join(KINDS)}")
    module, _, name = KINDS[values["kind"]].rpartition(".")
    return getattr(import_module(module), name).from_kept(values, states[values["state"]], n_classes=n_classes)
