"""Leak checks: does a table say more about who leaves than anybody could know on the day of the prediction?

Each check gives one line with its evidence; what it finds is named with the column, how sure it is, and the remedy.
Only training rows are looked at, but for the check that compares the sides. Nothing here changes a row.
"""

from churnlib.data.leaks.checking import check_leaks
from churnlib.data.leaks.report import Check, Finding, LeakReport

__all__ = ["Check", "Finding", "LeakReport", "check_leaks"]
