"""The goal of a run: met, not met but attainable, or above what the data can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from churnlib.config import GoalConfig, MoneyConfig
from churnlib.data.leaks import LeakReport
from churnlib.evaluation.ceiling.attainable import Estimate, attainable
from churnlib.evaluation.ceiling.expected import ESTIMATED
from churnlib.evaluation.ceiling.goal import Goal, figure_of, judge
from churnlib.predictor import Predictor
from churnlib.training.calibrating import held_out_probability
from churnlib.training.fitted import Trained
from churnlib.training.money import campaign_of, values_of


def goal_of(config: GoalConfig) -> Goal | None:
    """Return the configured goal, None where there is none.

    Raises:
        ConfigError: If its figure is unknown.
    """
    return None if config.metric is None else Goal(**asdict(config))


def goal_report(
    goal: Goal | None,
    trained: Trained,
    predictor: Predictor,
    *,
    money: MoneyConfig,
    test: Mapping[str, Any] | None,
    leaks: LeakReport | None,
) -> dict[str, Any] | None:
    """Say how the goal stands, from test rows, and from what validation rows promise.

    Args:
        goal: The goal; None gives None.
        trained: The model with its held-out rows.
        predictor: Calibrated.
        money: What a campaign costs and brings.
        test: Figures of the test rows; None without test rows.
        leaks: What the leak checks have found; a result that rests on a leak is not certified.
    """
    if goal is None:
        return None
    return judge(
        goal,
        _estimate(goal, trained, predictor, money),
        measured=None if test is None else figure_of(test, goal.metric),
        interval=None if test is None else (test.get("intervals") or {}).get(goal.metric),
        leaks=[] if leaks is None else leaks.alarms,
    )


def _estimate(goal: Goal, trained: Trained, predictor: Predictor, money: MoneyConfig) -> Estimate | None:
    """Return what can be attained by what the model says of rows that it did not learn from."""
    customers, held_out = trained.customers, trained.held_out
    binary = len(customers.schema.classes) == 2 and customers.lifetimes is None
    if goal.metric not in ESTIMATED or not binary or not len(held_out.rows):
        return None
    label, values = customers.label[held_out.rows], values_of(money, customers)
    return attainable(
        label,
        held_out_probability(held_out.logits, label, predictor.bundle.calibration),
        metrics=[goal.metric],
        threshold=predictor.threshold,
        campaign=campaign_of(money, customers),
        value=None if values is None else values[held_out.rows],
        customers=customers.ids(held_out.rows),
        test_rows=len(customers.rows("test")) or len(held_out.rows),
    ).get(goal.metric)
