"""Survival figures of one run as a rich table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from churnlib.evaluation.layout import ABSENT, add_figures, plain_table

ROWS = {
    "concordance": "concordance (Harrell)",
    "concordance_ipcw": "concordance (Uno)",
    "concordance_over_time": "concordance over time",
    "ibs": "integrated Brier",
    "ibs_kaplan_meier": "... of Kaplan-Meier",
    "ibs_gain": "gain over Kaplan-Meier",
    "nll": "negative log-likelihood",
}


def survival_table(columns: Mapping[str, Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Set survival figures side by side: a row per figure, a column per set of rows.

    Args:
        columns: Headings and what a run holds as ``survival`` of these rows.
        title: Line above the table.
    """
    first = next(iter(columns.values()))
    caption = f"up to {first['until']:g} {first['unit']}; in parentheses: 95% interval"
    table = plain_table(title, caption=caption)
    table.add_column("")
    cells = [[_cell(figures, name) for name in ROWS] for figures in columns.values()]
    for name, column in zip(columns, cells, strict=True):
        add_figures(table, name, column)
    for label, *figures in zip(ROWS.values(), *cells, strict=True):
        table.add_row(label, *figures)
    table.add_row("customers", *(f"{figures['n']:,}" for figures in columns.values()))
    table.add_row("who left", *(f"{figures['events']:,}" for figures in columns.values()))
    return table


def calibration_line(figures: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each horizon: how many were said to leave within it, and how many did."""
    return [
        f"Within {one['horizon']:g} {figures['unit']} {one['predicted']:.1%} were said to leave and "
        f"{one['observed']:.1%} did; over tenths of the prediction the two are {one['error']:.1%} apart"
        for one in figures["calibration"]
    ]


def _cell(figures: Mapping[str, Any], name: str) -> str:
    value, interval = figures.get(name), figures.get(f"{name}_interval")
    if value is None or value != value:
        return ABSENT
    return f"{value:.4f}" + ("" if interval is None else f" ({interval[0]:.3f}–{interval[1]:.3f})")
