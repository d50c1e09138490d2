"""A model that is ready to answer, whatever kind it is: what a bundle holds and a predictor asks.

A network and a fitted baseline have two things in common: they turn encoded rows into logits, and they can be written
down as plain values and one file of numbers, and read back without running anything that came with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

WEIGHTS = "weights.safetensors"

KEPT_AS = {"network.json": "churnlib.models.network_model", "baseline.json": "churnlib.models.baselines.restoring"}
"""File of the plain values, and the module whose ``restore`` reads them."""

STATE_FILES = (WEIGHTS, "model.txt", "model.json")
"""Names that the file of numbers may have: arrays, LightGBM's text, XGBoost's and CatBoost's JSON."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as it is written down.

    Attributes:
        name: File of the values, one of ``KEPT_AS``.
        values: JSON-ready; what the numbers mean.
        state_name: File of the numbers, one of ``STATE_FILES``.
        state: Its contents.
    """

    name: str
    values: Mapping[str, Any]
    state_name: str
    state: bytes


class FittedModel(Protocol):
    """A model that is ready to answer."""

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return uncalibrated logits, ``(n,)`` for two classes, ``(n, n_classes)`` for more.

        Args:
            numeric: ``(n, n_numeric)`` float32, missing values NaN.
            codes: ``(n, n_categorical)`` int64: 0 missing, 1 unseen, 2... known values.
        """
        ...

    def keep(self) -> Kept:
        """Write the model down."""
        ...


def state_name(name: str, values: Mapping[str, Any]) -> str:
    """Return the file of numbers that belongs to the values.

    Raises:
        ValueError: If it is none that this release reads.
    """
    found = WEIGHTS if name == "network.json" else values["state"]
    if found not in STATE_FILES:
        raise ValueError(f"{name} names the file {found!r}; expected one of {', '.join(STATE_FILES)}")
    return found


def restore(
    name: str, values: Mapping[str, Any], state: bytes, *, n_classes: int, trust: Sequence[str] = ()
) -> FittedModel:
    """Build the model that was written down.

    Args:
        name: File of the values, one of ``KEPT_AS``.
        values: What :class:`Kept` holds.
        state: The numbers.
        n_classes: Classes of the target.
        trust: Packages outside churnlib whose networks may be built.

    Raises:
        ValueError, KeyError, TypeError, RuntimeError: If values and numbers make no model.
        MissingPackageError: If a package that the model needs is not installed.
    """
    return import_module(KEPT_AS[name]).restore(values, state, n_classes=n_classes, trust=trust)
