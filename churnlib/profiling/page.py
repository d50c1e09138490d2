"""The page: one file that needs nothing from anywhere, for a screen of any width, light or dark, or paper."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churnlib.pages import pictures
from churnlib.pages.writing import templates, write_whole

MOST_IN_HEAT = 24
"""Columns of the picture of associations: those with the strongest ones."""

MOST_PAIRS = 15


def render(profile: Mapping[str, Any], *, made: datetime | None = None) -> str:
    """Return the page of a profile.

    Args:
        profile: What :func:`churnlib.profiling.profile.profile_rows` returned.
        made: When.
    """
    from churnlib import __version__

    told = made or datetime.now(UTC)
    heat_names, heat_values = _heat(profile)
    return (
        templates(Path(__file__).parent)
        .get_template("page.html.jinja")
        .render(
            **profile,
            pictures=pictures,
            most_rate=_most_rate(profile),
            heat_names=heat_names,
            heat_values=heat_values,
            pairs=[pair for pair in profile["associations"]["pairs"] if abs(pair["value"]) >= 0.1][:MOST_PAIRS],
            made=told.strftime("%Y-%m-%d %H:%M UTC"),
            version=__version__,
        )
    )


def write_profile(profile: Mapping[str, Any], path: str | Path) -> Path:
    """Write the page, and the figures beside it as JSON; each whole or not at all.

    Returns:
        The file of the figures.

    Raises:
        DataError: If they cannot be written.
    """
    page = Path(path)
    figures = page.with_suffix(".json")
    text = json.dumps(profile, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole({figures: text + "\n", page: render(profile)}, remedy="choose another output=FILE")
    return figures


def _most_rate(profile: Mapping[str, Any]) -> float:
    """Return the rate at the right end of every picture: they are to be compared."""
    if profile["table"].get("rate") is None:
        return 1.0
    enough = [cell["high"] for column in profile["columns"] for cell in column["cells"] if cell["n"] >= 50]
    most = max([profile["table"]["rate"] * 1.5, *enough])
    return min(1.0, -(-most * 20 // 1) / 20)


def _heat(profile: Mapping[str, Any]) -> tuple[list[str], dict[tuple[str, str], float]]:
    """Return the columns of the picture, and the value of each two of them."""
    pairs = profile["associations"]["pairs"]
    names: list[str] = []
    for pair in pairs:
        names += [name for name in (pair["first"], pair["second"]) if name not in names]
    names = names[:MOST_IN_HEAT]
    place = {name: i for i, name in enumerate(names)}
    values: dict[tuple[str, str], float] = {}
    for pair in pairs:
        first, second = pair["first"], pair["second"]
        if first in place and second in place:
            key = (first, second) if place[first] < place[second] else (second, first)
            values[key] = pair["value"]
    return names, values


__all__ = ["render", "write_profile"]
