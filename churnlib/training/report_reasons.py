"""Why the model says what it says: of all customers on average, and of those at the head of the list."""

from __future__ import annotations

from typing import Any

import numpy as np

from churnlib.data.cells import bins_of
from churnlib.errors import ChurnlibError
from churnlib.evaluation.profit.campaign import expected_gains
from churnlib.evaluation.report.judged import Judged

MOST_SHOWN, MOST_CELLS = 12, 6
FEWEST = 12
"""Sampled customers behind a mean effect."""

HIDDEN = "sensitive columns"
MOST_COLUMNS = 300
"""Columns of a table up to which a report has reasons: what they take grows with the columns."""


def explanation(judged: Judged, explainer: Any, *, sampled: int, seed: int = 0) -> dict[str, Any]:
    """Return the columns by their mean effect, and what raises and what lowers the risk.

    Args:
        judged: The test rows.
        explainer: Of the model (:class:`churnlib.explanation.effects.Explainer`).
        sampled: Rows that stand for all.
        seed: Of the draw.
    """
    from churnlib.explanation.reasons import Speaker, as_wording

    chosen = sample(len(judged), _fewer(explainer, sampled), seed)
    effects = explainer.effects(judged.predictor.read(judged.frame[chosen]))
    speaker = Speaker.of(judged.predictor, effects.names, as_wording(judged.wording))
    known = np.isfinite(effects.log_odds)
    chosen, values = chosen[known], effects.values[known]
    if not len(chosen):
        return {"rows": 0, "columns": []}
    summed, names = speaker.summed(values), list(speaker.names)
    if speaker.hidden:
        summed = np.column_stack([summed, values[:, list(speaker.hidden)].sum(axis=1)])
        names.append(HIDDEN)
    size = np.abs(summed)
    mean, spread = size.mean(axis=0), 1.959964 * size.std(axis=0) / len(size) ** 0.5
    told = []
    for place in np.argsort(-mean, kind="stable").tolist():
        members = speaker.members[place] if place < len(speaker.members) else ()
        only = effects.names[members[0]] if len(members) == 1 else None
        told.append({
            "name": names[place], "mean": float(mean[place]), "low": max(0.0, float(mean[place] - spread[place])),
            "high": float(mean[place] + spread[place]), "column": only,
            # The sign of an effect would say of a sensitive column how it counts.
            "direction": None if names[place] == HIDDEN else float(summed[:, place].mean()),
            "cells": _cells(judged, only, chosen, summed[:, place]) if len(told) < MOST_SHOWN else [],
        })  # fmt: skip
    methods, counts = np.unique(effects.method[known].astype(str), return_counts=True)
    return {
        "rows": len(chosen),
        "columns": told,
        "methods": dict(zip(methods.tolist(), counts.tolist(), strict=True)),
        "stability": float(effects.stability[known].mean()),
        "error": float(np.abs(effects.error[known]).mean()),
    }


def _cells(judged: Judged, name: str | None, chosen: np.ndarray, effect: np.ndarray) -> list[dict[str, Any]]:
    """Return the mean effect of a column by its value."""
    if name is None:
        return []
    bins = bins_of(judged.typed[name][chosen], judged.schema[name], fewest=FEWEST)
    counts = bins.counts()
    told = [
        {"label": label, "n": int(n), "effect": float(effect[bins.codes == number].mean())}
        for number, (label, n) in enumerate(zip(bins.labels, counts, strict=True))
        if n
    ]
    if len(told) <= MOST_CELLS:
        return told
    if not bins.ordered:
        return sorted(told, key=lambda cell: -cell["n"])[:MOST_CELLS]
    kept = np.unique(np.linspace(0, len(told) - 1, MOST_CELLS).round().astype(int))
    return [told[place] for place in kept.tolist()]


def customers(judged: Judged, explainer: Any, *, listed: int) -> list[dict[str, Any]]:
    """Return the head of the list with reasons: who is expected to bring most, or without own values the likeliest.

    Args:
        judged: The test rows.
        explainer: Of the model; None for a list without reasons.
        listed: Customers on it; of a TabNet the first tenth of them has reasons.
    """
    p = judged.probability
    value = np.full(len(p), judged.campaign.value) if judged.value is None else judged.value
    gain = expected_gains(p, value, judged.campaign)
    first = np.lexsort((np.arange(len(p)), -p, -gain if judged.value is not None else -p))
    first = first[:listed]
    said = _reasons(judged, explainer, first)
    ids = judged.ids[first].cast(str).to_list()
    return [
        {
            "customer_id": name, "churn_probability": float(p[row]), "value": float(value[row]),
            "expected_gain": float(gain[row]), "left": bool(judged.label[row]),
            "reasons": [{key: one[key] for key in ("text", "effect", "actionable")} for one in reasons or []],
            "concealed": bool(concealed),
        }
        for row, name, (reasons, concealed) in zip(first.tolist(), ids, said, strict=True)
    ]  # fmt: skip


def _reasons(judged: Judged, explainer: Any, rows: np.ndarray) -> list[tuple[Any, Any]]:
    """Return for each row its reasons, and whether a sensitive column would have been among them."""
    explained = rows[: 0 if explainer is None else _fewer(explainer, len(rows))]
    without = [(None, False)] * (len(rows) - len(explained))
    if not len(explained):
        return without
    from churnlib.explanation.reasons import explain

    said = explain(
        judged.predictor, judged.predictor.read(judged.frame[explained]), explainer=explainer, wording=judged.wording,
        on_error="null",
    )  # fmt: skip
    return [*zip(said["reasons"].to_list(), said["sensitive_among_reasons"].to_list(), strict=True), *without]


def explainer_of(judged: Judged) -> tuple[Any, str | None]:
    """Return what explains the model, or None and why there is nothing."""
    from churnlib.explanation.effects import Explainer

    n_columns = len(judged.predictor.schema.features)
    if n_columns > MOST_COLUMNS:
        return None, f"{n_columns:,} columns are too many to explain beside a run; churnlib explain takes its time"
    # What is shown is what rows were judged by. Time since an entry is known then, and is a reason; but without one the
    # probability is that from the start on, for how long the test rows have stayed since then is the outcome.
    from_start = judged.followed is not None and not judged.followed.given_entry
    try:
        return Explainer(judged.predictor, from_start=from_start), None
    except ChurnlibError as error:
        return None, str(error)


def _fewer(explainer: Any, wanted: int) -> int:
    from churnlib.explanation.effects import SAMPLES

    return max(1, wanted * SAMPLES // explainer.samples) if explainer.samples > SAMPLES else wanted


def sample(n: int, wanted: int, seed: int) -> np.ndarray:
    """Return row numbers, ascending: all, or so many drawn without replacement."""
    return np.arange(n) if n <= wanted else np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))


__all__ = ["customers", "explainer_of", "explanation", "sample"]
