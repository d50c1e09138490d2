"""The steps by the word that the configuration calls them, and how one is read from it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from churnlib.data.steps.step import Fitted, Step
from churnlib.errors import BundleError, ConfigError

STEPS: dict[str, tuple[str, str, str]] = {
    "band": ("privacy", "Band", "FittedBand"),
    "bins": ("bins", "Bins", "FittedBins"),
    "cut": ("cut", "Cut", "FittedCut"),
    "dates": ("dates", "Dates", "FittedDates"),
    "drop_missing": ("drop_missing", "DropMissing", "FittedDropMissing"),
    "expressions": ("expressions", "Expressions", "FittedExpressions"),
    "frequency": ("frequency", "Frequency", "FittedFrequency"),
    "hashing": ("hashing", "Hashing", "FittedHashing"),
    "impute": ("impute", "Impute", "FittedImpute"),
    "impute_iterative": ("impute_iterative", "ImputeIterative", "FittedIterative"),
    "impute_knn": ("impute_knn", "ImputeKNN", "FittedKNN"),
    "interactions": ("interactions", "Interactions", "FittedTerms"),
    "map": ("mapping", "Map", "FittedMap"),
    "one_hot": ("one_hot", "OneHot", "FittedOneHot"),
    "ordinal": ("ordinal", "Ordinal", "FittedOrdinal"),
    "outliers": ("outliers", "Outliers", "FittedOutliers"),
    "pca": ("pca", "PrincipalComponents", "FittedComponents"),
    "polynomial": ("polynomial", "Polynomial", "FittedTerms"),
    "rare": ("privacy", "Rare", "FittedRare"),
    "scale": ("scale", "Scale", "FittedScale"),
    "select_correlated": ("select_correlated", "SelectCorrelated", "FittedSelection"),
    "select_information_value": ("select_information_value", "SelectInformationValue", "FittedSelection"),
    "select_null_importance": ("select_null_importance", "SelectNullImportance", "FittedSelection"),
    "select_permutation": ("select_permutation", "SelectPermutation", "FittedSelection"),
    "select_rfe": ("select_rfe", "SelectRFE", "FittedSelection"),
    "select_stability": ("select_stability", "SelectStability", "FittedSelection"),
    "target_encoding": ("target_encoding", "TargetEncoding", "FittedTargetEncoding"),
    "tenure_groups": ("cut", "TenureGroups", "FittedCut"),
    "text": ("text", "Text", "FittedText"),
    "vector": ("vector", "Vector", "FittedVector"),
}
"""Word -> module of this package, class of the options, class of what was learned; loaded when asked for."""


def step_class(word: str) -> type[Step]:
    """Return the options' class of a step.

    Raises:
        ConfigError: If there is no such step.
    """
    return _load(_known(word)[0], _known(word)[1])


def fitted_class(word: str) -> type[Fitted]:
    """Return the class of what a step has learned.

    Raises:
        BundleError: If there is no such step.
    """
    if word not in STEPS:
        raise BundleError(f"the preparation has a step {word!r}, which this release does not know; install a newer one")
    return _load(STEPS[word][0], STEPS[word][2])


def read_steps(given: Mapping[str, Any]) -> dict[str, Step]:
    """Read the steps of a configuration.

    Args:
        given: By a name of the user's choice a mapping with ``step`` (its word) and its options, in the order in which
            they are applied; ``step`` may be left out where the name is the word. None leaves a step out that another
            file has named.

    Raises:
        ConfigError: If there is no such step or option, or its value is impossible.
    """
    return {str(name): _read_step(str(name), values) for name, values in given.items() if values is not None}


def _read_step(name: str, values: Any) -> Step:
    if isinstance(values, Step):
        return values
    if not isinstance(values, Mapping):
        raise ConfigError(f"preprocess.steps.{name} must be a mapping such as {{step: {name}}}, got {values!r}")
    options = {str(key): _plain(value) for key, value in values.items()}
    cls = step_class(str(options.pop("step", name)))
    for key in options:
        if key not in cls.options():
            hint = _nearest(key, cls.options()) or f"; known are {', '.join(cls.options())}"
            raise ConfigError(f"unknown option preprocess.steps.{name}.{key}{hint}")
    try:
        return cls(**options)
    except TypeError as error:
        raise ConfigError(f"preprocess.steps.{name} cannot be read: {error}") from error


def _plain(value: Any) -> Any:
    """Return lists as tuples: a step's options are frozen."""
    return tuple(_plain(one) for one in value) if isinstance(value, list | tuple) else value


def _known(word: str) -> tuple[str, str, str]:
    if word not in STEPS:
        hint = _nearest(word, list(STEPS)) or f"; known are {', '.join(STEPS)}"
        raise ConfigError(f"there is no preparation step {word!r}{hint}")
    return STEPS[word]


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"churnlib.data.steps.{module}"), name)
