"""Customers that a model's reasons are measured against, and columns that say the same.

Background customers are made up unless the user wants real ones: rows of the training table are nearer to how columns
go together, and they are customers' data, without names.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.profile import draw_rows
from churnlib.data.steps.associations import association_matrix
from churnlib.data.steps.step import CATEGORIES, NUMBERS, Training
from churnlib.schema import Kind, Schema

N_BACKGROUND = 100
"""Background customers in a bundle."""

BACKGROUNDS = ("made", "rows", "none")

ALIKE = 0.9
"""Association (:mod:`churnlib.data.steps.associations`) from which two columns say the same."""

MOST_COLUMNS, MOST_ROWS = 200, 5_000
"""Columns up to which pairs are looked for, and rows, spread over the table, in which they are."""


def background_rows(
    kind: str, profile: Mapping[str, Any], schema: Schema, typed: pl.DataFrame, label: np.ndarray, *, seed: int = 2
) -> list[dict[str, Any]]:
    """Return background customers as JSON values.

    Args:
        kind: ``made`` (each column drawn by itself from the profile), ``rows`` (training rows, as many of each class as
            its share says) or ``none``.
        profile: Of the training rows (:func:`churnlib.data.profile.build_profile`).
        schema: The schema.
        typed: Training rows, as :func:`churnlib.data.coercion.coerce` returns them.
        label: ``(n,)`` their classes.
        seed: Of the draw.
    """
    if kind == "none":
        return []
    if kind == "made":
        return draw_rows(dict(profile), schema, N_BACKGROUND, seed=seed)
    names = list(profile["columns"])
    rows = typed.select(names)[_stratified(label, N_BACKGROUND, np.random.default_rng(seed))].to_dicts()
    return [{name: _json(cell) for name, cell in row.items()} for row in rows]


def _stratified(label: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return rows drawn at random, with each class as often as its share says; sorted by class."""
    order = rng.permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]
    # Equal steps through the rows, sorted by class, take each class as often as its share says.
    n = min(n, len(label))
    return order[((np.arange(n) + rng.random()) * len(label) / n).astype(np.int64)]


def _json(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, dt.datetime) else cell


def alike_columns(typed: pl.DataFrame, schema: Schema) -> list[list[str]]:
    """Return groups of columns that nearly say the same in training rows, in table order; none of very wide tables.

    Args:
        typed: Training rows, as :func:`churnlib.data.coercion.coerce` returns them.
        schema: Their schema; sensitive columns are in no group.
    """
    kinds = (*NUMBERS, *CATEGORIES, Kind.datetime)
    columns = tuple(column for column in schema.features if column.kind in kinds and not column.sensitive)
    if not 2 <= len(columns) <= MOST_COLUMNS or len(typed) < 2:
        return []
    rows = typed[np.unique(np.linspace(0, len(typed) - 1, min(MOST_ROWS, len(typed))).astype(np.int64))]
    training = Training(rows, columns, np.zeros(len(rows), dtype=np.int64), time=schema.time)
    names = [column.name for column in columns]
    return [[names[place] for place in group] for group in _connected(association_matrix(training, names) >= ALIKE)]


def _connected(near: np.ndarray) -> Sequence[list[int]]:
    """Return the groups of two and more that hang together, ``near`` being a symmetric ``(n, n)`` bool matrix.

    >>> _connected(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool))
    [[0, 2]]
    """
    group = np.arange(len(near))
    for one, other in np.argwhere(np.triu(near, 1)).tolist():
        group[group == group[other]] = group[one]
    found = [np.flatnonzero(group == number).tolist() for number in np.unique(group)]
    return sorted(those for those in found if len(those) > 1)


__all__ = ["BACKGROUNDS", "N_BACKGROUND", "alike_columns", "background_rows"]
