"""Strata, households, rolling origins, gaps: who is dealt where, beyond the class."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made_customers
from rich.console import Console
from sklearn.model_selection import TimeSeriesSplit

from churnlib.compose import compose
from churnlib.data.customers import prepare_customers
from churnlib.data.dealing import Dealing, customer_groups
from churnlib.data.folds import deal_folds
from churnlib.data.rolling import purge, rolling_origins, split_time, time_folds
from churnlib.data.splits import split_random
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Column, Kind, Role, Schema
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

SHARES = (0.7, 0.15, 0.15)
DAY = 86_400_000_000


def dated(n: int = 400, n_dates: int = 8, seed: int = 0) -> pl.DataFrame:
    dates = [f"2024-{1 + i % n_dates:02d}-28" for i in range(n)]
    return made_customers(n, seed=seed).with_columns(taken=pl.Series(dates))


def prepared(frame: pl.DataFrame, **split):
    time = "taken" if "taken" in frame.columns else None
    return prepare_customers(frame, target="churn", id="customer", time=time, split=split)


# --- strata ---------------------------------------------------------------------------------------------------------


@given(st.integers(20, 400), st.floats(0.05, 0.95), st.integers(1, 30), st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_strata_are_exact_within_a_class_and_the_class_stays_exact(n, rate, n_strata, seed):
    rng = np.random.default_rng(seed)
    label, strata = (rng.random(n) < rate).astype(np.int64), rng.integers(0, n_strata, n)
    split = split_random(label, SHARES, seed=seed, strata=strata)
    sides = list(split.sides().values())
    assert [len(rows) for rows in sides][1:] == [round(n * 0.15)] * 2
    assert sorted(np.concatenate(sides).tolist()) == list(range(n))
    for value in np.unique(label):
        of_class = np.array([(label[rows] == value).sum() for rows in sides])
        share = of_class / of_class.sum()
        np.testing.assert_allclose(of_class, (label == value).sum() * np.array([len(r) for r in sides]) / n, atol=1)
        for stratum in np.unique(strata[label == value]):
            mine = (label == value) & (strata == stratum)
            dealt = np.array([mine[rows].sum() for rows in sides])
            np.testing.assert_allclose(dealt, mine.sum() * share, atol=1)


def test_columns_are_dealt_in_equal_shares_and_so_are_folds():
    frame = made_customers(500)
    customers = prepared(frame, stratify=["plan", "paperless"])
    plans = frame["plan"].to_numpy()
    for plan in np.unique(plans):
        shares = [(plans[rows] == plan).mean() for rows in customers.split.sides().values()]
        # Four strata of two classes hold the plan, and each may be off by a row.
        np.testing.assert_allclose(shares, (plans == plan).mean(), atol=4 / 75)
    folds = deal_folds(customers, 5)
    for label in (0, 1):
        for plan in np.unique(plans):
            rows = [part.rows("validation") for part in folds.parts]
            counts = [((plans[one] == plan) & (customers.label[one] == label)).sum() for one in rows]
            assert max(counts) - min(counts) <= 2


def test_without_strata_nothing_has_changed():
    label = (np.random.default_rng(0).random(200) < 0.3).astype(np.int64)
    one_stratum = split_random(label, SHARES, seed=5, strata=np.zeros(200, dtype=np.int64))
    np.testing.assert_array_equal(split_random(label, SHARES, seed=5).train, one_stratum.train)


# --- groups ---------------------------------------------------------------------------------------------------------


def test_a_household_is_never_on_two_sides_nor_in_two_folds_and_no_feature():
    frame = made_customers(300).with_columns(
        household=pl.Series([f"h{i // 3}" if i % 10 else None for i in range(300)])
    )
    customers = prepared(frame, group="household")
    assert "household" not in customers.preparation.feature_names
    homes = customers.frame["household"].to_numpy()
    sides = [{home for home in homes[rows] if home is not None} for rows in customers.split.sides().values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    for part in deal_folds(customers, 3).parts:
        held_out = {home for home in homes[part.rows("validation")] if home is not None}
        assert not held_out & set(homes[part.rows("train")])


def test_households_that_share_a_customer_stay_together():
    frame = pl.DataFrame(
        {
            "customer": ["a", "a", "b", "c", "d", None],
            "home": ["1", "2", "2", "3", None, "3"],
            "taken": ["2024-01-01"] * 6,
        }
    )
    columns = (Column("customer", Kind.identifier, Role.id), Column("taken", Kind.datetime, Role.time))
    groups = customer_groups(frame, Schema(columns), group="home")
    assert groups is not None
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[5]
    assert len({groups[0], groups[3], groups[4]}) == 3


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_dates", "by"), [(1, "random"), (2, "random"), (3, "time"), (8, "time")])
def test_sides_go_by_time_where_there_are_dates_for_three(n_dates, by):
    assert prepared(dated(n_dates=n_dates)).split.by == by


@given(st.integers(30, 300), st.integers(1, 60), st.integers(1, 4), st.integers(0, 20), st.booleans())
@settings(max_examples=100, deadline=None)
def test_each_window_is_older_than_the_next_and_knows_nothing_of_it(n, n_dates, n_origins, seed, grouped):
    rng = np.random.default_rng(seed)
    time = rng.integers(0, n_dates, n)
    groups = rng.integers(0, n // 2, n) if grouped else None
    windows = rolling_origins(time, SHARES, n_origins, seed=seed, groups=groups)
    np.testing.assert_array_equal(windows[-1].train, split_time(time, SHARES, seed=seed, groups=groups).train)
    for window in windows:
        train_rows, validation, test = window.sides().values()
        for older, newer in ((train_rows, validation), (validation, test), (train_rows, test)):
            if len(older) and len(newer):
                assert time[older].max() <= time[newer].min()
        if not grouped:
            assert len(test) == round(n * 0.15) and len(validation) == round(n * 0.15)
        everybody = len(train_rows) + len(validation) + len(test) + window.left_out + window.purged + window.later
        assert everybody == n
    for older, newer in pairwise(windows):
        assert not set(older.test) & set(newer.test)
        assert not set(older.train) & set(newer.test)


def test_rows_within_the_gap_before_the_next_side_are_left_out():
    time = np.arange(100) * DAY
    split = split_time(time, SHARES, seed=0, gap=10 * DAY)
    # Train ends at day 69, validation begins at 70, test at 85: days 61 to 69 and 76 to 84 know too much.
    assert split.train.tolist() == list(range(61))
    assert split.validation.tolist() == list(range(70, 76))
    assert split.test.tolist() == list(range(85, 100))
    assert (split.purged, split.left_out) == (18, 0)


@given(st.integers(30, 200), st.integers(10, 200), st.integers(0, 20), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_no_outcome_window_reaches_into_the_next_side(n, n_dates, gap, seed):
    time = np.random.default_rng(seed).integers(0, n_dates, n)
    side = np.full(n, -1, dtype=np.int8)
    side[np.argsort(time, kind="stable")] = np.repeat([0, 1, 2], [n - 2 * (n // 4), n // 4, n // 4])
    try:
        purge(side, time, gap)
    except DataError:  # the dates lie too close together
        return
    if gap:
        for older, newer in ((0, 1), (1, 2)):
            assert time[side == older].max() + gap <= time[side == newer].min()


def test_folds_by_time_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    time = rng.permutation(120)
    folds = time_folds(np.arange(120), Dealing(moments=time), 5, seed=0)
    order = np.argsort(time)
    for (train_rows, held_out), (wanted, tested) in zip(folds, TimeSeriesSplit(5).split(order), strict=True):
        assert sorted(train_rows.tolist()) == sorted(order[wanted].tolist())
        assert sorted(held_out.tolist()) == sorted(order[tested].tolist())


def test_folds_by_time_heed_the_gap_and_the_customers():
    time = np.arange(90) * DAY
    for train_rows, held_out in time_folds(np.arange(90), Dealing(moments=time, gap=5 * DAY), 2, seed=0):
        assert held_out.min() - train_rows.max() == 5
    customers = np.arange(90) % 40
    for train_rows, held_out in time_folds(np.arange(90), Dealing(moments=time, groups=customers), 2, seed=0):
        assert not set(customers[train_rows]) & set(customers[held_out])
        assert len(train_rows) and len(held_out)


# --- through a run --------------------------------------------------------------------------------------------------


def test_a_run_tests_each_window_and_bundles_the_newest(tmp_path):
    words = ["data.n_customers=1500", "data.n_snapshots=12", "model=logistic", "leaks=off", "split.gap_days=30"]
    console = Console(width=200, record=True, quiet=False)
    folder = RunFolder(tmp_path / "run", latest=None)
    result = train(compose([*words, "split.by=time", "split.origins=3"]), folder=folder, console=console)
    origins = result.metrics["origins"]
    tested = [one["days"]["test"] for one in origins["windows"]]
    assert len(tested) == 3
    assert all(older[1] <= newer[0] for older, newer in pairwise(tested))
    assert origins["windows"][-1]["roc_auc"] == result.metrics["test"]["roc_auc"]
    assert origins["roc_auc"]["worst"] == min(one["roc_auc"] for one in origins["windows"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["origins"] == origins
    assert "each time tested on what came next" in console.export_text()
    alone = train(compose([*words, "split.by=time"]), folder=RunFolder(tmp_path / "one", latest=None))
    assert alone.metrics["test"] == result.metrics["test"]
    assert "origins" not in alone.metrics


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"stratify": ["plan"], "by": "time"}, ConfigError, "split.by=random"),
        ({"stratify": ["plam"], "by": "random"}, ConfigError, "split.stratify"),
        ({"stratify": ["customer"], "by": "random"}, ConfigError, "400 values"),
        ({"group": "home"}, ConfigError, "split.group"),
        ({"by": "random", "origins": 2}, ConfigError, "split.by=time"),
        ({"by": "random", "gap_days": 3.0}, ConfigError, "split.gap_days=3.0"),
        ({"by": "time", "gap_days": 400.0}, DataError, "gap_days=400 leaves no"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(options, error, says):
    with pytest.raises(error, match=says):
        prepared(dated(), **options)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["split.origins=6"], "take 4 at most"),
        (["cv=2", "cv_repeats=2"], "the same each time"),
    ],
)
def test_a_run_refuses_what_the_dates_do_not_allow_before_it_writes(tmp_path, words, says):
    config = compose(["data.n_customers=500", "data.n_snapshots=6", "model=logistic", "leaks=off", *words])
    with pytest.raises(ConfigError, match=says):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


def test_prepare_refuses_what_only_train_can_deal():
    with pytest.raises(ConfigError, match=r"split\.stratify"):
        compose(["output=x", "split.stratify=[contract]"], name="prepare")
