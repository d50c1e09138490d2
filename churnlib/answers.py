"""Probabilities with the decisions that follow from them, as a table or row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churnlib.decision import decide

Threshold = np.ndarray | float | None
"""Probability from which a customer counts as leaving, or ``(n,)`` one for each; None for more than two classes."""


def answers_table(probability: np.ndarray, threshold: Threshold, classes: Sequence[str]) -> pl.DataFrame:
    """Return probabilities with the decisions that follow from them, one row each, without the customers' names.

    Args:
        probability: ``(n,)`` float64 of leaving, or ``(n, n_classes)``; rows of NaN get empty results.
        threshold: See :data:`Threshold`.
        classes: Names of the target's classes.
    """
    empty, chosen = _decided(probability, threshold)
    if probability.ndim == 1:
        answers = pl.DataFrame({"churn_probability": probability, "churn_prediction": chosen})
    else:
        shares = {f"probability_{name}": probability[:, place] for place, name in enumerate(classes)}
        names = pl.Series("prediction", [classes[place] for place in chosen.tolist()], dtype=pl.String)
        answers = pl.DataFrame(shares).with_columns(names)
    if not empty.any():
        return answers
    kept = pl.lit(pl.Series(~empty))
    return answers.select(pl.when(kept).then(pl.col(name)).alias(name) for name in answers.columns)


def answers_by_row(probability: np.ndarray, threshold: Threshold, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of :func:`answers_table` as dicts, without building it.

    >>> answers_by_row(np.array([0.25, np.nan]), 0.2, ("stays", "leaves"))  # doctest: +NORMALIZE_WHITESPACE
    [{'churn_probability': 0.25, 'churn_prediction': 1},
     {'churn_probability': None, 'churn_prediction': None}]
    """
    if probability.ndim == 1 and isinstance(threshold, float):  # a server's usual case, without a call of numpy
        return [
            {"churn_probability": share, "churn_prediction": int(share >= threshold)}
            if share == share
            else {"churn_probability": None, "churn_prediction": None}
            for share in probability.tolist()
        ]
    empty, chosen = _decided(probability, threshold)
    if probability.ndim == 1:
        answers: list[dict[str, Any]] = [
            {"churn_probability": share, "churn_prediction": one}
            for share, one in zip(probability.tolist(), chosen.tolist(), strict=True)
        ]
    else:
        names = [f"probability_{name}" for name in classes]
        answers = [
            dict(zip(names, shares, strict=True), prediction=classes[one])
            for shares, one in zip(probability.tolist(), chosen.tolist(), strict=True)
        ]
    for row in np.flatnonzero(empty).tolist():
        answers[row] = dict.fromkeys(answers[row])
    return answers


def _decided(probability: np.ndarray, threshold: Threshold) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows have no probability, ``(n,)`` bool, and the decisions of the others, ``(n,)`` int64."""
    empty = np.isnan(probability if probability.ndim == 1 else probability[:, 0])
    if not empty.any():
        return empty, decide(probability, threshold)
    chosen = np.zeros(len(empty), dtype=np.int64)
    chosen[~empty] = decide(probability[~empty], threshold[~empty] if isinstance(threshold, np.ndarray) else threshold)
    return empty, chosen


__all__ = ["Threshold", "answers_by_row", "answers_table"]
