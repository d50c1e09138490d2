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

import numpy as np
import polars as pl

from churnlib.config import MoneyConfig
from churnlib.config.levers import LeversConfig
from churnlib.data.customers import Customers
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.report.document import build_document
from churnlib.evaluation.report.files import PAGE, read_document, write_report
from churnlib.evaluation.report.judged import Followed, Judged
from churnlib.evaluation.report.page import render
from churnlib.evaluation.report.survival import grid
from churnlib.planning.levers import check_levers
from churnlib.predictor import Predictor, load
from churnlib.training.money import campaign_of, values_of
from churnlib.training.past_run import past_run
from churnlib.training.report_parts import Asked, parts_of, read_files
from churnlib.training.run_folder import CONFIG, LEAKS, METRICS
from churnlib.training.survival import within_horizon

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


def report(
    run: str | Path,
    *,
    out: str | Path | None = None,
    refresh: bool = False,
    levers: LeversConfig | Mapping[str, Any] | None = None,
    budget: float | None = None,
    capacity: float | None = None,
) -> Report:
    """Make the report of a finished run.

    Args:
        run: Its folder.
        out: File of the page; ``report.html`` in the folder when left out.
        refresh: Read the run's table and compute everything anew, even where ``report.json`` holds the numbers.
        levers: What can be offered, as ``conf/levers/*.yaml`` has it, in place of the run's own: everything is computed
            anew, with a plan of offers.
        budget: Money that may be spent on the test customers, in place of the run's; computed anew likewise.
        capacity: What the team can do for them, in place of the run's.

    Raises:
        ConfigError: If the folder holds no finished run, or a lever is impossible.
        DataError: If the table is no longer that of the run, or a file cannot be written.

    Example::

        report = churnlib.report("outputs/latest")
        report.document["verdict"]["headline"]
    """
    folder = Path(run)
    if not (folder / METRICS).is_file():
        raise ConfigError(f"run={run} holds no finished run; name the folder with its {METRICS}")
    given = levers if isinstance(levers, LeversConfig) else LeversConfig(**(levers or {}))
    anew = refresh or bool(given.offers) or budget is not None or capacity is not None
    document = None if anew else read_document(folder)
    if document is None:
        document = _computed(folder, given, budget, capacity)
    page = folder / PAGE if out is None else Path(out)
    return Report(document, write_report(document, folder, page=page))


def report_of(judged: Judged, folder: Path, asked: Asked) -> Report:
    """Make the report of a run whose rows are at hand.

    Args:
        judged: Its test rows, see :func:`judged_rows`.
        folder: Of the run.
        asked: What the report is to hold.
    """
    document = build_document(judged, parts_of(judged, folder, asked))
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
    test, told = rows.rows("test"), {}
    if rows.lifetimes is None or not len(test):
        label, probability = rows.label[test], _said(predictor, rows.frame[test])
    else:
        test, label, probability, followed = _timed(rows, test, predictor, metrics)
        told["followed"] = followed
    values = values_of(money, rows)
    return Judged(
        frame=rows.frame[test],
        typed=rows.typed[test],
        label=label,
        probability=probability,
        ids=rows.ids(test),
        predictor=predictor,
        campaign=campaign_of(money, rows),
        metrics=metrics,
        table=table,
        model=str(metrics["model"]),
        sides={side: rows.class_counts(side).tolist() for side in rows.split.sides()},
        split_by=rows.split.by,
        value=None if values is None or len(rows.schema.classes) > 2 else values[test],
        currency=money.currency,
        config=config,
        **told,
        **read_files(folder, FILES),
    )


def _said(predictor: Predictor, frame: pl.DataFrame) -> np.ndarray:
    return predictor.probabilities(frame) if len(frame) else np.zeros(0)


def _timed(
    rows: Customers, test: np.ndarray, predictor: Predictor, metrics: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Followed]:
    """Return the test rows of which is known whether they left within the horizon, with labels and probabilities.

    And all of them, with their curves.
    """
    curve, lifetimes = predictor.hazards("report"), rows.lifetimes
    assert lifetimes is not None
    logits = predictor.logits(rows.typed[test])
    known, label, probability = within_horizon(rows, test, logits, curve)
    entry, given_entry = lifetimes.entry[test], lifetimes.spec.entry is not None
    times = grid(metrics["test"]["survival"]["until"], np.asarray(curve.breaks), curve.horizon)
    followed = Followed(
        typed=rows.typed[test],
        duration=lifetimes.duration[test] - entry,
        event=lifetimes.event[test],
        times=times,
        survival=curve.survival(logits, times, entry if given_entry else None),
        clock=lifetimes.spec.clock,
        given_entry=given_entry,
    )
    return test[known], label, probability, followed


def _computed(folder: Path, levers: LeversConfig, budget: float | None, capacity: float | None) -> dict[str, Any]:
    """Return the document of a run from its table, read once more."""
    run = past_run(folder / CONFIG)
    asked = Asked(
        money=run.money,
        levers=levers if levers.offers else run.levers,
        explained=run.reporting.explained,
        budget=run.reporting.budget if budget is None else budget,
        capacity=run.reporting.capacity if capacity is None else capacity,
    )
    check_levers(asked.levers, load(folder / "bundle"))
    judged = judged_again(folder)
    return build_document(judged, parts_of(judged, folder, asked))


def judged_again(folder: Path) -> Judged:
    """Return the test rows of a run from its table, read and scored once more.

    Args:
        folder: Of a finished run.

    Raises:
        DataError: If the table is no longer that of the run.
    """
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


__all__ = ["Report", "judged_again", "judged_rows", "report", "report_of", "summary_html"]
