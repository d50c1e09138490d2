"""A plan on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from churnlib.planning.plan import Plan


def plan_tables(plan: Plan) -> Group:
    """Return the totals, the offers, the segments and the cautions."""
    told = plan.summary
    unit = "" if told["currency"] is None else f" {told['currency']}"
    total = told["total"]
    first = (
        f"{total['offers']:,} of {told['customers']:,} customers are made an offer: expected gain "
        f"{total['expected_gain']:,.0f}{unit} ({total['gain_low']:,.0f} to {total['gain_high']:,.0f}), expected cost "
        f"{total['expected_cost']:,.0f}{unit} ({total['cost_if_all_accept']:,.0f} if all accept), "
        f"{total['churn_prevented']:,.1f} of {told['expected_churners']:,.1f} expected churners kept"
    )
    lines = [first]
    lines += [line for line in (_limit(told, "budget", "expected_cost"), _limit(told, "capacity", "effort")) if line]
    others = {why: n for why, n in told["because"].items() if n != total["offers"] or why[:5] != "gains"}
    if others:
        lines.append("left alone: " + ", ".join(f"{n:,} ({why})" for why, n in others.items()))
    parts: list[Any] = [Text("\n".join(lines)), _offers(told)]
    if len(plan.segments):
        parts.append(_segments(plan))
    parts += [Text(f"• {line}", style="yellow") for line in told["cautions"]]
    return Group(*parts)


def _limit(told: Any, name: str, used: str) -> str:
    limit = told["limits"][name]
    if limit is None:
        return ""
    more = told["solution"]["gain_of_one_more"][name]
    return f"{name} {limit:,.0f}: {told['total'][used]:,.0f} used; one more would gain about {more:,.2f}"


def _offers(told: Any) -> Table:
    table = Table(title="Offers", title_justify="left")
    table.add_column("offer", overflow="fold")
    for header in ("possible", "made", "expected gain", "95 % interval", "expected cost", "kept"):
        table.add_column(header, justify="right")
    table.add_column("causal")
    made = {name: one for name, one in told["offers"].items() if one["offers"]}
    for one in sorted(made.values(), key=lambda one: -one["expected_gain"]):
        table.add_row(
            escape(one["label"]),
            f"{one['possible']:,}",
            f"{one['offers']:,}",
            f"{one['expected_gain']:,.0f}",
            f"{one['gain_low']:,.0f} to {one['gain_high']:,.0f}",
            f"{one['expected_cost']:,.0f}",
            f"{one['churn_prevented']:,.1f}",
            "yes" if one["causal"] else "no",
        )
    unused = len(told["offers"]) - len(made)
    if unused:
        table.caption = f"{unused} further offers are made to nobody"
    return table


def _segments(plan: Plan) -> Table:
    table = Table(title="Segments", title_justify="left")
    table.add_column("customers who", overflow="fold")
    for header in ("number", "left", "probability", "value at risk", "offers"):
        table.add_column(header, justify="right")
    table.add_column("main reason", overflow="fold")
    for one in plan.segments.iter_rows(named=True):
        rate = one["churn_rate"]
        table.add_row(
            escape(one["segment"]),
            f"{one['customers']:,}",
            "" if rate is None else f"{rate:.0%} ({one['churn_rate_low']:.0%}–{one['churn_rate_high']:.0%})",
            "" if one["churn_probability"] is None else f"{one['churn_probability']:.0%}",
            f"{one['value_at_risk']:,.0f}",
            f"{one['offers']:,}",
            escape(one["main_reason"] or ""),
        )
    return table


__all__ = ["plan_tables"]
