"""Groups beside each other on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from churnlib.evaluation.fairness.figures import ERROR, Figure
from churnlib.evaluation.fairness.groups import CROSS
from churnlib.evaluation.fairness.report import FOUR_FIFTHS, ColumnReport, FairnessReport
from churnlib.evaluation.layout import ABSENT, add_figures, plain_table

SHOWN = {
    "base_rate": "leave",
    "selection_rate": "selected",
    "tpr": "found of those who leave",
    "fpr": "selected of those who stay",
    "precision": "right of the selected",
    "calibration_gap": "said minus left",
}
"""Figures on the terminal, and what they are called there."""

OF_CLASS = dict(
    zip(
        SHOWN,
        ("are", "predicted", "found of those", "predicted of others", "right of those", "said too often"),
        strict=True,
    )
)
"""The same of a class against the rest."""


def fairness_table(report: FairnessReport, *, title: str | None = "Groups of test rows") -> Table:
    """Return a line for each group; a star marks what differs from the compared group beyond its 95 % interval."""
    lines = [
        (f"{column.title}: {group.label}", f"{group.n:,}", *_cells(group.figures, group.differences))
        for column in report.columns
        if CROSS not in column.column
        for group in column.groups
    ]
    table = plain_table(title, caption="* differs from the group it is compared with by more than its 95% interval")
    table.add_column("", min_width=12, max_width=24)
    shown = OF_CLASS if any(column.of_class is not None for column in report.columns) else SHOWN
    for place, name in enumerate(("rows", *shown.values()), start=1):
        add_figures(table, name, [line[place] for line in lines])
    for line in lines:
        table.add_row(*line)
    return table


def _cells(figures: Mapping[str, Figure], differences: Mapping[str, Figure]) -> list[str]:
    return [_percent(figures[name]) + _star(differences.get(name)) for name in SHOWN]


def _percent(figure: Figure) -> str:
    return ABSENT if figure.value is None else f"{figure.value:.1%}"


def _star(between: Figure | None) -> str:
    if between is None or between.low is None or between.high is None:
        return " "
    return "*" if between.low > 0 or between.high < 0 else " "


def fairness_lines(report: FairnessReport, *, currency: str | None = None) -> Iterator[str]:
    """Yield a sentence on each thing that the table does not say.

    Args:
        report: What was found.
        currency: Unit of money; without it the cost of equal treatment is told in F1 alone.
    """
    for column in report.columns:
        crossed = CROSS in column.column
        first = column.of_class in (None, report.columns[0].of_class)  # of several classes the same is said once
        if column.left_out and not crossed and first:
            yield (
                f"{column.column}: {_named(column.left_out)} left out, with fewer rows than a group needs "
                f"({column.n_left_out:,} rows)"
            )
        if column.merged and first:
            yield f"{column.column}: other stands for {_named(column.merged)}, each with too few rows of its own"
        if len(column.groups) < 2 and not crossed:
            if first:
                yield f"{column.column}: fewer than two groups are large enough, and nothing can be compared"
            continue
        yield from _miscalibrated(column)
        yield from _adverse(column)
        for found in column.equalised.values():
            yield f"{column.column}: {_cost(found, currency)}"


def _miscalibrated(column: ColumnReport) -> Iterator[str]:
    """Name the groups whose probabilities are further off than luck explains."""
    for group in column.groups:
        error = group.figures[ERROR].value
        if error is not None and error > group.noise_floor.high:
            yield (
                f"{column.title}: the probabilities of {group.label!r} are off by {error:.1%} on average, "
                f"and luck alone gives up to {group.noise_floor.high:.1%}"
            )


def _adverse(column: ColumnReport) -> Iterator[str]:
    apart = column.spread("selection_rate")
    if apart["ratio"] is not None and apart["ratio"] < FOUR_FIFTHS:
        yield (
            f"{column.title}: {apart['lowest']!r} is selected {apart['ratio']:.2f} times as often as "
            f"{apart['highest']!r}, which is below four fifths"
        )


def _cost(found: Mapping[str, Any], currency: str | None) -> str:
    what = "equal shares found of those who leave" if found["aim"] == "tpr" else "equal shares selected"
    by = (
        "a threshold for each group"
        if "thresholds" in found
        else "a factor for each group on customers' own thresholds"
    )
    told = _moved("F1", found["f1"], 4)
    if currency is not None:
        told += f", {_moved(f'{currency} per customer', found['profit'], 2)}"
    return f"{what} by {by}: {told}; {found['changed']:.1%} of the decisions change"


def _moved(name: str, figure: Mapping[str, Any], digits: int) -> str:
    told = f"{name} {figure['difference']:+.{digits}f}"
    if figure["low"] is None:
        return told
    return f"{told} ({figure['low']:+.{digits}f} to {figure['high']:+.{digits}f})"


def _named(values: Sequence[str]) -> str:
    shown = ", ".join(map(repr, values[:4]))
    return shown if len(values) <= 4 else f"{shown} and {len(values) - 4} more"


__all__ = ["fairness_lines", "fairness_table"]
