"""What a run says on the terminal: the columns, the split, the result, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from churnlib.data.customers import Customers
from churnlib.data.leaks import LeakReport
from churnlib.data.resampling import wanted_counts
from churnlib.evaluation.fairness.report import FairnessReport
from churnlib.evaluation.fairness.tables import fairness_lines, fairness_table
from churnlib.evaluation.report.files import PAGE
from churnlib.evaluation.survival_tables import calibration_line, survival_table
from churnlib.evaluation.tables import confusion_table, metrics_table, worth_table

RESAMPLING = (
    "measured on two public tables, resample=none has the best log loss with boosted trees and logistic regression, "
    "and a plain MLP gained at most 0.006 by drawing rows by weight; docs/leaks_and_splits.md"
)
"""What ``scripts/bench_resampling.py`` found."""


def show_customers(console: Console, customers: Customers, *, name: str, n_folds: int | None = None) -> None:
    """Print the schema, what was left out, and the split."""
    console.print(customers.schema.render())
    if customers.validated is not None:
        console.print(customers.validated.report.render())
    for line in customers.report.lines():
        console.print(f"[yellow]•[/] {escape(line)}")
    if customers.split.left_out:
        console.print(f"[yellow]•[/] {customers.split.left_out:,} rows left out: their customers stand on another side")
    if customers.split.purged:
        console.print(f"[yellow]•[/] {customers.split.purged:,} rows left out: they lie too close to the next side")
    console.print(split_table(customers, name=name))
    if n_folds is not None:
        dealt = (
            f"The rows for training and validation are cut by time into {n_folds + 1} parts; each but the oldest is "
            "held out once, from a model of all that is older"
            if customers.split.by == "time"
            else f"The rows for training and validation are dealt into {n_folds} folds; each is held out once"
        )
        console.print(dealt)


def show_resampling(console: Console, customers: Customers, resample: Mapping[str, Any]) -> None:
    """Say what becomes of the training rows, and what it was worth elsewhere."""
    if resample["name"] == "none":
        return
    before = customers.class_counts("train")
    after = wanted_counts(before, resample)
    counts = " and ".join(
        f"{a:,} to {b:,} of {name!r}" for name, a, b in zip(customers.schema.classes, before, after, strict=True)
    )
    console.print(
        f"[yellow]•[/] {escape('resample=' + resample['name'])}: training rows go from {escape(counts)}; validation "
        "and test rows stay as they are, and so does what a probability means",
        soft_wrap=True,
    )
    console.print(f"[yellow]•[/] {escape(RESAMPLING)}", soft_wrap=True)


def show_leaks(console: Console, report: LeakReport) -> None:
    """Print a line for each leak check, and one for each leak."""
    console.print(f"Leak checks on {report.rows:,} training rows")
    colours = {"leak": "red", "pass": "green"}
    for check in report.checks:
        verdict = f"[{colours.get(check.verdict, 'dim')}]{check.verdict:<8}[/]"
        console.print(f"  {verdict}  {check.name:<26}  {escape(check.said)}", soft_wrap=True, highlight=False)
    for line in report.lines():
        console.print(f"[yellow]•[/] {escape(line)}", soft_wrap=True)


def split_table(customers: Customers, *, name: str) -> Table:
    """Return a table of rows, share and class counts of each side."""
    how = {"random": "stratified at random", "time": "oldest rows first", "column": "as the column says"}
    table = Table(title=f"Split of {escape(name)} ({how[customers.split.by]})")
    table.add_column("side")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    for label in customers.schema.classes:
        table.add_column(escape(label), justify="right")
    total = sum(len(rows) for rows in customers.split.sides().values())
    for side, rows in customers.split.sides().items():
        counts = customers.class_counts(side)
        shares = [f"{count:,} ({count / max(len(rows), 1):.1%})" for count in counts]
        table.add_row(side, f"{len(rows):,}", f"{len(rows) / total:.1%}", *shares)
    return table


def goal_line(goal: Mapping[str, Any]) -> str:
    """Return how the goal of a run stands, with markup."""
    colour = "green" if goal["certified"] else "red" if goal["verdict"] == "out of reach" else "yellow"
    return f"[{colour}]•[/] {escape(goal['said'][:1].upper() + goal['said'][1:])}."


def members_table(members: Mapping[str, Any]) -> Table:
    """Return a table of the models behind an ensemble: how many of each kind, how they count, how far they differ."""
    total = sum(kind["n"] for kind in members["kinds"].values())
    table = Table(title=f"{total} models answer together; each by itself, on rows that it did not learn from")
    table.add_column("model")
    for header in ("models", "weight", "ROC AUC (sd)", "log loss (sd)", "F1 (sd)"):
        table.add_column(header, justify="right")
    for name, kind in members["kinds"].items():
        figures = [_with_spread(kind[key]) for key in ("roc_auc", "log_loss", "f1")]
        table.add_row(escape(name), str(kind["n"]), f"{kind['weight']:.2f}", *figures)
    return table


def origins_table(origins: Mapping[str, Any]) -> Table:
    """Return a table of the windows of a split by time: what was tested when, and how it went."""
    table = Table(title="Trained at several days, each time tested on what came next")
    for header in ("trained until", "tested", "rows", "ROC AUC", "log loss", "F1"):
        table.add_column(header, justify="left" if header in ("trained until", "tested") else "right")
    figures = ("roc_auc", "log_loss", "f1")
    for one in origins["windows"]:
        first, last = one["days"]["test"]
        table.add_row(
            one["days"]["train"][1], f"{first} to {last}", f"{one['rows']['test']:,}", *_figures(one, figures)
        )
    for what in ("mean", "worst"):
        table.add_row(what, "", "", *_figures({k: (origins[k] or {}).get(what) for k in figures}, figures))
    return table


def _figures(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return ["–" if values[name] is None else f"{values[name]:.4f}" for name in names]


def _with_spread(figure: Mapping[str, float | None]) -> str:
    if figure["mean"] is None:
        return "–"
    return f"{figure['mean']:.4f}" + ("" if figure["sd"] is None else f" ({figure['sd']:.4f})")


def show_survival(console: Console, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print how good the survival curves are, and what the table below it is about."""
    console.print(survival_table(columns, title="When customers leave"))
    last = list(columns.values())[-1]
    for line in calibration_line(last):
        console.print(escape(line), soft_wrap=True, highlight=False)
    horizon = f"{last['horizon']:g} {last['unit']}"
    lost = ", ".join(f"{header} {one['unknown_at_horizon']:,}" for header, one in columns.items())
    console.print(
        f"Leaving within {horizon}, without customers lost from sight before ({lost}):", soft_wrap=True, highlight=False
    )


MARKS = {"good": "[green]•[/]", "note": "[dim]•[/]", "weak": "[yellow]•[/]", "alarm": "[bold red]•[/]"}


def show_verdict(console: Console, verdict: Mapping[str, Any]) -> None:
    """Print what a report comes to."""
    console.print(f"[bold]{escape(verdict['headline'])}[/]", highlight=False)
    for one in verdict["sentences"]:
        console.print(f"{MARKS[one['kind']]} {escape(one['text'])}", highlight=False)


def show_fairness(console: Console, report: FairnessReport, *, currency: str | None = None) -> None:
    """Print groups beside each other, and a line on what stands out."""
    if any(column.groups for column in report.columns):
        console.print(fairness_table(report))
    for line in fairness_lines(report, currency=currency):
        console.print(f"[yellow]•[/] {escape(line)}", soft_wrap=True, highlight=False)


def show_result(
    console: Console,
    metrics: Mapping[str, Any],
    folder: Path,
    *,
    classes: Sequence[str],
    fairness: FairnessReport | None = None,
) -> None:
    """Print the metrics beside the baseline and the limit, the confusion matrix, and where everything is."""
    members = metrics.get("members")
    columns = {
        "validation" if members is None else "held out": metrics["validation"],
        "test": metrics["test"],
        "logistic regression (test)": metrics["baseline"].get("logistic_regression"),
        "limit (test)": metrics.get("limit"),
    }
    columns = {header: column for header, column in columns.items() if column is not None}
    if "survival" in metrics["validation"]:
        show_survival(console, {header: column["survival"] for header, column in columns.items()})
        columns = {header: column for header, column in columns.items() if "n" in column}
    if columns:
        console.print(metrics_table(columns))
    if metrics["test"] is not None and "confusion" in metrics["test"]:
        console.print(confusion_table(metrics["test"]))
        worth = worth_table(metrics["test"], title="On test rows")
        if worth is not None:
            console.print(worth)
    if fairness is not None:
        show_fairness(console, fairness, currency=(metrics["test"] or {}).get("profit", {}).get("currency"))
    if metrics.get("goal") is not None:
        console.print(goal_line(metrics["goal"]), soft_wrap=True, highlight=False)
    trained = "fitted" if metrics["epochs"] == 1 else f"{metrics['epochs']} epochs"
    console.print(
        f"{metrics['model']}: {trained} in {metrics['fit_seconds']:.1f} s "
        f"({metrics['rows_per_second']:,.0f} rows/s), {metrics['total_seconds']:.1f} s in all"
    )
    if (together := metrics.get("together", 1)) > 1:
        console.print(f"One of {together} runs trained in one pass: the seconds are its share.")
    if members is not None:
        console.print(members_table(members))
    if "origins" in metrics:
        console.print(origins_table(metrics["origins"]))
    alarm = (metrics.get("overfitting") or {}).get("alarm")
    if alarm is not None:
        console.print(f"[yellow]•[/] {escape(alarm)}")
    inference = metrics["inference"]
    by = "ONNX Runtime" if inference["backend"] == "onnx" else "the model as trained"
    size = f"{inference['bundle_bytes'] / 1e6:.1f} MB"
    size += "" if inference["flops"] is None else f", {inference['flops'] / 1e3:,.0f} kFLOPs a customer"
    console.print(
        f"One customer is answered by {by} in {inference['p50_ms']:.1f} ms (95 % within {inference['p95_ms']:.1f} ms), "
        f"{inference['rows_per_second']:,.0f} rows/s in batches; bundle of {size}"
    )
    console.print(f"Run folder  [bold]{escape(str(folder))}[/]", soft_wrap=True)
    if (folder / PAGE).is_file():
        console.print(f"Report  {escape(str(folder / PAGE))}", soft_wrap=True)
    console.print(
        f"Score a file  churnlib score bundle={escape(str(folder))}/bundle input=FILE output=FILE", soft_wrap=True
    )
    console.print(f"Serve it      churnlib serve bundle={escape(str(folder))}/bundle port=8000", soft_wrap=True)
