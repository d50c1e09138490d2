"""The paired difference of two models, checked against the textbook's interval of a mean."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from churnlib.evaluation.paired import MOST_PARTS, ScoredRows, paired_difference


@pytest.mark.parametrize("n", [300, 4 * MOST_PARTS + 7])
def test_the_interval_is_that_of_the_mean_of_the_differences(n: int):
    rng = np.random.default_rng(0)
    hard = rng.gamma(2.0, 0.3, n)  # the same customers are hard for both: the difference varies far less
    loss, other = hard + rng.normal(0.02, 0.1, n), hard
    value, (low, high) = paired_difference(loss, other, seed=0)
    half = 1.96 * (loss - other).std(ddof=1) / np.sqrt(n)
    assert value == pytest.approx(loss.mean() - other.mean())
    assert [low, high] == pytest.approx([value - half, value + half], abs=0.1 * half)


def test_the_seed_decides_the_bootstrap_and_turning_the_pair_round_turns_the_sign():
    rng = np.random.default_rng(1)
    loss, other = rng.random(80), rng.random(80)
    value, (low, high) = paired_difference(loss, other, seed=3)
    assert (value, (low, high)) == paired_difference(loss, other, seed=3) != paired_difference(loss, other, seed=4)
    assert paired_difference(other, loss, seed=3) == (pytest.approx(-value), pytest.approx((-high, -low)))


def test_losses_are_read_from_the_predictions_of_two_and_of_several_classes():
    ids, label = pl.Series("customer_id", ["a", "b", "c"]), pl.Series("label", [0, 1, 1])
    two = pl.DataFrame([ids, label, pl.Series("churn_probability", [0.2, 0.9, 0.3])])
    assert ScoredRows.from_predictions(two).loss.mean() == pytest.approx(log_loss([0, 1, 1], [0.2, 0.9, 0.3]))
    of_each = np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]])
    columns = [pl.Series(f"probability_{name}", of_each[:, i]) for i, name in enumerate(["stays", "goes", "dies"])]
    three = pl.DataFrame([ids, pl.Series("label", [0, 1, 2]), *columns])
    assert ScoredRows.from_predictions(three).loss.mean() == pytest.approx(log_loss([0, 1, 2], of_each))


def test_rows_are_the_same_by_name_order_and_label():
    table = pl.DataFrame({"customer_id": ["a", "b"], "label": [0, 1], "churn_probability": [0.2, 0.9]})
    rows = ScoredRows.from_predictions(table)
    assert rows.same_rows(ScoredRows.from_predictions(table.with_columns(churn_probability=0.5)))
    for other in (table.reverse(), table.head(1), table.with_columns(label=1), table.with_columns(customer_id=1)):
        assert not rows.same_rows(ScoredRows.from_predictions(other))
