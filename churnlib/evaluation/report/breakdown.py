"""The model over time and by kind of customer: where it does well, and where it says what did not happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.cells import bins_of
from churnlib.data.periods import periods_of
from churnlib.evaluation.intervals import roc_auc_interval, wilson_interval
from churnlib.evaluation.ranking import roc_auc
from churnlib.evaluation.report.judged import Judged
from churnlib.schema import Column, Kind

FEWEST = 30
"""Customers that a group needs; smaller ones are merged with their neighbours."""

FEWEST_OF_A_CLASS = 20
"""Who left, and who stayed, before a group has a ROC AUC of its own."""

MOST_COLUMNS = 6


def by_time(judged: Judged) -> list[dict[str, Any]] | None:
    """Return the test rows by the time they were taken; None where they have no, or only one."""
    time = judged.schema.time
    if time is None or time not in judged.typed.columns:
        return None
    periods = periods_of(judged.typed[time])
    if periods is None:
        return None
    return groups(judged, periods.codes, periods.names, "period")


def by_segment(judged: Judged, first: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the test rows by the values of a few columns.

    Args:
        judged: The rows.
        first: Columns, those that matter most first; the others come in the order of the table.
    """
    columns = {column.name: column for column in judged.features()}
    known = columns.keys() & set(judged.typed.columns)
    names = [name for name in dict.fromkeys([*first, *columns]) if name in known]
    told = []
    for name in names:
        if _is_one_cell(judged.typed[name], columns[name]):
            continue
        bins = bins_of(judged.typed[name], columns[name], fewest=FEWEST)
        cells = groups(judged, bins.codes, bins.labels, "label")
        if len(cells) > 1:
            told.append({"column": name, "cells": cells})
        if len(told) == MOST_COLUMNS:
            break
    return told


def _is_one_cell(values: pl.Series, column: Column) -> bool:
    """Whether too few rows for two groups are certain to be one; a table may have ten thousand columns."""
    return column.kind in (Kind.numeric, Kind.datetime) and len(values) < 2 * FEWEST and not values.has_nulls()


def groups(judged: Judged, codes: np.ndarray, names: Sequence[str], key: str) -> list[dict[str, Any]]:
    """Return figures of groups of rows that are not empty.

    Args:
        judged: The rows.
        codes: ``(n,)`` group of each row; below 0 for none.
        names: Of the groups.
        key: Under which the name is told.

    Returns:
        ``n``; ``rate``, ``low``, ``high``: who left; ``predicted``: mean probability; ``off``: whether that is outside
        the interval; ``roc_auc``, ``auc_low``, ``auc_high``; ``found``: of those who left, the share that is selected.
    """
    selected = judged.selected()
    told = []
    for number, name in enumerate(names):
        rows = codes == number
        n, left = int(rows.sum()), int(judged.label[rows].sum())
        if not n:
            continue
        low, high = (float(one) for one in wilson_interval(left, n))
        predicted = float(judged.probability[rows].mean())
        found = {
            key: name, "n": n, "positives": left, "rate": left / n, "low": low, "high": high,
            "predicted": predicted, "off": not low <= predicted <= high,
            "roc_auc": None, "auc_low": None, "auc_high": None,
            "found": float(selected[rows & (judged.label == 1)].mean()) if left else None,
        }  # fmt: skip
        if min(left, n - left) >= FEWEST_OF_A_CLASS:
            found["roc_auc"] = roc_auc(judged.label[rows], judged.probability[rows])
            found["auc_low"], found["auc_high"] = roc_auc_interval(judged.label[rows], judged.probability[rows]) or (
                None,
                None,
            )
        told.append(found)
    return told


__all__ = ["FEWEST", "by_segment", "by_time", "groups"]
