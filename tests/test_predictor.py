import dataclasses

import numpy as np
import polars as pl
import pytest
from made import made_bundle, made_customers, made_prepared

from churnlib.bundle import write_bundle
from churnlib.column_predictor import ColumnPredictor
from churnlib.decision import Offer, OwnThreshold
from churnlib.errors import DataError, RowErrors
from churnlib.predictor import Predictor, load
from churnlib.reading import OUTSIDE
from churnlib.row_predictor import RowPredictor
from churnlib.serving.answers import kind_of_warning


@pytest.fixture(scope="module")
def predictor():
    return Predictor(made_bundle())


TABLE = made_customers(300)


def test_one_answer_per_row_in_order(predictor):
    answers = predictor.predict(TABLE)
    assert answers.columns == ["customer_id", "churn_probability", "churn_prediction"]
    assert answers.schema == {"customer_id": pl.String, "churn_probability": pl.Float64, "churn_prediction": pl.Int64}
    assert answers["customer_id"].to_list() == TABLE["customer"].to_list()
    expected = (answers["churn_probability"] >= 0.4).cast(pl.Int64).to_list()
    assert answers["churn_prediction"].to_list() == expected
    assert answers["churn_probability"].n_unique() > 200


def test_one_row_equals_many(predictor):
    """Invariant 1: alone, in another order, in any batch, twice: the same probability."""
    together = predictor.probabilities(TABLE)
    alone = np.concatenate([predictor.probabilities(TABLE[i : i + 1]) for i in range(0, 300, 7)])
    np.testing.assert_allclose(alone, together[::7], atol=1e-6)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(predictor.probabilities(TABLE[order]), together[order], atol=1e-6)
    np.testing.assert_allclose(predictor.probabilities(pl.concat([TABLE, TABLE]))[300:], together, atol=1e-6)


def test_any_form_of_the_same_table_gives_the_same_answers(predictor):
    expected = predictor.probabilities(TABLE)
    as_text = TABLE.with_columns(pl.all().cast(pl.String))
    as_dicts = [{**row, "joined": row["joined"].isoformat()} for row in TABLE.to_dicts()]
    lazily = TABLE.lazy()
    backwards = TABLE.select(reversed(TABLE.columns)).with_columns(comment=pl.lit("hello"))
    lists = TABLE.to_dict(as_series=False)
    for form in (as_text, as_dicts, TABLE.to_pandas(), lazily, backwards, lists):
        np.testing.assert_array_equal(predictor.probabilities(form), expected)


def test_columns_known_in_other_roles_may_be_there_or_not(predictor):
    expected = predictor.probabilities(TABLE)
    np.testing.assert_array_equal(predictor.probabilities(TABLE.drop("churn", "customer")), expected)
    assert predictor.predict(TABLE.drop("customer"))["customer_id"].to_list() == list(range(300))
    assert {warning.problem for warning in predictor.read(TABLE).warnings} <= {OUTSIDE}


def test_a_number_sent_as_text_is_read_and_other_text_is_an_error_of_its_row(predictor):
    rows = TABLE[:3].to_dicts()
    rows[1]["tenure"] = "a year"
    with pytest.raises(
        RowErrors,
        match=r"1 row cannot be scored; the first is row 1: column 'tenure' must be a finite number, got 'a year'",
    ):
        predictor.predict(rows)
    rows[1]["tenure"] = " 12 "
    rows[2]["tenure"] = float("inf")
    reading = predictor.read(rows)
    assert [(error.row, error.column) for error in reading.errors] == [(2, "tenure")]
    answers = predictor.predict(reading, on_error="null")
    assert answers["churn_probability"].is_null().to_list() == [False, False, True]
    assert answers["churn_prediction"].is_null().to_list() == [False, False, True]


def test_a_required_value_may_not_be_missing_and_an_optional_one_may(predictor):
    rows = TABLE[:2].to_dicts()
    rows[0] |= {"charges": None, "plan": None}
    errors = predictor.read(rows).errors
    assert [(error.row, error.column, error.problem) for error in errors] == [(0, "plan", "is required and missing")]


def test_an_absent_column_is_an_error_if_required_and_a_warning_if_not(predictor):
    with pytest.raises(DataError, match=r"lacks the column 'plan', which the model reads; did you mean 'Plan'\?"):
        predictor.predict(TABLE.rename({"plan": "Plan"}))
    warnings = predictor.read(TABLE.drop("charges")).warnings
    assert [str(warning) for warning in warnings] == ["'charges' is absent"]


def test_unseen_categories_are_served_with_a_warning(predictor):
    rows = TABLE[:2].to_dicts()
    rows[1] |= {"region": "the moon", "paperless": "sometimes"}
    reading = predictor.read(rows)
    assert not reading.errors
    assert {(w.row, w.column) for w in reading.warnings} == {(1, "region"), (1, "paperless")}
    assert np.isfinite(predictor.probabilities(reading)).all()


def test_an_empty_table_has_empty_answers(predictor):
    answers = predictor.predict(TABLE.head(0))
    assert answers.shape == (0, 3)
    assert answers.schema["churn_probability"] == pl.Float64


def test_duplicates_are_answered_each(predictor):
    assert len(predictor.predict(pl.concat([TABLE[:1]] * 3))) == 3


def test_training_rows_and_served_rows_go_the_same_way():
    """The arrays that training saw are those that the predictor computes from the raw rows."""
    customers = made_prepared(200)
    predictor = Predictor(made_bundle(customers))
    for side in ("train", "test"):
        encoded = customers.encoded[side]
        again = customers.preparation.encode(predictor.read(customers.frame[customers.rows(side)]).typed)
        np.testing.assert_array_equal(again.numeric, encoded.numeric)
        np.testing.assert_array_equal(again.codes, encoded.codes)


def test_the_input_schema_tells_what_a_row_may_hold(predictor):
    by_name = {entry["name"]: entry for entry in predictor.input_schema()}
    assert by_name["plan"] == {
        "name": "plan",
        "kind": "categorical",
        "required": True,
        "values": ["monthly", "two years", "yearly"],
    }
    assert by_name["charges"] == {"name": "charges", "kind": "numeric", "required": False}
    assert set(by_name) == {"tenure", "charges", "plan", "region", "paperless", "joined"}


OFFER = Offer(offer_cost=10.0, contact_cost=1.0, acceptance=0.5)


@pytest.fixture(scope="module")
def by_value():
    """A model that decides by a column it does not know: customers worth twice what it says, or 40."""
    own = OwnThreshold(column="worth", times=2.0, otherwise=40.0, offer=OFFER)
    return Predictor(dataclasses.replace(made_bundle(), own_threshold=own))


def test_a_customer_is_decided_by_his_own_value(by_value, predictor):
    worth = [1000.0, 20.0, 5.0, -300.0, None, "much"]
    rows = [{**row, "worth": value} for row, value in zip(TABLE[:6].to_dicts(), worth, strict=True)]
    answers = by_value.predict(rows)
    # 11 / (10 + (2 worth - 10) / 2), and nobody whose stake is below the offer with the contact
    needed = np.array([11 / 1005, 11 / 25, np.inf, np.inf, 11 / 25, 11 / 25])
    assert by_value.thresholds(pl.DataFrame({"worth": worth}, strict=False)).tolist() == needed.tolist()
    probability = predictor.probabilities(TABLE[:6])
    np.testing.assert_array_equal(answers["churn_probability"], probability)
    assert answers["churn_prediction"].to_list() == (probability >= needed).astype(int).tolist()
    warned = [(w.row, w.column) for w in by_value.read(rows).warnings]
    assert warned == [(4, "worth"), (5, "worth")]


def test_without_values_every_customer_counts_as_worth_the_same(by_value, predictor):
    expected = (predictor.probabilities(TABLE) >= 11 / 25).astype(int).tolist()
    assert by_value.predict(TABLE)["churn_prediction"].to_list() == expected
    warnings = by_value.read(TABLE[:6]).warnings
    assert [(w.row, w.column) for w in warnings] == [(None, "worth")]


def test_a_number_beyond_all_of_training_is_told_in_every_way_of_reading(predictor):
    charges = [cell for cell in TABLE["charges"].gather(made_prepared().rows("train")) if cell is not None]
    low, high = min(charges), max(charges)
    told = {low: False, high: False, None: False, low - 0.01: True, high + 0.01: True, -1e300: True}
    rows = [{**TABLE.row(0, named=True), "charges": cell} for cell in told]
    rows = [{**row, "joined": row["joined"].isoformat()} for row in rows]
    expected = [(row, "charges") for row, said in enumerate(told.values()) if said]
    assert [(w.row, w.column) for w in predictor.read(rows).warnings if w.problem == OUTSIDE] == expected
    alone = RowPredictor(predictor)
    assert [row for row, one in enumerate(rows) if ("charges", OUTSIDE) in alone.read(one).warnings] == [3, 4, 5]
    assert [alone.is_usual(row) for row in rows] == [not said for said in told.values()]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert [(w.row, w.column) for w in ColumnPredictor(predictor).read(columns).warnings] == expected
    assert kind_of_warning(OUTSIDE) == "out_of_range"


def test_own_thresholds_are_kept_in_the_bundle_and_are_part_of_its_version(by_value, predictor, tmp_path):
    rows = [{**row, "worth": 20.0} for row in TABLE[:50].to_dicts()]
    write_bundle(by_value.bundle, tmp_path / "own")
    write_bundle(predictor.bundle, tmp_path / "one")
    again = load(tmp_path / "own")
    assert again.bundle.own_threshold == by_value.bundle.own_threshold
    assert again.predict(rows).equals(by_value.predict(rows))
    assert again.version != load(tmp_path / "one").version
