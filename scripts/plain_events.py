"""What the event columns of one customer are, in plain Python: slow, obvious, and written without the library's code.

``bench_events.py`` and the tests compare the library with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean, stdev
from typing import Any

Event = Mapping[str, Any]
"""One event of the customer: ``time`` and its columns, None where a cell is missing."""


def recompute(events: Sequence[Event], snapshot: datetime, features: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return the value of each feature for one customer at one date.

    Args:
        events: All events of the customer, in any order, those after the snapshot too.
        snapshot: The date.
        features: ``aggregation``, ``column``, ``window`` (days, None for all) and ``value`` of each.
    """
    known = [event for event in events if event["time"] <= snapshot]
    return [_value(known, snapshot, feature) for feature in features]


def _value(known: Sequence[Event], snapshot: datetime, feature: Mapping[str, Any]) -> float | None:
    window, column = feature["window"], feature["column"]
    span = None if window is None else timedelta(days=window)
    inside = [e for e in known if span is None or snapshot - e["time"] < span]
    before = [] if span is None else [e for e in known if span <= snapshot - e["time"] < 2 * span]
    if column is None:
        return _of_events(feature["aggregation"], inside, before, snapshot)
    given = [e for e in inside if e[column] is not None]
    cells = [e[column] for e in given]
    earlier = [e[column] for e in before if e[column] is not None]
    match feature["aggregation"]:
        case "slope":
            return _slope([(e["time"] - snapshot) / timedelta(days=1) for e in given], cells)
        case "daily_mean":
            assert window is not None
            return math.fsum(cells) / window
        case "daily_max":
            assert window is not None
            totals = [0.0] * int(window)
            for event in given:
                totals[(snapshot - event["time"]) // timedelta(days=1)] += event[column]
            return max(totals)
        case "share":
            return fmean(cell == feature["value"] for cell in cells) if cells else None
        case "change":
            return fmean(cells) - fmean(earlier) if cells and earlier else None
        case "ratio":
            return fmean(cells) / fmean(earlier) if cells and earlier and fmean(earlier) else None
        case word:
            return _of_cells(word, cells)


def _of_events(word: str, inside: Sequence[Event], before: Sequence[Event], snapshot: datetime) -> float | None:
    ages = [(snapshot - e["time"]) / timedelta(days=1) for e in inside]
    values = {
        "count": len(inside),
        "active_days": len({math.floor(age) for age in ages}),
        "recency": min(ages, default=None),
        "change": len(inside) - len(before),
        "ratio": len(inside) / len(before) if before else None,
    }
    return values[word]


def _of_cells(word: str, cells: Sequence[Any]) -> float | None:
    if word == "distinct":
        return len(set(cells))
    if word == "sum":
        return math.fsum(cells)
    if word == "std":
        return stdev(cells) if len(cells) > 1 else None
    return {"mean": fmean, "max": max, "min": min}[word](cells) if cells else None


def _slope(times: Sequence[float], cells: Sequence[float]) -> float | None:
    """Return the slope of the least squares line, None without two different times."""
    if len(set(times)) < 2:
        return None
    middle, level = fmean(times), fmean(cells)
    above = math.fsum((t - middle) * (c - level) for t, c in zip(times, cells, strict=True))
    return above / math.fsum((t - middle) ** 2 for t in times)


def differs(made: float | None, plain: float | None, *, tolerance: float = 1e-9) -> bool:
    """Whether two values are not the same up to rounding."""
    if made is None or plain is None:
        return made is not plain
    return not math.isclose(made, plain, rel_tol=tolerance, abs_tol=tolerance)
