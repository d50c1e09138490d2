"""Results of one run as rich tables for the terminal: its figures, and its decisions counted.

Both fit 80 columns with up to five columns of figures; words wrap where space is short, numbers never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from churnlib.evaluation.layout import ABSENT, add_figures, figure, plain_table, width

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
    "balanced_accuracy": "balanced accuracy",
}
"""The figures that are shown, in order, with their names."""

WITH_INTERVAL = ("roc_auc", "log_loss", "f1", "threshold")
"""Those whose interval is shown beside them; metrics.json holds all."""


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
    cells = [[_with_interval(metrics, key) for key in (*ROWS, "threshold")] for metrics in columns.values()]
    widths = [len("average precision"), *(width([name, *column]) for name, column in zip(columns, cells, strict=True))]
    if sum(widths) + 2 * len(columns) > 80:
        cells = [[text.replace(" ", "\n") for text in column] for column in cells]
    for name, column in zip(columns, cells, strict=True):
        add_figures(table, name, column)
    for label, *figures in zip((*ROWS.values(), "threshold"), *cells, strict=True):
        if label == "threshold":
            table.add_section()
        table.add_row(label, *figures)
    table.add_row("customers", *(f"{metrics['n']:,}" for metrics in columns.values()))
    return table


def worth_table(metrics: Mapping[str, Any], *, title: str | None = None) -> Table | None:
    """Say in a few lines how well customers are ordered, whether probabilities are true, and what that is worth.

    Figures in money come only with a currency, for their assumptions are the user's to make.

    Args:
        metrics: What ``evaluate`` returned with all layers, for two classes.
        title: Line above the table.

    Returns:
        A table with what each figure is to be compared with; None without these layers.
    """
    if not {"ranking", "calibration", "profit"} <= set(metrics):
        return None
    table = plain_table(title)
    table.add_column("")
    add_figures(table, "value", [])
    table.add_column("95% interval", justify="right", no_wrap=True)
    table.add_column("compare with")
    for label, name, value, compared in _worth(metrics):
        interval = (metrics.get("intervals") or {}).get(name)
        shown = ABSENT if interval is None else f"{interval[0]:,.3f} to {interval[1]:,.3f}"
        table.add_row(label, ABSENT if value is None else f"{value:,.3f}", shown, compared)
    return table


def _worth(metrics: Mapping[str, Any]) -> list[tuple[str, str, float | None, str]]:
    ranking, calibration, money = metrics["ranking"], metrics["calibration"], metrics["profit"]
    ceiling, floor = ranking["top_decile_lift_ceiling"], calibration["ece_noise_floor"]
    rows = [
        ("lift of the first tenth", "top_decile_lift", ranking["top_decile_lift"],
         "" if ceiling is None else f"1 by chance, {ceiling:.2f} at most"),
        ("calibration error", "ece", calibration["ece"], f"luck alone: {floor['mean']:.3f}, up to {floor['high']:.3f}"),
        ("calibration slope", "calibration_slope", calibration["calibration_slope"], "1 is calibrated"),
    ]  # fmt: skip
    currency = money.get("currency")
    if currency is None:
        return rows
    best = f"{money['empc_share']:.0%} contacted"
    contacted = metrics["decisions"]["contacted_share"] if "decisions" in metrics else None
    now = "" if contacted is None else f"{contacted:.0%} contacted"
    unit = f"{currency} per customer"
    rows += [
        (f"profit at the threshold, {unit}", "profit", money["profit"], now),
        (f"expected maximum profit, {unit}", "empc", money["empc"], best),
    ]
    if "empb" in money:
        own = f"{money['empb_share']:.0%} contacted"
        rows.append((f"maximum with own values, {unit}", "empb", money["empb"], own))
    return rows


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
    interval = (metrics.get("intervals") or {}).get(key) if key in WITH_INTERVAL else None
    shown = figure(metrics.get(key))
    return shown if interval is None else f"{shown} ({interval[0]:.3f}–{interval[1]:.3f})"


def _count_and_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _matrix(confusion: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    if "matrix" in confusion:
        return [str(name) for name in confusion["classes"]], confusion["matrix"]
    counts = [[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]]
    return ["stayed", "churned"], counts
