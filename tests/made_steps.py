"""Training rows for tests of single steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from churnlib.data.coercion import coerce
from churnlib.data.steps import Learned, Training, read_steps
from churnlib.schema import infer_schema


def training(
    frame: pl.DataFrame,
    label: Any,
    *,
    columns: dict[str, Any] | None = None,
    groups: Any = None,
    n_classes: int = 2,
    time: str | None = None,
) -> Training:
    """Return typed rows of a table, whatever stands in it."""
    schema = infer_schema(frame, columns=columns, time=time)
    label = np.asarray(label, dtype=np.int64)
    rows = coerce(frame, schema).typed
    return Training(rows, schema.features, label, n_classes, seed=1, time=time, groups=groups)


def learn(word: str, known: Training, **options: Any) -> Learned:
    """Fit one step."""
    return read_steps({word: options})[word].fit(known)


def after(learned: Learned, rows: pl.DataFrame) -> pl.DataFrame:
    """Apply a fitted step."""
    return learned.fitted.apply(rows.lazy()).collect()
