"""What scikit-learn's users give as rows and labels, and what the library makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from churnlib.data.tables import NESTED, table_from
from churnlib.schema import Column, Kind, Role

TARGET = "target"
"""Name of the target in the schema where the labels have none."""


def is_customers(X: Any) -> bool:
    """Whether these are what churnlib takes and scikit-learn does not: dicts, or a table read only when asked."""
    if isinstance(X, list):
        return bool(X) and isinstance(X[0], Mapping)
    return isinstance(X, pl.LazyFrame) or (isinstance(X, Mapping) and not hasattr(X, "shape"))  # some sparse ones map


def table_of_customers(X: Any, names: Sequence[str]) -> pl.DataFrame:
    """Return customers as a table with these columns first: dicts name theirs, in any order, and leave out gaps."""
    frame = table_from(X)
    if isinstance(X, pl.LazyFrame):
        return frame
    absent = [pl.lit(None).alias(name) for name in names if name not in frame.columns]
    return frame.with_columns(absent).select(*names, *(name for name in frame.columns if name not in names))


def table_from_array(array: np.ndarray) -> tuple[pl.DataFrame, bool]:
    """Return an array's columns as a table, and whether they are numbers."""
    names = array_names(array.shape[1])
    if array.dtype == object:
        # What is no value reads as none (in training), or names its row (in scoring), like any other strange text.
        cells = ([str(cell) if isinstance(cell, NESTED) else cell for cell in column] for column in array.T)
        return table_from(dict(zip(names, cells, strict=True))), False
    return table_from(dict(zip(names, array.T, strict=True))), array.dtype.kind in "biuf"


def array_names(n: int) -> list[str]:
    """Return the names that columns of an array get."""
    return [f"x{i}" for i in range(n)]


def check_labels(y: Any, n: int) -> np.ndarray:
    """Return labels as a one-dimensional array without gaps, as long as the rows."""
    labels = column_or_1d(y, warn=True)
    if len(labels) != n:
        check_consistent_length(np.empty(n), labels)
    missing = [one is None or one != one for one in labels.tolist()]
    if any(missing):
        raise ValueError(f"Input y contains NaN or None ({sum(missing):,} labels are missing); leave these rows out")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("Input y contains infinity")
    check_classification_targets(labels)
    return labels


def target_column(y: Any, classes: np.ndarray, names: Sequence[str]) -> Column:
    """Return the schema's entry for the labels, by whose kind :func:`labels_from_texts` knows how to read them."""
    given = getattr(y, "name", None)
    name = given if isinstance(given, str) and given.strip() else TARGET
    while name in names:
        name += "_"
    numeric = dict.fromkeys("iuf", Kind.numeric)
    kind = {"b": Kind.boolean, **numeric}.get(classes.dtype.kind, Kind.categorical)
    return Column(name, kind, Role.target, note="the labels")


def labels_from_texts(texts: Sequence[str], kind: Kind) -> np.ndarray:
    """Return the labels that :func:`str` made these texts of."""
    if kind is Kind.boolean:
        return np.array([text == "True" for text in texts])
    if kind is Kind.numeric:
        return np.array([float(text) if "." in text else int(text) for text in texts])
    return np.array(texts)
