"""The main reason for a customer's risk, for those whom a plan speaks of."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.errors import BundleError
from churnlib.explanation.wording import RAISES, Wording
from churnlib.planning.groups import Groups
from churnlib.predictor import Predictor

MOST, MOST_SLOWLY = 20_000, 500
"""Customers who are explained without being asked for: where the model has gradients, and where it has none."""

AT_ONCE = 2_048


def main_reasons(
    predictor: Predictor,
    typed: pl.DataFrame,
    chosen: NDArray[np.int64],
    wording: Wording | None,
    *,
    explain: str,
    seed: int = 0,
) -> list[str | None]:
    """Return the reason that raises each customer's risk most, None without one and for those who are not asked about.

    Args:
        predictor: The model.
        typed: The customers.
        chosen: ``(n,)``: those at least 0 are asked about.
        wording: How reasons are worded.
        explain: true, false, auto (if they are not too many) or some (however many, if the bundle allows).
        seed: Of what is drawn.
    """
    found: list[str | None] = [None] * len(typed)
    rows = np.flatnonzero(chosen >= 0)
    if explain == "false" or not len(rows):
        return found
    try:
        explainer = import_module("churnlib.explanation.effects").Explainer(predictor, seed=seed)
    except BundleError:
        if explain == "true":
            raise
        return found  # a bundle without background customers gives no reasons, and a plan does without
    if explain == "auto" and len(rows) > (MOST_SLOWLY if explainer.method == "shapley" else MOST):
        return found
    said = import_module("churnlib.explanation.reasons").explain
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        reading = predictor.read(typed[some], rules=False)
        reasons = said(predictor, reading, top=5, wording=wording, explainer=explainer, on_error="null")["reasons"]
        for row, those in zip(some.tolist(), reasons.to_list(), strict=True):
            raising = [one["text"] for one in those or () if one["direction"] == RAISES]
            found[row] = raising[0] if raising else None
    return found


def of_groups(groups: Groups, reasons: list[str | None]) -> list[str | None]:
    """Return the most frequent main reason of each group, of those who have one."""
    found: list[str | None] = []
    for place in range(len(groups.names)):
        known = [reasons[row] for row in np.flatnonzero(groups.number == place).tolist() if reasons[row] is not None]
        found.append(Counter(known).most_common(1)[0][0] if known else None)
    return found


__all__ = ["main_reasons", "of_groups"]
