"""A customer who comes alone gets what a table of that customer gets: the same errors, warnings and answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from made import TINY_MLP, made_bundle

from churnlib.decision import Offer, OwnThreshold
from churnlib.errors import DataError
from churnlib.exporting.onnx import exported
from churnlib.models.onnx.running import OnnxModel
from churnlib.predictor import Predictor
from churnlib.row_predictor import RowPredictor
from tests.test_one_row import CELLS, prepared, random_row

OWN = OwnThreshold(
    column="charges", times=2.0, otherwise=90.0, offer=Offer(offer_cost=10, contact_cost=1, acceptance=0.5)
)


def answered_by_onnx(bundle) -> Predictor:
    """The bundle's model answers by ONNX Runtime, whose answers do not depend on the rows around."""
    model = bundle.model
    return Predictor(replace(bundle, model=OnnxModel(exported(bundle), original=lambda: model)))


def say(values: object) -> str:
    """What stands in values, told so that 1, True and 1.0 differ."""
    return repr(values)


def told(read: Callable[[Any], Any], row: Any) -> Any:
    """What a reader returns, or the error that it raises."""
    try:
        return read(row)
    except DataError as error:
        return error


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


@pytest.fixture(scope="module")
def customers():
    return prepared(time=True)


@pytest.fixture(scope="module")
def rows(customers) -> RowPredictor:
    bundle = replace(made_bundle(customers, network=TINY_MLP), own_threshold=OWN)
    return RowPredictor(answered_by_onnx(bundle))


def test_random_rows_are_read_and_answered_as_a_table_of_them(rows, customers):
    rng = np.random.default_rng(0)
    drawn = [random_row(customers, rng) for _ in range(60)]
    kept = [row for row in drawn if compare(row, rows)]
    assert len(kept) > 40
    alone = [rows.answers([rows.read(row)])[0] for row in kept]
    assert rows.answers([rows.read(row) for row in kept]) == alone


@pytest.mark.parametrize("cell", [cell for cell in CELLS if isinstance(cell, str | int | float | None)], ids=repr)
def test_one_odd_cell(rows, customers, cell):
    usual = {c.name: customers.frame[c.name][4] for c in customers.schema.features} | {"taken": "2023-01-05"}
    usual = {name: v.to_list() if isinstance(v, pl.Series) else v for name, v in usual.items()}
    usual["joined"] = str(usual["joined"])
    assert all(compare({**usual, name: cell}, rows) for name in ("charges", "plan", "paperless", "joined", "band"))
