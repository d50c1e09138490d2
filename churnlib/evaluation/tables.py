"""Results as rich tables for the terminal: one run's figures, its decisions counted, and the runs of a sweep.

All fit 80 columns with up to five columns of figures; words wrap where space is short, numbers never do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from textwrap import wrap
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

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

_SWEEP_FIGURES = ("roc_auc", "log_loss", "f1")
_ABSENT = "–"


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
    table = _table(title, caption="in parentheses: 95% interval" if known else None)
    table.add_column("", min_width=len("precision"))
    cells = [[_with_interval(metrics, key) for key in ROWS] for metrics in columns.values()]
    widths = [len("average precision"), *(_width([name, *column]) for name, column in zip(columns, cells, strict=True))]
    if sum(widths) + 2 * len(columns) > 80:
        cells = [[text.replace(" ", "\n") for text in column] for column in cells]
    for name, column in zip(columns, cells, strict=True):
        _add_column(table, name, column)
    for label, *figures in zip(ROWS.values(), *cells, strict=True):
        table.add_row(label, *figures)
    table.add_section()
    table.add_row("threshold", *(_figure(metrics.get("threshold")) for metrics in columns.values()))
    table.add_row("customers", *(f"{metrics['n']:,}" for metrics in columns.values()))
    return table


def confusion_table(metrics: Mapping[str, Any], *, title: str | None = None) -> Table:
    """Count decisions against what happened: a row per actual class, with the share of the row in percent.

    Args:
        metrics: What ``evaluate`` returned, for two or several classes.
        title: Line above the table.
    """
    names, matrix = _matrix(metrics["confusion"])
    table = _table(title)
    table.add_column("", min_width=len("actually"))
    cells = [[_count_and_share(count, sum(row)) for count in row] + [f"{sum(row):,}"] for row in matrix]
    headings = [*(f"predicted {name}" for name in names), "customers"]
    for name, column in zip(headings, zip(*cells, strict=True), strict=True):
        _add_column(table, name, column)
    for name, row in zip(names, cells, strict=True):
        table.add_row(f"actually {escape(name)}", *row)
    return table


def runs_table(rows: Iterable[Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Close a sweep: each run's test figures, and mean and standard deviation where runs differ only in their seed.

    Args:
        rows: One mapping per run: ``overrides`` (list of "key=value"), ``model``, ``seed``, ``metrics`` (the content
            of the run's ``metrics.json`` or its part "test"; None for a failed run), ``seconds`` and ``state``
            ("finished", "stopped" or "failed: reason").
        title: Line above the table.

    Returns:
        A table in the order of the runs; what became of unfinished runs stands below it.
    """
    runs = list(rows)
    settings = _settings(runs)
    described = any(settings)
    failures = [f"run {number} {run['state']}" for number, run in enumerate(runs) if run["state"] != "finished"]
    table = _table(title, caption="\n".join(failures) or None)
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    if described:
        table.add_column("setting", min_width=_width(word for text in settings for word in text.split()))
    for heading in ("seed", *(ROWS[key] for key in _SWEEP_FIGURES), "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, (run, setting) in enumerate(zip(runs, settings, strict=True)):
        lead = [str(number), escape(str(run["model"])), *([escape(setting)] if described else []), _seed(run)]
        table.add_row(*lead, *_run_figures(run))
    table.add_section()
    for model, setting, group in _groups(runs, settings):
        lead = ["", escape(model), *([escape(setting)] if described else [])]
        table.add_row(*lead, "mean", *_over(group, mean))
        table.add_row(*[""] * len(lead), "sd", *_over(group, stdev), end_section=True)
    return table


def _table(title: str | None, caption: str | None = None) -> Table:
    return Table(
        title=None if title is None else escape(title),
        caption=None if caption is None else escape(caption),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def _add_column(table: Table, name: str, cells: Sequence[str]) -> None:
    """Add a column of figures that never shrinks or breaks; its heading is broken to the width of the figures."""
    width = max(_width(cells), max(map(len, name.split())))
    table.add_column(escape("\n".join(wrap(name, width))), justify="right", no_wrap=True, min_width=width)


def _width(texts: Iterable[str]) -> int:
    return max(len(line) for text in texts for line in text.split("\n"))


def _figure(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.4f}"


def _with_interval(metrics: Mapping[str, Any], key: str) -> str:
    interval = (metrics.get("intervals") or {}).get(key)
    figure = _figure(metrics.get(key))
    return figure if interval is None else f"{figure} ({interval[0]:.3f}–{interval[1]:.3f})"


def _count_and_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"


def _matrix(confusion: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    if "matrix" in confusion:
        return [str(name) for name in confusion["classes"]], confusion["matrix"]
    counts = [[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]]
    return ["stayed", "churned"], counts


def _settings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say for each run what it was told apart from its model and seed and from what all runs were told."""
    told = [dict(word.split("=", 1) for word in run["overrides"] if "=" in word) for run in runs]
    keys = [key for key in {key: None for words in told for key in words} if key not in ("model", "seed")]
    varying = [key for key in keys if len({words.get(key) for words in told}) > 1]
    last = [key.rsplit(".", 1)[-1] for key in varying]
    names = {key: short if last.count(short) == 1 else key for key, short in zip(varying, last, strict=True)}
    return ["\n".join(_spaced(names[key], words[key]) for key in varying if key in words) for words in told]


def _spaced(name: str, value: str) -> str:
    """Write an override with blanks where a line may break, and a number with four digits."""
    try:
        value = f"{float(value):.4g}"
    except ValueError:
        value = value.replace(",", ", ")
    return f"{name} = {value}"


def _seed(run: Mapping[str, Any]) -> str:
    return _ABSENT if run["seed"] is None else str(run["seed"])


def _test_metrics(run: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = run.get("metrics") or {}
    return metrics.get("test", metrics) or {}  # a run without test rows has none


def _run_figures(run: Mapping[str, Any]) -> list[str]:
    seconds = _ABSENT if run.get("seconds") is None else f"{run['seconds']:.1f}"
    if run["state"] != "finished":
        return [run["state"].split(":")[0], *[_ABSENT] * (len(_SWEEP_FIGURES) - 1), seconds]
    return [*(_figure(_test_metrics(run).get(key)) for key in _SWEEP_FIGURES), seconds]


def _groups(
    runs: Sequence[Mapping[str, Any]], settings: Sequence[str]
) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Finished runs that differ in nothing but the seed, where there are at least two."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run, setting in zip(runs, settings, strict=True):
        if run["state"] == "finished":
            groups.setdefault((str(run["model"]), setting), []).append(run)
    return [(model, setting, group) for (model, setting), group in groups.items() if len(group) >= 2]


def _over(group: Sequence[Mapping[str, Any]], statistic: Callable[[list[float]], float]) -> list[str]:
    """Apply mean or standard deviation to each figure over the runs of a group."""
    values: list[list[Any]] = [[_test_metrics(run).get(key) for run in group] for key in _SWEEP_FIGURES]
    figures = [_ABSENT if None in row else _figure(statistic(row)) for row in values]
    return [*figures, f"{statistic([run['seconds'] for run in group]):.1f}"]
