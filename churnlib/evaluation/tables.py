"""Results of one run as rich tables for the terminal: its figures, and its decisions counted.

Both fit 80 columns with up to five columns of figures; words wrap where space is short, numbers never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from churnlib.evaluation.layout import add_figures, figure, plain_table, width

ROWS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "mcc": "MCC",
}
"""The figures that are shown, in order, with their names."""


def metrics_table(columns: Mapping[str, Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Set metrics side by side: a row per figure, a column per set of rows or model.

    Args:
        columns: Headings ("validation", "test", "logistic regression (test)") and what ``evaluate`` returned. A key
            ``intervals``, ``{"roc_auc": [low, high], ...}``, puts 95% intervals in parentheses after the figures.
        title: Line above the table.

    Returns:
        A table; figures that do not exist (the ROC AUC of one class) are a dash.
    """
    known = any(metrics.get("intervals") for metrics in columns.values())
    table = plain_table(title, caption="in parentheses: 95% interval" if known else None)
    table.add_column("", min_width=len("precision"))
    cells = [[_with_interval(metrics, key) for key in ROWS] for metrics in columns.values()]
    widths = [len("average precision"), *(width([name, *column]) for name, column in zip(columns, cells, strict=True))]
    if sum(widths) + 2 * len(columns) > 80:
        cells = [[text.replace(" ", "\n") for text in column] for column in cells]
    for name, column in zip(columns, cells, strict=True):
        add_figures(table, name, column)
    for label, *figures in zip(ROWS.values(), *cells, strict=True):
        table.add_row(label, *figures)
    table.add_section()
    table.add_row("threshold", *(figure(metrics.get("threshold")) for metrics in columns.values()))
    table.add_row("customers", *(f"{metrics['n']:,}" for metrics in columns.values()))
    return table


def confusion_table(metrics: Mapping[str, Any], *, title: str | None = None) -> Table:
    """Count decisions against what happened: a row per actual class, with the share of the row in percent.

    Args:
        metrics: What ``evaluate`` returned, for two or several classes.
        title: Line above the table.
    """
    names, matrix = _matrix(metrics["confusion"])
    table = plain_table(title)
    table.add_column("", min_width=len("actually"))
    cells = [[_count_and_share(count, sum(row)) for count in row] + [f"{sum(row):,}"] for row in matrix]
    headings = [*(f"predicted {name}" for name in names), "customers"]
    for name, column in zip(headings, zip(*cells, strict=True), strict=True):
        add_figures(table, name, column)
    for name, row in zip(names, cells, strict=True):
        table.add_row(f"actually {escape(name)}", *row)
    return table


def _with_interval(metrics: Mapping[str, Any], key: str) -> str:
    interval = (metrics.get("intervals") or {}).get(key)
    shown = figure(metrics.get(key))
    return shown if interval is None else f"{shown} ({interval[0]:.3f}–{interval[1]:.3f})"


def _count_and_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _matrix(confusion: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    if "matrix" in confusion:
        return [str(name) for name in confusion["classes"]], confusion["matrix"]
    counts = [[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]]
    return ["stayed", "churned"], counts
