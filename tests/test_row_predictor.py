"""A customer who comes alone gets what a table of that customer gets: the same errors, warnings and answer."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

import pytest

from churnlib.column_predictor import ColumnPredictor
from churnlib.data.customers import Customers
from churnlib.data.tables import INT64
from churnlib.errors import DataError, RowErrors
from churnlib.row_predictor import RowPredictor
from churnlib.serving.answering.rows import RowReader
from tests.made import TINY_MLP, made_bundle
from tests.made_rows import KINDS, by_onnx, compare, compare_body, drawn_rows, row_predictor, usual_row
from tests.test_one_row import CELLS, LISTS, prepared


@pytest.fixture(scope="module")
def made() -> tuple[RowPredictor, Customers]:
    return row_predictor("mlp")


@pytest.mark.parametrize("kind", KINDS)
def test_random_rows_alone_and_as_tables_of_one_row(kind):
    rows, customers = row_predictor(kind)
    drawn = drawn_rows(customers, 40)
    kept = [row for row in drawn if compare(row, rows)]
    assert len(kept) > 32
    together = rows.answers([rows.read(row) for row in kept])
    assert together == [rows.answers([rows.read(row)])[0] for row in kept]
    if not (customers.preparation.has_steps or kind == "rules"):
        assert sum(map(rows.is_usual, drawn)) > 2  # else the shortest way was not looked at
        reader = RowReader(rows.predictor)
        assert sum(compare_body(row, reader) for row in drawn) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_random_rows(kind):
    """A part of what scripts/check_one_row.py compares."""
    rows, customers = row_predictor(kind)
    assert sum(compare(row, rows) for row in drawn_rows(customers, 150, seed=1)) > 120


@pytest.mark.parametrize("cell", [cell for cell in CELLS if isinstance(cell, str | int | float | None)], ids=repr)
def test_one_odd_cell(made, cell):
    rows, customers = made
    usual = usual_row(customers)
    names = ("charges", "plan", "paperless", "joined", "band", "usage")
    assert all(compare({**usual, name: cell}, rows) for name in names)


@pytest.mark.parametrize("cell", LISTS, ids=repr)
def test_one_odd_list(made, cell):
    rows, customers = made
    usual = usual_row(customers)
    assert compare({**usual, "usage": cell}, rows)
    assert compare({**usual, "charges": cell}, rows) is not isinstance(cell, list)


WHOLE_NUMBERS = {"categories": {"kind": "categorical"}, "ranks": {"order": [str(number) for number in range(72)]}}


@pytest.mark.parametrize("column", WHOLE_NUMBERS.values(), ids=WHOLE_NUMBERS)
def test_whole_numbers_may_name_categories(column):
    customers = prepared(columns={"tenure": column}, drop=["usage"])
    predictor = by_onnx(made_bundle(customers, network=TINY_MLP))
    rows, usual = RowPredictor(predictor), usual_row(customers)
    assert isinstance(usual["tenure"], int)
    assert rows.is_usual(usual)
    assert rows.is_usual({**usual, "tenure": str(usual["tenure"])})
    assert not rows.is_usual({**usual, "tenure": 2**70})
    kept = [cell for cell in CELLS if compare({**usual, "tenure": cell}, rows)]
    numbers = [cell for cell in kept if type(cell) is int and cell in INT64]
    columns = {name: [cell] * len(numbers) for name, cell in usual.items()} | {"tenure": numbers}
    many = ColumnPredictor(predictor)
    found = many.answers(many.read(columns))["churn_probability"]
    assert found == predictor.predict(columns)["churn_probability"].to_list()


def test_numbers_may_come_as_text_and_blanks_as_nothing(made):
    rows, customers = made
    usual = usual_row(customers)
    for cell in ("62.50", " 47", "", " ", "NA"):
        assert rows.is_usual({**usual, "charges": cell})
        assert compare({**usual, "charges": cell}, rows)
    assert compare({**usual, "charges": True}, rows)  # 1, which is less than anybody was charged
    assert not any(rows.is_usual({**usual, "charges": cell}) for cell in ("free", "1e3", [1], 10**400, float("nan")))


def test_an_answer_with_torch_has_the_bits_of_a_table():
    rows, customers = row_predictor("tabnet", backend="torch")
    assert all(compare(row, rows) for row in (usual_row(customers, number) for number in range(10)))
    many = [usual_row(customers, number) for number in range(40)]
    expected = rows.predictor.predict(many).drop("customer_id").to_dicts()
    assert rows.answers([rows.read(row) for row in many]) == expected


def test_a_row_is_any_mapping_and_nothing_else(made):
    rows, customers = made
    usual = usual_row(customers)
    expected = rows.answers([rows.read(usual)])
    for form in (OrderedDict(usual), MappingProxyType(usual), dict(reversed(usual.items()))):
        assert rows.answers([rows.read(form)]) == expected
    for wrong in ([1], None, "row", {}):
        with pytest.raises(DataError):
            rows.read(wrong)  # type: ignore[arg-type]


def test_names_that_are_ignored_give_no_warning(made):
    rows, customers = made
    usual = usual_row(customers)
    lenient = RowPredictor(rows.predictor, ignored=["customer_id", "tenure"])
    for odd in ({}, {"plan": "unseen"}):
        row = {**usual, **odd, "customer_id": "C1"}
        assert lenient.read(row).warnings == rows.read({**usual, **odd}).warnings
        assert rows.read(row).warnings[0] == ("customer_id", "is not a column of this model")
        assert lenient.read(row).typed["tenure"] == usual["tenure"]


def test_nobody_is_answered_nothing_and_a_bad_row_nothing_beside_good_ones(made):
    rows, customers = made
    good, bad = usual_row(customers), {**usual_row(customers), "charges": "free"}
    assert rows.answers([]) == []
    read = [rows.read(row) for row in (good, bad, good)]
    found = rows.answers(read)
    assert found[1] == {"churn_probability": None, "churn_prediction": None}
    assert found[0] == found[2] == rows.answers(read[:1])[0]


def test_cells_that_no_table_holds_are_named_all_together(made):
    rows, customers = made
    row = {**usual_row(customers), "charges": [1], "plan": {"a": 1}, "further": b"x", "paperless": "\ud800"}
    with pytest.raises(RowErrors) as alone:
        rows.read(row)
    assert {error.column for error in alone.value.errors} == {"charges", "plan", "further", "paperless"}


def test_a_horizon_is_that_of_the_predictor():
    rows, customers = row_predictor("hazard")
    usual = usual_row(customers)
    expected = rows.predictor.predict([usual], horizon=20.0)["churn_probability"].to_list()
    assert [answer["churn_probability"] for answer in rows.answers([rows.read(usual)], horizon=20.0)] == expected
