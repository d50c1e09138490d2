"""How a run's model treats groups of its test customers: ``fairness.json`` and ``fairness.parquet`` of its folder."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.config import TrainConfig
from churnlib.data.coercion import coerce
from churnlib.data.customers import Customers
from churnlib.errors import ConfigError
from churnlib.evaluation.fairness.compare import HeldOut, compare_classes, compare_groups
from churnlib.evaluation.fairness.groups import Grouping, crossed
from churnlib.evaluation.fairness.report import FairnessReport
from churnlib.predictor import Predictor
from churnlib.schema import Column, Kind, Role, Schema, unknown_column
from churnlib.training.calibrating import held_out_probability
from churnlib.training.fitted import Trained
from churnlib.training.money import campaign_of, values_of
from churnlib.training.results import n_replicates, write_table
from churnlib.training.run_folder import write_json
from churnlib.training.survival import within_horizon

FAIRNESS = "fairness.json"


def compared_columns(config: TrainConfig, customers: Customers) -> list[Column]:
    """Return the columns whose groups are compared: the sensitive ones, and those that the options name.

    Raises:
        ConfigError: If the options name no column of the table, or one whose cells are no groups.
    """
    schema = customers.schema
    found = {column.name: column for column in schema.sensitive}
    for name in config.fairness.columns:
        if name not in schema:
            raise ConfigError(unknown_column(name, [c.name for c in schema.columns], option="fairness.columns"))
        column = schema[name]
        if column.role in (Role.target, Role.id, Role.event_time) or column.kind is Kind.identifier:
            raise ConfigError(
                f"fairness.columns names {name!r}, which names customers or says who left; name a column of groups"
            )
        found[name] = column
    return list(found.values())


def fairness_of(config: TrainConfig, trained: Trained, predictor: Predictor) -> FairnessReport | None:
    """Compare the groups of the test rows; thresholds by group are learned from the held-out rows.

    Of a model that says when customers leave it is about leaving within the horizon, and about the rows of which that
    is known.

    Returns:
        None where there is nothing to compare: no sensitive column, or no test rows.
    """
    customers, options = trained.customers, config.fairness
    columns = compared_columns(config, customers)
    if not columns or not len(customers.rows("test")):
        return None
    test, label, probability = _tested(customers, predictor)
    aside, *told = _held_out(trained, predictor)
    if not len(test):
        return None
    groups, others = [], []
    for column in columns:
        values = typed_column(customers, column)
        learned = Grouping.learn(values[test], column, min_group=options.min_group)
        groups.append(learned.groups)
        others.append(learned.codes(values[aside]))
    pairs = list(combinations(range(len(groups)), 2))
    meets = [crossed(groups[a], groups[b], min_group=options.min_crossed) for a, b in pairs]
    values = values_of(config.money, customers)
    shared: dict[str, Any] = {
        "customers": customers.ids(test),
        "against": options.against,
        "min_group": options.min_group,
        "read": {column.name: column.role is Role.feature for column in columns},
        "replicates": n_replicates(len(test)),
    }
    meets = [meet for meet in meets if len(meet.labels) > 1]
    if predictor.threshold is None:
        return compare_classes(label, probability, [*groups, *meets], classes=predictor.classes, **shared)
    shared |= {
        "threshold": predictor.thresholds(customers.frame[test]),
        "campaign": campaign_of(config.money, customers),
        "value": None if values is None else values[test],
    }
    cuts = predictor.thresholds(customers.frame[aside])
    held_out = HeldOut(told[0], told[1], others, cuts if isinstance(cuts, np.ndarray) else None)
    each = compare_groups(label, probability, groups, held_out=held_out, **shared)
    if not meets:
        return each
    both = compare_groups(label, probability, meets, **shared)
    return FairnessReport((*each.columns, *both.columns), each.threshold, each.min_group, each.n, each.clustered)


def _tested(customers: Customers, predictor: Predictor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the test rows, their labels, and the probabilities that decisions are made from."""
    rows, curve = customers.rows("test"), predictor.bundle.hazards
    if curve is None:
        return rows, customers.label[rows], predictor.probabilities(customers.frame[rows])
    known, label, probability = within_horizon(customers, rows, predictor.logits(customers.typed[rows]), curve)
    return rows[known], label, probability


def _held_out(trained: Trained, predictor: Predictor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same of the held-out rows."""
    customers, (rows, logits) = trained.customers, (trained.held_out.rows, trained.held_out.logits)
    curve = predictor.bundle.hazards
    if curve is None:
        label = customers.label[rows]
        return rows, label, held_out_probability(logits, label, predictor.bundle.calibration)
    known, label, probability = within_horizon(customers, rows, logits, curve)
    return rows[known], label, probability


def typed_column(customers: Customers, column: Column) -> pl.Series:
    """Return a column of any role with the type of its kind, ``(n,)``."""
    if column.name in customers.typed.columns:
        return customers.typed[column.name]
    kind = Kind.categorical if column.kind is Kind.text else column.kind
    alone = Schema((Column(column.name, kind, Role.feature, order=column.order, formats=column.formats),))
    return coerce(customers.frame.select(column.name), alone).typed[column.name]


def write_fairness(report: FairnessReport, folder: Path) -> None:
    """Write the report as JSON, and its figures as a table with one line each; both whole or not at all."""
    write_table(report.table(), folder / "fairness.parquet")
    write_json(folder / FAIRNESS, report.to_dict())


__all__ = ["FAIRNESS", "compared_columns", "fairness_of", "typed_column", "write_fairness"]
