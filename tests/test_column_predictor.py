"""Many customers in columns get what a table of them gets: the same errors, warnings and answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from churnlib.column_predictor import ColumnPredictor
from churnlib.data.customers import Customers
from churnlib.errors import DataError, RowErrors
from churnlib.predictor import Predictor
from tests.made_rows import KINDS, row_predictor, say, told
from tests.test_one_row import CELLS, LISTS

TEXTS = [cell for cell in CELLS if isinstance(cell, str)]
NUMBERS = [cell for cell in CELLS if type(cell) in (int, float)]


def drawn_columns(customers: Customers, n: int, *, seed: int = 0) -> dict[str, list[Any]]:
    """Customers of the table; in some columns a tenth of the cells are odd ones of one type."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(customers.frame), n)
    columns = {}
    for name in customers.frame.columns:
        cells = customers.frame[name][rows]
        values = cells.cast(pl.String).to_list() if cells.dtype == pl.Date else cells.to_list()
        types = {type(value) for value in values if value is not None}
        pool: list[Any] = TEXTS if types == {str} else LISTS[:9] if types == {list} else NUMBERS
        if rng.random() < 0.6:
            for row in np.flatnonzero(rng.random(n) < 0.1).tolist():
                values[row] = pool[int(rng.integers(len(pool)))]
        columns[name] = values
    columns["value"] = [float(value) for value in rng.integers(0, 200, n)]
    return columns


def compare(columns: dict[str, list[Any]], predictor: Predictor) -> int:
    """Of how many customers something is said; the same is said of them as a table."""
    many = ColumnPredictor(predictor)
    reading, read = predictor.read(columns), many.read(columns)
    assert say(read.errors) == say(reading.errors)
    assert read.warnings == reading.warnings
    assert read.bad.tolist() == reading.bad.tolist()
    expected = predictor.answers(reading).drop("customer_id").to_dict(as_series=False)
    assert say(many.answers(read)) == say(expected)
    return len({one.row for one in (*read.errors, *read.warnings)})


@pytest.fixture(scope="module")
def plain() -> tuple[Predictor, Customers]:
    rows, customers = row_predictor("mlp", lists=False)
    return rows.predictor, customers


@pytest.mark.parametrize(("kind", "lists"), [*((kind, False) for kind in KINDS), ("mlp", True)])
def test_columns_are_read_and_answered_as_a_table(kind, lists):
    rows, customers = row_predictor(kind, lists=lists)
    shortest = ColumnPredictor(rows.predictor)._usual is not None
    assert shortest is not (lists or kind in ("rules", "steps", "flags"))
    told_of = [compare(drawn_columns(customers, 300, seed=seed), rows.predictor) for seed in range(3)]
    assert max(told_of) > 20


def test_the_shortest_way_is_taken_where_there_is_one(plain):
    predictor, customers = plain
    usual = ColumnPredictor(predictor)._usual
    assert usual is not None
    columns = drawn_columns(customers, 300)
    del columns["value"]
    found = usual.read(columns)
    assert found is not None
    assert 0 < found.unusual.sum() < 200


def test_one_column_of_odd_cells(plain):
    predictor, customers = plain
    usual = {name: [cell] * len(TEXTS) for name, cell in customers.frame.row(4, named=True).items()}
    usual = {name: [str(c) for c in cells] if name in ("joined", "taken") else cells for name, cells in usual.items()}
    for name in ("charges", "plan", "paperless", "joined", "band"):
        compare({**usual, name: TEXTS}, predictor)
    many = [NUMBERS[place % len(NUMBERS)] for place in range(len(TEXTS))]
    for name in ("charges", "plan", "paperless"):
        compare({**usual, name: many}, predictor)


def test_an_odd_cell_is_told_by_its_row_and_changes_nobody_elses_answer(plain):
    predictor, customers = plain
    columns = {name: cells for name, cells in drawn_columns(customers, 300, seed=3).items() if name != "value"}
    many = ColumnPredictor(predictor)
    before = many.answers(many.read(columns))["churn_probability"]
    columns["charges"] = [{7: True, 9: "free"}.get(row, cell) for row, cell in enumerate(columns["charges"])]
    read = many.read(columns)
    after = many.answers(read)["churn_probability"]
    assert sorted({error.row for error in read.errors if error.value == "free"}) == [9]
    assert 7 not in {error.row for error in read.errors if error.column == "charges"}  # true is 1, as it is alone
    assert [new for row, new in enumerate(after) if row not in (7, 9)] == [
        old for row, old in enumerate(before) if row not in (7, 9)
    ]


def test_cells_that_no_table_holds_are_named_by_their_rows(plain):
    predictor, customers = plain
    columns = {name: cells for name, cells in drawn_columns(customers, 300).items() if name != "value"}
    columns["plan"] = [{"a": 1} if row == 250 else cell for row, cell in enumerate(columns["plan"])]
    with pytest.raises(RowErrors) as refusal:
        ColumnPredictor(predictor).read(columns)
    assert [(error.row, error.column) for error in refusal.value.errors] == [(250, "plan")]


@pytest.mark.parametrize("wrong", [{"tenure": [1, 2], "plan": ["a"]}, {"tenure": "12"}, {"tenure": 3}])
def test_what_is_no_table_is_refused_as_ever(plain, wrong):
    predictor, _ = plain
    found, expected = told(ColumnPredictor(predictor).read, wrong), told(predictor.read, wrong)
    assert isinstance(found, DataError)
    assert str(found) == str(expected)
