"""When customers leave: what the model said of it beside what was seen, of all and by kind of customer."""

from __future__ import annotations

from typing import Any

import numpy as np

from churnlib.data.cells import bins_of
from churnlib.evaluation.intervals import wilson_interval
from churnlib.evaluation.report.judged import Followed, Judged
from churnlib.evaluation.survival import KaplanMeier
from churnlib.pages.words import count, share
from churnlib.schema import Column

MOST_COLUMNS, MOST_GROUPS = 4, 4
"""Columns by which curves are drawn, those that part the customers most, and curves of each."""

FEWEST = 50
"""Customers behind a curve; smaller groups are merged."""

POINTS = 24
"""Times at which a curve is told."""

FIGURES = (
    "unit", "horizon", "n", "events", "until", "unknown_at_horizon", "nll", "concordance", "concordance_interval",
    "concordance_ipcw", "concordance_over_time", "ibs", "ibs_interval", "ibs_kaplan_meier", "ibs_gain",
    "ibs_gain_interval", "brier", "calibration",
)  # fmt: skip
"""Of those in ``metrics.json`` the ones that are told."""


def survival(judged: Judged) -> dict[str, Any] | None:
    """Return the figures of the curves, and the curves; None of a model that says whether customers leave, not when.

    Returns:
        The figures that ``metrics.json`` has of the test rows; ``horizons``: shares said and seen to leave within some
        times; ``whole``: the curve of all; ``columns``: those of the values of a few columns. A curve holds ``said``
        (mean of the model), ``seen`` (Kaplan and Meier's) and its 95 % band ``low`` to ``high``, at ``times``.
    """
    rows = judged.followed
    told = (judged.metrics.get("test") or {}).get("survival")
    if rows is None or told is None:
        return None
    whole = _curve(rows, np.ones(len(rows.duration), dtype=bool))
    here = int(np.abs(rows.times - told["horizon"]).argmin())
    return {
        **{name: told[name] for name in FIGURES if name in told},
        "clock": rows.clock,
        "times": rows.times.tolist(),
        "whole": whole,
        "horizons": [_within(rows, whole, place) for place in _quarters(rows.times, here)],
        "columns": _columns(judged, rows, here),
    }


def about_horizon(judged: Judged) -> str | None:
    """Say whom the sections on leaving within the horizon are about; None of a model without one."""
    rows, told = judged.followed, (judged.metrics.get("test") or {}).get("survival")
    if rows is None or told is None:
        return None
    said = f"Whoever is counted as leaving here left within {told['horizon']:g} {told['unit']} of {rows.since}"
    if not told["unknown_at_horizon"]:
        return f"{said}; of every test customer it is known."
    lost = f"{count(told['unknown_at_horizon'])} of {count(told['n'])} test customers were lost from sight before"
    said = f"{said}; {lost}, and are left out of everything but the curves over time"
    if not len(judged):
        return f"{said}."
    left = share(float(judged.label.mean()))
    seen = share(1.0 - float(KaplanMeier.fit(rows.duration, rows.event).at([told["horizon"]])[0]))
    return f"{said}: {left} of the others left, and {seen} of all as Kaplan and Meier estimate it."


def grid(until: float, breaks: np.ndarray, horizon: float) -> np.ndarray:
    """Return times from 0 to where figures end, the horizon among them, at ends of intervals where there are few.

    >>> grid(6.0, np.array([2.0, 4.0, 9.0]), horizon=3.0).tolist()
    [0.0, 2.0, 3.0, 4.0, 6.0]
    """
    inner = breaks[breaks < until]
    if len(inner) > POINTS:
        inner = np.linspace(0.0, until, POINTS + 1)[1:-1]
    return np.unique(np.concatenate([[0.0], inner, [min(horizon, until), until]]))


def _curve(rows: Followed, inside: np.ndarray) -> dict[str, Any]:
    """Return the curve of some rows; see :func:`survival`."""
    seen = KaplanMeier.fit(rows.duration[inside], rows.event[inside])
    low, high = zip(*(_interval(seen, rows.duration[inside], float(time)) for time in rows.times), strict=True)
    return {
        "n": int(inside.sum()),
        "left": int(rows.event[inside].sum()),
        "said": rows.survival[inside].mean(axis=0).tolist(),
        "seen": seen.at(rows.times).tolist(),
        "low": list(low),
        "high": list(high),
    }


def _interval(seen: KaplanMeier, duration: np.ndarray, time: float) -> tuple[float, float]:
    """Return the 95 % interval of the share that is there at a time, also where nobody has left so far."""
    low, high = seen.interval(time)
    in_sight = int((duration >= time).sum())
    if low < 1.0 or time == 0 or not in_sight:
        return low, high
    return 1.0 - float(wilson_interval(0, in_sight)[1]), 1.0


def _quarters(times: np.ndarray, here: int) -> list[int]:
    """Return the places of the horizon and of the quarters of the span."""
    quarters = [int(np.abs(times - times[-1] * share).argmin()) for share in (0.25, 0.5, 0.75, 1.0)]
    return sorted({here, *quarters} - {0})


def _within(rows: Followed, curve: dict[str, Any], place: int) -> dict[str, Any]:
    """Return what share was said, and seen, to leave up to a time."""
    ends = {"said": "said", "seen": "seen", "low": "high", "high": "low"}
    return {"time": float(rows.times[place]), **{name: 1.0 - curve[other][place] for name, other in ends.items()}}


def _columns(judged: Judged, rows: Followed, here: int) -> list[dict[str, Any]]:
    """Return the curves by the columns whose values part the customers most, as the model sees them."""
    gone, told = 1.0 - rows.survival[:, here], []
    for column in judged.features():
        if column.name in rows.typed.columns:
            labels, codes = _groups(rows, column)
            if len(labels) > 1:
                told.append((_parted(gone, codes), column.name, labels, codes))
    told.sort(key=lambda one: -one[0])
    found = []
    for _, name, labels, codes in told[:MOST_COLUMNS]:
        curves = [_curve(rows, codes == place) for place in range(len(labels))]
        groups = [
            {"label": label, **curve, "within": _within(rows, curve, here)}
            for label, curve in zip(labels, curves, strict=True)
        ]
        found.append({"column": name, "groups": groups})
    return found


def _groups(rows: Followed, column: Column) -> tuple[list[str], np.ndarray]:
    """Return names of groups that all have customers, and the group of each row."""
    bins = bins_of(rows.typed[column.name], column, fewest=FEWEST, most=MOST_GROUPS)
    there = np.flatnonzero(bins.counts())[:MOST_GROUPS]
    place = np.full(len(bins.labels) + 1, -1)
    place[there] = np.arange(len(there))
    return [bins.labels[one] for one in there.tolist()], place[bins.codes]


def _parted(gone: np.ndarray, codes: np.ndarray) -> float:
    """Return the variance of the mean probability between groups."""
    known = codes >= 0
    n = np.bincount(codes[known])
    mean = np.bincount(codes[known], weights=gone[known]) / np.maximum(n, 1)
    return float(n @ (mean - gone[known].mean()) ** 2 / n.sum())


__all__ = ["about_horizon", "grid", "survival"]
