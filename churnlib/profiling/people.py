"""The people behind the rows: groups a model will be judged by, doubles, who stands out, and what is kept too long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from churnlib.data.anonymity import k_anonymity
from churnlib.data.bins import Bins
from churnlib.profiling.columns import cells_of
from churnlib.profiling.rows import Rows

SMALL_GROUP = 200
"""Customers from which on a group's figures can be told apart from chance."""


def groups(rows: Rows, bins: Mapping[str, Bins]) -> list[dict[str, Any]]:
    """Return each sensitive column with its groups: customers, share, churn rate with interval, missing cells."""
    features = [column.name for column in rows.schema.features]
    flags = rows.typed.select(pl.mean_horizontal(pl.col(features).is_null().cast(pl.Float64)).alias("missing"))
    told = []
    for column in rows.schema.sensitive:
        if column.name not in bins:
            continue
        cells = cells_of(bins[column.name], rows.label if rows.binary else None)
        by_cell = flags.with_columns(pl.Series("cell", bins[column.name].codes)).group_by("cell").mean()
        missing = dict(by_cell.select("cell", "missing").iter_rows())
        place = {label: i for i, label in enumerate(bins[column.name].labels)}
        for cell in cells:
            cell |= {"small": cell["n"] < SMALL_GROUP, "missing": missing.get(place[cell["label"]], 0.0)}
        told.append({"column": column.name, "used": column in rows.schema.features, "groups": cells})
    return told


def singled_out(rows: Rows, quasi_identifiers: Sequence[str], *, fewest: int) -> list[dict[str, Any]]:
    """Say how many customers share what might be known of them: the columns together, and each without the others."""
    known = dict.fromkeys([*(column.name for column in rows.schema.sensitive), *quasi_identifiers])
    names = [name for name in known if name in rows.typed.columns]
    frame = rows.typed.select(names)
    sets = [names, *([name] for name in names)] if len(names) > 1 else [names] if names else []
    return [k_anonymity(frame, chosen, fewest=fewest) for chosen in sets]


def kept_too_long(rows: Rows, *, today: dt.date) -> dict[str, Any] | None:
    """Count the rows that are older than the table's ``retention_days``; None where it has none."""
    days = rows.schema.about.get("retention_days")
    if days is None or rows.schema.time is None:
        return None
    limit = today - dt.timedelta(days=int(days))
    dates = rows.typed[rows.schema.time].dt.date()
    return {"days": int(days), "before": limit.isoformat(), "rows": int((dates < limit).sum())}


__all__ = ["SMALL_GROUP", "groups", "kept_too_long", "singled_out"]
