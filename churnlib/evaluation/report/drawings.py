"""The charts of a report, each from its part of the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from churnlib.pages.charts import Axis, Band, Bars, Frame, Line, Note, Point, percent_tick
from churnlib.pages.words import money

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
        *_mark(share, found, 0.1, "{:.0f} % with the first tenth", times=100),
        Note(0.64, 0.5, "by lot"),
    ]
    tenth, fifth = (_at(share, found["value"], place) for place in (0.1, 0.2))
    told = f"The first tenth reaches {tenth:.0%}, the first fifth {fifth:.0%}."
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
        *_mark(share, found, 0.1, "{:.1f}", above=True),
    ]
    tenth, half = (_at(share, found["value"], place) for place in (0.1, 0.5))
    told = f"{tenth:.1f} times as many in the first tenth, {half:.1f} in the first half."
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
        Point(contacted, _at(share, earned, contacted), text=f"expected to pay: {contacted * 100:.0f} %"),
    ]
    told = (
        f"Contacting the {contacted:.0%} of whom a gain is expected earns {money(campaign['profit'], unit)}; most "
        f"would have been earned with {share[best]:.0%}; everybody: {money(earned[-1], unit)}."
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
    return frame.draw(layers, title="Precision and recall", told=f"By chance the precision is {rate:.1%} throughout.")


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
    said = f"For {told['outside']:.0%} of the customers the curve leaves the band in which luck alone would keep it."
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
    told = "; ".join(f"{one['period']}: {one['rate']:.1%} left, {one['predicted']:.1%} said" for one in periods)
    return Frame(Axis(0, len(periods), lambda _: "", "oldest to newest period"), y).draw(
        layers, title="Over time", told=told
    )


def _band(x: Sequence[float], found: Mapping[str, Any]) -> Band:
    return Band(x, found.get("low", []), found.get("high", [])) if "low" in found else Band([], [], [])


def _mark(
    x: Sequence[float], found: Mapping[str, Any], place: float, text: str, *, times: float = 1.0, above: bool = False
) -> list[Point]:
    value = _at(x, found["value"], place)
    low = _at(x, found["low"], place) if "low" in found else None
    high = _at(x, found["high"], place) if "high" in found else None
    return [Point(place, value, low, high, text=text.format(value * times), above=above)]


def _times(values: Sequence[float | None], n: int) -> list[float | None]:
    return [None if value is None else value * n for value in values]


def _at(x: Sequence[float], y: Sequence[float | None], place: float) -> float:
    near = min(range(len(x)), key=lambda number: abs(x[number] - place))
    return y[near] or 0.0


__all__ = ["gains", "lift", "over_time", "precision_recall", "profit", "reliability", "roc"]
