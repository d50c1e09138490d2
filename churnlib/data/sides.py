"""From typed rows and their sides to what a model reads: everything learned here is learned from the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.fitting import fit_preparation, fit_vocabularies
from churnlib.data.inputs import Vocabulary
from churnlib.data.preparation import Encoded, Preparation
from churnlib.data.splits import Split
from churnlib.data.steps import FittedChain, Training, fit_chain
from churnlib.errors import DataError
from churnlib.schema import Column, Kind, Role, Schema


@dataclass(frozen=True, slots=True)
class Prepared:
    """The sides of a table as a model reads them.

    Attributes:
        preparation: Learned from the training rows.
        encoded: By side.
        split: The rows of each side, without the training rows that a step left out.
        said: Sentences on what the steps found.
    """

    preparation: Preparation
    encoded: dict[str, Encoded]
    split: Split
    said: tuple[str, ...] = ()


def prepare_sides(
    typed: pl.DataFrame,
    label: np.ndarray,
    schema: Schema,
    split: Split,
    *,
    preprocess: Mapping[str, Any] | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Prepared:
    """Learn the preparation from the training rows, and encode the rows of each side.

    Args:
        typed: All rows, as :func:`churnlib.data.coercion.coerce` returns them.
        label: ``(n,)`` int64 class of each row.
        schema: The table's schema.
        split: The rows of each side.
        preprocess: Keyword arguments of :func:`~churnlib.data.fitting.fit_preparation`; besides, ``features``
            (expressions by name) and ``steps`` (see :func:`~churnlib.data.steps.read_steps`), in this order.
        groups: ``(n,)`` customer of each row, where customers have several.
        seed: Of what the steps draw.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If there is nothing to learn from.
    """
    options = dict(preprocess or {})
    steps = named_steps(options.pop("features", None), options.pop("steps", None))
    training = typed[split.train]
    if not steps:
        preparation = fit_preparation(training, schema, **options)
        encoded = {side: preparation.encode(typed[rows]) for side, rows in split.sides().items()}
        return Prepared(preparation, encoded, split)
    if not len(training):
        raise DataError("there are no training rows to learn the preparation from")
    known = Training(
        training, schema.features, label[split.train], len(schema.classes), seed, schema.time,
        None if groups is None else groups[split.train], _barred(schema),
    )  # fmt: skip
    fitted = fit_chain(steps, known)
    if not fitted.columns:
        raise DataError("the preparation steps leave no column to learn from; let them keep one")
    preparation = replace(
        fit_preparation(fitted.rows, _after(schema, fitted), **options),
        chain=fitted.chain,
        seen=_seen(training, schema),
    )
    split = replace(split, train=split.train[fitted.kept])
    encoded = {"train": preparation.encode_prepared(fitted.rows)}
    encoded |= {side: preparation.encode(typed[rows]) for side, rows in split.sides().items() if side != "train"}
    return Prepared(preparation, encoded, split, fitted.said)


def named_steps(features: Mapping[str, Any] | None, steps: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the steps in their order: the declared features come first."""
    declared = {name: sql for name, sql in (features or {}).items() if sql is not None}
    first = {"features": {"step": "expressions", "columns": declared}} if declared else {}
    return {**first, **(steps or {})}


WHY_BARRED = {
    Role.target: "which is the target; no feature may be made of it",
    Role.id: "which names the customer; no feature may be made of it",
    Role.event_time: (
        "whose role is event_time: it says something only of those who left, so no feature may be made of it"
    ),
    Role.elapsed: "which says how long a customer was followed; no feature may be made of it",
    Role.ignored: "which is not among the features; name it with data.columns.NAME.role=feature if it should be",
}
"""Why steps may not read columns of a role."""


def _barred(schema: Schema) -> dict[str, str]:
    return {column.name: WHY_BARRED[column.role] for column in schema.columns if column.role in WHY_BARRED}


def _after(schema: Schema, fitted: FittedChain) -> Schema:
    """Return the schema of the rows after the last step."""
    others = tuple(column for column in schema.columns if column.role is not Role.feature)
    return replace(schema, columns=(*fitted.columns, *others))


def _seen(training: pl.DataFrame, schema: Schema) -> tuple[Vocabulary, ...]:
    """Return the values of the categorical columns before the first step."""
    ordinal = [column for column in schema.features if column.kind is Kind.ordinal]
    return (*fit_vocabularies(training, schema), *(_ordered(column) for column in ordinal))


def _ordered(column: Column) -> Vocabulary:
    return Vocabulary(column.name, column.order, missing=column.nullable)
