"""What makes a result too good to be true, each with its cause: leaks, resampling before a split, rows on two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.customers import Customers
from churnlib.data.leaks import Finding, LeakReport
from churnlib.data.leaks.copied import NAME as DRAWN_AGAIN
from churnlib.data.leaks.made_up import NAME as MADE_UP
from churnlib.data.leaks.made_up import find_made_up
from churnlib.data.leaks.report import is_alarm

ALARM, LOOK = "alarm", "look"
LEAK, RESAMPLED, SHARED, RATES, CLAIM = "leak", "resampled before the split", "shared rows", "churn rates", "claim"
"""Causes."""

SIDES = ("customers on several sides", "copies on several sides")
MOST_APART = 0.05
"""Difference of the churn rates of two sides that a column has named."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A reason to distrust a good result.

    Attributes:
        cause: ``leak``, ``resampled before the split``, ``shared rows``, ``churn rates`` or ``claim``.
        level: ``alarm``, or ``look`` where it is for a person to judge.
        evidence: What was seen.
        remedy: What to do.
        columns: That it concerns.
        figures: Numbers; with alarms that could be undone ``f1`` and ``f1_without``.
        checks: Leak checks that it comes from.
    """

    cause: str
    level: str
    evidence: str
    remedy: str
    columns: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[str, ...] = ()

    def said(self) -> str:
        """Return it as a sentence."""
        with_, without = self.figures.get("f1"), self.figures.get("f1_without")
        moved = "" if with_ is None or without is None else f" Attainable F1 {with_:.3f}, without that {without:.3f}."
        return f"{self.cause}: {self.evidence}; {self.remedy}.{moved}"


def flags_of(report: LeakReport, customers: Customers) -> list[Flag]:
    """Return what the leak checks have found in what a model reads, one flag for each column or kind of rows."""
    flags = [_flag(reasons) for reasons in report.reasons().values()]
    flags += _different_rates(customers)
    return sorted(flags, key=lambda one: one.level != ALARM)


def _flag(reasons: Sequence[tuple[str, Finding]]) -> Flag:
    name, column = reasons[0][0], reasons[0][1].column
    cause = RESAMPLED if name in (MADE_UP, DRAWN_AGAIN) else SHARED if name in SIDES else LEAK
    level = ALARM if is_alarm(reasons) else LOOK
    evidence = "; ".join(finding.evidence for _, finding in reasons)
    figures, checks = reasons[0][1].figures, tuple(check for check, _ in reasons)
    if column is None:
        return Flag(cause, level, evidence, reasons[0][1].remedy, (), figures, checks)
    remedy = f"leave it out with data.drop=[{column}], unless it was known on the day of the prediction"
    return Flag(cause, level, f"{column!r}: {evidence}", remedy, (column,), figures, checks)


def _different_rates(customers: Customers) -> list[Flag]:
    """Return a flag where the sides that a column has named do not have one churn rate."""
    sides = {name: rows for name, rows in customers.split.sides().items() if len(rows)}
    if customers.split.by != "column" or len(customers.schema.classes) != 2 or len(sides) < 2:
        return []
    rates = {name: float(customers.label[rows].mean()) for name, rows in sides.items()}
    apart = max(rates.values()) - min(rates.values())
    few = min(map(len, sides.values()))
    pooled = float(customers.label[np.concatenate(list(sides.values()))].mean())
    chance = 4.0 * np.sqrt(2.0 * pooled * (1.0 - pooled) / few)
    if apart < max(MOST_APART, chance):
        return []
    told = ", ".join(f"{rate:.1%} on {name}" for name, rate in rates.items())
    evidence = f"the sides differ in their churn rate ({told}), so that one of them was resampled or chosen"
    remedy = "a figure of rows that were resampled says nothing of customers: leave test and validation as they come"
    return [Flag(RATES, LOOK, evidence, remedy, figures=rates)]


def without(customers: Customers, flags: Sequence[Flag], *, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    """Return the table without what was flagged as an alarm: rows that were made up or come twice, and the columns.

    Returns:
        The rows that are left, cells as they came, and the names of the columns that shall not be read.
    """
    alarms = [flag for flag in flags if flag.level == ALARM]
    frame, kept = customers.frame, np.ones(len(customers.frame), dtype=bool)
    if any(flag.cause == RESAMPLED for flag in alarms):
        made_up = find_made_up(customers.typed, customers.label, customers.schema.features, seed=seed)
        if made_up is not None:
            kept &= ~made_up.rows
    if any(flag.cause in (RESAMPLED, SHARED) for flag in alarms):
        features = [c.name for c in customers.schema.features if not customers.typed.schema[c.name].is_nested()]
        profile = customers.typed.select(features).hash_rows(seed=0)
        kept &= profile.is_first_distinct().to_numpy()
    return frame.filter(pl.Series(kept)), [name for flag in alarms if flag.cause == LEAK for name in flag.columns]


def with_effect(flags: Sequence[Flag], f1: float, f1_without: float | None) -> list[Flag]:
    """Return the flags with what they did to the attainable F1, all alarms together."""
    effect = {"f1": f1, "f1_without": f1_without}
    return [
        replace(flag, figures={**flag.figures, **effect}) if flag.level == ALARM and flag.cause != CLAIM else flag
        for flag in flags
    ]


__all__ = [
    "ALARM",
    "CLAIM",
    "LEAK",
    "LOOK",
    "RATES",
    "RESAMPLED",
    "SHARED",
    "Flag",
    "flags_of",
    "with_effect",
    "without",
]
