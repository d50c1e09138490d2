"""Sensitive columns: kept from the model in every door, and still there for whoever compares groups."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from made import made_bundle, made_customers

from churnlib.compose import compose
from churnlib.data.customers import prepare_customers
from churnlib.data.one_row import OneRowReader
from churnlib.data.prepared_table import prepare_table
from churnlib.data.simulator import model
from churnlib.predictor import Predictor
from churnlib.serving.answering.rows import RowReader

COLUMNS = {"region": {"sensitive": True, "purpose": "delivery", "owner": "logistics"}}


@pytest.fixture(scope="module")
def customers():
    return prepare_customers(made_customers(), target="churn", id="customer", columns=COLUMNS)


@pytest.fixture(scope="module")
def predictor(customers):
    return Predictor(made_bundle(customers))


def test_only_gender_is_declared_by_shipped_tables_and_the_simulators_truth_does_not_read_it():
    declared = {
        name: {column for column, said in compose([f"data={name}"]).data.columns.items() if said.sensitive}
        for name in ("simulator", "telco", "mlc", "isp")
    }
    assert declared == {"simulator": {"gender"}, "telco": {"gender"}, "mlc": set(), "isp": set()}
    drawn = model.draw_customers(np.random.default_rng(0), 500)
    before = model.churn_probability(drawn)
    drawn.gender[:] = 1 - drawn.gender
    np.testing.assert_array_equal(model.churn_probability(drawn), before)


def test_it_is_no_input_and_stays_beside_the_rows(customers):
    assert "region" not in customers.preparation.feature_names
    assert customers.typed["region"].to_list() == customers.frame["region"].to_list()
    assert (
        "region"
        in prepare_customers(
            made_customers(), target="churn", id="customer", columns={"region": {"sensitive": True, "use": True}}
        ).preparation.feature_names
    )


def test_what_it_says_changes_no_answer_and_its_absence_neither(predictor):
    table = made_customers(40, seed=3)
    answers = predictor.predict(table)
    assert predictor.predict(table.drop("region")).equals(answers)
    assert predictor.predict(table.with_columns(region=pl.lit("elsewhere"))).equals(answers)
    assert not [warning for warning in predictor.read(table).warnings if warning.column == "region"]


def test_no_door_asks_for_it_or_shows_it(predictor):
    assert "region" not in [entry["name"] for entry in predictor.input_schema()]
    assert "region" not in predictor.bundle.profile["columns"]
    assert not [golden for golden in predictor.bundle.golden if "region" in golden["row"]]
    row = made_customers(1).to_dicts()[0]
    sent = RowReader(predictor).customer(row)
    assert "region" not in sent.row.typed and not [name for name, _ in sent.warnings if "region" in name]
    one = OneRowReader(predictor.schema, predictor.bundle.preparation).read({**row, "region": None})
    assert not one.missing and not one.unseen


def test_a_prepared_table_does_not_hold_it_and_says_so(tmp_path):
    done = prepare_table(made_customers().lazy(), tmp_path / "out", target="churn", id="customer", columns=COLUMNS)
    assert "region" not in pl.read_parquet_schema(tmp_path / "out" / "prepared.parquet")
    assert any("sensitive: region" in line for line in done.said)
