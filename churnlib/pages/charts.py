"""Charts with axes as SVG: no scripts, colours from the page's style, a sentence for whoever cannot see them.

A chart is a frame (two axes), and layers in it, drawn in the order in which they are given:

    frame = Frame(Axis(0, 1, percent_tick, "customers contacted"), Axis(0, 1, percent_tick, "churners reached"))
    frame.draw([Band(x, low, high), Line(x, y)], title="Gains", told="The first tenth holds 29 % of the churners.")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 44
"""Margins of a chart, in its own units."""

Numbers = Sequence[float | None]


def percent_tick(value: float) -> str:
    """Return a share for an axis.

    >>> percent_tick(0.1), percent_tick(0.025)
    ('10 %', '2.5 %')
    """
    return f"{value * 100:.10g} %"


def number_tick(value: float) -> str:
    """Return a number for an axis, a large one in thousands or millions.

    >>> number_tick(-12_500.0), number_tick(0.5), number_tick(3e6)
    ('−12.5k', '0.5', '3M')
    """
    size = abs(value)
    word = f"{size / 1e6:.4g}M" if size >= 1e6 else f"{size / 1e3:.4g}k" if size >= 1e4 else f"{size:.6g}"
    return f"−{word}" if value < 0 and size else word


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Attributes:
        low: Left or lower end.
        high: Right or upper end.
        tick: Writes a value at a tick.
        label: What it shows.
    """

    low: float
    high: float
    tick: Callable[[float], str] = number_tick
    label: str = ""

    @classmethod
    def around(cls, values: Numbers, tick: Callable[[float], str] = number_tick, label: str = "") -> Axis:
        """Return an axis that holds the values and 0, with ends at round numbers."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        low, high = min([0.0, *known]), max([0.0, *known])
        step = round_step((high - low) or 1.0)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step or step, tick, label)

    @classmethod
    def between(cls, low: float, high: float, label: str = "") -> Axis:
        """Return an axis from one value to a higher one, whose ends need not be round.

        >>> Axis.between(18.25, 118.75).ticks()
        [20.0, 40.0, 60.0, 80.0, 100.0]
        """
        return cls(low, high if high > low else low + 1.0, label=label)

    def ticks(self) -> list[float]:
        """Return about five round values between the ends.

        >>> Axis(0.0, 1.0).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        step = round_step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten that cuts a span into four to eight parts.

    >>> round_step(1.0), round_step(70.0), round_step(0.3)
    (0.2, 20.0, 0.05)
    """
    rough = span / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next((round(times * power, 12) for times in (1, 2, 5) if times * power >= rough * 0.999), 10 * power)


@dataclass(frozen=True, slots=True)
class Frame:
    """The two axes, and where a value lies between them."""

    x: Axis
    y: Axis

    def at_x(self, value: float) -> float:
        """Return the place of a value along the horizontal axis."""
        return LEFT + (value - self.x.low) / (self.x.high - self.x.low) * (WIDTH - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        """Return the place of a value along the vertical axis."""
        return HEIGHT - BOTTOM - (value - self.y.low) / (self.y.high - self.y.low) * (HEIGHT - TOP - BOTTOM)

    def points(self, x: Numbers, y: Numbers) -> str:
        """Return the corners of a line; values that are not known are left out."""
        pairs = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
        return " ".join(f"{self.at_x(a):.1f},{self.at_y(b):.1f}" for a, b in pairs)

    def draw(self, layers: Sequence[Layer], *, title: str, told: str, kind: str = "") -> Markup:
        """Return the picture.

        Args:
            layers: What is drawn, the lowest first.
            title: What it is.
            told: What is to be seen on it, in a sentence: read aloud.
            kind: Class for the page's style.
        """
        inside = "".join(layer.body(self) for layer in layers)
        return Markup(
            f'<svg class="chart {escape(kind)}" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'aria-label="{escape(title)}. {escape(told)}">{self._axes()}{inside}</svg>'
        )

    def _axes(self) -> str:
        bottom, top = HEIGHT - BOTTOM, TOP
        body = ""
        for value in self.y.ticks():
            y = self.at_y(value)
            kind = "zero" if value == 0 else "grid"
            body += f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            body += f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{self.y.tick(value)}</text>'
        for value in self.x.ticks():
            x = self.at_x(value)
            anchor = "end" if x > WIDTH - RIGHT - 8 else "middle"
            body += f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            body += (
                f'<text class="tick" x="{min(x, WIDTH - 2):.1f}" y="{bottom + 17}" '
                f'text-anchor="{anchor}">{self.x.tick(value)}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        body += (
            f'<text class="label" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(self.x.label)}</text>'
        )
        height = (top + bottom) / 2
        body += (
            f'<text class="label" transform="translate(12 {height:.1f}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y.label)}</text>'
        )
        return body


class Layer(Protocol):
    """Something that is drawn between the axes."""

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A line; ``kind`` is ``a``, ``b`` or ``ref`` (dashed, of what is compared with)."""

    x: Numbers
    y: Numbers
    kind: str = "a"

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        return f'<polyline class="curve {self.kind}" points="{frame.points(self.x, self.y)}"/>'


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two lines."""

    x: Numbers
    low: Numbers
    high: Numbers
    kind: str = "a"

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        known = [row for row in zip(self.x, self.low, self.high, strict=True) if None not in row]
        if not known:
            return ""
        x, low, high = zip(*known, strict=True)
        there, back = frame.points(x, high), frame.points(x[::-1], low[::-1])
        return f'<polygon class="band {self.kind}" points="{there} {back}"/>'


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars from 0 up or down, each ``width`` of the horizontal axis wide."""

    x: Sequence[float]
    y: Sequence[float]
    width: float
    kind: str = "count"

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        zero, body = frame.at_y(max(frame.y.low, 0.0)), ""
        for x, y in zip(self.x, self.y, strict=True):
            left, right, top = frame.at_x(x), frame.at_x(x + self.width), frame.at_y(y)
            body += (
                f'<rect class="{self.kind}" x="{left + 0.5:.1f}" y="{min(top, zero):.1f}" '
                f'width="{max(right - left - 1, 0.5):.1f}" height="{abs(zero - top):.1f}"/>'
            )
        return body


@dataclass(frozen=True, slots=True)
class Point:
    """A point with its interval, and a word beside it, above or below."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    kind: str = "b"
    text: str = ""
    above: bool = False

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        x, y = frame.at_x(self.x), frame.at_y(self.y)
        body = ""
        if self.low is not None and self.high is not None:
            body += (
                f'<line class="whisker {self.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.at_y(self.low):.1f}" '
                f'y2="{frame.at_y(self.high):.1f}"/>'
            )
        body += f'<circle class="dot {self.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        if self.text:
            anchor = "middle" if x > WIDTH * 0.5 else "start"
            beside, below = (0, 30) if anchor == "middle" else (9, 19)
            body += (
                f'<text class="note" x="{x + beside:.1f}" y="{y + (-9 if self.above else below):.1f}" '
                f'text-anchor="{anchor}">{escape(self.text)}</text>'
            )
        return body


@dataclass(frozen=True, slots=True)
class Note:
    """Words at a place of the chart."""

    x: float
    y: float
    text: str
    anchor: str = "start"

    def body(self, frame: Frame) -> str:
        """Return its SVG elements."""
        x, y = frame.at_x(self.x), frame.at_y(self.y)
        return f'<text class="note" x="{x:.1f}" y="{y:.1f}" text-anchor="{self.anchor}">{escape(self.text)}</text>'


def effect_bar(value: float, most: float, *, title: str, low: float | None = None, high: float | None = None) -> Markup:
    """Draw an effect that raises (right) or lowers (left of the middle) as a bar without axes.

    Args:
        value: Of the bar.
        most: At either end.
        title: Read aloud.
        low: Of its interval.
        high: Of its interval.
    """
    half = 50.0

    def place(number: float) -> float:
        return half + max(-1.0, min(number / most if most else 0.0, 1.0)) * (half - 1)

    start, end = sorted((half, place(value)))
    kind = "leave" if value > 0 else "stay"
    body = f'<rect class="{kind}" x="{start:.1f}" y="2" width="{max(end - start, 0.6):.1f}" height="10"/>'
    body += f'<line class="base" x1="{half}" x2="{half}" y1="0" y2="14"/>'
    if low is not None and high is not None:
        body += f'<line class="even whisker" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="7" y2="7"/>'
    return Markup(
        f'<svg class="effect" role="img" viewBox="0 0 100 14" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


__all__ = [
    "HEIGHT",
    "WIDTH",
    "Axis",
    "Band",
    "Bars",
    "Frame",
    "Layer",
    "Line",
    "Note",
    "Point",
    "effect_bar",
    "number_tick",
    "percent_tick",
    "round_step",
]
