from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from churnlib.data.coercion import coerce
from churnlib.data.fitting import fit_preparation
from churnlib.data.inputs import FIRST_KNOWN, MISSING, UNSEEN
from churnlib.data.preparation import Preparation
from churnlib.data.scaling import SCALE
from churnlib.data.steps import arrays
from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.models import input_layer
from churnlib.models.input_layer import InputLayer
from churnlib.schema import Column, Kind, Role, Schema, infer_schema

FLOAT32_MAX = float(np.finfo(np.float32).max)


def numeric_table(columns: dict) -> tuple[pl.DataFrame, Schema]:
    typed = pl.DataFrame({name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})
    return typed, Schema(tuple(Column(name, Kind.numeric, nullable=True) for name in columns))


def made_numbers(n: int = 500, *, gaps: bool = False, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    columns = {"spend": rng.gamma(3, 20, n), "balance": rng.normal(-50, 3, n), "calls": rng.poisson(4, n).astype(float)}
    if gaps:
        columns["spend"][::7] = np.nan
    return {name: [None if np.isnan(x) else x for x in values.tolist()] for name, values in columns.items()}


def scaled(typed: pl.DataFrame, preparation: Preparation) -> np.ndarray:
    """What the network sees of the numeric columns."""
    encoded = preparation.encode(typed)
    layer = InputLayer(**preparation.input_spec()).eval()
    with torch.no_grad():
        return layer(torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes)).numpy()


def mixed_table(n: int = 120, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "*": rng.normal(size=n),
            "usage": [None if x < 0 else float(x) for x in rng.normal(1, 1, n)],
            "^p.*$": [["basic", "plus", "pro", None][k] for k in rng.integers(0, 4, n)],
            "region": [f"region {k}" for k in rng.integers(0, 30, n)],
            "active": rng.choice(["Yes", "no"], n),
            "size": rng.choice(["S", "M", "L"], n),
            "joined": [dt.date(2023, 1, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 300, n)],
            "seen": [dt.date(2024, 1, 31) + dt.timedelta(days=int(d)) for d in rng.integers(0, 60, n)],
            "churn": rng.choice(["yes", "no"], n),
        }
    )


def mixed(n: int = 120, seed: int = 0, **options) -> tuple[pl.DataFrame, Preparation, Schema]:
    frame = mixed_table(n, seed)
    schema = infer_schema(frame, target="churn", time="seen", columns={"size": {"order": ["S", "M", "L"]}})
    typed = coerce(frame, schema).typed
    return typed, fit_preparation(typed, schema, **options), schema


# --- what a network sees, against scikit-learn --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "reference"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
def test_scales_are_those_of_scikit_learn(scale, reference):
    typed, schema = numeric_table(made_numbers())
    inputs = scaled(typed, fit_preparation(typed, schema, scale=scale))
    np.testing.assert_allclose(inputs, reference.fit_transform(typed.to_numpy()), atol=2e-6, rtol=1e-6)


def test_robust_clip_is_the_robust_scale_smoothly_clipped_to_three():
    typed, schema = numeric_table({"x": [*made_numbers()["spend"], 1e6, -1e6]})
    z = RobustScaler().fit_transform(typed.to_numpy())
    inputs = scaled(typed, fit_preparation(typed, schema))
    np.testing.assert_allclose(inputs, z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)
    assert np.abs(inputs).max() < 3 + 1e-6


def test_no_scale_passes_numbers_as_they_are():
    typed, schema = numeric_table({"revenue": [5e6, -2.5e9, 0.125, 3e11]})
    np.testing.assert_array_equal(
        scaled(typed, fit_preparation(typed, schema, scale="none")), typed.to_numpy().astype(np.float32)
    )


def test_quantile_scaling_is_close_to_scikit_learns():
    typed, schema = numeric_table({"a": made_numbers(5000)["spend"], "b": made_numbers(5000, seed=1)["balance"]})
    inputs = scaled(typed, fit_preparation(typed, schema, scale="quantile"))
    reference = QuantileTransformer(output_distribution="normal", n_quantiles=1000).fit_transform(typed.to_numpy())
    inside = np.abs(reference) < 2  # the outermost of 100 pieces is a straight line to the largest value
    assert np.abs(inputs - reference)[inside].max() < 0.03
    assert np.abs(inputs).max() <= 3.1
    for column in range(2):
        # Monotone: the same order of customers.
        assert (np.diff(inputs[np.argsort(typed.to_numpy()[:, column]), column]) >= -1e-6).all()


def test_quantile_scaling_of_ties_is_scikit_learns():
    values = np.repeat([0.0, 1.0, 2.0, 10.0], [700, 150, 100, 50])
    typed, schema = numeric_table({"calls": values.tolist()})
    inputs = scaled(typed, fit_preparation(typed, schema, scale="quantile"))[:, 0]
    reference = QuantileTransformer(output_distribution="normal", n_quantiles=101).fit_transform(values[:, None])[:, 0]
    middle = (values > 0) & (values < 10)
    assert np.abs(inputs - reference)[middle].max() < 0.05
    assert len(np.unique(inputs)) == 4


@pytest.mark.parametrize(
    ("impute", "reference"),
    [("median", SimpleImputer(strategy="median")), ("mean", SimpleImputer(strategy="mean")),
     ("constant", SimpleImputer(strategy="constant", fill_value=-1.5))],
)  # fmt: skip
def test_gaps_are_filled_as_scikit_learn_fills_them(impute, reference):
    typed, schema = numeric_table(made_numbers(gaps=True))
    preparation = fit_preparation(typed, schema, impute=impute, impute_value=-1.5, scale="none")
    inputs = scaled(typed, preparation)
    numbers = typed.to_numpy()
    np.testing.assert_allclose(inputs[:, :3], reference.fit_transform(numbers), rtol=1e-6)
    # One indicator, for the one column with gaps.
    np.testing.assert_array_equal(inputs[:, 3:], np.isnan(numbers[:, :1]).astype(np.float32))
    assert InputLayer(**preparation.input_spec()).groups == [0, 1, 2, 0]


def test_indicators_can_be_left_out():
    typed, schema = numeric_table(made_numbers(gaps=True))
    assert scaled(typed, fit_preparation(typed, schema, indicator=False)).shape == (500, 3)


@pytest.mark.parametrize("one_hot_max", [0, 10, 100])
def test_categories_are_one_hot_encoded_as_scikit_learn_does(one_hot_max):
    typed, preparation, _ = mixed(one_hot_max=one_hot_max)
    encoded = preparation.encode(typed)
    layer = InputLayer(**preparation.input_spec()).eval()
    n_values = {v.name: len(v.values) + v.missing for v in preparation.categorical}
    flat = [v for v in preparation.categorical if n_values[v.name] <= one_hot_max]
    with torch.no_grad():
        outputs = layer(torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes)).numpy()
    start = layer.n_numeric + len(layer.indicators)
    if not flat:
        assert len(layer.embeddings) == 3
        return
    # "None" sorts before the names, as the code of a missing value does.
    texts = np.column_stack([typed.get_column(v.name).alias("x").fill_null("\0") for v in flat])
    reference = OneHotEncoder(sparse_output=False).fit_transform(texts)
    np.testing.assert_array_equal(outputs[:, start : start + reference.shape[1]], reference)


def test_codes_are_those_of_an_ordinal_encoder():
    typed, preparation, _ = mixed()
    names = [v.name for v in preparation.categorical]
    texts = np.array([[np.nan if x is None else x for x in typed.get_column(name)] for name in names], dtype=object).T
    codes = OrdinalEncoder(encoded_missing_value=MISSING - FIRST_KNOWN).fit_transform(texts) + FIRST_KNOWN
    np.testing.assert_array_equal(preparation.encode(typed).codes, codes.astype(np.int64))


# --- what is learned ----------------------------------------------------------------------------------------------


def test_unseen_and_missing_categories_have_codes_of_their_own():
    typed = pl.DataFrame({"plan": ["b", "a", None, "b"]})
    preparation = fit_preparation(typed, Schema((Column("plan", Kind.categorical),)))
    later = pl.DataFrame({"plan": ["a", "b", "c", None, "A"]})
    assert preparation.encode(later).codes[:, 0].tolist() == [2, 3, UNSEEN, MISSING, UNSEEN]
    assert {name: rows.tolist() for name, rows in preparation.unseen(later).items()} == {"plan": [2, 4]}
    assert preparation.unseen(typed) == {}


def test_a_category_without_a_value_in_training_knows_none():
    typed = pl.DataFrame({"plan": pl.Series([None, None], dtype=pl.String)})
    schema = Schema((Column("plan", Kind.categorical, nullable=True),))
    for one_hot_max in (0, 10):
        preparation = fit_preparation(typed, schema, one_hot_max=one_hot_max)
        later = pl.DataFrame({"plan": ["a", None]})
        assert preparation.encode(later).codes[:, 0].tolist() == [UNSEEN, MISSING]
        assert np.isfinite(scaled(later, preparation)).all()


def test_an_ordinal_column_is_its_rank():
    typed = pl.DataFrame({"size": ["S", "L", None, "M", "XXL"]})
    schema = Schema((Column("size", Kind.ordinal, order=("S", "M", "L")),))
    preparation = fit_preparation(typed, schema, scale="none")
    np.testing.assert_array_equal(preparation.encode(typed).numeric[:, 0], [0, 2, np.nan, 1, np.nan])
    assert preparation.unseen(typed)["size"].tolist() == [4]


def test_dates_are_days_since_1970_or_before_the_rows_own_date():
    moments = [dt.datetime(2024, 1, 2, 12), dt.datetime(1969, 12, 31), None]
    typed = pl.DataFrame(
        {"joined": moments, "seen": [dt.datetime(2024, 1, 4)] * 3}, schema_overrides={"joined": pl.Datetime("us")}
    )
    joined, seen = Column("joined", Kind.datetime), Column("seen", Kind.datetime, Role.time)
    alone = fit_preparation(typed.select("joined"), Schema((joined,)))
    np.testing.assert_allclose(alone.encode(typed).numeric[:, 0], [19724.5, -1, np.nan])
    dated = fit_preparation(typed, Schema((joined, seen)))
    np.testing.assert_allclose(dated.encode(typed).numeric[:, 0], [1.5, 19727, np.nan])
    assert dated.feature_names == ("joined",)


def test_winsorising_moves_the_ends_to_the_training_quantiles():
    numbers = made_numbers()["spend"]
    typed, schema = numeric_table({"x": [*numbers, 1e9, -1e9]})
    preparation = fit_preparation(typed, schema, winsorize=0.05, scale="standard")
    low, high = np.quantile(typed["x"].to_numpy(), [0.05, 0.95])
    reference = StandardScaler().fit_transform(typed["x"].to_numpy().clip(low, high)[:, None])
    np.testing.assert_allclose(scaled(typed, preparation), reference, atol=1e-5)
    later, _ = numeric_table({"x": [1e30, low, high, -1e30]})
    inputs = scaled(later, preparation)[:, 0]
    assert inputs[0] == inputs[2] and inputs[1] == inputs[3]


@pytest.mark.parametrize("scale", [s for s in SCALE if s != "none"])
@pytest.mark.parametrize(
    "values", [[5.0] * 9, [0.1] * 9, [1e20] * 9, [-FLOAT32_MAX] * 9, [1e-300, 2e-300, 3e-300], [1e8, 1e8 + 1e-7, 1e8]]
)
def test_a_constant_column_says_nothing_whatever_comes_later(scale, values):
    typed, schema = numeric_table({"x": values})
    preparation = fit_preparation(typed, schema, scale=scale)
    later, _ = numeric_table({"x": [*values, 0.0, -7.0, 1e39, None]})
    assert preparation.numeric[0].factor == 0 or scale == "quantile"
    np.testing.assert_array_equal(scaled(later, preparation), np.zeros((len(later), 1), dtype=np.float32))


@pytest.mark.parametrize("scale", SCALE)
def test_a_column_without_a_training_value_says_nothing(scale):
    typed, schema = numeric_table({"x": [None, None]})
    preparation = fit_preparation(typed, schema, scale=scale, winsorize=0.01)
    later, _ = numeric_table({"x": [3.0, None]})
    np.testing.assert_array_equal(scaled(later, preparation), [[0, 0], [0, 1]])


@pytest.mark.parametrize("scale", ["robust", "robust_clip", "quantile"])
def test_one_absurd_value_does_not_silence_a_column(scale):
    """999999999 for "unknown", or a number beyond float32, among charges of a few coins."""
    for absurd in (999_999_999.0, 1e39, -1e308):
        numbers = made_numbers()["spend"]
        typed, schema = numeric_table({"x": [*numbers, absurd]})
        inputs = scaled(typed, fit_preparation(typed, schema, scale=scale))[:-1, 0]
        assert np.corrcoef(inputs, np.argsort(np.argsort(numbers)))[0, 1] > 0.85


def test_a_mostly_zero_column_is_scaled_by_half_its_range():
    typed, schema = numeric_table({"x": [0.0] * 90 + [1.0, 2.0, 4.0] + [0.0] * 7})
    statistics = fit_preparation(typed, schema, scale="robust").numeric[0]
    assert (statistics.center, statistics.factor) == (0.0, 0.5)


def test_only_the_rows_given_are_learned_from():
    typed, _, schema = mixed()
    train = typed[:80]
    preparation = fit_preparation(train, schema)
    before = json.dumps(preparation.to_dict())
    shuffled = fit_preparation(train.sample(fraction=1, shuffle=True, seed=1), schema)
    assert json.dumps(shuffled.to_dict()) == before
    preparation.encode(typed)
    preparation.unseen(typed)
    assert json.dumps(preparation.to_dict()) == before


# --- one row equals many, and the state travels -------------------------------------------------------------------


def test_rows_are_encoded_alone_as_together_and_in_any_order():
    typed, preparation, _ = mixed()
    together = preparation.encode(typed)
    for row in range(0, len(typed), 7):
        alone = preparation.encode(typed[row : row + 1])
        np.testing.assert_array_equal(alone.numeric, together.numeric[row : row + 1])
        np.testing.assert_array_equal(alone.codes, together.codes[row : row + 1])
    order = np.random.default_rng(0).permutation(len(typed))
    shuffled = preparation.encode(typed[order])
    np.testing.assert_array_equal(shuffled.numeric, together.numeric[order])
    np.testing.assert_array_equal(shuffled.codes, together.codes[order])


def test_a_long_table_is_encoded_slice_by_slice_to_the_same_arrays(monkeypatch):
    typed, schema = numeric_table(made_numbers(50, gaps=True))
    typed = typed.with_columns(plan=pl.Series(["a", "b", None, "c", "a"] * 10))
    schema = Schema((*schema.columns, Column("plan", Kind.categorical, nullable=True)))
    preparation = fit_preparation(typed, schema)
    together = preparation.encode(typed)
    monkeypatch.setattr(arrays, "PIECE_ROWS", 7)
    in_slices = preparation.encode(typed)
    for part in ("numeric", "codes"):
        one, other = getattr(in_slices, part), getattr(together, part)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype and one.flags.c_contiguous and one.flags.writeable


def test_the_shapes_and_types_are_those_that_networks_read():
    typed, preparation, _ = mixed()
    for rows in (typed, typed[:1], typed[:0]):
        encoded = preparation.encode(rows)
        assert (encoded.numeric.shape, encoded.codes.shape) == ((len(rows), 4), (len(rows), 3))
        assert (encoded.numeric.dtype, encoded.codes.dtype) == (np.float32, np.int64)
        assert encoded.numeric.flags.c_contiguous and encoded.codes.flags.c_contiguous
        assert len(encoded) == len(rows)
    assert preparation.feature_names == ("*", "usage", "size", "joined", "^p.*$", "region", "active")


def test_a_table_of_one_sort_has_an_empty_array_of_the_other():
    numbers, schema = numeric_table({"x": [1.0, 2.0]})
    assert fit_preparation(numbers, schema).encode(numbers).codes.shape == (2, 0)
    texts = pl.DataFrame({"plan": ["a", "b"]})
    preparation = fit_preparation(texts, Schema((Column("plan", Kind.categorical),)))
    assert preparation.encode(texts).numeric.shape == (2, 0)
    assert scaled(texts, preparation).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("scale", SCALE)
def test_the_state_survives_json_bit_for_bit(scale):
    typed, preparation, _ = mixed(scale=scale, winsorize=0.013, embedding_dim=3)
    again = Preparation.from_dict(json.loads(json.dumps(preparation.to_dict(), allow_nan=False)))
    assert again == preparation
    assert again.input_spec() == preparation.input_spec()
    first, second = preparation.encode(typed), again.encode(typed)
    np.testing.assert_array_equal(first.numeric, second.numeric)
    np.testing.assert_array_equal(first.codes, second.codes)


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        {"numeric": 3},
        {"numeric": [{}], "categorical": [], "orders": {}},
        {"numeric": [], "categorical": [], "orders": {}, "colour": 1},
    ],
)
def test_what_is_no_preparation_is_refused(values):
    with pytest.raises(BundleError, match="cannot be read"):
        Preparation.from_dict(values)


def test_the_input_layers_arguments_are_plain_values():
    _, preparation, _ = mixed(scale="quantile")
    spec = preparation.input_spec()
    assert json.loads(json.dumps(spec, allow_nan=False)) == spec
    assert preparation.input_spec(one_hot_max=10**9)["one_hot"] == [True] * 3


def test_the_codes_mean_the_same_in_data_and_models():
    assert (MISSING, FIRST_KNOWN) == (input_layer.MISSING, input_layer.FIRST_KNOWN)


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=30),
    st.sampled_from(SCALE),
)
@settings(max_examples=150, deadline=None)
def test_whatever_numbers_train_and_come_inputs_are_finite(values, scale):
    typed, schema = numeric_table({"x": values})
    preparation = fit_preparation(typed, schema, scale=scale)
    json.dumps(preparation.to_dict(), allow_nan=False)
    later, _ = numeric_table({"x": [*values, 0.0, 1e308, -1e308, 1e-308, None]})
    assert np.isfinite(scaled(later, preparation)).all()


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"impute": "mode"}, "preprocess.impute must be one of median"),
        ({"scale": "log"}, "preprocess.scale must be one of robust_clip"),
        ({"winsorize": 0.5}, "preprocess.winsorize"),
        ({"winsorize": float("nan")}, "preprocess.winsorize"),
        ({"impute_value": float("inf")}, "preprocess.impute_value"),
        ({"impute_value": float("nan")}, "preprocess.impute_value"),
        ({"one_hot_max": -1}, "preprocess.one_hot_max"),
        ({"embedding_dim": 0}, "preprocess.embedding_dim"),
    ],
)
def test_impossible_options_are_refused(options, says):
    typed, schema = numeric_table({"x": [1.0, 2.0]})
    with pytest.raises(ConfigError, match=says):
        fit_preparation(typed, schema, **options)


def test_a_table_without_rows_is_refused():
    typed, schema = numeric_table({"x": []})
    with pytest.raises(DataError, match="no training rows"):
        fit_preparation(typed, schema)
