"""The whole examination: read, flag, fit honest baselines, estimate, and say what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.customers import Customers
from churnlib.data.described import rows_with_target
from churnlib.data.leaks import LeakReport, check_leaks
from churnlib.data.leaks.columns import read_cells, single_areas
from churnlib.data.leaks.copied import check_drawn_again
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.data.tables import table_from
from churnlib.data.target import encode_target
from churnlib.diagnosis.baselines import FOLDS, check_enough
from churnlib.diagnosis.claims import claimed, judged
from churnlib.diagnosis.examination import Asked, Examined, Progress, cleared, examined, figures, limit, prepared
from churnlib.diagnosis.flags import flags_of
from churnlib.diagnosis.remedies import remedies
from churnlib.diagnosis.result import Diagnosis
from churnlib.diagnosis.sufficiency import learn_in_steps
from churnlib.diagnosis.verdicts import verdicts
from churnlib.evaluation.ceiling.expected import ESTIMATED, balanced_f1
from churnlib.evaluation.ceiling.goal import Goal
from churnlib.evaluation.profit.campaign import Campaign

SAMPLE_ROWS = 20_000
TOLD = ("f1", "roc_auc", "average_precision", "top_decile_lift", "profit", "log_loss")
"""Figures of which the attainable value is told."""


def doctor(
    table: Any,
    spec: TableSpec | None = None,
    *,
    split: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    campaign: Campaign | None = None,
    value_column: str | None = None,
    value_times: float = 1.0,
    currency: str | None = None,
    goal: Goal | None = None,
    claim: float | None = None,
    names: Sequence[str] = (),
    allow: Sequence[str] = (),
    sample_rows: int = SAMPLE_ROWS,
    truth: np.ndarray | None = None,
    name: str = "table",
    seed: int = 42,
    progress: Progress | None = None,
    **said: Any,
) -> Diagnosis:
    """Examine a table before a model is trained on it, or after a result looks too good.

    Example::

        churnlib.doctor(table, target="churn", id="customer", claim=0.86)

    Args:
        table: A polars or pandas frame, or whatever :func:`churnlib.data.tables.table_from` takes.
        spec: What it is.
        split: As for :func:`churnlib.data.customers.prepare_customers`; leak checks compare its sides.
        preprocess: As there.
        campaign: Costs, for the attainable profit; those of the paper on EMPC when left out.
        value_column: Column that says what each customer is worth.
        value_times: It is multiplied by it.
        currency: Of the money; figures in money are shown only with one.
        goal: What shall be reached, if something shall.
        claim: What somebody says a model shows on test rows, in the figure of the goal; in F1 without one.
        names: Words of columns' names that shall be taken for leaks.
        allow: Columns that are no leaks.
        sample_rows: Rows that are looked at, at most.
        truth: ``(n,)`` true churn probabilities, of simulated customers.
        name: What to call the table.
        seed: Of folds, samples and draws.
        progress: Called with what is done next.
        said: ``target``, ``id`` and what else is said of the table, in place of a spec.

    Raises:
        DataError: If the table cannot be learned from, has other than two classes, or too few rows of one.
        ConfigError: If an option is wrong.
    """
    say = progress or (lambda _: None)
    asked = Asked(
        spec=table_spec(spec, said), split=split, preprocess=preprocess, campaign=campaign or Campaign(),
        value_column=value_column, value_times=value_times, metrics=_told(goal), seed=seed, progress=say,
    )  # fmt: skip
    say("reading the table")
    frame = table_from(table)
    sample, true = _sample(frame, asked.spec, sample_rows, seed, truth)
    customers = prepared(sample, asked, true)
    check_enough(customers, pool(customers))
    report, used = _leaks(frame, customers, asked, names, allow)
    first = examined(customers, asked, _test_rows(customers, used))
    flags, last = cleared(customers, flags_of(report, customers), first, asked)
    flags += claimed(claim, "f1" if goal is None else goal.metric, last.estimates, balanced_f1(last.best))
    diagnosis = Diagnosis(
        name=name,
        rows=len(frame),
        sampled=len(sample) < len(frame),
        by=customers.split.by,
        as_it_stands=None if last is first else _as_it_stands(first),
        flags=[{**asdict(flag), "said": flag.said()} for flag in flags],
        checks=report.to_dict()["checks"],
        cleaning=customers.report.lines(),
        goal=None if goal is None else judged(goal, last.estimates, flags),
        claim=claim,
        currency=currency,
        **_of_examined(last, asked),
        **_what_would_help(last, asked),
    )
    diagnosis.verdicts.extend(verdicts(diagnosis))
    return diagnosis


def _of_examined(last: Examined, asked: Asked) -> dict[str, Any]:
    """Return what is told of the table as it was examined last."""
    found = last.found
    return {
        "target": asked.spec.target,
        "examined": len(found.label),
        "features": len(last.customers.schema.features),
        "positives": int(found.label.sum()),
        "folds": FOLDS,
        "baselines": figures(found),
        "best": found.best,
        "attainable": {metric: one.to_dict() for metric, one in last.estimates.items()},
        "balanced_f1": balanced_f1(last.best),
        "limit": limit(last.customers, found),
    }


def _told(goal: Goal | None) -> tuple[str, ...]:
    """Return the figures that are estimated: those that everybody is told, and that of the goal."""
    wanted = TOLD if goal is None else (*TOLD, goal.metric)
    return tuple(name for name in dict.fromkeys(wanted) if name in ESTIMATED)


def pool(customers: Customers) -> np.ndarray:
    """Return the rows of all sides, ascending."""
    return np.sort(np.concatenate(list(customers.split.sides().values())))


def _test_rows(customers: Customers, used: int) -> int:
    """Return how many customers a test set of the whole table has."""
    held_out = len(customers.rows("test")) or len(customers.rows("validation"))
    share = held_out / sum(map(len, customers.split.sides().values()))
    return max(1, round(share * used))


def _sample(
    frame: pl.DataFrame, spec: TableSpec, most: int, seed: int, truth: np.ndarray | None
) -> tuple[pl.DataFrame, np.ndarray | None]:
    """Return rows drawn at random, all of a customer or none."""
    if len(frame) <= most:
        return frame, truth
    if spec.id is not None and spec.id in frame.columns:
        # Customers in the order of a hash of their names: the first so many, whole.
        place = frame.select(pl.col(spec.id).cast(pl.String).hash(seed).rank("ordinal")).to_series()
        first = frame.select(pl.col(spec.id).cast(pl.String).hash(seed)).to_series()
        kept = (first <= first.filter(place == most)[0]).to_numpy() if most else np.zeros(len(frame), dtype=bool)
    else:
        kept = np.zeros(len(frame), dtype=bool)
        kept[np.random.default_rng(seed).permutation(len(frame))[:most]] = True
    return frame.filter(pl.Series(kept)), None if truth is None else truth[kept]


def _leaks(
    frame: pl.DataFrame, customers: Customers, asked: Asked, names: Sequence[str], allow: Sequence[str]
) -> tuple[LeakReport, int]:
    """Return the leak checks, those for copies in the whole table among them, and how many of its rows have a label."""
    used = rows_with_target(frame, asked.spec).frame
    drawn_again = _drawn_again(used, asked)
    asked.progress("leak checks")
    report = check_leaks(customers, names=names, allow=allow, seed=asked.seed)
    return LeakReport((*report.checks, drawn_again), report.rows, report.allowed), len(used)


def _drawn_again(frame: pl.DataFrame, asked: Asked) -> Any:
    """Look for copies among all rows, before they are left out."""
    label, classes = encode_target(frame[asked.spec.target], asked.spec.positive)
    side = (asked.split or {}).get("column")
    names = [name for name in frame.columns if name == asked.spec.id or frame[name].n_unique() == len(frame)]
    leave_out = [asked.spec.target, *asked.spec.unread, *names, *([side] if side else [])]
    return check_drawn_again(frame, label, classes, leave_out=leave_out)


def _as_it_stands(first: Examined) -> dict[str, Any]:
    """Return what would be told of the table with what was flagged."""
    return {
        "f1": first.estimates["f1"].to_dict(), "baselines": figures(first.found), "best": first.found.best,
    }  # fmt: skip


def _what_would_help(last: Examined, asked: Asked) -> dict[str, Any]:
    """Return whether rows and columns suffice, and what would help most."""
    customers, found, seed = last.customers, last.found, asked.seed
    steps = learn_in_steps(found, seed=seed, progress=asked.progress)
    asked.progress("what would help")
    rows = pool(customers)
    cells = list(read_cells(customers.typed[rows], customers.schema.features))
    areas = single_areas(cells, customers.label[rows] == 1)
    helping = remedies(found, last.estimates["f1"], steps, areas, seed=seed)
    return {
        "sufficiency": asdict(steps),
        "remedies": [asdict(one) for one in helping],
        "columns": {name: area.figures() for name, area in sorted(areas.items(), key=lambda item: -item[1].auc)},
    }


__all__ = ["SAMPLE_ROWS", "doctor"]
