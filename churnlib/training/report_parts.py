"""What a report holds beside the figures of the model: reasons, the model on the whole, offers, groups, the goal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnlib.config import MoneyConfig
from churnlib.config.levers import LeversConfig
from churnlib.evaluation.report.judged import Judged
from churnlib.training.fairness import FAIRNESS
from churnlib.training.report_reasons import customers, explainer_of, explanation

GROUP_FIGURES = {
    "base_rate": "base_rate", "mean_probability": "predicted", "selection_rate": "selection_rate", "tpr": "tpr",
    "fpr": "fpr",
}  # fmt: skip
"""Of those in ``fairness.json`` the ones that the page shows, with what it calls them."""

LISTED, SAMPLED = 100, 100
"""Customers on the list, and those whose effects stand for all; of a TabNet, which is slower, a tenth are explained."""


@dataclass(frozen=True)
class Asked:
    """What a report is to hold.

    Attributes:
        money: What a customer is worth and an offer costs.
        levers: What can be offered; nothing for a report without a plan.
        explained: Test customers on which the model is explained on the whole; 0 for none.
        budget: Of the plan; None for no limit.
        capacity: Likewise.
    """

    money: MoneyConfig
    levers: LeversConfig
    explained: int
    budget: float | None = None
    capacity: float | None = None


def parts_of(judged: Judged, folder: Path, asked: Asked) -> dict[str, Any]:
    """Return what the document of a run holds beside its own figures."""
    explainer = explainer_of(judged)[0] if len(judged) else None
    parts, goal = explained_parts(judged, explainer, asked.explained), judged.metrics.get("goal")
    if goal is not None:
        parts["goal"] = goal
    if asked.levers.offers and judged.both_classes:
        from churnlib.training.report_offers import offers

        limits = {"budget": asked.budget, "capacity": asked.capacity}
        parts |= offers(judged, asked.levers, asked.money, explainer=explainer, **limits)
    compared = read_files(folder, {"fairness": FAIRNESS}).get("fairness")
    return parts if compared is None else {**parts, "fairness": _groups(compared)}


def explained_parts(judged: Judged, explainer: Any, explained: int) -> dict[str, Any]:
    """Return the parts that explain the model: ``explanation``, ``customers`` and ``overall``, if there are any.

    Args:
        judged: The test rows.
        explainer: Of the model; None where there is none.
        explained: How many of them the model is explained on as a whole.
    """
    if not len(judged):
        return {}
    found: dict[str, Any] = {}
    if explainer is not None:
        found["explanation"] = explanation(judged, explainer, sampled=SAMPLED)
    if judged.binary:
        from churnlib.training.report_overall import overall

        found["customers"] = customers(judged, explainer, listed=LISTED)
        found["overall"] = overall(judged, explainer, found.get("explanation"), rows=explained)
    return found


def read_files(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what lies in JSON files of a run folder, without those that are not there."""
    there = {key: folder / name for key, name in files.items() if (folder / name).is_file()}
    return {key: json.loads(path.read_text(encoding="utf-8")) for key, path in there.items()}


def _groups(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups that were compared as the document has them."""
    columns = []
    for column in compared["columns"]:
        groups = []
        for one in column["groups"]:
            figures = {theirs: _told(one["figures"].get(ours)) for ours, theirs in GROUP_FIGURES.items()}
            groups.append({"label": one["group"], "n": one["n"], "small": False, **figures})
        if groups:
            of_class = column.get("class")
            title = column["column"] if of_class is None else f"{column['column']}, {of_class} or not"
            columns.append({"column": title, "groups": groups})
    note = f"Groups of fewer than {compared['min_group']} test customers are put together or left out."
    if any(column.get("class") is not None for column in compared["columns"]):
        note += (
            " Each class is taken against the rest: left stands for being of the class, selected for being given it."
        )
    return {"note": note, "columns": columns} if columns else {}


def _told(figure: Mapping[str, float | None] | None) -> list[float | None] | None:
    told = None if figure is None else [figure[key] for key in ("value", "low", "high")]
    return None if told is None or None in told else told


__all__ = ["Asked", "explained_parts", "parts_of", "read_files"]
