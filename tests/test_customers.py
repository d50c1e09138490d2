import re

import numpy as np
import polars as pl
import pytest
from made import made_customers, made_prepared

from churnlib.data.customers import TableSpec, prepare_customers, prepare_labelled
from churnlib.data.splits import Split
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Column, Kind, Role


def test_a_table_becomes_three_sides_of_model_inputs():
    customers = made_prepared(200)
    assert [len(customers.encoded[side]) for side in ("train", "validation", "test")] == [140, 30, 30]
    assert customers.schema.classes == ("no", "yes")
    assert customers.label.sum() == (customers.frame["churn"] == "yes").sum()
    assert len(customers.preparation.feature_names) == len(customers.schema.features) == 6


def test_rows_without_a_target_and_repeated_rows_are_left_out_and_counted():
    frame = made_customers(100)
    frame = frame.with_columns(pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise("churn").alias("churn"))
    later = frame[10:12].with_columns(tenure=pl.lit(5, dtype=pl.Int64))
    customers = prepare_customers(pl.concat([frame, frame[50:54], later]), target="churn", id="customer")
    report = customers.report
    assert (report.rows, report.without_target, report.exact_duplicates, report.repeated_customers) == (106, 3, 4, 2)
    assert len(customers.frame) == 97
    # Of a repeated customer the last row stays.
    assert customers.frame.filter(pl.col("customer") == "C00010")["tenure"].to_list() == [5]
    assert any("4 rows equal to an earlier row" in line for line in report.lines())


def test_equal_rows_of_different_customers_stay():
    frame = pl.DataFrame({"id": [f"a{i}" for i in range(40)], "x": [1, 2] * 20, "churn": ["yes", "no"] * 20})
    assert len(prepare_customers(frame, target="churn", id="id").frame) == 40


def test_unreadable_cells_count_as_missing_and_are_reported():
    frame = made_customers(100).with_columns(pl.col("tenure").cast(pl.String))
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("many")).otherwise("tenure").alias("tenure")
    )
    customers = prepare_customers(frame, target="churn")
    assert customers.report.unreadable == {"tenure": 1}
    assert customers.schema["tenure"].nullable
    assert customers.frame["tenure"][7] is None


@pytest.mark.parametrize("side", ["test", "validation"])
def test_other_rows_change_nothing_that_training_learns(side):
    """Invariant 2: with the sides held fixed, only training rows reach the preparation."""
    frame = made_customers(300)
    rng = np.random.default_rng(0)
    where = rng.choice(["train", "validation", "test"], 300, p=[0.6, 0.2, 0.2])
    frame = frame.with_columns(side=pl.Series(where))
    options = {"target": "churn", "id": "customer", "split": {"by": "column", "column": "side"}}
    shuffled = frame.with_columns(
        pl.when(pl.col("side") == side).then(pl.col(name).shuffle(seed=1)).otherwise(name).alias(name)
        for name in ("tenure", "charges", "plan", "region")
    )
    larger = frame.with_columns(
        pl.when(pl.col("side") == side).then(pl.col("tenure") * 50).otherwise("tenure").alias("tenure"),
        pl.when(pl.col("side") == side).then(pl.lit("nowhere")).otherwise("region").alias("region"),
    )
    first = prepare_customers(frame, **options)
    for changed in (shuffled, larger, frame.filter(~((pl.col("side") == side) & (pl.col("tenure") > 30)))):
        second = prepare_customers(changed, **options)
        assert second.preparation.to_dict() == first.preparation.to_dict()
        np.testing.assert_array_equal(second.encoded["train"].numeric, first.encoded["train"].numeric)
        np.testing.assert_array_equal(second.encoded["train"].codes, first.encoded["train"].codes)


def test_the_target_does_not_shape_the_schema():
    frame = made_customers(200)
    shuffled = frame.with_columns(pl.col("churn").shuffle(seed=3))
    first, second = (prepare_customers(f, target="churn", id="customer").schema for f in (frame, shuffled))
    assert first == second


def test_dated_rows_are_split_by_time_and_customers_stay_on_one_side():
    frame = made_customers(200)
    dates = pl.Series([f"2024-{1 + i % 12:02d}-28" for i in range(200)])
    customers = prepare_customers(frame.with_columns(seen=dates), target="churn", id="customer", time="seen")
    moments = customers.typed["seen"]
    assert customers.split.by == "time"
    assert moments[customers.split.train].max() <= moments[customers.split.test].min()
    # A column of dates is read as days before the row's own date.
    joined = customers.preparation.numeric[[s.name for s in customers.preparation.numeric].index("joined")]
    assert joined.fill > 500


def test_one_date_is_no_reason_to_split_by_time():
    frame = made_customers(200).with_columns(seen=pl.lit("2024-01-31"))
    customers = prepare_customers(frame, target="churn", id="customer", time="seen")
    assert customers.split.by == "random"


def test_a_test_share_of_zero_is_allowed():
    customers = made_prepared(100, split={"train": 0.8, "validation": 0.2, "test": 0.0})
    assert len(customers.rows("test")) == 0
    assert len(customers.encoded["test"]) == 0


def test_the_seed_fixes_the_split_and_split_seed_pins_it_alone():
    first, again, other = (made_prepared(100, seed=0, **o) for o in ({}, {}, {"split": {"seed": 9}}))
    np.testing.assert_array_equal(first.split.test, again.split.test)
    assert not np.array_equal(first.split.test, other.split.test)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"split": {"train": 0.5}}, ConfigError, "sum to 1"),
        ({"split": {"by": "moon"}}, ConfigError, "split.by must be one of"),
        ({"split": {"by": "time"}}, ConfigError, "data.time"),
        ({"split": {"by": "column"}}, ConfigError, "go together"),
        ({"split": {"by": "column", "column": "plann"}}, ConfigError, "'plan'"),
        ({"split": {"by": "column", "column": "plan"}}, DataError, "train, validation or test"),
        ({"target": "Churned"}, DataError, "'churn'"),
        ({"id": "costumer"}, ConfigError, "'customer'"),
        ({"time": "plan"}, DataError, "holds no dates"),
        ({"drop": ["tenur"]}, ConfigError, "'tenure'"),
        ({"columns": {"tenure": {"kind": "number"}}}, ConfigError, "must be one of numeric"),
        ({"columns": {"tenure": {"kind": "text"}}}, ConfigError, "which no model reads"),
        ({"columns": {"plan": {"kind": "ordinal"}}}, ConfigError, "order="),
        ({"split": {"valdation": 0.2}}, ConfigError, "unknown option split.valdation; did you mean validation?"),
        ({"preprocess": {"scale": "log"}}, ConfigError, "preprocess.scale"),
        ({"drop": ["tenure", "charges", "plan", "region", "paperless", "joined"]}, DataError, "no column is left"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options, error, says):
    with pytest.raises(error, match=re.escape(says)) as refusal:
        made_prepared(100, **options)
    assert "\n" not in str(refusal.value)


def test_what_a_table_is_may_be_said_in_one_or_in_words():
    frame = made_customers(120)
    spec = TableSpec(target="churn", id="customer", drop=["region"])
    words = prepare_customers(frame, target="churn", id="customer", drop=["region"])
    assert prepare_customers(frame, spec).schema == words.schema
    assert "plan" not in prepare_customers(frame, spec, drop=["plan"]).preparation.feature_names
    with pytest.raises(TypeError, match="tarjet"):
        prepare_customers(frame, tarjet="churn")


def test_the_truth_stays_beside_its_rows():
    frame = made_customers(120)
    table = pl.concat([frame[:3].with_columns(churn=pl.lit(None, pl.String)), frame, frame[:2]])
    truth = np.arange(125.0)
    rules = {"max_share": 1.0, "columns": {"tenure": {"max": 60}}}
    done = prepare_customers(table, target="churn", id="customer", rules=rules, truth=truth)
    kept = frame.with_row_index("place").filter((pl.col("tenure") <= 60) | pl.col("tenure").is_null())
    assert done.truth is not None and 0 < done.report.breaking_rules == 120 - len(kept)
    assert done.truth.tolist() == (kept["place"] + 3).to_list()


def test_too_few_rows_of_a_class_are_refused_by_count():
    frame = made_customers(60).with_columns(churn=pl.Series(["yes"] * 2 + ["no"] * 58))
    with pytest.raises(DataError, match=r"'yes' \(2 of 60 rows are\)"):
        prepare_customers(frame, target="churn")


# --- labels and sides that are given --------------------------------------------------------------------------------


def test_given_labels_and_sides_are_taken_as_they_are():
    frame = made_customers(120)
    rows = pl.concat([frame, frame[:20]])  # whoever comes twice counts twice
    label, order = (rows["churn"] == "yes").to_numpy().astype(np.int64), np.arange(140)
    split = Split(order[:100], order[100:], order[:0], by="column")
    target = Column("churn", Kind.categorical, Role.target)
    columns = {"customer": {"role": "id"}}
    given = prepare_labelled(
        rows.drop("churn"), label, target=target, classes=["no", "yes"], split=split, columns=columns
    )
    assert len(given.frame) == 140 and given.report.exact_duplicates == 0
    assert given.labels("validation").tolist() == label[100:].tolist()
    assert given.schema.target == "churn" and given.schema.classes == ("no", "yes")
    # What is learned from the training rows is what the other way to a model learns from them.
    sides = rows[:120].with_columns(side=pl.Series(["train"] * 100 + ["validation"] * 20))
    other = prepare_customers(sides, target="churn", id="customer", split={"by": "column", "column": "side"})
    assert given.preparation.numeric == other.preparation.numeric
    assert given.preparation.categorical == other.preparation.categorical
    assert not given.schema.required() and other.schema.required()
