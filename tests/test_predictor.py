import numpy as np
import polars as pl
import pytest
from made import made_bundle, made_customers, made_prepared

from churnlib.errors import DataError, RowErrors
from churnlib.predictor import Predictor


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
    assert predictor.read(TABLE).warnings == []


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
