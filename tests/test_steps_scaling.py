"""Scales, bins and components, against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_steps import after, learn, training
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from churnlib.data.steps.bins import Bins, Cut
from churnlib.data.steps.scale import yeo_johnson
from churnlib.data.steps.weight_of_evidence import information_value, weights_of_evidence
from churnlib.errors import ConfigError

RNG = np.random.default_rng(0)
N = 800
TABLE = np.stack(
    [RNG.normal(50, 9, N), RNG.lognormal(3, 1, N), RNG.integers(-5, 60, N).astype(float), -RNG.gamma(2, 3, N)], axis=1
)
TABLE[RNG.random((N, 4)) < 0.1] = np.nan
NAMES = ["a", "b", "c", "d"]
FRAME = pl.DataFrame(TABLE, schema=NAMES).fill_nan(None)
LABEL = (RNG.random(N) < 1 / (1 + np.exp(-(np.nan_to_num(TABLE[:, 0], nan=50) - 50) / 6))).astype(int)
KNOWN = training(FRAME, LABEL)


def numbers(frame: pl.DataFrame) -> np.ndarray:
    return frame.select(NAMES).fill_null(np.nan).to_numpy()


SCALERS = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(),
    "robust": RobustScaler(),
    "yeo_johnson": PowerTransformer("yeo-johnson"),
}


@pytest.mark.parametrize("method", SCALERS)
def test_scales_are_scikit_learns(method):
    made = numbers(after(learn("scale", KNOWN, method=method), KNOWN.rows))
    np.testing.assert_allclose(made, SCALERS[method].fit_transform(TABLE), rtol=1e-5, atol=1e-6)


def test_normal_quantiles_are_scikit_learns_but_for_the_tails():
    made = numbers(after(learn("scale", KNOWN, method="quantile_normal"), KNOWN.rows))
    expected = QuantileTransformer(n_quantiles=101, output_distribution="normal").fit_transform(TABLE)
    inner = np.abs(expected) < 2
    np.testing.assert_allclose(made[inner], expected[inner], atol=0.03)
    assert np.nanmax(np.abs(made)) < 3.1


def test_logarithms_keep_the_sign():
    learned = learn("scale", KNOWN, method="log1p")
    expected = StandardScaler().fit_transform(np.sign(TABLE) * np.log1p(np.abs(TABLE)))
    np.testing.assert_allclose(numbers(after(learned, KNOWN.rows)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", [*SCALERS, "quantile_normal", "log1p"])
def test_a_constant_becomes_zero_and_an_empty_column_stays_missing(method):
    frame = FRAME.select("a", flat=pl.lit(0.1) + 0.2, empty=pl.lit(None, dtype=pl.Float64))
    known = training(frame, LABEL, columns={name: {"kind": "numeric", "role": "feature"} for name in ("flat", "empty")})
    learned = learn("scale", known, method=method)
    made = after(learned, pl.concat([known.rows, pl.DataFrame({"a": [1e9], "flat": [7e8], "empty": [3.0]})]))
    assert set(made["flat"]) == {0.0}
    assert set(made["empty"]) == {None, 0.0}
    assert made["a"].drop_nulls().is_finite().all()
    assert "'flat' is constant in the training rows and becomes 0" in learned.said


def test_a_number_outside_the_range_is_moved_to_its_border_unless_told_otherwise():
    new = pl.DataFrame({name: [1e6, -1e6, None] for name in NAMES})
    learned = learn("scale", KNOWN, method="minmax")
    assert after(learned, new)["a"].to_list() == pytest.approx([1.0, 0.0, None])
    free = after(learn("scale", KNOWN, method="minmax", clip=False), new)["a"]
    assert free[0] > 1000 and free[1] < -1000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.floats(-3, 5) | st.sampled_from([0.0, 2.0]))
def test_the_power_transformation_is_scipys(values, power):
    expected = stats.yeojohnson(np.array(values), power)
    np.testing.assert_allclose(yeo_johnson(np.array(values), power), expected, rtol=1e-9, atol=1e-12)


# --- bins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "strategy"), [("equal_width", "uniform"), ("quantile", "quantile")])
def test_bins_are_scikit_learns(method, strategy):
    learned = learn("bins", KNOWN, method=method, n_bins=6, output="ordinal", columns=["c"])
    given_rows = ~np.isnan(TABLE[:, 2])
    own = {"quantile_method": "linear"} if strategy == "quantile" else {}
    expected = KBinsDiscretizer(6, encode="ordinal", strategy=strategy, **own).fit_transform(TABLE[given_rows, 2:3])
    order = learned.columns[-1].order
    made = after(learned, KNOWN.rows)["c bin"]
    ranks = [order.index(label) for label in made.drop_nulls()]
    np.testing.assert_array_equal(ranks, expected[:, 0])
    assert made.is_null().to_list() == (~given_rows).tolist()


def test_supervised_bins_are_the_leaves_of_a_tree():
    learned = learn("bins", KNOWN, method="tree", n_bins=5, columns=["a"], keep=True)
    given_rows = ~np.isnan(TABLE[:, 0])
    tree = DecisionTreeClassifier(
        max_leaf_nodes=5, min_samples_leaf=int(np.ceil(0.05 * given_rows.sum())), random_state=1
    )
    leaf = tree.fit(TABLE[given_rows, :1], LABEL[given_rows]).apply(TABLE[given_rows, :1])
    made = after(learned, KNOWN.rows)
    labels = made.filter(pl.col("a").is_not_null())["a bin"].to_numpy()
    assert len(set(zip(leaf, labels, strict=True))) == len(set(leaf)) == len(set(labels)) == 5
    assert set(made.filter(pl.col("a").is_null())["a bin"]) == {"missing"}


def test_a_number_on_an_edge_belongs_to_the_bin_that_begins_there():
    cut = Cut("x", (10.0, 20.0), (0.0,) * 4, 0.0)
    assert cut.labels == ("below 10", "[10, 20)", "from 20")
    assert cut.places(pl.Series([9.9, 10.0, 19.9, 20.0, None])).tolist() == [0, 1, 1, 2, 3]
    assert Cut("x", (1.0, 1.00001), (), 0.0).labels[1] == "[1, 1.00001)"
    assert Cut("x", (), (), 0.0).labels == ("any",)


def test_the_bins_of_a_monotone_tree_rise_or_fall():
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 10, 3000)
    label = rng.random(3000) < 0.5 - 0.04 * x + 0.12 * np.sin(3 * x)
    known = training(pl.DataFrame({"x": x, "y": x[::-1]}), label)
    for monotone in (False, True):
        [cut] = learn(
            "bins", known, columns=["x"], method="tree", n_bins=8, output="woe", monotone=monotone
        ).fitted.columns
        steps = np.sign(np.diff(cut.weights[: len(cut.edges) + 1]))
        assert (len(set(steps)) == 1) == monotone
    assert set(steps) == {-1.0}


def test_weights_and_information_by_hand():
    # Bins of (60 stay, 10 leave), (30, 30), (10, 60), each with half a row added to either class.
    counts = np.array([[60, 10], [30, 30], [10, 60], [0, 0]])
    stay, left = np.array([60.5, 30.5, 10.5]) / 101.5, np.array([10.5, 30.5, 60.5]) / 101.5
    np.testing.assert_allclose(weights_of_evidence(counts), [*np.log(left / stay), 0.0])
    assert information_value(counts) == pytest.approx(((left - stay) * np.log(left / stay)).sum())


def test_training_rows_get_the_weights_that_the_other_folds_say():
    options = {"columns": ["a"], "method": "tree", "output": "woe"}
    learned, fold = learn("bins", KNOWN, **options), KNOWN.folds(5)
    for part in range(5):
        others = learn("bins", training(FRAME.filter(fold != part), LABEL[fold != part]), **options)
        expected = after(others, FRAME.filter(fold == part))["a evidence"]
        assert learned.rows.filter(fold == part)["a evidence"].to_list() == pytest.approx(expected.to_list())


def test_random_numbers_gain_nothing_in_the_training_rows():
    rng = np.random.default_rng(1)
    known = training(pl.DataFrame({"x": rng.normal(size=2000), "y": rng.normal(size=2000)}), rng.random(2000) < 0.3)
    learned = learn("bins", known, columns=["x"], method="tree", n_bins=30, min_share=0.01, output="woe")
    assert roc_auc_score(known.label, learned.rows["x evidence"]) < 0.53
    assert roc_auc_score(known.label, after(learned, known.rows)["x evidence"]) > 0.58  # what the folds keep out


def test_what_bins_are_worth_is_said():
    said = learn("bins", KNOWN).said
    assert len(said) == 4 and "'a' in 5 bins has an information value of " in said[0]


def test_edges_of_several_classes_come_from_all_of_them():
    x = np.repeat([1.0, 2.0, 3.0], 100)
    known = training(pl.DataFrame({"x": x, "y": x[::-1]}), (x - 1).astype(int), n_classes=3)
    learned = learn("bins", known, method="tree", columns=["x"])
    assert learned.fitted.columns[0].edges == pytest.approx((1.5, 2.5))
    with pytest.raises(ConfigError, match="output=woe of the step 'bins' is for two classes, and there are 3"):
        learn("bins", known, output="woe")


def test_monotone_needs_a_tree():
    with pytest.raises(ConfigError, match="needs method=tree, got method=quantile"):
        Bins(monotone=True)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=30),
    st.sampled_from(["quantile", "equal_width", "tree"]),
)
def test_any_numbers_can_be_cut(values, method):
    label = np.arange(len(values)) % 2
    frame = pl.DataFrame({"x": values, "y": values})
    known = training(frame, label, columns={name: {"kind": "numeric", "role": "feature"} for name in ("x", "y")})
    learned = learn("bins", known, method=method, columns=["x"], output="ordinal")
    cut = learned.fitted.columns[0]
    assert len(set(cut.labels)) == len(cut.labels) == len(cut.edges) + 1
    assert list(cut.edges) == sorted(cut.edges)
    made = after(learned, known.rows)["x bin"]
    assert made.null_count() == 0
    assert set(made) <= set(cut.labels)


# --- components -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [2, 0.7, 4])
def test_components_are_scikit_learns(wanted):
    learned = learn("pca", KNOWN, n_components=wanted)
    standard = np.nan_to_num(StandardScaler().fit_transform(TABLE))
    pca = PCA(wanted).fit(standard)
    made = after(learned, KNOWN.rows)
    assert made.columns == [f"component {i + 1}" for i in range(pca.n_components_)]
    np.testing.assert_allclose(made, pca.transform(standard), atol=1e-9)
    np.testing.assert_allclose(learned.fitted.loadings, pca.components_, atol=1e-9)
    assert f"hold {pca.explained_variance_ratio_.sum():.1%} of their variance" in learned.said[0]
    weights, names = pca.components_[0], KNOWN.rows.columns
    strongest = max(range(len(names)), key=lambda place: abs(weights[place]))
    first = f"component 1 ({pca.explained_variance_ratio_[0]:.1%} of the variance): {weights[strongest]:+.2f}"
    assert learned.said[1].startswith(f"{first} {names[strongest]}, ")


def test_more_components_than_numbers_that_vary_are_not_made():
    frame = FRAME.select("a", "b", flat=pl.lit(3.0))
    known = training(frame, LABEL, columns={"flat": {"kind": "numeric", "role": "feature"}})
    assert len(learn("pca", known, n_components=9).fitted.made) == 2


@pytest.mark.parametrize(
    ("frame", "options", "says"),
    [
        (pl.DataFrame({"x": ["a", "b"] * 9}), {}, "finds no numbers to combine"),
        (FRAME, {"n_components": 1.5}, "must be a whole number, or a share below 1, got 1.5"),
        (FRAME, {"n_components": 0}, r"must be a number in \(0, inf\)"),
    ],
)
def test_components_of_nothing_are_refused(frame, options, says):
    with pytest.raises(ConfigError, match=says):
        learn("pca", training(frame, np.arange(len(frame)) % 2), **options)
