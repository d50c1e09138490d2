"""The charts of a report, each from its part of the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from churnlib.pages.charts import Axis, Band, Bars, Frame, Layer, Line, Note, Point, percent_tick
from churnlib.pages.words import figure, money, rounded, signed
from churnlib.pages.words import share as percent

CONTACTED = "customers contacted, highest risk first"


def gains(curves: Mapping[str, Any], rate: float) -> Markup:
    """Draw the share of the churners that contacting a share of the customers reaches."""
    share, found = curves["share"], curves["gains"]
    frame = Frame(Axis(0, 1, percent_tick, CONTACTED), Axis(0, 1, percent_tick, "of those who leave, reached"))
    layers = [
        Line([0, 1], [0, 1], "ref"),
        Line([0, rate, 1], [0, 1, 1], "ref"),
        _band(share, found),
        Line(share, found["value"]),
        *_mark(share, found, 0.1, lambda value: f"{percent(value, 0)} with the first tenth"),
        Note(0.64, 0.5, "by lot"),
    ]
    tenth, fifth = (_at(share, found["value"], place) for place in (0.1, 0.2))
    told = f"The first tenth reaches {percent(tenth, 0)}, the first fifth {percent(fifth, 0)}."
    return frame.draw(layers, title="Gains", told=told)


def lift(curves: Mapping[str, Any]) -> Markup:
    """Draw how many times as many churners as by lot are reached."""
    share, found = curves["share"][1:], {name: part[1:] for name, part in curves["lift"].items()}
    kept = [place for place, one in enumerate(share) if one >= 0.02]  # of fewer customers it is mostly luck
    share = [share[place] for place in kept]
    found = {name: [part[place] for place in kept] for name, part in found.items()}
    y = Axis.around([*found["value"], *found.get("high", [])], label="times as many as by lot")
    layers = [
        Line([0, 1], [1, 1], "ref"),
        _band(share, found),
        Line(share, found["value"]),
        *_mark(share, found, 0.1, lambda value: rounded(value, 1), above=True),
    ]
    tenth, half = (_at(share, found["value"], place) for place in (0.1, 0.5))
    told = f"{rounded(tenth, 1)} times as many in the first tenth, {rounded(half, 1)} in the first half."
    return Frame(Axis(0, 1, percent_tick, CONTACTED), y).draw(layers, title="Lift", told=told)


def profit(curves: Mapping[str, Any], campaign: Mapping[str, Any]) -> Markup:
    """Draw what contacting a share of the test customers would have earned in all."""
    n, share = campaign["n"], curves["share"]
    found = {name: _times(part, n) for name, part in curves["profit"].items()}
    unit, earned = campaign["currency"], [value or 0.0 for value in found["value"]]
    by = "largest gain first" if curves["value_ordered"] else "highest risk first"
    x = Axis(0, 1, percent_tick, f"customers contacted, {by}")
    label = f"profit on the test rows, {unit}" if unit else "profit on the test rows"
    y = Axis.around([*earned, *found.get("low", []), *found.get("high", [])], label=label)
    best = max(range(len(share)), key=earned.__getitem__)
    contacted = campaign["contacted"] / n
    layers = [
        Line([0, 1], [0, earned[-1]], "ref"),
        _band(share, found),
        Line(share, found["value"]),
        Point(contacted, _at(share, earned, contacted), text=f"expected to pay: {percent(contacted, 0)}"),
    ]
    told = (
        f"Contacting the {percent(contacted, 0)} of whom a gain is expected earns {money(campaign['profit'], unit)}; "
        f"most would have been earned with {percent(share[best], 0)}; everybody: {money(earned[-1], unit)}."
    )
    return Frame(x, y).draw(layers, title="Profit", told=told)


def roc(curves: Mapping[str, Any], auc: float) -> Markup:
    """Draw the share of the churners selected over that of the stayers."""
    frame = Frame(
        Axis(0, 1, percent_tick, "of those who stayed, selected"),
        Axis(0, 1, percent_tick, "of those who left, selected"),
    )
    layers = [Line([0, 1], [0, 1], "ref"), Line(curves["roc"]["fallout"], curves["roc"]["recall"])]
    return frame.draw(layers, title="ROC curve", told=f"The area below is {auc:.3f}; 0.5 is chance.")


def precision_recall(curves: Mapping[str, Any], rate: float) -> Markup:
    """Draw the share of churners among those selected over the share of churners selected."""
    frame = Frame(
        Axis(0, 1, percent_tick, "of those who left, selected"), Axis(0, 1, percent_tick, "of those selected, left")
    )
    found = curves["precision_recall"]
    layers = [Line([0, 1], [rate, rate], "ref"), Line(found["recall"], found["precision"])]
    told = f"By chance the precision is {percent(rate, 1)} throughout."
    return frame.draw(layers, title="Precision and recall", told=told)


def reliability(told: Mapping[str, Any]) -> Markup:
    """Draw how often customers left by what the model had said, with the band of mere luck."""
    frame = Frame(Axis(0, 1, percent_tick, "probability the model gave"), Axis(0, 1, percent_tick, "share who left"))
    most = max([*told["counts"], 1])
    edges = told["edges"]
    layers = [
        Bars(edges[:-1], [0.16 * n / most for n in told["counts"]], edges[1] - edges[0]),
        Band(told["grid"], told["band_low"], told["band_high"], "ref"),
        Line([0, 1], [0, 1], "ref"),
        Line(told["points"], told["rate"]),
    ]
    outside = percent(told["outside"], 0)
    said = f"For {outside} of the customers the curve leaves the band in which luck alone would keep it."
    return frame.draw(layers, title="Reliability", told=said)


def over_time(periods: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw who left and what the model said, period by period."""
    places = [place + 0.5 for place in range(len(periods))]
    y = Axis.around([one["high"] for one in periods], percent_tick, "left, and said")

    def name(place: float) -> str:
        return periods[int(place)]["period"][:7] if place == int(place) and 0 <= place < len(periods) else ""

    points = [
        Point(x, one["rate"], one["low"], one["high"]) for x, one in zip(places, periods, strict=True)
    ]  # fmt: skip
    layers = [*points, Line(places, [one["predicted"] for one in periods])]
    told = "; ".join(
        f"{one['period']}: {percent(one['rate'], 1)} left, {percent(one['predicted'], 1)} said" for one in periods
    )
    return Frame(Axis(0, len(periods), lambda _: "", "oldest to newest period"), y).draw(
        layers, title="Over time", told=told
    )


def course(offers: Mapping[str, Any]) -> Markup:
    """Draw what the best plan of each budget is expected to gain, with the band of what is uncertain about it."""
    found, unit = offers["course"], offers["currency"]
    names = ("budget", "expected_gain", "gain_low", "gain_high")
    budget, gain, low, high = ([one[name] for one in found] for name in names)
    label = f"expected gain, {unit}" if unit else "expected gain"
    x = Axis.around(budget, label=f"budget, {unit}" if unit else "budget")
    total = offers["total"]
    here = Point(total["expected_cost"], total["expected_gain"], text="the plan")
    half = next((one for one in found if one["expected_gain"] >= gain[-1] / 2), found[-1])
    told = (
        f"With {money(budget[-1], unit)} {money(gain[-1], unit)} are expected; half of that with "
        f"{money(half['budget'], unit)}."
    )
    layers = [Band(budget, low, high), Line(budget, gain), here]
    return Frame(x, Axis.around([*gain, *low, *high], label=label)).draw(layers, title="Gain by budget", told=told)


LINES = ("a", "b", "c", "d")
"""Kinds of lines of which a chart may hold several; the page's style gives each a colour and dashes."""


def staying(times: Sequence[float], curves: Sequence[Mapping[str, Any]], *, unit: str, name: str) -> Markup:
    """Draw who is still there over time: what the model said as lines, what was seen as bands.

    Args:
        times: From 0 on.
        curves: Up to four, with a ``label`` each.
        unit: Of the times.
        name: What the picture is called.
    """
    frame = Frame(Axis(0, times[-1], label=unit), Axis(0, 1, percent_tick, "still there"))
    pairs = list(zip(LINES, curves, strict=False))
    layers: list[Layer] = [Band(times, one["low"], one["high"], kind) for kind, one in pairs]
    layers += [Line(times, one["said"], kind) for kind, one in pairs]
    ends = "; ".join(
        f"{one['label']}: {percent(one['said'][-1], 0)} said, {percent(one['seen'][-1], 0)} seen" for one in curves
    )
    return frame.draw(layers, title=name, told=f"Still there after {times[-1]:g} {unit}: {ends}.")


def errors_over_time(told: Mapping[str, Any]) -> Markup:
    """Draw the Brier score over time beside that of one curve for all."""
    found = told["brier"]
    y = Axis.around([*found["scores"], *found["kaplan_meier"]], label="Brier score")
    layers = [Line(found["times"], found["kaplan_meier"], "ref"), Line(found["times"], found["scores"])]
    said = f"On average over time {told['ibs']:.3f}, and {told['ibs_kaplan_meier']:.3f} for one curve for all."
    return Frame(Axis(0, found["times"][-1], label=told["unit"]), y).draw(layers, title="Error over time", told=said)


def along(name: str, points: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw how the log-odds change along a column of numbers, with their 95 % band."""
    x = [float(one["value"]) for one in points]
    low, high = ([one[end] for one in points] for end in ("low", "high"))
    effects = [one["effect"] for one in points]
    y = Axis.around([*low, *high], label="effect on the log-odds")
    told = "; ".join(
        f"{signed(effects[place])} at {figure(x[place])}"
        for place in sorted({effects.index(min(effects)), effects.index(max(effects))})
    )
    layers = [Band(x, low, high), Line(x, effects)]
    return Frame(Axis.between(x[0], x[-1], name), y).draw(layers, title=name, told=f"{told}.")


def _band(x: Sequence[float], found: Mapping[str, Any]) -> Band:
    return Band(x, found.get("low", []), found.get("high", [])) if "low" in found else Band([], [], [])


def _mark(
    x: Sequence[float], found: Mapping[str, Any], place: float, text: Callable[[float], str], *, above: bool = False
) -> list[Point]:
    value = _at(x, found["value"], place)
    low = _at(x, found["low"], place) if "low" in found else None
    high = _at(x, found["high"], place) if "high" in found else None
    return [Point(place, value, low, high, text=text(value), above=above)]


def _times(values: Sequence[float | None], n: int) -> list[float | None]:
    return [None if value is None else value * n for value in values]


def _at(x: Sequence[float], y: Sequence[float | None], place: float) -> float:
    near = min(range(len(x)), key=lambda number: abs(x[number] - place))
    return y[near] or 0.0


__all__ = [
    "LINES",
    "along",
    "course",
    "errors_over_time",
    "gains",
    "lift",
    "over_time",
    "precision_recall",
    "profit",
    "reliability",
    "roc",
    "staying",
]
