"""A model explained on the whole, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from churnlib.evaluation.layout import ABSENT, add_figures, plain_table
from churnlib.explanation.overall.report import OverallExplanation

SHOWN = {"roc_auc": "ROC AUC lost without it", "profit": "money lost per customer", "effect": "mean |effect|, log-odds"}

WEAKEST = 0.05
"""Smallest interaction that is told of, in log-odds."""


def importance_table(found: OverallExplanation, *, top: int = 10, currency: str | None = None) -> Table:
    """Return the most important columns with their 95 % intervals.

    Args:
        found: The explanation.
        top: Lines at most.
        currency: Unit of money, which is shown only with it.
    """
    lines = found.importance[:top]
    table = plain_table("What the model goes by", caption="in parentheses: 95% interval")
    table.add_column("", max_width=28)
    for name, heading in SHOWN.items():
        if name == "profit" and currency is None:
            continue
        digits = 2 if name == "profit" else 3
        add_figures(table, heading, [_cell(line, name, digits) for line in lines])
    for line in lines:
        cells = [_cell(line, n, 2 if n == "profit" else 3) for n in SHOWN if n != "profit" or currency is not None]
        table.add_row(escape(line["column"]), *cells)
    return table


def _cell(line: dict[str, Any], name: str, digits: int) -> str:
    value = line.get(name)
    if value is None:
        return ABSENT
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    return f"{value:.{digits}f}" + ("" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})")


def overall_lines(found: OverallExplanation, *, pairs: int = 3) -> Iterator[str]:
    """Yield what there is to say beside the table."""
    strong = [line for line in found.interactions[:pairs] if line["strength"] >= WEAKEST]
    if found.interactions and not strong:
        yield f"no two columns interact by {WEAKEST} log-odds or more"
    for line in strong:
        one, other = line["columns"]
        share = "" if line["share"] is None else f", {line['share']:.1%} of the variance"
        yield f"{one} and {other} interact by {line['strength']:.2f} log-odds{share}"
    if found.tree is not None:
        yield from _tree_lines(found.tree)
    for line in found.agreement["methods"]:
        if line["rank_correlation"] is not None:
            one, other = line["methods"]
            yield f"{one} and {other} rank the columns alike by {line['rank_correlation']:.2f}"
    if found.agreement["seeds"] is not None:
        yield f"other draws of the explanation rank them alike by {found.agreement['seeds']:.2f}"
    members = found.agreement["members"]
    if members is not None and members["rank_correlation"] is not None:
        yield f"{members['members']} members of the ensemble rank them alike by {members['rank_correlation']:.2f}"
    if found.sensitive["among_top"]:
        yield "a sensitive column is among the five most important; it is not named (docs/explain.md)"


def _tree_lines(tree: dict[str, Any]) -> Iterator[str]:
    agreed = f", same decision for {tree['agreement']:.1%}" if tree.get("agreement") is not None else ""
    r2 = ABSENT if tree["r2"] is None else f"{tree['r2']:.2f}"
    yield f"a tree of {len(tree['leaves'])} leaves follows the model by R2 {r2}{agreed}:"
    for leaf in sorted(tree["leaves"], key=lambda leaf: -leaf["probability"]):
        rule = " and ".join(leaf["rule"]) or "everybody"
        yield f"  {leaf['probability']:.0%} of those leave where {rule} ({leaf['share']:.0%} of the customers)"


__all__ = ["importance_table", "overall_lines"]
