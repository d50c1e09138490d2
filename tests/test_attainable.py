"""What can be attained: beside the truth where it is known, beside a plain restatement, and as a verdict on a goal."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from churnlib.errors import ConfigError
from churnlib.evaluation import best_expected_f1, evaluate
from churnlib.evaluation.binary import LAYERS
from churnlib.evaluation.ceiling.attainable import Estimate, attainable
from churnlib.evaluation.ceiling.expected import (
    AT_CUT,
    BY_CUT,
    ESTIMATED,
    OF_CAMPAIGN,
    OF_ORDER,
    OF_PROBABILITY,
    balanced_f1,
)
from churnlib.evaluation.ceiling.goal import WITHOUT, Goal, figure_of, judge
from churnlib.evaluation.metrics import FIGURES, OF_LAYER
from churnlib.evaluation.profit.campaign import Campaign, expected_gains


def customers(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and true probabilities."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(1.6 - 1.5 * rng.normal(size=n)))
    return (rng.random(n) < p).astype(np.int64), p


def overconfident(p: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-1.7 * np.log(p / (1 - p)) - 0.4))


TRUE_F1 = best_expected_f1(customers(300_000, 99)[1])[1]


def test_the_best_f1_is_that_of_a_plain_restatement():
    p = np.random.default_rng(0).beta(1, 2, 300)
    ranked = np.sort(p)[::-1]
    plain = max(2 * ranked[:k].sum() / (k + ranked.sum()) for k in range(1, 301))
    assert best_expected_f1(p)[1] == pytest.approx(plain)
    found = attainable(np.random.default_rng(1).random(300) < p, p, replicates=20)["f1"]
    assert found.value == pytest.approx(plain, abs=0.06)  # recalibrated by 300 labels


@pytest.mark.parametrize("seed", range(3))
def test_the_truth_is_found_from_probabilities_that_are_wrong(seed):
    label, p = customers(20_000, seed)
    found = attainable(label, overconfident(p), metrics=["f1"], replicates=100, seed=seed)["f1"]
    assert found.value == pytest.approx(TRUE_F1, abs=0.012)
    assert best_expected_f1(overconfident(p))[1] > TRUE_F1 + 0.03  # what the wrong ones promise


@pytest.mark.slow
def test_intervals_hold_the_truth_and_what_test_sets_show():
    of_all = of_test = 0
    for seed in range(60):
        label, p = customers(1_000, seed)
        found = attainable(label, overconfident(p), test_rows=500, replicates=150, seed=seed)["f1"]
        assert found.threshold is not None
        new, q = customers(500, 1_000 + seed)
        of_all += found.low <= TRUE_F1 <= found.high
        of_test += found.test_low <= f1_score(new, overconfident(q) >= found.threshold) <= found.test_high
    # of 60 with a chance of 0.95: 51 or more in 998 of 1,000 cases
    assert of_all >= 51 and of_test >= 51


def test_every_estimate_is_about_what_labels_show():
    label, p = customers(8_000, 5)
    found = attainable(label, p, metrics=ESTIMATED, test_rows=2_000, replicates=100)
    assert set(found) == set(ESTIMATED) == {*BY_CUT, *AT_CUT, *OF_CAMPAIGN, *OF_ORDER, *OF_PROBABILITY}
    cut = found["f1"].threshold
    shown = evaluate(label, p, threshold=cut, layers=LAYERS)
    for metric in (*AT_CUT, *OF_ORDER, *OF_PROBABILITY, "f1"):
        one = found[metric]
        assert one.test_low <= figure_of(shown, metric) <= one.test_high, metric
        assert one.test_low < one.low < one.value < one.high < one.test_high, metric
    assert found["profit"].value == pytest.approx(shown["profit"]["mpc"], rel=0.03)
    assert found["roc_auc"].value == pytest.approx(roc_auc_score(label, p), abs=0.01)


def test_profit_knows_each_customers_value():
    label, p = customers(20_000, 1)
    value = np.random.default_rng(2).lognormal(5, 0.7, 20_000)
    campaign = Campaign(offer_share=0.1, acceptance=0.4)
    own = attainable(label, p, metrics=["profit"], campaign=campaign, value=value, replicates=50)["profit"]
    order = np.argsort(-p)
    plain = np.cumsum(expected_gains(p[order], value[order], campaign)).max() / 20_000
    assert own.value == pytest.approx(plain, rel=0.05)
    shown = evaluate(label, p, threshold=0.3, layers=["profit"], campaign=campaign, value=value)["profit"]["empb"]
    assert own.test_low < shown < own.test_high
    nothing = attainable(label, p, metrics=["profit"], campaign=Campaign(value=1.0), replicates=50)["profit"]
    assert nothing.value == nothing.low == 0.0


def test_the_best_campaign_of_test_rows_is_estimated_with_the_luck_of_choosing_it_there():
    label, p = customers(6_000, 1)
    value = np.random.default_rng(2).lognormal(5, 0.7, 6_000)
    inside = dict.fromkeys(OF_CAMPAIGN, 0)
    found = attainable(
        label, overconfident(p), metrics=OF_CAMPAIGN, campaign=Campaign(), value=value, test_rows=300, replicates=100
    )
    for seed in range(20):
        new, q = customers(300, 50 + seed)
        own = np.random.default_rng(seed).lognormal(5, 0.7, 300)
        told = evaluate(new, overconfident(q), threshold=0.3, layers=["profit"], campaign=Campaign(), value=own)
        for metric in OF_CAMPAIGN:
            inside[metric] += found[metric].test_low <= told["profit"][metric] <= found[metric].test_high
    whole = evaluate(label, p, threshold=0.3, layers=["profit"], campaign=Campaign(), value=value)["profit"]
    for metric, one in found.items():
        assert one.value == pytest.approx(whole[metric], rel=0.03) and one.threshold is None
        assert inside[metric] >= 17  # of 20 with a chance of 0.95: 17 or more in 98 of 100 cases
    worthless = attainable(label, p, metrics=OF_CAMPAIGN, campaign=Campaign(value=1.0), replicates=20)
    assert all(one.value == one.low == one.test_high == 0.0 for one in worthless.values())


def test_customers_with_several_rows_make_intervals_wider():
    label, p = customers(800, 3)
    fourfold = [np.repeat(one, 4) for one in (label, p)]
    rows = attainable(*fourfold, replicates=100)["f1"]
    known = attainable(*fourfold, customers=np.repeat(np.arange(800), 4), replicates=100)["f1"]
    assert known.high - known.low > 1.5 * (rows.high - rows.low)


def test_ties_certainty_and_one_class():
    label = np.array([0, 1] * 50)
    tied = attainable(label, np.full(100, 0.5), replicates=50)["f1"]
    assert tied.value == pytest.approx(2 / 3, abs=0.01)  # everybody is chosen
    sure = attainable(label, label.astype(float), metrics=["f1", "roc_auc"], replicates=50)
    assert sure["f1"].value > 0.97 and sure["roc_auc"].high <= 1.0
    assert attainable(np.zeros(10), np.full(10, 0.1)) == {}
    with pytest.raises(ValueError, match=r"no estimate of 'ece'; there is one of f1, "):
        attainable(label, np.full(100, 0.5), metrics=["ece"])


def test_half_churners_half_stayers_flatter_the_same_model():
    label, p = customers(200_000, 4)
    left, stayed = np.flatnonzero(label == 1), np.flatnonzero(label == 0)[: label.sum()]
    rows = np.concatenate([left, stayed])
    best = max(f1_score(label[rows], p[rows] >= cut) for cut in np.linspace(0.1, 0.4, 31))
    assert balanced_f1(p) == pytest.approx(best, abs=0.005)
    assert balanced_f1(p) > TRUE_F1 + 0.1


# --- goals ------------------------------------------------------------------------------------------------------------


def estimate(value: float, *, metric: str = "f1") -> Estimate:
    return Estimate(
        metric=metric, value=value, low=value - 0.02, high=value + 0.02, rows=1000, positives=300, test_rows=500,
        test_low=value - 0.05, test_high=value + 0.05,
    )  # fmt: skip


F1_GOAL = Goal(metric="f1", at_least=0.85)


@pytest.mark.parametrize(
    ("promised", "measured", "verdict", "certified", "said"),
    [
        (0.86, 0.87, "met", True, "met; test rows show 0.870; 0.860 (0.840–0.880) can be attained"),
        (0.84, 0.83, "attainable", False, "not met, but attainable; test rows show 0.830"),
        (0.64, 0.65, "out of reach", False, "above what these data can give; test rows show 0.650"),
        (0.64, 0.86, "met", False, "Too good: look for a leak, or for rows that were resampled before the split"),
        (0.84, None, "attainable", False, "goal f1 of at least 0.85: not met, but attainable; 0.840"),
    ],
)
def test_how_a_goal_stands(promised, measured, verdict, certified, said):
    found = judge(F1_GOAL, estimate(promised), measured=measured)
    assert (found["verdict"], found["certified"]) == (verdict, certified) and said in found["said"]


def test_a_goal_that_a_leak_met_is_not_certified():
    found = judge(F1_GOAL, estimate(0.95), measured=0.95, interval=[0.93, 0.97], leaks=["'reason'"])
    assert found["verdict"] == "met" and not found["certified"]
    assert "0.950 (0.930–0.970)" in found["said"] and "Not certified: 'reason'" in found["said"]


def test_less_may_be_better():
    goal = Goal(metric="log_loss", at_most=0.4)
    assert judge(goal, estimate(0.41, metric="log_loss"), measured=0.405)["verdict"] == "attainable"
    assert judge(goal, estimate(0.45, metric="log_loss"), measured=0.45)["verdict"] == "out of reach"
    assert judge(goal, estimate(0.5, metric="log_loss"), measured=0.3)["too_good"]


def test_a_figure_without_an_estimate():
    found = judge(Goal(metric="ece", at_most=0.01), None, measured=0.02)
    assert found["verdict"] == "not met" and "no estimate of what ece can be: it is about how" in found["said"]
    assert set(WITHOUT) | set(ESTIMATED) == {*FIGURES, *(name for layer in OF_LAYER.values() for name in layer)}
    assert not set(WITHOUT) & set(ESTIMATED)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"metric": "f2", "at_least": 0.5, "at_most": 0.6}, "needs at_least or at_most"),
        ({"metric": "f1"}, "needs at_least or at_most"),
        ({"metric": "roc_acu", "at_least": 0.5}, "did you mean roc_auc"),
    ],
)
def test_wrong_goals_are_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        Goal(**words)
