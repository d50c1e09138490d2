"""What a reader should look at first, in sentences; the strictest words for what would spoil a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from churnlib.data.bins import MISSING
from churnlib.profiling.columns import missing_cell
from churnlib.profiling.people import SMALL_GROUP

MOSTLY_MISSING = 0.7
SAME = 0.95
MANY_VALUES = 200
RARE_CHURN = 0.05
ENOUGH = 200
"""Customers of a cell that is told as a place where many, or few, leave."""

ALARM, LOOK, NOTE = "alarm", "look", "note"


def findings(profile: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is worth a look, gravest first: ``level`` (alarm, look, note), ``text``, ``where`` (section)."""
    told = [
        {"level": level, "text": text, "where": where}
        for part in (_checks, _rows, _columns, _time, _pairs, _people)
        for level, text, where in part(profile)
    ]
    order = {ALARM: 0, LOOK: 1, NOTE: 2}
    return sorted(told, key=lambda one: order[one["level"]])


def hot_spots(profile: Mapping[str, Any], *, most: int = 8) -> dict[str, list[dict[str, Any]]]:
    """Return the cells in which many and few customers leave, told by the nearer end of their intervals.

    At most two of a column, each with at least :data:`ENOUGH` customers (one in twenty of a small table).
    """
    base = profile["table"].get("rate")
    if base is None:
        return {"high": [], "low": []}
    enough = min(ENOUGH, max(20, profile["table"]["rows"] // 20))
    cells = [
        {**cell, "column": column["name"], "lift": cell["rate"] / base if base else 0.0}
        for column in profile["columns"]
        for cell in column.get("cells", ())
        if cell["n"] >= enough and cell.get("rate") is not None
    ]
    high = [cell for cell in cells if cell["low"] > base]
    low = [cell for cell in cells if cell["high"] < base]
    return {
        "high": _spread(sorted(high, key=lambda cell: -cell["low"]), most),
        "low": _spread(sorted(low, key=lambda cell: cell["high"]), most),
    }


def _spread(cells: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for cell in cells:
        if sum(one["column"] == cell["column"] for one in kept) < 2:
            kept.append(cell)
    return kept[:most]


Finding = tuple[str, str, str]


def _checks(profile: Mapping[str, Any]) -> Iterator[Finding]:
    for check in profile["leaks"]:
        if not check["passed"]:
            yield ALARM, f"Leak check: {check['name']}. {check['evidence']}".strip(), "checks"
    for rule in profile["rules"]:
        if not rule["passed"]:
            yield LOOK, f"Rule broken: {rule['name']}. {rule['evidence']}".strip(), "checks"


def _rows(profile: Mapping[str, Any]) -> Iterator[Finding]:
    for line in profile["cleaning"]:
        yield NOTE, f"{line[:1].upper()}{line[1:]}.", "table"
    doubles = profile["near_duplicates"]
    if doubles and doubles["rows"]:
        share = doubles["rows"] / max(profile["table"]["rows"], 1)
        level = LOOK if share > 0.01 else NOTE
        yield level, (
            f"{doubles['rows']:,} rows ({share:.1%}) equal a row of another customer in every feature: one person "
            "under two names, or columns too coarse to tell people apart."
        ), "people"  # fmt: skip
    rate = profile["table"].get("rate")
    if rate is not None and rate < RARE_CHURN:
        yield LOOK, (
            f"Only {rate:.1%} leave: judge a model by average precision and by what its list is worth, not by accuracy."
        ), "table"  # fmt: skip


def _columns(profile: Mapping[str, Any]) -> Iterator[Finding]:
    rest = profile["table"].get("rate")
    for column in profile["columns"]:
        name, missing = column["name"], column["missing"]["share"]
        if missing > MOSTLY_MISSING:
            text = f"{name} is missing for {missing:.0%} of the customers: drop it, unless the gap itself tells."
            yield LOOK, text, "missing"
        gap = missing_cell(column.get("cells", []))
        if gap and rest is not None and gap["n"] >= 50 and (gap["low"] > rest or gap["high"] < rest):
            yield LOOK, (
                f"Where {name} is missing, {gap['rate']:.0%} leave, against {rest:.0%} of all: ask why it is missing, "
                "and whether that would be known in time."
            ), "missing"  # fmt: skip
        if column["kind"] == "categorical" and column.get("distinct", 0) > MANY_VALUES:
            yield NOTE, f"{name} has {column['distinct']:,} different values; a model will embed it.", "columns"


def _time(profile: Mapping[str, Any]) -> Iterator[Finding]:
    moved = [one for one in profile["drift"] if one["verdict"] in ("moderate", "large")]
    if moved:
        named = ", ".join(f"{one['column']} ({one['psi'][-1]:.2f})" for one in moved[:4])
        more = f" and {len(moved) - 4} more" if len(moved) > 4 else ""
        yield LOOK, f"Moved since the first period, and more than chance would: {named}{more}.", "time"
    periods = [one for one in profile["periods"] if one.get("rate") is not None and one["n"] >= 50]
    if len(periods) > 1:
        first, last = periods[0], periods[-1]
        if last["low"] > first["high"] or last["high"] < first["low"]:
            yield LOOK, (
                f"Churn went from {first['rate']:.1%} ({first['period']}) to {last['rate']:.1%} ({last['period']}): "
                "train on the newer rows, and test on the newest."
            ), "time"  # fmt: skip


def _pairs(profile: Mapping[str, Any]) -> Iterator[Finding]:
    same = [pair for pair in profile["associations"]["pairs"] if abs(pair["value"]) >= SAME]
    if same:
        named = "; ".join(f"{pair['first']} and {pair['second']} ({pair['value']:.2f})" for pair in same[:3])
        more = f"; and {len(same) - 3} more pairs" if len(same) > 3 else ""
        yield NOTE, f"One all but tells the other: {named}{more}.", "associations"


def _people(profile: Mapping[str, Any]) -> Iterator[Finding]:
    for column in profile["groups"]:
        small = [g for g in column["groups"] if g["small"] and g["label"] != MISSING]
        if small:
            named = ", ".join(f"{g['label']} ({g['n']:,})" for g in small[:4])
            yield LOOK, (
                f"Groups of {column['column']} with fewer than {SMALL_GROUP} customers: {named}. Too few to say "
                "whether a model treats them fairly."
            ), "people"  # fmt: skip
        if column["used"]:
            yield NOTE, f"{column['column']} is sensitive, and models read it (use=true).", "people"
    together = profile["singled_out"][0] if profile["singled_out"] else None
    if together and together["below"]:
        yield LOOK, (
            f"{together['below']:,} customers ({together['share']:.1%}) share {', '.join(together['columns'])} with "
            f"fewer than {profile['fewest'] - 1} others, and could be singled out by whoever knows these."
        ), "people"  # fmt: skip
    old = profile["retention"]
    if old and old["rows"]:
        yield ALARM, (
            f"{old['rows']:,} rows are older than {old['days']:,} days (before {old['before']}) and should be gone."
        ), "people"  # fmt: skip


__all__ = ["findings", "hot_spots"]
