"""Gaps and outliers: the numbers of scikit-learn, and what becomes of a table that needs cleaning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from made import made_bundle, made_customers, made_prepared
from made_steps import after, learn, training
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.impute import KNNImputer
from sklearn.preprocessing import StandardScaler

from churnlib.data.steps import isolation
from churnlib.errors import ConfigError, DataError
from churnlib.predictor import Predictor
from churnlib.reading import OUTSIDE, UNUSUAL

N_TRAIN, N_LATER = 300, 120
NAMES = ["a", "b", "c", "d"]


def correlated(seed: int, n: int) -> np.ndarray:
    """Numbers that say something about each other, on very different scales."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    return (common + 0.5 * rng.normal(size=(n, 4))) * [1.0, 50.0, 0.01, 3.0] + [0.0, 1000.0, 5.0, -2.0]


def punched(block: np.ndarray, pattern: str, seed: int) -> np.ndarray:
    """Return the numbers with gaps."""
    rng, block = np.random.default_rng(seed), block.copy()
    n = len(block)
    if pattern == "anywhere":
        block[rng.random(block.shape) < 0.2] = np.nan
    elif pattern == "two columns together":
        block[np.ix_(rng.random(n) < 0.3, [True, True, False, False])] = np.nan
    elif pattern == "one full column":
        block[:, 1:][rng.random((n, 3)) < 0.4] = np.nan
    elif pattern == "the high ones":
        block[block > np.quantile(block, 0.8, axis=0)] = np.nan
    elif pattern == "whole rows":
        block[rng.random(n) < 0.1] = np.nan
    else:
        block[rng.random(n) < 0.02, 3] = np.nan
    return block


PATTERNS = ["anywhere", "two columns together", "one full column", "the high ones", "whole rows", "hardly any"]


def as_frame(block: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(block, schema=NAMES).fill_nan(None)


def tables(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """Training rows, and later ones that have gaps in every column."""
    train = punched(correlated(0, N_TRAIN), pattern, seed=1)
    return train, punched(correlated(2, N_LATER), "anywhere", seed=3)


def taught(word: str, train: np.ndarray, **options):
    return learn(word, training(as_frame(train), np.arange(len(train)) % 2), **options)


# --- gaps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_neighbours_fill_gaps_as_in_scikit_learn(pattern, weights):
    train, later = tables(pattern)
    scaler = StandardScaler().fit(train)
    imputer = KNNImputer(n_neighbors=5, weights=weights).fit(scaler.transform(train))
    learned = taught("impute_knn", train, weights=weights)
    for rows in (train, later):
        expected = scaler.inverse_transform(imputer.transform(scaler.transform(rows)))
        filled = after(learned, as_frame(rows)).to_numpy()
        np.testing.assert_allclose(filled, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.filterwarnings("ignore:.*Early stopping criterion not reached")
def test_regressions_fill_gaps_as_in_scikit_learn(pattern):
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import BayesianRidge

    train, later = tables(pattern)
    scaler = StandardScaler().fit(train)
    scaled = scaler.transform(train)
    ends = {"min_value": np.nanmin(scaled, axis=0), "max_value": np.nanmax(scaled, axis=0)}
    imputer = IterativeImputer(BayesianRidge(), max_iter=6, random_state=0, **ends).fit(scaled)
    learned = taught("impute_iterative", train, rounds=6)
    for rows in (train, later):
        expected = scaler.inverse_transform(imputer.transform(scaler.transform(rows)))
        np.testing.assert_allclose(after(learned, as_frame(rows)).to_numpy(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("word", ["impute_knn", "impute_iterative"])
def test_a_column_without_a_value_stays_empty_and_is_named(word):
    train, _ = tables("anywhere")
    train[:, 2] = np.nan
    learned = learn(word, training(as_frame(train), np.arange(N_TRAIN) % 2, columns={"c": {"kind": "numeric"}}))
    filled = after(learned, as_frame(train))
    assert filled["c"].null_count() == N_TRAIN
    assert filled.drop("c").null_count().sum_horizontal().item() == 0
    assert "'c' has no value in the training rows" in " ".join(learned.said)


@pytest.mark.parametrize(
    ("method", "expected"), [("mean", [2.0, "x", 2.5]), ("median", [1.0, "x", 2.0]), ("mode", [1.0, "x", 2.0])]
)
def test_plain_fillings_by_hand(method, expected):
    frame = pl.DataFrame({"n": [1.0, 1, 4, None], "c": ["x", "x", "y", None], "m": [2.0, 2, 2, 4]})
    learned = learn("impute", training(frame, [0, 1, 0, 1]), numbers=method, categories="mode", indicator=True)
    gaps = pl.DataFrame({"n": [None], "c": [None], "m": [None]}, schema=frame.schema)
    row = after(learned, gaps).row(0, named=True)
    assert [row["n"], row["c"], row["m"]] == expected
    assert row["n_missing"] == 1.0


# --- outliers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["anywhere", "hardly any"])
def test_a_forest_flags_the_rows_that_scikit_learns_flags(pattern):
    train, later = tables(pattern)
    train[:5] *= 30
    later[:5] *= 30
    learned = taught("outliers", train, method="isolation_forest", treatment="flag", contamination=0.05, n_trees=40)
    medians = np.nanmedian(train, axis=0)
    whole = [np.where(np.isnan(rows), medians, rows) for rows in (train, later)]
    forest = IsolationForest(n_estimators=40, max_samples=256, contamination=0.05, random_state=1).fit(whole[0])
    for rows, filled in zip((train, later), whole, strict=True):
        scores = isolation.score(filled, learned.fitted.forest)  # type: ignore[attr-defined]
        np.testing.assert_allclose(scores, -forest.score_samples(filled), rtol=1e-12)
        flags = after(learned, as_frame(rows))["unusual"].to_numpy()
        np.testing.assert_array_equal(flags == 1, forest.predict(filled) == -1)
    assert 0 < flags.sum() < len(flags) / 2


def usual_range(values: np.ndarray, method: str) -> tuple[float, float]:
    """As scipy and pandas measure."""
    values = values[~np.isnan(values)]
    if method == "z":
        inside = values[np.abs(stats.zscore(values)) <= 3]
        return values.mean() - 3 * values.std(), values.mean() + 3 * values.std() if len(inside) else 0.0
    if method == "robust_z":  # 0.6745 is the constant of Iglewicz and Hoaglin (1993)
        reach = 3.5 * stats.median_abs_deviation(values) / 0.6745
        return float(np.median(values) - reach), float(np.median(values) + reach)
    low, high = pd.Series(values).quantile([0.25, 0.75])
    return low - 1.5 * (high - low), high + 1.5 * (high - low)


@pytest.mark.parametrize("method", ["z", "robust_z", "iqr"])
def test_each_treatment_keeps_to_the_range_of_its_method(method):
    train, later = tables("anywhere")
    train[:3, 0], later[:3, 0] = [99, -99, 50], [70, -70, 0.1]
    low, high = usual_range(train[:, 0], method)
    rows = as_frame(later)
    outside = ((rows["a"] < low) | (rows["a"] > high)).fill_null(False)
    assert outside.any()
    capped = after(taught("outliers", train, method=method), rows)["a"]
    np.testing.assert_allclose(capped.drop_nulls(), rows["a"].clip(low, high).drop_nulls(), rtol=1e-12)
    flagged = after(taught("outliers", train, method=method, treatment="flag"), rows)["a_outlier"]
    assert (flagged == 1).to_list() == outside.to_list()
    logged = after(taught("outliers", train, method=method, treatment="log"), rows)["a"]
    expected = np.sign(later[:, 0]) * np.log1p(np.abs(later[:, 0]))
    np.testing.assert_allclose(logged.drop_nulls(), expected[~np.isnan(expected)], rtol=1e-12)


def test_whoever_asks_about_an_unusual_customer_is_told():
    forest = {"step": "outliers", "method": "isolation_forest", "treatment": "flag", "flag": "unusual_customer"}
    steps = {"first": {"step": "scale", "columns": ["tenure"]}, "odd": forest}
    predictor = Predictor(made_bundle(made_prepared(preprocess={"steps": steps})))
    rows = made_customers(100, seed=1)
    odd = rows[:1].with_columns(tenure=pl.lit(900), charges=pl.lit(9e5))
    found = predictor.read(pl.concat([rows, odd], how="vertical_relaxed"))
    told = [warning.row for warning in found.warnings if warning.column == "unusual_customer"]
    flags = predictor.bundle.preparation.chain.apply(found.typed)["unusual_customer"]
    assert told == flags.eq(1.0).arg_true().to_list()
    assert 100 in told and len(told) < 20
    assert [w.problem for w in predictor.read(odd).warnings] == [OUTSIDE, OUTSIDE, UNUSUAL]


def test_outliers_are_dropped_from_training_rows_alone():
    train, later = tables("hardly any")
    train[7, 0] = 1e6
    learned = taught("outliers", train, method="z", treatment="drop", limit=10)
    assert np.flatnonzero(~learned.kept).tolist() == [7]
    later[0, 0] = 1e9
    assert after(learned, as_frame(later)).equals(as_frame(later))
    assert "1 training rows left out; validation and test rows all stay" in learned.said[-1]


def test_no_class_loses_its_last_training_row_to_outliers():
    frame = pl.DataFrame({"a": [*np.linspace(0, 1, 30), 1e6]})
    with pytest.raises(DataError, match="no training row of a class; flag or cap outliers instead"):
        learn("outliers", training(frame, [0] * 30 + [1]), method="z", treatment="drop")


def test_a_forest_has_no_borders_to_cap_at():
    with pytest.raises(ConfigError, match="must be flag or drop with method=isolation_forest"):
        taught("outliers", tables("anywhere")[0], method="isolation_forest", treatment="cap")


# --- nearly empty columns -------------------------------------------------------------------------------------------


def nearly_empty() -> tuple[pl.DataFrame, np.ndarray]:
    label = np.arange(100) % 2
    # 80 of 100 are missing, and those who have a value are 15 churners and 5 others.
    given = np.concatenate([np.flatnonzero(label == 1)[:15], np.flatnonzero(label == 0)[:5]])
    rare = np.full(100, np.nan)
    rare[given] = given
    half = np.where(np.arange(100) < 70, np.nan, 1.0 * np.arange(100))  # 70 %, which is not more than that
    return pl.DataFrame({"rare": rare, "half": half, "full": np.arange(100.0) % 7}).fill_nan(None), label


def test_a_nearly_empty_column_is_proposed_with_its_signal_and_dropped_once_confirmed():
    known = training(*nearly_empty(), columns={name: {"kind": "numeric"} for name in ("rare", "half")})
    proposed = learn("drop_missing", known)
    # Missing: 35 of 50 churners and 45 of 50 others, so that the gap has an area of (1 + 0.9 - 0.7) / 2.
    assert len(proposed.said) == 1
    assert proposed.said[0] == (
        "'rare' is missing in 80.0 % of the training rows (ROC AUC of the gap alone 0.600): "
        "kept; drop it with columns: [rare] or confirm: true"
    )
    assert after(proposed, known.rows).columns == ["rare", "half", "full"]
    for options in ({"confirm": True}, {"columns": ["rare"]}):
        dropped = learn("drop_missing", known, **options, indicator=True)
        rows = after(dropped, known.rows)
        assert rows.columns == ["half", "full", "rare_missing"]
        assert rows["rare_missing"].sum() == 80
        assert dropped.said[0].endswith("dropped")
    assert [column.name for column in dropped.columns] == ["half", "full", "rare_missing"]
