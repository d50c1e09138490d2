"""KS, lift and gains, checked against SciPy, empulse and all orders of tied customers."""

from __future__ import annotations

import numpy as np
import pytest
from empulse.metrics import lift_score
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_scores import drawn
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, roc_auc_score

from churnlib.evaluation import (
    auepc,
    average_precision,
    empc,
    gains,
    kolmogorov_smirnov,
    lift,
    lift_ceiling,
    mpc,
    roc_auc,
)


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("seed", range(3))
def test_order_is_measured_as_scikit_learn_and_scipy_measure_it(seed: int, decimals: int):
    label, score = drawn(seed, decimals=decimals)
    assert roc_auc(label, score) == pytest.approx(roc_auc_score(label, score), rel=1e-12)
    assert average_precision(label, score) == pytest.approx(average_precision_score(label, score), rel=1e-12)
    ks = ks_2samp(score[label == 1], score[label == 0]).statistic  # type: ignore[union-attr]
    assert kolmogorov_smirnov(label, score) == pytest.approx(ks, rel=1e-12)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.33, 1.0])
def test_lift_without_ties_is_that_of_empulse(share: float):
    label, score = drawn(0, n=1000)
    assert lift(label, score, share) == pytest.approx(lift_score(label, score, fraction=share), rel=1e-12)


def test_lift_with_ties_is_the_mean_over_their_orders():
    label, score = drawn(1, n=60, decimals=1)
    rng = np.random.default_rng(0)
    shuffled = []
    for _ in range(20_000):
        order = np.lexsort((rng.random(len(label)), -score))
        shuffled.append(label[order[:6]].mean() / label.mean())
    error = np.std(shuffled) / len(shuffled) ** 0.5
    assert lift(label, score) == pytest.approx(np.mean(shuffled), abs=4 * error)


def test_a_share_counts_the_customers_it_says():
    label = np.r_[np.ones(7, dtype=int), np.zeros(93, dtype=int)]
    score = np.linspace(1, 0, 100)
    assert lift(label, score, 0.07) == pytest.approx(1 / 0.07)  # 0.07 * 100 is 7.000000000000001 in binary
    assert lift(label, score, 0.001) == pytest.approx(1 / 0.07)  # the first customer at least


def test_no_lift_is_above_its_ceiling_and_a_perfect_order_reaches_it():
    for share in (0.05, 0.1, 0.5):
        label, score = drawn(2)
        ceiling = lift_ceiling(len(label), int(label.sum()), share)
        assert ceiling is not None and (lift(label, score, share) or 0) <= ceiling
        assert lift(label, label.astype(float), share) == pytest.approx(ceiling)
    assert lift_ceiling(7043, 1869) == pytest.approx(min(7043 / 1869, 10), rel=1e-9)
    assert lift_ceiling(10, 0) is None


def test_gains_run_from_nothing_to_all_and_are_the_share_of_churners_found():
    label, score = drawn(3)
    shares = np.linspace(0, 1, 11)
    found = gains(label, score, shares)
    ranked = label[np.argsort(-score)]
    assert found == pytest.approx([ranked[: round(300 * share)].sum() / label.sum() for share in shares])
    assert (found[0], found[-1]) == (0.0, 1.0)
    assert np.isnan(gains([0, 0], [0.1, 0.2], [0.5])).all()


def test_rows_of_one_class_have_no_order_to_measure():
    for label in ([0, 0], [1, 1]):
        assert roc_auc(label, [0.1, 0.2]) is None
        assert average_precision(label, [0.1, 0.2]) is None
        assert kolmogorov_smirnov(label, [0.1, 0.2]) is None
    assert lift([0, 0], [0.1, 0.2]) is None
    assert lift([1, 1], [0.1, 0.2]) == 1.0


def test_equal_probabilities_are_worth_what_chance_is():
    label, score = [0, 1, 0, 0], [0.3] * 4
    assert (roc_auc(label, score), kolmogorov_smirnov(label, score), lift(label, score, 0.5)) == (0.5, 0.0, 1.0)
    assert average_precision(label, score) == 0.25


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(share: float):
    with pytest.raises(ValueError, match=r"share must be a share of the customers in \(0, 1\]"):
        lift([0, 1], [0.1, 0.2], share)


SCORES = arrays(np.float64, st.integers(2, 40), elements=st.integers(0, 8).map(lambda k: k / 8))


@given(score=SCORES, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_order_of_rows_and_rising_transforms_change_nothing(score: np.ndarray, seed: int):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, len(score))
    order = rng.permutation(len(score))
    value = rng.lognormal(5, 1, len(score))

    def measured(label: np.ndarray, score: np.ndarray, value: np.ndarray) -> list[float]:
        found = [roc_auc, average_precision, kolmogorov_smirnov, lift]
        money = [mpc(label, score).profit, empc(label, score).profit, auepc(label, score, value)]
        return [np.nan if one is None else one for one in [*(f(label, score) for f in found), *money]]

    expected = pytest.approx(measured(label, score, value), rel=1e-9, abs=1e-12, nan_ok=True)
    assert measured(label[order], score[order], value[order]) == expected
    assert measured(label, score**3 / 2 + 0.1, value) == expected
