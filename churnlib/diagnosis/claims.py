"""Whether a goal or a claim is above what honest models are likely to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from churnlib.diagnosis.flags import ALARM, CLAIM, Flag
from churnlib.evaluation.ceiling.attainable import Estimate
from churnlib.evaluation.ceiling.expected import FALLING, OF_CAMPAIGN, PROFIT
from churnlib.evaluation.ceiling.goal import Goal, judge

ALLOWANCE = 0.04
"""By how much other honest models have exceeded the quick baselines in F1: tuned networks and stacks on the public
tables telco (0.00), isp (0.01) and mlc (0.04). A goal or a claim so far above the interval is not refused."""


def allowance(metric: str, estimates: Mapping[str, Estimate]) -> float:
    """Return by how much a better model may exceed the quick baselines: of money a share, else F1's own."""
    if metric in (PROFIT, *OF_CAMPAIGN, "log_loss", "top_decile_lift") and metric in estimates:
        return 2.0 * ALLOWANCE * abs(estimates[metric].value)
    return ALLOWANCE


def judged(goal: Goal, estimates: Mapping[str, Estimate], flags: Sequence[Flag]) -> dict[str, Any]:
    """Return how the goal stands, of a table without test results."""
    leaks = [
        flag.cause if not flag.columns else repr(flag.columns[0])
        for flag in flags
        if flag.level == ALARM and flag.cause != CLAIM
    ]
    return judge(goal, estimates.get(goal.metric), leaks=leaks, allowance=allowance(goal.metric, estimates))


def claimed(claim: float | None, metric: str, estimates: Mapping[str, Estimate], balanced: float) -> list[Flag]:
    """Return a flag where a claim is above what any honest model is likely to show."""
    estimate = estimates.get(metric)
    if claim is None or estimate is None:
        return []
    room = allowance(metric, estimates)
    falling = metric in FALLING
    if estimate.test_low - room <= claim if falling else claim <= estimate.test_high + room:
        return []
    beyond = estimate.test_low if falling else estimate.test_high
    evidence = (
        f"{metric} {claim:.3f} is beyond what {estimate.test_rows:,} honest test customers show "
        f"({beyond:.3f} at best, and {room:.2f} for a better model)"
    )
    if metric == "f1":
        evidence += f"; of test rows resampled to half and half the same model would show {balanced:.3f}"
    remedy = (
        "compare the churn rate of its test rows with that of the table, look for test rows among its training rows, "
        "and for columns that were written down afterwards"
    )
    return [Flag(CLAIM, ALARM, evidence, remedy, figures={"claim": claim, "balanced_f1": balanced})]


__all__ = ["ALLOWANCE", "allowance", "claimed", "judged"]
