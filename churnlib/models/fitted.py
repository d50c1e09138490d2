"""A model that is ready to answer, whatever kind it is: what a bundle holds and a predictor asks.

A network, a fitted baseline and an ensemble of them have two things in common: they turn encoded rows into logits, and
they can be written down as plain values and files of numbers, and read back without running anything that came with
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

WEIGHTS = "weights.safetensors"

KEPT_AS = {
    "network.json": "churnlib.models.network_model",
    "baseline.json": "churnlib.models.baselines.restoring",
    "ensemble.json": "churnlib.models.ensemble",
    "uplift.json": "churnlib.models.uplift",
}
"""File of the plain values, and the module whose ``restore`` reads them."""

SEVERAL = ("ensemble.json", "uplift.json")
"""Those that hold other models."""

STATE_FILES = (WEIGHTS, "model.txt", "model.json")
"""Names that a file of numbers may have, with a member's number in front in an ensemble: arrays, LightGBM's text,
XGBoost's and CatBoost's JSON."""

MOST_MEMBERS = 1_000
"""Members of an ensemble that is read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as it is written down.

    Attributes:
        name: File of the values, one of ``KEPT_AS``.
        values: JSON-ready; what the numbers mean.
        states: Contents of the files of numbers, by name: what :func:`state_names` says for the values.
    """

    name: str
    values: Mapping[str, Any]
    states: Mapping[str, bytes]


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


def state_names(name: str, values: Mapping[str, Any]) -> list[str]:
    """Return the files of numbers that belong to the values.

    Raises:
        ValueError: If one is none that this release reads, or there are too many.
    """
    if name == "network.json":
        return [WEIGHTS]
    if name == "baseline.json":
        if values["state"] not in STATE_FILES:
            raise ValueError(f"{name} names the file {values['state']!r}; expected one of {', '.join(STATE_FILES)}")
        return [values["state"]]
    members = values["members"]
    if len(members) > MOST_MEMBERS or any(member["kept_as"] in SEVERAL for member in members):
        raise ValueError(f"{name} must hold at most {MOST_MEMBERS:,} members, none of which holds some itself")
    return [
        member_file(number, file)
        for number, member in enumerate(members)
        for file in state_names(member["kept_as"], member["values"])
    ]


def member_file(number: int, file: str) -> str:
    """Return what a member's file is called in an ensemble: ``member_003.weights.safetensors``."""
    return f"member_{number:03d}.{file}"


def restore(
    name: str, values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str] = ()
) -> FittedModel:
    """Build the model that was written down.

    Args:
        name: File of the values, one of ``KEPT_AS``.
        values: What :class:`Kept` holds.
        states: The files of numbers.
        n_classes: Classes of the target.
        trust: Packages outside churnlib whose networks may be built.

    Raises:
        ValueError, KeyError, TypeError, RuntimeError: If values and numbers make no model.
        MissingPackageError: If a package that the model needs is not installed.
    """
    return import_module(KEPT_AS[name]).restore(values, states, n_classes=n_classes, trust=trust)
