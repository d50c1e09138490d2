"""The one place where a profile asks the leak checks and the rules of a table, where these are there."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from churnlib.data.customers import Customers
from churnlib.errors import ChurnlibError


def leak_lines(customers: Callable[[], Customers]) -> list[dict[str, Any]]:
    """Return the leak checks, ``name``, ``passed`` and ``evidence`` each; none while there is no such module.

    Args:
        customers: Prepares the table with a split; called only if there is something to check.
    """
    return _lines("churnlib.data.leaks", "check_leaks", customers)


def rule_lines(customers: Callable[[], Customers]) -> list[dict[str, Any]]:
    """Return the table's rules, ``name``, ``passed`` and ``evidence`` each; none while there is no such module.

    Args:
        customers: As in :func:`leak_lines`.
    """
    return _lines("churnlib.data.rules", "check_rules", customers)


def _lines(module: str, function: str, customers: Callable[[], Customers]) -> list[dict[str, Any]]:
    if find_spec(module) is None or not hasattr(import_module(module), function):
        return []
    try:
        checked = getattr(import_module(module), function)(customers())
    except ChurnlibError as error:
        return [{"name": "not checked", "passed": False, "evidence": str(error)}]
    return [_line(one) for one in checked]


def _line(check: Any) -> dict[str, Any]:
    if isinstance(check, str):
        return {"name": check, "passed": False, "evidence": ""}
    told = {key: getattr(check, key, None) for key in ("name", "passed", "evidence")}
    return {"name": str(told["name"]), "passed": bool(told["passed"]), "evidence": str(told["evidence"] or "")}


__all__ = ["leak_lines", "rule_lines"]
