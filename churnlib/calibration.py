"""How a model's logits become probabilities: a few numbers that a bundle holds.

``churnlib.evaluation.calibrators`` fits them on held-out rows; the predictor applies them to every row it scores, after
the model itself has answered, so that torch, ONNX, a scored file and the server share this one step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.decision import probability_from_logits
from churnlib.survival import METHOD as HAZARD
from churnlib.survival import HazardCurve

Floats = NDArray[np.float64]

ORDER = 1e-6
"""Share of the uncalibrated probability in that of an isotonic calibration: customers keep their order."""


def _check(name: str, value: float, *, positive: bool = False) -> None:
    if not math.isfinite(value) or (positive and value <= 0):
        raise ValueError(f"{name} must be a {'positive ' if positive else ''}number, got {value!r}")


class Calibration(Protocol):
    """From logits to calibrated probabilities."""

    @property
    def method(self) -> str:
        """Name of the method, as in ``calibration=temperature``."""
        ...

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return float64 probabilities, ``(n,)`` of the positive class or ``(n, k)``; NaN stays NaN."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values that :func:`calibration_from_dict` reads."""
        ...


@dataclass(frozen=True, slots=True)
class Temperature:
    """``logits / temperature`` (Guo et al. 2017); 1 changes nothing.

    Attributes:
        temperature: Above 0.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, positive=True)

    @property
    def method(self) -> str:
        """``temperature``."""
        return "temperature"

    def log_odds(self, logits: ArrayLike) -> Floats:
        """Return the logits that the probabilities are the sigmoid or softmax of, float64."""
        return np.asarray(logits, dtype=np.float64) / self.temperature

    def terms(self, values: ArrayLike) -> Floats:
        """Return what parts of a sum of logits are in the calibrated log-odds."""
        return self.log_odds(values)

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return calibrated probabilities."""
        return probability_from_logits(logits, self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"method": self.method, "temperature": self.temperature}


@dataclass(frozen=True, slots=True)
class Platt:
    """``slope * logits + shift`` (Platt 1999).

    Attributes:
        slope: Above 0: customers keep their order.
        shift: One number for two classes, else one per class.
    """

    slope: float
    shift: tuple[float, ...]

    def __post_init__(self) -> None:
        _check("slope", self.slope, positive=True)
        for value in self.shift:
            _check("shift", value)

    @property
    def method(self) -> str:
        """``platt``."""
        return "platt"

    def log_odds(self, logits: ArrayLike) -> Floats:
        """Return the logits that the probabilities are the sigmoid or softmax of, float64."""
        return self.terms(logits) + (self.shift[0] if len(self.shift) == 1 else np.asarray(self.shift))

    def terms(self, values: ArrayLike) -> Floats:
        """Return what parts of a sum of logits are in the calibrated log-odds."""
        return self.slope * np.asarray(values, dtype=np.float64)

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return calibrated probabilities."""
        return probability_from_logits(self.log_odds(logits))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"method": self.method, "slope": self.slope, "shift": list(self.shift)}


@dataclass(frozen=True, slots=True)
class Beta:
    """``sigmoid(a ln p - b ln(1 - p) + c)`` of the uncalibrated probability p (Kull et al. 2017); two classes.

    Attributes:
        a: At least 0.
        b: At least 0, and not both 0.
        c: Any number.
    """

    a: float
    b: float
    c: float

    def __post_init__(self) -> None:
        for name in ("a", "b", "c"):
            _check(name, getattr(self, name))
        if min(self.a, self.b) < 0 or self.a + self.b == 0:
            raise ValueError(f"a and b must be at least 0 and not both 0, got {self.a!r} and {self.b!r}")

    @property
    def method(self) -> str:
        """``beta``."""
        return "beta"

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return calibrated probabilities."""
        values = _two_classes(logits, self.method)
        # ln p and ln(1 - p) without the p, which is 1 in floats from a logit of 37 on
        return probability_from_logits(self.c - self.a * _softplus(-values) + self.b * _softplus(values))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"method": self.method, "a": self.a, "b": self.b, "c": self.c}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising line through the churn rates of blocks of customers (Zadrozny and Elkan 2002); two classes.

    Between two knots by a straight line, beyond the last by its rate. One millionth of the uncalibrated probability is
    mixed in, so that customers of one block keep their order.

    Attributes:
        logits: ``(k,)`` ascending.
        rates: ``(k,)`` not falling, in (0, 1).
    """

    logits: tuple[float, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        knots, rates = np.asarray(self.logits, dtype=np.float64), np.asarray(self.rates, dtype=np.float64)
        sound = knots.shape == rates.shape and knots.ndim == 1 and len(knots) and np.isfinite(knots).all()
        if not sound or (np.diff(knots) <= 0).any() or (np.diff(rates) < 0).any():
            raise ValueError("isotonic calibration needs rising logits and as many rates that do not fall")
        if not ((rates > 0) & (rates < 1)).all():
            raise ValueError("the rates of an isotonic calibration must be in (0, 1)")

    @property
    def method(self) -> str:
        """``isotonic``."""
        return "isotonic"

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Return calibrated probabilities."""
        values = _two_classes(logits, self.method)
        return (1.0 - ORDER) * np.interp(values, self.logits, self.rates) + ORDER * probability_from_logits(values)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"method": self.method, "logits": list(self.logits), "rates": list(self.rates)}


UNCALIBRATED = Temperature(1.0)
"""Logits as they are."""


def calibration_from_dict(values: Mapping[str, Any]) -> Calibration:
    """Read what ``to_dict`` returned; ``{"temperature": T}`` alone is what bundles up to format 4 hold.

    Raises:
        ValueError: If the method is unknown, or a number is missing or impossible.

    >>> calibration_from_dict({"temperature": 2.0})
    Temperature(temperature=2.0)
    """
    method = values.get("method", "temperature")
    try:
        if method == "temperature":
            return Temperature(float(values["temperature"]))
        if method == "platt":
            return Platt(float(values["slope"]), tuple(map(float, values["shift"])))
        if method == "beta":
            return Beta(float(values["a"]), float(values["b"]), float(values["c"]))
        if method == "isotonic":
            return Isotonic(tuple(map(float, values["logits"])), tuple(map(float, values["rates"])))
        if method == HAZARD:
            return HazardCurve.from_dict(values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"the calibration {method} lacks {error}") from error
    raise ValueError(f"the calibration {method!r} is unknown to this release")


def additive(calibration: Calibration) -> Temperature | Platt | None:
    """Return a calibration that leaves a sum of log-odds a sum, None for one that does not."""
    return calibration if isinstance(calibration, Temperature | Platt) else None


def log_odds(calibration: Calibration, logits: ArrayLike) -> Floats:
    """Return the calibrated log-odds, whose sigmoid or softmax the probabilities are."""
    straight = additive(calibration)
    if straight is not None:
        return straight.log_odds(logits)
    probability = calibration.probabilities(logits)
    return np.log(probability) - np.log1p(-probability)


def _softplus(values: Floats) -> Floats:
    """Return ``log(1 + exp(x))`` without overflow; NaN stays NaN."""
    return np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))


def _two_classes(logits: ArrayLike, method: str) -> Floats:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"calibration={method} is for two classes, logits (n,), got {values.shape}")
    return values
