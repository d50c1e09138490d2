"""Small pictures as SVG: no scripts, colours from the page's style, a sentence for whoever cannot see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH = 200
"""Units of a small picture's width; it is drawn as wide as its place allows."""


def svg(body: str, *, width: float, height: float, title: str, kind: str = "") -> Markup:
    """Return a picture.

    Args:
        body: What is drawn.
        width: Of the drawing, in its own units.
        height: Likewise.
        title: Read aloud, and shown where the pointer rests.
        kind: Class for the page's style.
    """
    return Markup(
        f'<svg class="{kind}" role="img" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def rate(cell: Mapping[str, Any], *, base: float, most: float) -> Markup:
    """Draw a churn rate with its interval, beside the rate of all customers.

    Args:
        cell: ``rate``, ``low``, ``high``.
        base: Rate of all.
        most: Rate at the right end.
    """
    low, middle, high = (_at(cell[key], most) for key in ("low", "rate", "high"))
    side = "leave" if cell["low"] > base else "stay" if cell["high"] < base else "even"
    body = (
        f'<line class="base" x1="{_at(base, most):.1f}" x2="{_at(base, most):.1f}" y1="0" y2="20"/>'
        f'<line class="{side} whisker" x1="{low:.1f}" x2="{max(high, low + 1):.1f}" y1="10" y2="10"/>'
        f'<rect class="{side}" x="{middle - 2:.1f}" y="3" width="4" height="14"/>'
    )
    told = f"{cell['rate']:.1%} leave, 95 % interval {cell['low']:.1%} to {cell['high']:.1%}; all customers {base:.1%}"
    return svg(body, width=WIDTH, height=20, title=told, kind="rate")


def _at(share: float, most: float) -> float:
    return 2 + min(share / most, 1.0) * (WIDTH - 4)


def bar(share: float, *, most: float = 1.0, title: str = "", kind: str = "share") -> Markup:
    """Draw a share as a bar."""
    filled = max(0.0, min(share / most if most else 0.0, 1.0)) * 100
    body = f'<rect class="track" width="100" height="8"/><rect class="fill" width="{filled:.1f}" height="8"/>'
    return svg(body, width=100, height=8, title=title or f"{share:.1%}", kind=f"bar {kind}")


def histogram(told: Mapping[str, Any], *, name: str, unit: str = "") -> Markup:
    """Draw how many customers have which number."""
    counts = told["counts"]
    most, step = max(max(counts), 1), WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{i * step + 0.5:.1f}" y="{50 - 50 * n / most:.1f}" width="{step - 1:.1f}" '
        f'height="{50 * n / most:.1f}"/>'
        for i, n in enumerate(counts)
        if n
    )
    title = f"Distribution of {name} {unit}".strip()
    return svg(bars, width=WIDTH, height=50, title=title, kind="histogram")


def spark(values: Sequence[float], noise: Sequence[float], *, title: str) -> Markup:
    """Draw one bar per period, on a scale on which the square root counts, with the noise of each as a line."""
    most = max([0.25, *values, *noise]) ** 0.5
    step = 100 / max(len(values), 1)
    body = ""
    for i, (value, limit) in enumerate(zip(values, noise, strict=True)):
        height, level = 24 * value**0.5 / most, 24 - 24 * limit**0.5 / most
        kind = "leave" if value > limit and value >= 0.1 else "even"
        body += (
            f'<rect class="{kind}" x="{i * step + 0.5:.1f}" y="{24 - height:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}"/>'
            f'<line class="base" x1="{i * step:.1f}" x2="{(i + 1) * step:.1f}" y1="{level:.1f}" y2="{level:.1f}"/>'
        )
    return svg(body, width=100, height=24, title=title, kind="spark")


def squares(shares: Sequence[float], *, title: str) -> Markup:
    """Draw one square per period, the fuller the larger its share."""
    step = 100 / max(len(shares), 1)
    body = "".join(
        f'<rect class="track" x="{i * step + 0.5:.1f}" width="{step - 1:.1f}" height="12"/>'
        f'<rect class="fill" x="{i * step + 0.5:.1f}" width="{step - 1:.1f}" height="12" fill-opacity="{share:.3f}"/>'
        for i, share in enumerate(shares)
    )
    return svg(body, width=100, height=12, title=title, kind="squares")


def timeline(periods: Sequence[Mapping[str, Any]], *, base: float) -> Markup:
    """Draw the churn rate of each period with its interval."""
    known = [(i, period) for i, period in enumerate(periods) if period.get("rate") is not None and period["n"]]
    most = max(period["high"] for _, period in known) * 1.1
    step = 600 / len(periods)

    def height(share: float) -> float:
        return 120 - 110 * share / most

    points = " ".join(f"{(i + 0.5) * step:.1f},{height(period['rate']):.1f}" for i, period in known)
    body = f'<line class="base" x1="0" x2="600" y1="{height(base):.1f}" y2="{height(base):.1f}"/>'
    body += f'<polyline class="line" points="{points}"/>'
    for i, period in known:
        x = (i + 0.5) * step
        body += (
            f'<line class="leave whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{height(period["high"]):.1f}" '
            f'y2="{height(period["low"]):.1f}"/>'
            f'<rect class="leave" x="{x - 4:.1f}" y="{height(period["rate"]) - 4:.1f}" width="8" height="8"/>'
        )
    told = "; ".join(f"{period['period']}: {period['rate']:.1%}" for _, period in known)
    return svg(body, width=600, height=124, title=f"Churn rate over time. {told}", kind="timeline")


def heat(names: Sequence[str], values: Mapping[tuple[str, str], float]) -> Markup:
    """Draw how strongly each two columns go together, as a triangle.

    Args:
        names: Columns, from top to bottom.
        values: By pair of names in that order, in [-1, 1].
    """
    size, margin = 26, 190
    n = len(names)
    body = ""
    for i, name in enumerate(names):
        shown = name if len(name) <= 26 else f"{name[:25]}…"
        body += f'<text x="{margin - 8}" y="{i * size + 17}" text-anchor="end">{escape(shown)} {i + 1}</text>'
        for j in range(i):
            value = values.get((names[j], name), 0.0)
            kind = "with" if value >= 0 else "against"
            body += (
                f'<rect class="{kind}" x="{margin + j * size}" y="{i * size}" width="{size - 2}" height="{size - 2}" '
                f'fill-opacity="{abs(value):.2f}"><title>{escape(names[j])} and {escape(name)}: {value:.2f}</title>'
                "</rect>"
            )
            if abs(value) >= 0.3:
                strong = " strong" if abs(value) >= 0.6 else ""
                body += (
                    f'<text class="value{strong}" x="{margin + j * size + size / 2 - 1}" y="{i * size + 16}">'
                    f"{abs(value) * 100:.0f}</text>"
                )
        body += f'<text class="number" x="{margin + i * size + size / 2 - 1}" y="{i * size + 17}">{i + 1}</text>'
    width = margin + n * size + 10
    title = "How strongly each two columns go together, in hundredths; the strongest are listed in the table"
    picture = (
        f'<svg class="heat" role="img" viewBox="0 0 {width} {n * size + 4}" width="{width}" height="{n * size + 4}">'
        f"<title>{title}</title>{body}</svg>"
    )
    return Markup(picture)


__all__ = ["bar", "heat", "histogram", "rate", "spark", "squares", "svg", "timeline"]
