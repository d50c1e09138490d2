"""What a report says of the model on the whole: what ``churnlib explain-model`` says, of fewer customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churnlib.config.explain import OverallOptions
from churnlib.errors import ChurnlibError
from churnlib.evaluation.report.judged import Judged
from churnlib.explanation.overall.sample import HIDDEN as A_SENSITIVE_COLUMN
from churnlib.training.report_reasons import HIDDEN, sample

PERMUTED, CURVES, PAIRED = 25, 6, 150
"""Columns whose cells are dealt anew, those that have a curve, and customers compared with another one."""

REPEATS, REPLICATES = 3, 100


def overall(judged: Judged, explainer: Any, known: Mapping[str, Any] | None, *, rows: int) -> dict[str, Any] | None:
    """Explain the model on some test rows.

    Args:
        judged: The test rows, of two classes.
        explainer: Of the model.
        known: What :func:`churnlib.training.report_reasons.explanation` returned, whose effects are not computed anew.
        rows: Test rows, drawn at random, at most.

    Returns:
        What ``global.json`` of the command holds, and ``of``: of how many test rows those are; None where there is
        nothing to explain.
    """
    from churnlib.explanation.overall.report import explain_overall

    if not rows or explainer is None or not known or not known["rows"] or not judged.both_classes:
        return None
    chosen = sample(len(judged), rows, seed=1)
    options = OverallOptions(
        rows=rows, explained=known["rows"], paired=PAIRED, repeats=REPEATS, replicates=REPLICATES, curves=CURVES,
        permuted=PERMUTED, reseeded=0,
    )  # fmt: skip
    try:
        found = explain_overall(
            explainer,
            judged.frame[chosen],
            judged.label[chosen],
            wording=judged.wording,
            campaign=judged.campaign,
            value=None if judged.value is None else judged.value[chosen],
            customers=judged.ids[chosen],
            effects=_effects(known),
            options=options,
        )
    except ChurnlibError:  # a model that cannot be asked so has a report without this
        return None
    return {**found.to_dict(), "of": len(judged)}


def _effects(known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return effects as explaining on the whole has them."""
    return [
        {
            "column": A_SENSITIVE_COLUMN if one["name"] == HIDDEN else one["name"],
            "effect": one["mean"],
            "effect_low": one["low"],
            "effect_high": one["high"],
            "direction": one["direction"],
        }
        for one in known["columns"]
    ]


__all__ = ["overall"]
