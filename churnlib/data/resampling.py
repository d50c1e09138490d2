"""What a fit learns from: the training rows as they are, or with other shares of the classes.

Resampling happens here and nowhere else: :func:`learning_rows` takes a prepared table and returns training rows, so
that no validation or test row can be resampled, and none can reach a resampled row. Each fold and each member of an
ensemble asks for its own.

A model that learned from other shares of the classes has learned other odds of leaving. How much more often each class
was seen is handed on (``ratios``), and its logarithm is taken off the model's log-odds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnlib.data.customers import Customers
from churnlib.data.preparation import Encoded
from churnlib.errors import ConfigError, MissingPackageError

DROPPING, REPEATING = ("random_under", "nearmiss"), ("random_over", "weighted", "smote", "smotenc", "adasyn")
MAKING_UP = ("smote", "smotenc", "adasyn")
LIBRARY = (*MAKING_UP, "nearmiss")
"""Methods of imbalanced-learn, all of which look at neighbours."""
MOST_CELLS = 2**27
"""Numbers of the table in which neighbours are looked for: 1 GiB."""


@dataclass(frozen=True, slots=True)
class LearningRows:
    """The rows of one fit.

    Attributes:
        encoded: As a model reads them.
        label: ``(n,)`` int64.
        ratios: For each class, how often it comes for each time that it comes among the training rows.
        weights: ``(n,)`` float64, how likely each row is drawn for a batch; None for each row once an epoch.
        soft: ``(n,)`` float32 probability of class 1, or ``(n, n_classes)``, learned in place of the labels; None for
            the labels themselves.
    """

    encoded: Encoded
    label: np.ndarray
    ratios: tuple[float, ...]
    weights: np.ndarray | None = None
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def class_counts(self) -> np.ndarray:
        """How often each class is seen in an epoch, ``(n_classes,)`` int64."""
        if self.soft is not None:
            shares = self.soft if self.soft.ndim == 2 else np.stack([1 - self.soft, self.soft], axis=1)
            return np.rint(shares.sum(axis=0, dtype=np.float64)).astype(np.int64)
        counts = np.bincount(self.label, minlength=len(self.ratios))
        return counts if self.weights is None else np.rint(counts * np.asarray(self.ratios)).astype(np.int64)


def learning_rows(customers: Customers, resample: Mapping[str, Any] | None = None, *, seed: int = 0) -> LearningRows:
    """Return the training rows of a table, resampled if that is wanted.

    Args:
        customers: A prepared table.
        resample: ``name``, ``ratio`` and, as the method has it, ``neighbors`` and ``version``; None for the rows as
            they are.
        seed: Of the draws.

    Raises:
        ConfigError: If the table does not suit the method.
        MissingPackageError: If imbalanced-learn is needed and not installed.
    """
    encoded, label = customers.encoded["train"], customers.labels("train")
    counts = customers.class_counts("train")
    name = "none" if resample is None else resample["name"]
    if name == "none":
        return LearningRows(encoded, label, (1.0,) * len(counts))
    assert resample is not None
    check_resampling(customers, resample)
    wanted = wanted_counts(counts, resample)
    rng = np.random.default_rng((seed, 0x5A3B1E))
    if name == "weighted":
        ratios = wanted / counts
        return LearningRows(encoded, label, tuple(ratios.tolist()), ratios[label])
    if name in MAKING_UP:
        made, of_class = _made_up(customers, resample, wanted, seed=int(rng.integers(2**31)))
        encoded, label = below(encoded, made), np.concatenate([label, of_class])
    else:
        if name == "nearmiss":
            rows = _nearest(customers, resample, wanted)
        elif name == "random_under":
            rows = np.sort(np.concatenate([rng.choice(own, n, replace=False) for own, n in _by_class(label, wanted)]))
        else:
            again = [rng.choice(own, n - len(own)) for own, n in _by_class(label, wanted)]
            rows = np.concatenate([np.arange(len(label)), *again])
        encoded, label = Encoded(encoded.numeric[rows], encoded.codes[rows]), label[rows]
    ratios = np.bincount(label, minlength=len(counts)) / counts
    return LearningRows(encoded, label, tuple(ratios.tolist()))


def wanted_counts(counts: np.ndarray, resample: Mapping[str, Any]) -> np.ndarray:
    """Return how many rows of each class are wanted, ``(n_classes,)`` int64.

    >>> wanted_counts(np.array([900, 100]), {"name": "random_under", "ratio": 0.5})
    array([200, 100])
    >>> wanted_counts(np.array([900, 100]), {"name": "random_over", "ratio": 0.5})
    array([900, 450])

    Args:
        counts: ``(n_classes,)`` training rows of each class.
        resample: See :func:`learning_rows`.
    """
    if resample["name"] == "none":
        return counts
    if resample["name"] in DROPPING:
        return np.minimum(counts, round(counts.min() / resample["ratio"]))
    return np.maximum(counts, round(counts.max() * resample["ratio"]))


def check_resampling(customers: Customers, resample: Mapping[str, Any]) -> None:
    """Refuse a method that does not suit the table, before anything is fitted.

    Raises:
        ConfigError: With the remedy.
        MissingPackageError: If imbalanced-learn is needed and not installed.
    """
    name, counts = resample["name"], customers.class_counts("train")
    if name not in LIBRARY:
        return
    try:
        import imblearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"resample={name} needs the package imbalanced-learn, which is not installed; add it with: "
            "pip install 'churnlib[imbalance]'"
        ) from error
    if customers.preparation.histories:
        raise ConfigError(
            f"resample={name} cannot compare histories of different lengths; take resample=random_over or random_under"
        )
    codes, numbers = len(customers.preparation.categorical), len(customers.preparation.numeric)
    if name == "smotenc" and not (codes and numbers):
        raise ConfigError(
            "resample=smotenc is for numbers and categories side by side, and this table has only one kind; take "
            "resample=smote"
        )
    if counts.min() <= resample["neighbors"]:
        raise ConfigError(
            f"resample.neighbors={resample['neighbors']} needs more training rows of each class than that, got "
            f"{counts.min()}; take fewer, or resample=random_over"
        )
    width = numbers + sum(len(vocabulary.values) + 2 for vocabulary in customers.preparation.categorical)
    if width * int(counts.sum()) > MOST_CELLS:
        raise ConfigError(
            f"resample={name} looks for neighbours among {counts.sum():,} rows of {width:,} inputs, which is too many; "
            "take resample=random_over or random_under"
        )


def _by_class(label: np.ndarray, wanted: np.ndarray) -> list[tuple[np.ndarray, int]]:
    return [(np.flatnonzero(label == number), int(n)) for number, n in enumerate(wanted)]


def below(*parts: Encoded) -> Encoded:
    """Return rows below each other."""
    return Encoded(np.concatenate([one.numeric for one in parts]), np.concatenate([one.codes for one in parts]))


# --- neighbours -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Space:
    """Where neighbours are looked for: numbers without gaps on one scale, and categories as 0 and 1.

    Attributes:
        center, spread: ``(n_numeric,)`` of the numbers.
        places: ``(n_categorical,)`` for each categorical column its codes, in the order of its inputs.
    """

    fill: np.ndarray
    center: np.ndarray
    spread: np.ndarray
    places: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, customers: Customers) -> _Space:
        encoded = customers.encoded["train"]
        fill = np.array([statistics.fill for statistics in customers.preparation.numeric], dtype=np.float64)
        filled = np.where(np.isnan(encoded.numeric), fill, encoded.numeric.astype(np.float64))
        spread = filled.std(axis=0)
        places = tuple(np.unique(column) for column in encoded.codes.T)
        return cls(fill, filled.mean(axis=0), np.where(spread > 0, spread, 1.0), places)

    def numbers(self, numeric: np.ndarray) -> np.ndarray:
        return (np.where(np.isnan(numeric), self.fill, numeric.astype(np.float64)) - self.center) / self.spread

    def one_hot(self, codes: np.ndarray) -> np.ndarray:
        parts = [column[:, None] == known for column, known in zip(codes.T, self.places, strict=True)]
        # Two customers that differ in a category are as far apart as two numbers that differ by one deviation.
        return np.concatenate(parts, axis=1) * math.sqrt(0.5) if parts else np.zeros((len(codes), 0))

    def encoded(self, numbers: np.ndarray, codes: np.ndarray) -> Encoded:
        numeric = (numbers * self.spread + self.center).astype(np.float32)
        return Encoded(np.ascontiguousarray(numeric), np.ascontiguousarray(codes.astype(np.int64)))

    def codes(self, inputs: np.ndarray) -> np.ndarray:
        """Return the code whose input is largest: that of the nearer of the two customers in between."""
        ends = np.cumsum([len(known) for known in self.places])[:-1]
        parts = np.split(inputs, ends, axis=1) if self.places else []
        chosen = [known[part.argmax(axis=1)] for known, part in zip(self.places, parts, strict=True)]
        return np.stack(chosen, axis=1) if chosen else np.zeros((len(inputs), 0), np.int64)


def _made_up(
    customers: Customers, resample: Mapping[str, Any], wanted: np.ndarray, *, seed: int
) -> tuple[Encoded, np.ndarray]:
    """Return made-up customers and their classes; of real ones only training rows have a part in them."""
    from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC

    encoded, label = customers.encoded["train"], customers.labels("train")
    space, n, n_numbers = _Space.of(customers), len(label), encoded.numeric.shape[1]
    numbers, targets = space.numbers(encoded.numeric), dict(enumerate(wanted.tolist()))
    k = resample["neighbors"]
    mixed = resample["name"] == "smotenc"
    options: dict[str, Any] = {"sampling_strategy": targets, "random_state": seed}
    sampler: Any
    if mixed:
        places = list(range(n_numbers, n_numbers + encoded.codes.shape[1]))
        sampler = SMOTENC(places, k_neighbors=k, **options)
        inputs = np.concatenate([numbers, encoded.codes], axis=1)
    else:
        inputs = np.concatenate([numbers, space.one_hot(encoded.codes)], axis=1)
        smote = resample["name"] == "smote"
        sampler = SMOTE(k_neighbors=k, **options) if smote else ADASYN(n_neighbors=k, **options)
    try:
        rows, classes = sampler.fit_resample(inputs, label)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"resample={resample['name']} finds no customers to make up here ({reason}); take resample=smote or "
            "random_over"
        ) from error
    # imbalanced-learn puts the made-up rows below the real ones.
    made, of_class = np.asarray(rows)[n:], np.asarray(classes)[n:].astype(np.int64)
    codes = made[:, n_numbers:] if mixed else space.codes(made[:, n_numbers:])
    return space.encoded(made[:, :n_numbers], codes), of_class


def _nearest(customers: Customers, resample: Mapping[str, Any], wanted: np.ndarray) -> np.ndarray:
    """Return the training rows that NearMiss keeps, in table order."""
    from imblearn.under_sampling import NearMiss

    encoded, label, space = customers.encoded["train"], customers.labels("train"), _Space.of(customers)
    inputs = np.concatenate([space.numbers(encoded.numeric), space.one_hot(encoded.codes)], axis=1)
    targets: Any = dict(enumerate(wanted.tolist()))
    sampler = NearMiss(sampling_strategy=targets, version=resample["version"], n_neighbors=resample["neighbors"])
    sampler.fit_resample(inputs, label)
    return np.sort(sampler.sample_indices_)
