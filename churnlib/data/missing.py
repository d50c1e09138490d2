"""Columns with more gaps than values: how many, and what the gaps alone say about who leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.schema.parsing import cell_of

MOSTLY_MISSING = 0.7
"""Share of missing cells above which dropping a column is proposed."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """A column with many gaps.

    Attributes:
        column: Its name.
        share: Of missing cells.
        roc_auc: Of the gap as the only thing known about a customer, at least 0.5 (the direction is left out); of more
            than two classes that of the class it tells most about; NaN where it cannot be had.
    """

    column: str
    share: float
    roc_auc: float

    def __str__(self) -> str:
        """Return what there is to know before the column is dropped.

        >>> print(Gaps("usage", 0.834, 0.6123))
        'usage' is missing in 83.4 % of the training rows (ROC AUC of the gap alone 0.612)
        """
        signal = "" if np.isnan(self.roc_auc) else f" (ROC AUC of the gap alone {self.roc_auc:.3f})"
        return f"{self.column!r} is missing in {100 * self.share:.1f} % of the training rows{signal}"


def mostly_missing(
    typed: pl.DataFrame, names: Sequence[str], label: np.ndarray, *, above: float = MOSTLY_MISSING
) -> tuple[Gaps, ...]:
    """Return the columns with a larger share of gaps.

    Args:
        typed: Training rows.
        names: Columns to look at.
        label: ``(n,)`` int class of each row.
        above: The share.
    """
    if not names or not len(typed):
        return ()
    counts = typed.select(cell_of(name).null_count() for name in names).row(0)
    many = [(name, count / len(typed)) for name, count in zip(names, counts, strict=True) if count > above * len(typed)]
    return tuple(Gaps(name, share, gap_signal(typed[name].is_null().to_numpy(), label)) for name, share in many)


def gap_signal(missing: np.ndarray, label: np.ndarray) -> float:
    """Return the ROC AUC of a flag, at least 0.5; of more than two classes the largest of one against the rest.

    Args:
        missing: ``(n,)`` bool.
        label: ``(n,)`` int class.

    >>> gap_signal(np.array([True, True, False, False]), np.array([1, 0, 0, 0])).__round__(4)
    0.8333
    """
    best = float("nan")
    for value in np.unique(label):
        of_class = label == value
        if 0 < of_class.sum() < len(label):
            auc = 0.5 + 0.5 * abs(missing[of_class].mean() - missing[~of_class].mean())
            best = np.fmax(best, auc)
    return float(best)


__all__ = ["MOSTLY_MISSING", "Gaps", "gap_signal", "mostly_missing"]
