"""What a report says of offers: the plan that ``churnlib plan`` would make for the test customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from churnlib.config.levers import LeversConfig
from churnlib.config.money import MoneyConfig
from churnlib.evaluation.report.judged import Judged
from churnlib.explanation.effects import SAMPLES
from churnlib.planning.plan import Plan, Planner
from churnlib.planning.tables import ALONE
from churnlib.training.report_reasons import sample

MOST_ROWS = 2_000
"""Test customers for whom offers are planned; each is scored with every offer."""

EXAMPLES, STEPS = 6, 12
"""Customers whose offers are shown one by one, and budgets of the curve."""

REASONED = 8
"""Customers of a segment whose reasons say which one is its main reason; none of a TabNet, whose reasons take long."""

TOLD = ("offers", "expected_gain", "gain_low", "gain_high", "expected_cost")


def offers(
    judged: Judged,
    levers: LeversConfig,
    money: MoneyConfig,
    *,
    budget: float | None,
    capacity: float | None,
    explainer: Any = None,
) -> dict[str, Any]:
    """Plan offers to the test customers, or to some of them drawn at random.

    Args:
        judged: The test rows, of two classes.
        levers: What can be offered.
        money: What a customer is worth, and what offers cost.
        budget: Money that may be spent on all test customers; of a sample its share counts.
        capacity: Likewise what the team can do.
        explainer: Of the model; None for segments without their main reason.

    Returns:
        ``offers``: what ``plan.json`` of the command holds, with ``of`` (test customers), the ``course`` of the gain
        with the budget, and ``segments``; ``fronts``: customers with the offers on their front of cost and risk.
    """
    chosen = sample(len(judged), MOST_ROWS, seed=2)
    share = len(chosen) / len(judged)
    money_limit, hours = (None if one is None else one * share for one in (budget, capacity))
    held_out = pl.DataFrame({"label": judged.label, "churn_probability": judged.probability})
    planner = Planner(judged.predictor, levers, money, held_out=held_out)
    planner.take(judged.predictor.read(judged.frame[chosen]))
    reasoned = 0 if explainer is None or explainer.samples > SAMPLES else REASONED
    plan = planner.plan(
        judged.ids[chosen], budget=money_limit, capacity=hours, explain="false", reasoned=reasoned, settle=False
    )
    course = _course(planner, money_limit, hours)
    told = {**plan.summary, "of": len(judged), "course": course, "segments": plan.segments.to_dicts()}
    return {"offers": told, "fronts": _fronts(plan, {one.name: one.label for one in planner.offers.offers})}


def _course(planner: Planner, budget: float | None, hours: float | None) -> list[dict[str, float]]:
    """Return what budgets from 0 to what a plan without one costs come to; nothing where no offer is worth making."""
    most = planner.course([np.inf], capacity=hours)[0]["expected_cost"]
    if not most > 0:
        return []
    steps = np.linspace(0.0, most, STEPS + 1)
    here = [] if budget is None or budget > most else [budget]
    found = planner.course(np.unique([*steps, *here]).tolist(), capacity=hours)
    return [{"budget": one["budget"], **{name: one[name] for name in TOLD}} for one in found]


def _fronts(plan: Plan, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return those who gain most by their offer, with all offers on their front."""
    kept = ("customer_id", "churn_probability", "value", "offer", "main_reason", "segment")
    rows = plan.customers.filter(pl.col("offer") != ALONE).sort("expected_gain", descending=True, maintain_order=True)
    rows = rows.head(EXAMPLES).with_columns(pl.col("customer_id").cast(pl.String))
    return [
        {
            **{name: one[name] for name in kept if name in one},
            "options": [{**option, "label": labels.get(option["offer"], ALONE)} for option in one["options"]],
        }
        for one in rows.iter_rows(named=True)
    ]


__all__ = ["offers"]
