"""Bands and rare categories: what they join, checked by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churnlib.data.prepared_table import prepare_table
from churnlib.data.steps import Training, fit_chain
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind


def fitted(step, rows, kind=Kind.numeric):
    frame = pl.DataFrame({"x": rows})
    columns = (Column("x", kind),)
    return fit_chain({"s": step}, Training(frame, columns, np.zeros(len(frame), dtype=np.int64)))


def applied(learned, values):
    return learned.chain.apply(pl.DataFrame({"x": values})).to_series().to_list()


def test_a_number_on_an_edge_is_in_the_band_above_it():
    ages = [float(age) for age in range(10, 80)]
    learned = fitted({"step": "band", "columns": ["x"], "edges": [18, 30, 65]}, ages)
    assert applied(learned, [17.99, 18.0, 29.5, 30.0, 64.0, 65.0, 500.0, -3.0, None]) == [
        "under 18", "18 to under 30", "18 to under 30", "30 to under 65", "30 to under 65", "65 or more", "65 or more",
        "under 18", None,
    ]  # fmt: skip
    assert learned.columns[0].kind is Kind.ordinal
    assert learned.columns[0].order == ("under 18", "18 to under 30", "30 to under 65", "65 or more")


def test_bands_of_a_width_agree_with_numpy():
    ages = np.random.default_rng(0).uniform(18, 90, 500)
    learned = fitted({"step": "band", "columns": ["x"], "width": 10, "fewest": 0}, ages.tolist())
    edges = np.arange(20, 91, 10)
    order = learned.columns[0].order
    assert len(order) == len(edges[edges <= ages.max()]) + 1
    assert [order.index(band) for band in learned.rows["x"]] == np.digitize(ages, edges).tolist()


def test_a_band_of_few_is_joined_to_its_smaller_neighbour():
    ages = [20.0] * 10 + [35.0] * 4 + [45.0] * 6 + [55.0] * 20
    learned = fitted({"step": "band", "columns": ["x"], "edges": [30, 40, 50], "fewest": 5}, ages)
    assert learned.columns[0].order == ("under 30", "30 to under 50", "50 or more")
    assert min(learned.rows["x"].value_counts()["count"]) >= 5


def test_a_column_without_values_has_one_band():
    learned = fitted({"step": "band", "columns": ["x"], "width": 10}, pl.Series("x", [None, None], dtype=pl.Float64))
    assert applied(learned, [3.0]) == ["any"]


def test_rare_and_unseen_categories_share_a_word_that_stands_for_enough_rows():
    rows = ["a"] * 20 + ["b"] * 9 + ["c"] * 4 + ["d"] * 3 + [None] * 5
    learned = fitted({"step": "rare", "min_count": 5}, rows, Kind.categorical)
    assert applied(learned, ["a", "b", "c", "d", "new", None]) == ["a", "b", "(rare)", "(rare)", "(rare)", None]
    # One rare value alone would stand out: the next smallest joins it.
    alone = fitted({"step": "rare", "min_count": 5}, ["a"] * 20 + ["b"] * 9 + ["c"] * 2, Kind.categorical)
    assert applied(alone, ["a", "b", "c"]) == ["a", "(rare)", "(rare)"]
    assert alone.said == ("s: 2 values of x with fewer than 5 rows are (rare)",)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"step": "band", "columns": ["x"]}, "give one of them"),
        ({"step": "band", "edges": [1]}, "name the columns"),
        ({"step": "band", "columns": ["x"], "edges": [3, 2]}, "ascending numbers"),
        ({"step": "band", "columns": ["x"], "width": 0}, "width of the step 'band' must be a number in"),
        ({"step": "band", "columns": ["x"], "width": 0.001}, "bands; widen it"),
        ({"step": "rare", "columns": ["x"]}, "it takes categorical columns only"),
    ],
)
def test_impossible_options_are_refused(step, sentence):
    with pytest.raises(ConfigError, match=sentence):
        fitted(step, [float(n) for n in range(50)])


def test_a_word_that_is_a_value_is_refused():
    with pytest.raises(ConfigError, match="is a value of 'x'; choose another"):
        fitted({"step": "rare", "word_for": "a"}, ["a"] * 20, Kind.categorical)


def test_a_prepared_table_holds_the_bands_and_not_the_numbers(tmp_path):
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"age": rng.integers(18, 80, 400), "spend": rng.normal(0, 1, 400), "churn": [0, 1] * 200})
    steps = {"steps": {"age": {"step": "band", "columns": ("age",), "width": 20}}}
    prepare_table(table.lazy(), tmp_path / "out", target="churn", preprocess=steps)
    ages = pl.read_parquet(tmp_path / "out" / "prepared.parquet")["age"]
    assert set(ages) == {"under 20", "20 to under 40", "40 to under 60", "60 or more"}
