"""What the leak checks and the rules of a table say, for a profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from churnlib.data.customers import Customers
from churnlib.data.leaks import LeakReport, check_leaks
from churnlib.errors import ChurnlibError


def check_lines(customers: Callable[[], Customers]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the leak checks and the table's rules, ``name``, ``passed`` and ``evidence`` each.

    Args:
        customers: Prepares the table with a split. Where that cannot be done, the reason stands for the leak checks.
    """
    try:
        prepared = customers()
    except ChurnlibError as error:
        return [{"name": "not checked", "passed": False, "evidence": str(error)}], []
    return leak_lines(check_leaks(prepared)), rule_lines(prepared)


def leak_lines(report: LeakReport) -> list[dict[str, Any]]:
    """Return one line for each leak check."""
    return [
        {"name": check.name, "passed": check.verdict != "leak", "evidence": check.said, "verdict": check.verdict}
        for check in report.checks
    ]


def rule_lines(customers: Customers) -> list[dict[str, Any]]:
    """Return one line for each rule of the table; none where it has no rules."""
    if customers.validated is None:
        return []
    return [
        {
            "name": entry.rule,
            "passed": entry.holds,
            "evidence": entry.found or (f"{entry.rows:,} rows: {entry.asked}" if entry.rows else entry.asked),
        }
        for entry in customers.validated.report.entries
    ]


__all__ = ["check_lines", "leak_lines", "rule_lines"]
