"""The whole examination: read, flag, fit honest baselines, estimate, and say what would help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.customers import Customers, customer_value, prepare_customers
from churnlib.data.described import rows_with_target
from churnlib.data.leaks import LeakReport, check_leaks
from churnlib.data.leaks.columns import read_cells, single_areas
from churnlib.data.leaks.copied import check_drawn_again
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.data.tables import table_from
from churnlib.data.target import encode_target
from churnlib.diagnosis.baselines import FOLDS, OutOfFold, check_enough, out_of_fold
from churnlib.diagnosis.flags import ALARM, CLAIM, Flag, flags_of, with_effect, without
from churnlib.diagnosis.remedies import remedies
from churnlib.diagnosis.result import Diagnosis
from churnlib.diagnosis.sufficiency import learn_in_steps
from churnlib.diagnosis.verdicts import verdicts
from churnlib.errors import DataError
from churnlib.evaluation.ceiling.attainable import Estimate, attainable
from churnlib.evaluation.ceiling.expected import ESTIMATED, FALLING, OF_CAMPAIGN, PROFIT, balanced_f1
from churnlib.evaluation.ceiling.goal import Goal, judge
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.thresholds import best_expected_f1

SAMPLE_ROWS = 20_000
TOLD = ("f1", "roc_auc", "average_precision", "top_decile_lift", "profit", "log_loss")
"""Figures of which the attainable value is told."""
ALLOWANCE = 0.04
"""By how much other honest models have exceeded the quick baselines in F1: tuned networks and stacks on the public
tables telco (0.00), isp (0.01) and mlc (0.04). A goal or a claim so far above the interval is not refused."""
NAMES = "known names"
NAMED_EFFECT, MOST_NAMED = 0.02, 3
"""F1 that hangs on a column whose name alone is suspicious, to make it an alarm; and how many are tried."""
REPLICATES = 200
FIGURES = ("roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked for, beside the table."""

    spec: TableSpec
    split: Mapping[str, Any] | None
    preprocess: Mapping[str, Any] | None
    campaign: Campaign
    value_column: str | None
    value_times: float
    metrics: tuple[str, ...]
    seed: int
    progress: Progress


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
    asked = _Asked(
        spec=table_spec(spec, said), split=split, preprocess=preprocess, campaign=campaign or Campaign(),
        value_column=value_column, value_times=value_times, metrics=_told(goal), seed=seed, progress=say,
    )  # fmt: skip
    say("reading the table")
    frame = table_from(table)
    sample, true = _sample(frame, asked.spec, sample_rows, seed, truth)
    customers = _prepared(sample, asked, true)
    check_enough(customers, _pool(customers))
    report, used = _leaks(frame, customers, asked, names, allow)
    first = _examined(customers, asked, _test_rows(customers, used))
    flags, last = _cleared(customers, flags_of(report, customers), first, asked)
    found, estimates = last.found, last.estimates
    balanced = balanced_f1(found.probability[found.best])
    flags += _claimed(claim, "f1" if goal is None else goal.metric, estimates, balanced)
    diagnosis = Diagnosis(
        name=name,
        target=asked.spec.target,
        rows=len(frame),
        examined=len(found.label),
        sampled=len(sample) < len(frame),
        features=len(last.customers.schema.features),
        positives=int(found.label.sum()),
        folds=FOLDS,
        by=customers.split.by,
        baselines=_figures(found),
        best=found.best,
        attainable={metric: one.to_dict() for metric, one in estimates.items()},
        balanced_f1=balanced,
        as_it_stands=None if last is first else _as_it_stands(first),
        limit=_limit(last.customers, found),
        **_what_would_help(last, asked),
        flags=[{**asdict(flag), "said": flag.said()} for flag in flags],
        checks=report.to_dict()["checks"],
        cleaning=customers.report.lines(),
        goal=None if goal is None else _judged(goal, estimates, flags),
        claim=claim,
        currency=currency,
    )
    diagnosis.verdicts.extend(verdicts(diagnosis))
    return diagnosis


def _pool(customers: Customers) -> np.ndarray:
    """Return the rows of all sides, ascending."""
    return np.sort(np.concatenate(list(customers.split.sides().values())))


def _leaks(
    frame: pl.DataFrame, customers: Customers, asked: _Asked, names: Sequence[str], allow: Sequence[str]
) -> tuple[LeakReport, int]:
    """Return the leak checks, those for copies in the whole table among them, and how many of its rows have a label."""
    used = rows_with_target(frame, asked.spec).frame
    drawn_again = _drawn_again(used, asked)
    asked.progress("leak checks")
    report = check_leaks(customers, names=names, allow=allow, seed=asked.seed)
    return LeakReport((*report.checks, drawn_again), report.rows, report.allowed), len(used)


def _as_it_stands(first: _Examined) -> dict[str, Any]:
    """Return what would be told of the table with what was flagged."""
    return {
        "f1": first.estimates["f1"].to_dict(), "baselines": _figures(first.found), "best": first.found.best,
    }  # fmt: skip


def _what_would_help(last: _Examined, asked: _Asked) -> dict[str, Any]:
    """Return whether rows and columns suffice, and what would help most."""
    customers, found, seed = last.customers, last.found, asked.seed
    steps = learn_in_steps(found, seed=seed, progress=asked.progress)
    asked.progress("what would help")
    rows = _pool(customers)
    cells = list(read_cells(customers.typed[rows], customers.schema.features))
    areas = single_areas(cells, customers.label[rows] == 1)
    helping = remedies(found, last.estimates["f1"], steps, areas, seed=seed)
    return {
        "sufficiency": asdict(steps),
        "remedies": [asdict(one) for one in helping],
        "columns": {name: area.figures() for name, area in sorted(areas.items(), key=lambda item: -item[1].auc)},
    }


def _told(goal: Goal | None) -> tuple[str, ...]:
    """Return the figures that are estimated: those that everybody is told, and that of the goal."""
    wanted = TOLD if goal is None else (*TOLD, goal.metric)
    return tuple(name for name in dict.fromkeys(wanted) if name in ESTIMATED)


def _judged(goal: Goal, estimates: Mapping[str, Estimate], flags: Sequence[Flag]) -> dict[str, Any]:
    """Return how the goal stands, of a table without test results."""
    leaks = [
        flag.cause if not flag.columns else repr(flag.columns[0])
        for flag in flags
        if flag.level == ALARM and flag.cause != CLAIM
    ]
    return judge(goal, estimates.get(goal.metric), leaks=leaks, allowance=allowance(goal.metric, estimates))


def allowance(metric: str, estimates: Mapping[str, Estimate]) -> float:
    """Return by how much a better model may exceed the quick baselines: of money a share, else F1's own."""
    if metric in (PROFIT, *OF_CAMPAIGN, "log_loss", "top_decile_lift") and metric in estimates:
        return 2.0 * ALLOWANCE * abs(estimates[metric].value)
    return ALLOWANCE


def _prepared(frame: pl.DataFrame, asked: _Asked, truth: np.ndarray | None = None) -> Customers:
    return prepare_customers(
        frame, asked.spec, split=asked.split, preprocess=asked.preprocess, seed=asked.seed, truth=truth
    )


def _drawn_again(frame: pl.DataFrame, asked: _Asked) -> Any:
    """Look for copies among all rows, before they are left out."""
    label, classes = encode_target(frame[asked.spec.target], asked.spec.positive)
    side = (asked.split or {}).get("column")
    names = [name for name in frame.columns if name == asked.spec.id or frame[name].n_unique() == len(frame)]
    leave_out = [asked.spec.target, *asked.spec.unread, *names, *([side] if side else [])]
    return check_drawn_again(frame, label, classes, leave_out=leave_out)


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


def _test_rows(customers: Customers, used: int) -> int:
    """Return how many customers a test set of the whole table has."""
    held_out = len(customers.rows("test")) or len(customers.rows("validation"))
    share = held_out / sum(map(len, customers.split.sides().values()))
    return max(1, round(share * used))


@dataclass(frozen=True, slots=True, eq=False)
class _Examined:
    """A table, what baselines say of it, and what can be attained with that."""

    customers: Customers
    found: OutOfFold
    estimates: Mapping[str, Estimate]

    @property
    def f1(self) -> float:
        return self.estimates["f1"].value


def _examined(customers: Customers, asked: _Asked, test_rows: int) -> _Examined:
    found = out_of_fold(customers, preprocess=asked.preprocess, seed=asked.seed, progress=asked.progress)
    return _Examined(customers, found, _estimates(customers, found, asked, test_rows))


def _cleared(customers: Customers, flags: list[Flag], first: _Examined, asked: _Asked) -> tuple[list[Flag], _Examined]:
    """Return the flags with what they did to F1, and the table examined without what they are about.

    A column that is suspected for its name is an alarm if results hang on it.
    """
    last, alarms = first, [flag for flag in flags if flag.level == ALARM]
    if alarms and (again := _again(customers, alarms, first, asked)) is not None:
        last, flags = again, with_effect(flags, first.f1, again.f1)
    for flag in [flag for flag in flags if flag.level != ALARM and NAMES in flag.checks][:MOST_NAMED]:
        accused = replace(flag, level=ALARM)
        again = _again(customers, [*alarms, accused], first, asked)
        if again is not None and last.f1 - again.f1 >= NAMED_EFFECT:
            alarms.append(accused)
            flags = [*with_effect([accused], last.f1, again.f1), *(one for one in flags if one is not flag)]
            last = again
    return flags, last


def _again(customers: Customers, alarms: Sequence[Flag], first: _Examined, asked: _Asked) -> _Examined | None:
    """Examine the table without what was flagged; None if too little is left."""
    asked.progress("once more without what was flagged")
    frame, columns = without(customers, alarms, seed=asked.seed)
    spec = asked.spec.without(*columns)
    kept = {key: value for key, value in spec.columns.items() if key not in columns}
    spec = table_spec(spec, {"columns": kept, "time": None if spec.time in columns else spec.time})
    try:
        honest = prepare_customers(frame, spec, split=asked.split, preprocess=asked.preprocess, seed=asked.seed)
        rows = round(first.estimates["f1"].test_rows * len(honest.frame) / len(customers.frame))
        return _examined(honest, asked, max(1, rows))
    except DataError:
        return None


def _estimates(customers: Customers, found: OutOfFold, asked: _Asked, test_rows: int) -> dict[str, Estimate]:
    value = None
    if asked.value_column is not None:
        own = customer_value(customers, asked.value_column, option="money.column") * asked.value_times
        value = np.where(np.isnan(own), asked.campaign.value, own)[found.rows]
    return attainable(
        found.label,
        found.probability[found.best],
        metrics=asked.metrics,
        campaign=asked.campaign,
        value=value,
        customers=None if customers.dealing.groups is None else customers.dealing.groups[found.rows],
        test_rows=test_rows,
        replicates=REPLICATES,
        seed=asked.seed,
    )


def _figures(found: OutOfFold) -> dict[str, dict[str, float | None]]:
    """Return what each baseline shows out of fold, decided at the cut that its own probabilities suggest."""
    told = {}
    for model, probability in found.probability.items():
        threshold = best_expected_f1(probability)[0]
        metrics = evaluate(found.label, probability, threshold=threshold)
        told[model] = {**{key: metrics[key] for key in FIGURES}, "threshold": threshold}
    return told


def _limit(customers: Customers, found: OutOfFold) -> dict[str, float] | None:
    """Return the best F1 of the true probabilities, of simulated customers."""
    if customers.truth is None:
        return None
    threshold, f1 = best_expected_f1(customers.truth[found.rows])
    return {"f1": f1, "threshold": threshold}


def _claimed(claim: float | None, metric: str, estimates: Mapping[str, Estimate], balanced: float) -> list[Flag]:
    """Return a flag where a claim is above what any honest model is likely to show."""
    estimate = estimates.get(metric)
    if claim is None or estimate is None:
        return []
    room = allowance(metric, estimates)
    falling = metric in FALLING
    if estimate.test_low - room <= claim if falling else claim <= estimate.test_high + room:
        return []
    beyond = estimate.test_low if falling else estimate.test_high
    evidence = (
        f"{metric} {claim:.3f} is beyond what {estimate.test_rows:,} honest test customers show "
        f"({beyond:.3f} at best, and {room:.2f} for a better model)"
    )
    if metric == "f1":
        evidence += f"; of test rows resampled to half and half the same model would show {balanced:.3f}"
    remedy = (
        "compare the churn rate of its test rows with that of the table, look for test rows among its training rows, "
        "and for columns that were written down afterwards"
    )
    return [Flag(CLAIM, ALARM, evidence, remedy, figures={"claim": claim, "balanced_f1": balanced})]


__all__ = ["ALLOWANCE", "SAMPLE_ROWS", "doctor"]
