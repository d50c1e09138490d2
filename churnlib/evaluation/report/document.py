"""All numbers and words of a report, JSON-ready. What a run cannot say is absent, and so is its section.

    run           what was trained on what
    verdict       headline, and sentences with their kind
    data          sides, what was left out, leak checks
    performance   figures with intervals
    confusion     decisions, counted and in money
    time          the same by period, where the rows have dates
    segments      and by the values of a few columns
    curves        gains, lift, profit, ROC, precision and recall
    calibration   what was said and what happened
    survival      when customers leave, said and seen, of a model that says when
    explanation   mean effects of columns
    overall       the model explained on the whole, as churnlib explain-model does
    customers     the head of the list, with reasons
    offers        the plan of offers, as churnlib plan makes it
    fronts        customers with the offers on their front of cost and risk
    simulator     cells of customers, and the campaign as assumed
    card          the model card
    settings      options of the run

Other parts of a run may add keys of their own; those with a section (``page.SECTIONS``) are shown.

    fairness      {"note": text or absent, "columns": [{"column", "groups": [...]}]}; a group has "label", "n", "small"
                  (whether it has too few rows), and as [value, low, high] or null: "base_rate", "predicted",
                  "selection_rate", "tpr", "fpr"
    goal          how the goal of the run stands (:func:`churnlib.evaluation.ceiling.goal.judge`)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from churnlib.evaluation.report import breakdown, performance, simulator
from churnlib.evaluation.report.card import card
from churnlib.evaluation.report.configuration import settings, without_secrets
from churnlib.evaluation.report.judged import Judged
from churnlib.evaluation.report.survival import about_horizon, survival
from churnlib.evaluation.report.verdict import verdict
from churnlib.pages.writing import json_ready
from churnlib.schema import Role

FORMAT = 1
"""Of the document; a program that reads it can tell by it whether it knows all keys."""

DEALT = {
    "random": "at random, class by class",
    "time": "by time, the newest for the test",
    "column": "as a column says",
}


def build_document(
    judged: Judged, parts: Mapping[str, Any] | None = None, *, made: datetime | None = None
) -> dict[str, Any]:
    """Return the document of a run.

    Args:
        judged: The test rows and what is known of the run.
        parts: What others have computed, by key: ``explanation``, ``customers``, ``fairness``, ``goal``, ...
        made: When; now if left out.
    """
    parts = {key: part for key, part in (parts or {}).items() if part}
    document: dict[str, Any] = {"format": FORMAT, "run": _run(judged, made or datetime.now(UTC)), "data": _data(judged)}
    if len(judged) and judged.metrics.get("test"):
        document |= _measured(judged, parts)
    when = survival(judged)
    document |= parts if when is None else {"survival": when, **parts}
    document["verdict"] = verdict(document)
    document["card"] = card(document)
    document["settings"] = [list(one) for one in settings(judged.config)]
    return json_ready(document)


def _measured(judged: Judged, parts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "performance": {"figures": performance.figures(judged)},
        "confusion": performance.confusion(judged),
    }
    if not judged.binary:
        return found
    periods = breakdown.by_time(judged)
    first = [one["column"] for one in (parts.get("explanation") or {}).get("columns", []) if one.get("column")]
    found |= {"time": periods} if periods else {}
    found["segments"] = breakdown.by_segment(judged, first)
    found["simulator"] = {"campaign": simulator.campaign(judged), "cells": simulator.cells(judged)}
    if judged.both_classes:
        found |= {"curves": performance.curves(judged), "calibration": performance.calibration(judged)}
    return found


def _run(judged: Judged, made: datetime) -> dict[str, Any]:
    schema, test = judged.schema, judged.metrics.get("test") or {}
    data = judged.config.get("data") or {}
    known = judged.provenance or {}
    return {
        "table": judged.table,
        "model": judged.model,
        "version": judged.predictor.version,
        "seed": judged.metrics.get("seed"),
        "target": schema.target,
        "classes": list(schema.classes),
        "binary": judged.binary,
        "rows": len(judged),
        "positives": test.get("positives"),
        "threshold": judged.predictor.threshold,
        "horizon": _horizon(judged),
        "about_horizon": about_horizon(judged),
        "own_threshold": judged.own_threshold,
        "made": made.strftime("%Y-%m-%d %H:%M UTC"),
        "trained": known.get("started"),
        "versions": known.get("versions") or {},
        "owner": data.get("owner"),
        "purpose": data.get("purpose"),
        "stated": dict(judged.config.get("card") or {}),
        "epochs": judged.metrics.get("epochs"),
        "fit_seconds": judged.metrics.get("fit_seconds"),
        "overfitting": (judged.metrics.get("overfitting") or {}).get("alarm"),
    }


def _horizon(judged: Judged) -> str | None:
    """Return within which time leaving is meant, of a model that says when customers leave."""
    curve = judged.predictor.bundle.hazards
    return None if curve is None else f"{curve.horizon:g} {curve.unit}"


def _data(judged: Judged) -> dict[str, Any]:
    cleaning, known = judged.cleaning or {}, judged.provenance or {}
    features = [column for column in judged.schema.columns if column.role is Role.feature]
    left_out = {
        "rows read": cleaning.get("rows"),
        "without a target": cleaning.get("without_target"),
        "exact copies": cleaning.get("exact_duplicates"),
        "repeated customers": cleaning.get("repeated_customers"),
        "breaking rules": cleaning.get("breaking_rules"),
    }
    return {
        "sides": [
            {"side": side, "n": int(sum(counts)), "counts": [int(one) for one in counts]}
            for side, counts in judged.sides.items()
        ],
        "dealt": DEALT.get(judged.split_by, judged.split_by),
        "features": len(features),
        "sensitive_read": sum(column.sensitive for column in features),
        "left_out": {name: n for name, n in left_out.items() if n is not None},
        "failed": [
            {"column": one["column"], "failed": one["failed"], "missing": one["missing"]}
            for one in cleaning.get("columns", [])
            if one.get("failed")
        ],
        "checks": [
            {"check": one["check"], "verdict": one["verdict"], "evidence": one["evidence"]}
            for one in (judged.leaks or {}).get("checks", [])
        ],
        "fingerprint": (known.get("data") or {}).get("sha256"),
        "sources": [without_secrets(str(one.get("path") or one)) for one in known.get("sources") or []],
    }


__all__ = ["DEALT", "FORMAT", "build_document"]
