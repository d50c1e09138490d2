"""From a run to its report: at the end of training, and later from what the run folder says.

Made at the end, it has the rows at hand. Made later, it is drawn again from ``report.json``, or, where a run has none,
its table is read again: the rows of the test are those of ``predictions.parquet``, or it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.config import MoneyConfig
from churnlib.data.customers import Customers
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.report.document import build_document
from churnlib.evaluation.report.files import PAGE, read_document, write_report
from churnlib.evaluation.report.judged import Judged
from churnlib.evaluation.report.page import render
from churnlib.predictor import Predictor
from churnlib.training.fairness import FAIRNESS
from churnlib.training.money import campaign_of, values_of
from churnlib.training.report_reasons import customers, explainer_of, explanation
from churnlib.training.run_folder import CONFIG, LEAKS, METRICS

GROUP_FIGURES = {
    "base_rate": "base_rate", "mean_probability": "predicted", "selection_rate": "selection_rate", "tpr": "tpr",
    "fpr": "fpr",
}  # fmt: skip
"""Of those in ``fairness.json`` the ones that the page shows, with what it calls them."""

LISTED, SAMPLED = 100, 100
"""Customers on the list, and those whose effects stand for all; of a TabNet, which is slower, a tenth are explained."""

FILES = {"leaks": LEAKS, "cleaning": "cleaning.json", "provenance": "provenance.json"}


@dataclass(frozen=True)
class Report:
    """The report of a run; shown by a notebook as its verdict.

    Attributes:
        document: All its numbers and words, see :mod:`churnlib.evaluation.report.document`.
        path: File of the page.
    """

    document: Mapping[str, Any]
    path: Path

    def html(self) -> str:
        """Return the page."""
        return render(self.document)

    def _repr_html_(self) -> str:
        return summary_html(self.document["verdict"], self.document["run"], self.path)


def report(run: str | Path, *, out: str | Path | None = None, refresh: bool = False) -> Report:
    """Make the report of a finished run.

    Args:
        run: Its folder.
        out: File of the page; ``report.html`` in the folder when left out.
        refresh: Read the run's table and compute everything anew, even where ``report.json`` holds the numbers.

    Raises:
        ConfigError: If the folder holds no finished run.
        DataError: If the table is no longer that of the run, or a file cannot be written.

    Example::

        report = churnlib.report("outputs/latest")
        report.document["verdict"]["headline"]
    """
    folder = Path(run)
    if not (folder / METRICS).is_file():
        raise ConfigError(f"run={run} holds no finished run; name the folder with its {METRICS}")
    document = None if refresh else read_document(folder)
    if document is None:
        document = _computed(folder)
    page = folder / PAGE if out is None else Path(out)
    return Report(document, write_report(document, folder, page=page))


def report_of(judged: Judged, folder: Path) -> Report:
    """Make the report of a run whose rows are at hand.

    Args:
        judged: Its test rows, see :func:`judged_rows`.
        folder: Of the run.
    """
    document = build_document(judged, _parts(judged, folder))
    return Report(document, write_report(document, folder))


def summary_html(verdict: Mapping[str, Any], run: Mapping[str, Any], path: Path) -> str:
    """Return a verdict as a notebook shows it."""
    points = "".join(f"<li>{escape(one['text'])}</li>" for one in verdict["sentences"])
    return (
        f"<p><b>{escape(str(run['table']))}, {escape(str(run['model']))}</b><br>{escape(verdict['headline'])}</p>"
        f"<ul>{points}</ul><p>{escape(str(path))}</p>"
    )


def judged_rows(
    rows: Customers,
    predictor: Predictor,
    metrics: Mapping[str, Any],
    folder: Path,
    *,
    money: MoneyConfig,
    table: str,
    config: Mapping[str, Any],
) -> Judged:
    """Return what a report is about: the test rows of a run, with what its model says of them.

    Args:
        rows: The table of the run.
        predictor: Its model.
        metrics: What ``metrics.json`` holds, or will hold.
        folder: Of the run.
        money: What a campaign costs.
        table: What the table is called.
        config: All options.
    """
    test = rows.rows("test")
    values = values_of(money, rows)
    frame = rows.frame[test]
    k = len(rows.schema.classes)
    return Judged(
        frame=frame,
        typed=rows.typed[test],
        label=rows.labels("test"),
        probability=predictor.probabilities(frame) if len(test) else pl.zeros(0, eager=True).to_numpy(),
        ids=rows.customer_ids("test"),
        predictor=predictor,
        campaign=campaign_of(money, rows),
        metrics=metrics,
        table=table,
        model=str(metrics["model"]),
        sides={side: rows.class_counts(side).tolist() for side in rows.split.sides()},
        split_by=rows.split.by,
        value=None if values is None or k > 2 else values[test],
        currency=money.currency,
        config=config,
        **_read(folder, FILES),
    )


def reasons_of(judged: Judged) -> dict[str, Any]:
    """Return the parts of the document that explain the model: ``explanation`` and ``customers``, if there are any."""
    if not len(judged):
        return {}
    explainer, _ = explainer_of(judged)
    found: dict[str, Any] = {}
    if explainer is not None:
        found["explanation"] = explanation(judged, explainer, sampled=SAMPLED)
    return {**found, "customers": customers(judged, explainer, listed=LISTED)} if judged.binary else found


def _parts(judged: Judged, folder: Path) -> dict[str, Any]:
    """Return what the document holds beside its own figures."""
    parts, goal = reasons_of(judged), judged.metrics.get("goal")
    if goal is not None:
        parts["goal"] = goal
    compared = _read(folder, {"fairness": FAIRNESS}).get("fairness")
    return parts if compared is None else {**parts, "fairness": _groups(compared)}


def _groups(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups that were compared as the document has them."""
    columns = []
    for column in compared["columns"]:
        groups = []
        for one in column["groups"]:
            figures = {theirs: _told(one["figures"].get(ours)) for ours, theirs in GROUP_FIGURES.items()}
            groups.append({"label": one["group"], "n": one["n"], "small": False, **figures})
        if groups:
            of_class = column.get("class")
            title = column["column"] if of_class is None else f"{column['column']}, {of_class} or not"
            columns.append({"column": title, "groups": groups})
    note = f"Groups of fewer than {compared['min_group']} test customers are put together or left out."
    if any(column.get("class") is not None for column in compared["columns"]):
        note += (
            " Each class is taken against the rest: left stands for being of the class, selected for being given it."
        )
    return {"note": note, "columns": columns} if columns else {}


def _told(figure: Mapping[str, float | None] | None) -> list[float | None] | None:
    told = None if figure is None else [figure[key] for key in ("value", "low", "high")]
    return None if told is None or None in told else told


def _read(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Return what lies in JSON files of a run folder, without those that are not there."""
    there = {key: folder / name for key, name in files.items() if (folder / name).is_file()}
    return {key: json.loads(path.read_text(encoding="utf-8")) for key, path in there.items()}


def _computed(folder: Path) -> dict[str, Any]:
    """Return the document of a run from its table, read once more."""
    judged = judged_again(folder)
    return build_document(judged, _parts(judged, folder))


def judged_again(folder: Path) -> Judged:
    """Return the test rows of a run from its table, read and scored once more.

    Args:
        folder: Of a finished run.

    Raises:
        DataError: If the table is no longer that of the run.
    """
    from churnlib.predictor import load
    from churnlib.training.past_run import past_run
    from churnlib.training.train import read_customers

    run = past_run(folder / CONFIG)
    rows, predictor = read_customers(run), load(folder / "bundle")
    known = pl.read_parquet(folder / "predictions.parquet")
    ids = rows.customer_ids("test").cast(pl.String)
    same = len(ids) == len(known) and ids.equals(known["customer_id"].cast(pl.String), check_names=False)
    if not same or not (rows.labels("test") == known["label"].to_numpy()).all():
        raise DataError(
            f"{folder}: the table that config.yaml names no longer has the test rows of this run, so that its report "
            "cannot be computed anew; bring the table back, or train again"
        )
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    return judged_rows(rows, predictor, metrics, folder, money=run.money, table=run.data.name, config=run.options)


__all__ = ["Report", "judged_again", "judged_rows", "reasons_of", "report", "report_of", "summary_html"]
