"""A table examined: what honest baselines say of it, what can be attained, and the same without what was flagged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.customers import Customers, customer_value, prepare_customers
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.diagnosis.baselines import OutOfFold, out_of_fold
from churnlib.diagnosis.flags import ALARM, Flag, with_effect, without
from churnlib.errors import DataError
from churnlib.evaluation.ceiling.attainable import Estimate, attainable
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.thresholds import best_expected_f1

NAMES = "known names"
NAMED_EFFECT, MOST_NAMED = 0.02, 3
"""F1 that hangs on a column whose name alone is suspicious, to make it an alarm; and how many are tried."""
REPLICATES = 200
FIGURES = ("roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
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


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """A table, what baselines say of it, and what can be attained with that."""

    customers: Customers
    found: OutOfFold
    estimates: Mapping[str, Estimate]

    @property
    def best(self) -> np.ndarray:
        """What the best baseline says of each row, ``(n,)``."""
        return self.found.probability[self.found.best]

    @property
    def f1(self) -> float:
        """What can be attained."""
        return self.estimates["f1"].value


def examined(customers: Customers, asked: Asked, test_rows: int) -> Examined:
    """Examine a table, of which a test set has so many customers."""
    found = out_of_fold(customers, preprocess=asked.preprocess, seed=asked.seed, progress=asked.progress)
    return Examined(customers, found, _estimates(customers, found, asked, test_rows))


def prepared(frame: pl.DataFrame, asked: Asked, truth: np.ndarray | None = None) -> Customers:
    """Return rows of the table, prepared as was asked for."""
    return prepare_customers(
        frame, asked.spec, split=asked.split, preprocess=asked.preprocess, seed=asked.seed, truth=truth
    )


def cleared(customers: Customers, flags: list[Flag], first: Examined, asked: Asked) -> tuple[list[Flag], Examined]:
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


def _again(customers: Customers, alarms: Sequence[Flag], first: Examined, asked: Asked) -> Examined | None:
    """Examine the table without what was flagged; None if too little is left."""
    asked.progress("once more without what was flagged")
    frame, columns = without(customers, alarms, seed=asked.seed)
    spec = asked.spec.without(*columns)
    kept = {key: value for key, value in spec.columns.items() if key not in columns}
    spec = table_spec(spec, {"columns": kept, "time": None if spec.time in columns else spec.time})
    try:
        honest = prepare_customers(frame, spec, split=asked.split, preprocess=asked.preprocess, seed=asked.seed)
        rows = round(first.estimates["f1"].test_rows * len(honest.frame) / len(customers.frame))
        return examined(honest, asked, max(1, rows))
    except DataError:
        return None


def _estimates(customers: Customers, found: OutOfFold, asked: Asked, test_rows: int) -> dict[str, Estimate]:
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


def figures(found: OutOfFold) -> dict[str, dict[str, float | None]]:
    """Return what each baseline shows out of fold, decided at the cut that its own probabilities suggest."""
    told = {}
    for model, probability in found.probability.items():
        threshold = best_expected_f1(probability)[0]
        metrics = evaluate(found.label, probability, threshold=threshold)
        told[model] = {**{key: metrics[key] for key in FIGURES}, "threshold": threshold}
    return told


def limit(customers: Customers, found: OutOfFold) -> dict[str, float] | None:
    """Return the best F1 of the true probabilities, of simulated customers."""
    if customers.truth is None:
        return None
    threshold, f1 = best_expected_f1(customers.truth[found.rows])
    return {"f1": f1, "threshold": threshold}


__all__ = ["REPLICATES", "Asked", "Examined", "Progress", "cleared", "examined", "figures", "limit", "prepared"]
