"""The page: one file that needs nothing from anywhere, for a screen of any width, light or dark, or paper."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from markupsafe import Markup, escape

from churnlib.errors import DataError
from churnlib.profiling import pictures

MOST_IN_HEAT = 24
"""Columns of the picture of associations: those with the strongest ones."""

MOST_PAIRS = 15


def render(profile: Mapping[str, Any], *, made: datetime | None = None) -> str:
    """Return the page of a profile.

    Args:
        profile: What :func:`churnlib.profiling.profile.profile_rows` returned.
        made: When.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from churnlib import __version__

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pct": percent, "count": count, "figure": figure, "soft": soft}
    told = made or datetime.now(UTC)
    heat_names, heat_values = _heat(profile)
    return environment.get_template("page.html.jinja").render(
        **profile,
        pictures=pictures,
        most_rate=_most_rate(profile),
        heat_names=heat_names,
        heat_values=heat_values,
        pairs=[pair for pair in profile["associations"]["pairs"] if abs(pair["value"]) >= 0.1][:MOST_PAIRS],
        made=told.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
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
    for target, content in ((figures, text + "\n"), (page, render(profile))):
        temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        try:
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(target)
        except OSError as error:
            raise DataError(f"{target} cannot be written ({error.strerror}); choose another output=FILE") from error
        finally:
            temporary.unlink(missing_ok=True)
    return figures


def percent(share: float) -> str:
    """Return a share for a reader.

    >>> percent(0.2347), percent(0.0005), percent(0.0), percent(0.987654)
    ('23.5 %', '<0.1 %', '0 %', '98.8 %')
    """
    if 0 < share < 0.001:
        return "<0.1 %"
    return f"{share * 100:.1f} %" if share else "0 %"


def count(n: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{n:,.0f}"


def figure(value: float) -> str:
    """Return a number with the digits that matter.

    >>> figure(1234.5), figure(0.01234)
    ('1,234', '0.012')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2g}" if abs(value) < 0.1 else f"{value:.4g}"


def soft(name: str) -> Markup:
    """Return a name that may be broken after its underscores.

    >>> soft("tenure_<months>")
    Markup('tenure_<wbr>&lt;months&gt;')
    """
    return Markup(str(escape(name)).replace("_", "_<wbr>"))


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


__all__ = ["count", "figure", "percent", "render", "soft", "write_profile"]
