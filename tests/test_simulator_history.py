"""The simulated histories: their order bears on churn, and nothing that forgets the order says so."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from churnlib.data.simulator import TRUTH, model, simulate, simulate_to_parquet
from churnlib.data.simulator.history import draw_histories, longest_fall
from churnlib.errors import ConfigError

COLUMNS = ["data_usage_history_gb", "call_history_minutes"]
CLEAN = {"missing_share": 0.0, "outlier_share": 0.0, "duplicate_share": 0.0}
MONTHS = 12


@pytest.fixture(scope="module")
def people():
    return model.draw_customers(np.random.default_rng(0), 40_000)


@pytest.fixture(scope="module")
def histories(people):
    return draw_histories(np.random.default_rng(1), people, MONTHS)


def test_histories_change_neither_who_the_customers_are_nor_tables_without_them():
    without, with_them = simulate(2_000, seed=1), simulate(2_000, seed=1, history_months=MONTHS)
    outcome = ["churn", "churn_date"]
    assert_frame_equal(with_them.table.drop(*COLUMNS, *outcome), without.table.drop(outcome))
    assert with_them.table.columns == [*without.table.drop(outcome).columns, *COLUMNS, *outcome]
    assert (with_them.churn_probability != without.churn_probability).all()


def test_a_table_with_histories_is_the_beginning_of_larger_ones_and_of_its_file(tmp_path):
    small, large = simulate(500, seed=2, history_months=5), simulate(12_000, seed=2, history_months=5)
    first = large.table.unique("customer_id", maintain_order=True)[:500]
    assert_frame_equal(small.table.unique("customer_id", maintain_order=True), first)
    simulate_to_parquet(tmp_path / "t.parquet", 12_000, seed=2, history_months=5)
    file = pl.read_parquet(tmp_path / "t.parquet")
    assert_frame_equal(file.drop(TRUTH), large.table)
    np.testing.assert_array_equal(file[TRUTH], large.churn_probability)


def test_a_history_ends_with_this_month_and_is_no_longer_than_the_customer_is_one():
    table = simulate(5_000, seed=3, history_months=MONTHS, **CLEAN).table
    for name, now in zip(COLUMNS, ["monthly_data_usage_gb", "call_duration_avg_minutes"], strict=True):
        assert table[name].list.get(-1).equals(table[now].alias(name))
        expected = (table["tenure_months"] + 1).clip(upper_bound=MONTHS)
        assert table[name].list.len().to_list() == expected.to_list()


def test_the_streak_is_the_longest_run_of_falls_before_this_month(histories, people):
    """Against a plain loop over each customer's months."""
    usage, calls = histories.values.values()
    for i in range(500):
        read = usage[i] if people.monthly_data_usage_gb[i] > 0 else calls[i]
        months, run, longest = read[~np.isnan(read)][:-1], 0, 0
        for before, after in pairwise(months):
            run = run + 1 if after < before else 0
            longest = max(longest, run)
        assert histories.streak[i] == longest


def test_the_true_probability_holds_the_term_of_the_streak():
    table = simulate(3_000, seed=4, history_months=MONTHS, **CLEAN)
    plain = simulate(3_000, seed=4, **CLEAN)
    usage = [row if row[-1] > 0 else calls for row, calls in table.table.select(COLUMNS).iter_rows()]
    padded = np.array([[np.nan] * (MONTHS - len(row)) + list(row) for row in usage])
    term = 3.0 * (1 / (1 + np.exp(-3.0 * (longest_fall(padded[:, :-1]) - 2.5))) - 0.27)
    logit = np.log(table.churn_probability / (1 - table.churn_probability))
    before = np.log(plain.churn_probability / (1 - plain.churn_probability))
    np.testing.assert_allclose(logit - before, term, atol=1e-9)


def summaries(values: np.ndarray) -> np.ndarray:
    """What forgets the order, and the last value."""
    rows = [values.mean(1), values.std(1), values.min(1), values.max(1), np.median(values, 1), values[:, -1]]
    return np.stack(rows, axis=1)


def test_no_summary_that_forgets_the_order_and_no_last_value_tells_the_streak(histories, people):
    full = (histories.months == MONTHS) & (people.monthly_data_usage_gb > 5)
    values = np.log(histories.values[COLUMNS[0]][full])
    inputs, fell = np.c_[summaries(values), summaries(np.exp(values))], histories.streak[full] >= 3
    half = len(inputs) // 2
    learned = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(inputs[:half], fell[:half])
    # Four standard errors of an AUC that is 0.5.
    n1, n0 = fell[half:].sum(), (~fell[half:]).sum()
    error = 4 * np.sqrt((n1 + n0 + 1) / (12 * n1 * n0))
    assert abs(roc_auc_score(fell[half:], learned.predict_proba(inputs[half:])[:, 1]) - 0.5) < error
    # The test can fail: the order itself tells the streak.
    falls = (np.diff(values[:, :-1]) < 0).astype(float)
    triples = (falls[:, :-2] * falls[:, 1:-1] * falls[:, 2:]).max(1)
    np.testing.assert_array_equal(triples.astype(bool), fell)


def test_the_best_result_is_better_with_the_order_than_without(people, histories):
    truth = model.churn_probability(people, histories.churn_term())
    churn = np.random.default_rng(2).random(len(truth)) < truth
    best, without = roc_auc_score(churn, truth), roc_auc_score(churn, model.churn_probability(people))
    assert best > without + 0.03


def test_errors_reach_the_histories_and_only_as_often_as_asked():
    table = simulate(20_000, seed=5, history_months=MONTHS, missing_share=0.04, outlier_share=0.01).table
    clean = simulate(20_000, seed=5, history_months=MONTHS, **CLEAN).table
    usage = table["data_usage_history_gb"]
    assert usage.is_null().mean() == pytest.approx(0.02, abs=0.005)
    assert usage.explode().drop_nulls().len() / clean["data_usage_history_gb"].explode().len() == pytest.approx(
        0.98 * 0.96, abs=0.01
    )
    assert clean.select(COLUMNS).null_count().row(0) == (0, 0)
    assert usage.list.max().mean() > 1.5 * clean["data_usage_history_gb"].list.max().mean()


@pytest.mark.parametrize("months", [-1, 121, 1.5, True])
def test_other_numbers_of_months_are_refused(months):
    with pytest.raises(ConfigError, match="history_months must be a whole number from 0 to 120"):
        simulate(10, history_months=months)


def test_a_history_of_one_month_has_no_streak():
    table = simulate(300, seed=0, history_months=1, **CLEAN)
    assert table.table["call_history_minutes"].list.len().to_list() == [1] * 300
