"""A whole profile, JSON-ready: the page is drawn from it, and it is written beside the page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from churnlib.data.anonymity import FEWEST
from churnlib.data.bins import Bins, bins_of
from churnlib.data.customers import Customers
from churnlib.evaluation.intervals import wilson_interval
from churnlib.profiling.associations import associations
from churnlib.profiling.checks import check_lines
from churnlib.profiling.columns import describe_column, missing_shares
from churnlib.profiling.findings import findings, hot_spots
from churnlib.profiling.people import groups, kept_too_long, singled_out
from churnlib.profiling.periods import drift, missing_over_time, over_time, periods_of
from churnlib.profiling.rows import DESCRIBED, Rows, in_days
from churnlib.schema import Column, Kind, Schema

SAMPLE_ROWS = 100_000


def profile_rows(
    rows: Rows,
    *,
    name: str = "table",
    customers: Callable[[], Customers] | None = None,
    quasi_identifiers: Sequence[str] = (),
    fewest: int = FEWEST,
    sample_rows: int = SAMPLE_ROWS,
    seed: int = 42,
    today: dt.date | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Describe a table.

    Args:
        rows: The table.
        name: What to call it.
        customers: Prepares the table with a split, for the leak checks; None leaves them out.
        quasi_identifiers: Columns that together might single a person out, beside the sensitive ones.
        fewest: Rows that a cell needs to be told.
        sample_rows: Rows from which associations are computed.
        seed: Of the choice of these.
        today: For the retention clock.
        progress: Called with what is done next.

    Returns:
        JSON-ready: ``table``, ``findings``, ``hot_spots``, ``columns``, ``schema``, ``cleaning``, ``missing``,
        ``periods``, ``drift``, ``associations``, ``groups``, ``near_duplicates``, ``singled_out``, ``retention``,
        ``leaks``, ``rules``, ``fewest``.
    """
    say = progress or (lambda _: None)
    came, rows = rows, in_days(rows)
    wanted = tuple(column for column in rows.schema.columns if column.role in DESCRIBED)
    say("distributions")
    bins = {column.name: bins_of(rows.typed[column.name], column, fewest=fewest) for column in wanted}
    profile: dict[str, Any] = {
        "table": _table(rows, name),
        "fewest": fewest,
        "cleaning": rows.report.lines(),
        "schema": _schema(came),
        "columns": _columns(rows, came.schema, wanted, bins, fewest),
    }
    say("time")
    profile |= _time(rows, bins)
    say("associations")
    profile["associations"] = associations(rows, wanted, bins, most=sample_rows, seed=seed)
    say("people")
    profile["groups"] = groups(rows, bins)
    twins = rows.report.near_duplicates
    profile["near_duplicates"] = None if twins is None else asdict(twins)
    profile["singled_out"] = singled_out(rows, quasi_identifiers, fewest=fewest)
    profile["retention"] = kept_too_long(rows, today=today or dt.datetime.now(dt.UTC).date())
    say("checks")
    profile["leaks"], profile["rules"] = check_lines(customers) if customers else ([], [])
    profile["findings"] = findings(profile)
    profile["hot_spots"] = hot_spots(profile)
    return profile


def _table(rows: Rows, name: str) -> dict[str, Any]:
    counts = np.bincount(rows.label, minlength=len(rows.schema.classes))
    told: dict[str, Any] = {
        "name": name,
        "rows": len(rows),
        "rows_read": rows.report.rows,
        "columns": len(rows.schema.columns),
        "features": len(rows.schema.features),
        "target": rows.schema.target,
        "classes": {label: int(n) for label, n in zip(rows.schema.classes, counts, strict=True)},
        **{key: rows.schema.about[key] for key in ("owner", "purpose", "pseudonyms") if key in rows.schema.about},
    }
    if rows.schema.id is not None:
        told["customers"] = int(rows.frame[rows.schema.id].n_unique())
    if rows.schema.time is not None and len(rows):
        dates = rows.typed[rows.schema.time].dt.date()
        told["dates"] = [str(dates.min()), str(dates.max())]
    if rows.binary:
        low, high = wilson_interval(counts[1], counts.sum())
        told |= {"rate": float(counts[1] / max(counts.sum(), 1)), "low": float(low), "high": float(high)}
    return told


def _schema(rows: Rows) -> list[dict[str, Any]]:
    """Return every column with its kind, its role, why, and what it is kept for."""
    shares = missing_shares(rows.frame)
    return [
        {
            "name": column.name, "kind": str(column.kind), "role": str(column.role), "sensitive": column.sensitive,
            "missing": shares[column.name], "note": column.note, "purpose": column.purpose, "owner": column.owner,
        }
        for column in rows.schema.columns
    ]  # fmt: skip


def _columns(
    rows: Rows, came: Schema, wanted: Sequence[Column], bins: dict[str, Bins], fewest: int
) -> list[dict[str, Any]]:
    told = [
        {
            "name": column.name, "kind": str(came[column.name].kind), "unit": _unit(came, column),
            "role": str(column.role), "sensitive": column.sensitive,
            **describe_column(rows, column, bins[column.name], fewest=fewest),
        }
        for column in wanted
    ]  # fmt: skip
    return sorted(told, key=lambda column: -column["strength"])


def _unit(came: Schema, column: Column) -> str:
    """Return what the numbers of a column count, where they are not its own."""
    if came[column.name].kind is Kind.sequence:
        return "mean of the steps"
    return f"days before {came.time}" if column.kind is not came[column.name].kind else ""


def _time(rows: Rows, bins: dict[str, Bins]) -> dict[str, Any]:
    periods = periods_of(rows)
    if periods is None:
        return {"periods": [], "drift": [], "missing_over_time": {}}
    return {
        "periods": over_time(rows, periods),
        "drift": drift(bins, periods),
        "missing_over_time": missing_over_time(rows, periods),
    }


__all__ = ["SAMPLE_ROWS", "profile_rows"]
