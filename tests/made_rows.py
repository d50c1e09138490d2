"""Models of every kind that answer customers one at a time, and what is said of a customer alone and in a table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import torch

from churnlib.bundle import Bundle
from churnlib.calibration import Beta, Isotonic, Platt
from churnlib.data.coercion import coerce
from churnlib.data.customers import Customers
from churnlib.data.validation.book import read_rules
from churnlib.decision import Offer, OwnThreshold
from churnlib.errors import DataError
from churnlib.exporting.onnx import exported
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.models.network import build_network
from churnlib.models.network_model import NetworkModel
from churnlib.models.onnx.running import OnnxModel
from churnlib.predictor import Predictor
from churnlib.row_predictor import RowPredictor
from churnlib.schema import Schema
from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answering.rows import RowReader
from churnlib.survival import HazardCurve
from churnlib.training.baselines import rows_of, task_of
from tests.made import TINY_MLP, TINY_TABNET, made_bundle
from tests.test_one_row import CELLS, prepared, random_row

OFFER = Offer(offer_cost=10, contact_cost=1, acceptance=0.5)
OWN = OwnThreshold(column="charges", times=2.0, otherwise=90.0, offer=OFFER)
ELSEWHERE = OwnThreshold(column="value", times=1.0, otherwise=50.0, offer=OFFER)
"""By a column that the model does not know."""

RULES = {
    "columns": {
        "tenure": {"min": 0, "max": 60, "whole": True},
        "plan": {"pattern": "[a-z ]*", "required": True},
        "joined": {"min": "2020-01-10"},
        "band": {"values": ["low", "middle"]},
    },
    "rows": {"agreed": "charges >= tenure - 30 OR plan = 'yearly'", "some": "charges * 2 < 300"},
}
STEPS = {
    "more": {"step": "expressions", "columns": {"per": "charges / NULLIF(tenure, 0)"}},
    "odd": {"step": "outliers", "method": "isolation_forest", "treatment": "flag", "flag": "unusual_customer"},
}


def required(schema: Schema, *names: str) -> Schema:
    """The schema, in which these columns need a value."""
    return replace(
        schema, columns=tuple(replace(c, nullable=c.nullable and c.name not in names) for c in schema.columns)
    )


def with_rules(bundle: Bundle, customers: Customers) -> Bundle:
    """A model whose rows keep rules."""
    bound = read_rules(RULES).bind(bundle.schema, coerce(customers.frame, bundle.schema).typed)
    return replace(bundle, schema=replace(bundle.schema, rules=bound))


def hazard_bundle(customers: Customers) -> Bundle:
    """A model that says when customers leave, by how long they have been there."""
    inputs = customers.preparation.input_spec()
    torch.manual_seed(0)
    network = build_network(TINY_MLP, inputs, n_classes=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    curve = HazardCurve((6.0, 12.0, 24.0), horizon=9.0, elapsed="tenure")
    return replace(
        made_bundle(customers, network=TINY_MLP), model=NetworkModel(network, TINY_MLP, inputs), calibration=curve,
        golden=(),
    )  # fmt: skip


def baseline_bundle(customers: Customers) -> Bundle:
    """A fitted baseline."""
    n_classes = len(customers.schema.classes)
    task = task_of(customers, class_weights=[1.0] * n_classes)
    model = LogisticRegression().fit(rows_of(customers, "train"), rows_of(customers, "validation"), task)
    return replace(made_bundle(customers, network=TINY_MLP), model=model, golden=())


def made(kind: str, *, lists: bool = True) -> tuple[Bundle, Customers]:
    """A model of a kind in :data:`KINDS`, and the customers it was prepared for.

    With sequences, and some kinds with a column of time, or without any.
    """
    drop = () if lists else ("usage",)
    if kind == "hazard":
        customers = prepared(columns={"tenure": {"role": "elapsed"}}, drop=drop)
        return hazard_bundle(customers), customers
    if kind == "several classes":
        customers = prepared(time=lists, drop=drop, classes=("stayed", "moved", "died"))
        bundle = made_bundle(customers, network=TINY_MLP)
        return replace(bundle, calibration=Platt(0.8, (0.1, 0.0, -0.2))), customers
    if kind in ("steps", "flags"):
        customers = prepared(steps=STEPS if kind == "flags" else {"more": STEPS["more"]}, drop=drop)
        return made_bundle(customers, network=TINY_MLP), customers
    customers = prepared(time=lists and kind in ("tabnet", "rules"), drop=drop)
    bundle = made_bundle(customers, network=TINY_TABNET if kind == "tabnet" else TINY_MLP)
    if kind == "required":
        schema = required(bundle.schema, "charges", "plan", "paperless", "joined", "band", "usage")
        return replace(bundle, schema=schema, calibration=Beta(0.7, 1.2, 0.1)), customers
    if kind == "rules":
        return with_rules(replace(bundle, schema=required(bundle.schema, "band")), customers), customers
    if kind == "baseline":
        return replace(baseline_bundle(customers), calibration=Isotonic((-1.0, 0.5, 2.0), (0.1, 0.4, 0.7))), customers
    if kind == "own threshold":
        return replace(bundle, own_threshold=OWN), customers
    if kind == "own threshold by another column":
        return replace(bundle, own_threshold=ELSEWHERE), customers
    return bundle, customers


KINDS = (
    "mlp", "tabnet", "baseline", "several classes", "hazard", "own threshold", "own threshold by another column",
    "required", "rules", "steps", "flags",
)  # fmt: skip


@cache
def row_predictor(kind: str, *, backend: str = "onnx", lists: bool = True) -> tuple[RowPredictor, Customers]:
    """What answers the customers of such a model one at a time."""
    bundle, customers = made(kind, lists=lists)
    return RowPredictor(by_onnx(bundle) if backend == "onnx" else Predictor(bundle)), customers


def by_onnx(bundle: Bundle) -> Predictor:
    """A model that ONNX Runtime answers for, whose answers no other rows change."""
    model = bundle.model
    return Predictor(replace(bundle, model=OnnxModel(exported(bundle), original=lambda: model)))


# --- rows -----------------------------------------------------------------------------------------------------------


def usual_row(customers: Customers, number: int = 4) -> dict[str, Any]:
    """A customer of the table as JSON holds it."""
    cells = {c.name: customers.frame[c.name][number] for c in customers.schema.columns if c.name in customers.frame}
    return {
        name: v.to_list() if isinstance(v, pl.Series) else str(v) if isinstance(v, dt.date) else v
        for name, v in cells.items()
    }


def drawn_rows(customers: Customers, n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Customers of the table in whom nothing, one cell, or half of the cells are odd; some with further columns."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        row = usual_row(customers, int(rng.integers(len(customers.frame))))
        drawn = random_row(customers, rng)
        if number % 4 == 1:
            row = drawn
        elif number % 4 == 2:
            row |= dict([list(drawn.items())[int(rng.integers(len(drawn)))]]) if drawn else {}
        elif number % 4 == 3:
            others = ["value", "more", " tenure", "tenure", "Plan", "left", "", "*", "a  b", "\ud800"]
            row[others[int(rng.integers(len(others)))]] = CELLS[int(rng.integers(len(CELLS)))]
        rows.append(row)
    return rows


# --- alone and as a table -------------------------------------------------------------------------------------------


def compare(row: Any, rows: RowPredictor) -> bool:
    """Whether the row is one at all; if so, alone and as a table it is the same."""
    predictor = rows.predictor
    reading, read = (told(read, row) for read in (lambda row: predictor.read([row]), rows.read))
    if isinstance(reading, DataError):
        assert (type(read), str(read)) == (type(reading), str(reading)), row
        return False
    assert say(read.errors) == say(reading.errors), row
    assert read.warnings == [(warning.column, warning.problem) for warning in reading.warnings], row
    assert say(rows.answers([read])) == say(predictor.answers(reading).drop("customer_id").to_dicts()), row
    cells = {n: v.to_physical() if v.dtype == pl.Datetime else v for n, v in reading.typed.to_dict().items()}
    assert say(dict(read.typed)) == say({name: cell.to_list()[0] for name, cell in cells.items()}), row
    return True


def compare_body(row: Any, reader: RowReader) -> bool:
    """Whether the row is read from bytes in the shortest way; if so, it is what the longer way makes of it."""
    try:
        body = json.dumps(row).encode()
        short = reader.usual(body, request_id="r")
        if short is None:
            return False
    except (TypeError, ValueError):  # no JSON
        return False
    long = reader.customer(parse_row(body), request_id="r")
    assert say(short[:1]) == say(long[:1]) and not short.warnings and not long.warnings, row
    assert short.request_id == long.request_id
    for name in ("numbers", "codes", "elapsed", "worth", "typed", "errors"):
        assert say(getattr(short.row, name)) == say(getattr(long.row, name)), (name, row)
    return True


def told(read: Callable[[Any], Any], row: Any) -> Any:
    """What a reader returns, or the error that it raises."""
    try:
        return read(row)
    except DataError as error:
        return error


def say(values: object) -> str:
    """What stands in values, told so that 1, True and 1.0 differ, and 0.0 and -0.0."""
    return repr(values)
