"""Choosing the threshold, checked by trying every cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, fbeta_score, matthews_corrcoef

from churnlib.errors import ConfigError
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.thresholds import best_expected_f1, choose_threshold, threshold_band


def drawn(seed: int, n: int = 120, *, tied: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(1.0 - 1.5 * rng.normal(size=n)))
    label = (rng.random(n) < probability).astype(np.int64)
    return label, probability.round(1) if tied else probability


def counts(label: np.ndarray, probability: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    decision = probability >= threshold
    return (
        int((~decision & (label == 0)).sum()),
        int((decision & (label == 0)).sum()),
        int((~decision & (label == 1)).sum()),
        int((decision & (label == 1)).sum()),
    )


def gain(rule: str, label: np.ndarray, probability: np.ndarray, threshold: float) -> float:
    tn, fp, fn, tp = counts(label, probability, threshold)
    if rule == "fbeta":
        return float(fbeta_score(label, probability >= threshold, beta=2.0))
    if rule == "mcc":
        return float(matthews_corrcoef(label, probability >= threshold))
    if rule == "profit":
        return tp * (0.3 * 190 - 1) - fp * 11
    if rule == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    return tp / (tp + fn) - fp / (fp + tn) if rule == "youden" else -(fp * 1.0 + fn * 5.0)


def test_the_best_cut_of_six_customers_lies_between_two_of_them():
    label, probability = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.8]
    assert choose_threshold(label, probability, rule="f1", smoothing=0) == pytest.approx(0.25)
    # cost of a miss 5: no miss and one offer in vain at 0.25; Youden: 1 - 1/3 there, 2/3 - 0 at 0.5, the higher cut
    assert choose_threshold(label, probability, rule="cost", smoothing=0) == pytest.approx(0.25)
    assert choose_threshold(label, probability, rule="youden", smoothing=0) == pytest.approx(0.5)


@pytest.mark.parametrize("rule", ["f1", "fbeta", "mcc", "profit", "youden", "cost"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_without_smoothing_no_cut_is_better_than_the_chosen_one(rule: str, tied: bool, seed: int):
    label, probability = drawn(seed, tied=tied)
    threshold = choose_threshold(label, probability, rule=rule, beta=2.0, smoothing=0)
    chosen = gain(rule, label, probability, threshold)
    every = [gain(rule, label, probability, cut) for cut in [*np.unique(probability).tolist(), 1.1]]
    assert chosen == pytest.approx(max(every), abs=1e-12)
    assert min(abs(probability - threshold)) > 0


@pytest.mark.parametrize("rule", ["f1", "youden", "cost"])
def test_rows_in_another_order_or_twice_give_the_same_threshold(rule: str):
    label, probability = drawn(7, tied=True)
    order = np.random.default_rng(0).permutation(len(label))
    assert choose_threshold(label[order], probability[order], rule=rule) == choose_threshold(
        label, probability, rule=rule
    )
    twice = choose_threshold(np.tile(label, 2), np.tile(probability, 2), rule=rule, smoothing=0)
    assert twice == choose_threshold(label, probability, rule=rule, smoothing=0)


def test_among_equal_cuts_the_highest_is_taken():
    # F1 is 2/3 at 0.8 (one hit of two, none wrong) and 2/3 when all four are selected (two hits of two, two wrong)
    assert choose_threshold([1, 0, 0, 1], [0.9, 0.7, 0.5, 0.3], smoothing=0) == pytest.approx(0.8)


def test_smoothing_gains_f1_on_new_customers():
    rng = np.random.default_rng(0)
    logits = 1.3 * rng.normal(size=100_000) - 3.4
    new = 1 / (1 + np.exp(-logits))
    new_label = rng.random(len(new)) < new
    gains = []
    for _ in range(40):
        probability = rng.choice(new, 600)
        label = (rng.random(600) < probability).astype(np.int64)
        smooth, raw = (choose_threshold(label, probability, smoothing=s) for s in (150.0, 0.0))
        gains.append(f1_score(new_label, new >= smooth) - f1_score(new_label, new >= raw))
    assert np.mean(gains) > 2 * np.std(gains) / math.sqrt(len(gains))  # more than luck


def test_smoothing_mends_probabilities_that_are_far_off():
    label, probability = drawn(1, n=5000)
    shifted = probability / (probability + 20 * (1 - probability))  # odds 20 times too low
    decided, decided_shifted = (p >= choose_threshold(label, p) for p in (probability, shifted))
    assert np.mean(decided == decided_shifted) > 0.99


def test_with_many_churners_the_observed_counts_decide():
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)
    churn_rate = np.where(probability > 0.62, 0.9, 0.05)  # a step, which no logistic curve follows
    label = (rng.random(len(probability)) < churn_rate).astype(np.int64)
    assert choose_threshold(label, probability) == pytest.approx(0.62, abs=0.001)


def test_separated_classes_are_cut_between_them():
    label = np.repeat([0, 1], [80, 20])
    probability = np.where(label == 1, 1.0, 0.0)
    for rule in ("f1", "youden", "cost"):
        assert choose_threshold(label, probability, rule=rule) == 0.5


def test_costs_move_the_threshold_towards_the_cheaper_error():
    label, probability = drawn(0, n=20_000)
    cuts = [choose_threshold(label, probability, rule="cost", cost_false_negative=c) for c in (1.0, 4.0, 9.0)]
    assert cuts == pytest.approx([1 / 2, 1 / 5, 1 / 10], abs=0.04)  # calibrated: fp / (fp + fn), Elkan 2001


def test_offers_that_never_pay_are_made_to_nobody_and_free_ones_to_everybody():
    label, probability = drawn(0)
    free = choose_threshold(label, probability, rule="cost", cost_false_positive=0.0, cost_false_negative=1.0)
    never = choose_threshold(label, probability, rule="cost", cost_false_positive=1.0, cost_false_negative=0.0)
    first_churner = probability[label == 1].min()
    assert free <= first_churner
    assert probability.max() < never <= 1.0


def test_a_certain_customer_is_always_selected_so_the_best_of_the_other_cuts_is_taken():
    # selecting nobody or all is worth 0 for Youden's index, the certain one alone -1
    assert choose_threshold([0, 1], [1.0, 0.5], rule="youden", smoothing=0) == pytest.approx(0.25)


@pytest.mark.parametrize("label", [[0, 0, 0], [1, 1, 1]])
def test_rows_of_one_class_give_the_documented_threshold(label: list):
    probability = [0.1, 0.2, 0.3]
    assert choose_threshold(label, probability, rule="f1") == 0.5
    assert choose_threshold(label, probability, rule="youden") == 0.5
    assert choose_threshold(label, probability, rule="cost", cost_false_negative=4.0) == pytest.approx(0.2)


def test_equal_probabilities_select_all_for_f1_and_nobody_for_youden():
    label = [0, 1, 0]
    assert choose_threshold(label, [0.4] * 3, rule="f1") == pytest.approx(0.2)
    assert choose_threshold(label, [0.4] * 3, rule="youden", smoothing=0) == pytest.approx(0.7)
    assert choose_threshold(label, [0.0] * 3, rule="f1") == 0.0
    assert 0.0 <= choose_threshold(label, [1.0] * 3, rule="youden") <= 1.0


def test_neighbouring_floats_are_still_told_apart():
    for low in (0.3, math.nextafter(0.3, 1.0)):  # the middle of one pair rounds up, that of the other down
        high = math.nextafter(low, 1.0)
        threshold = choose_threshold([0, 0, 1, 1], [low, low, high, high], smoothing=0)
        assert low < threshold <= high


def test_a_fixed_threshold_is_passed_on_and_needs_a_value_in_range():
    assert choose_threshold([0, 1], [0.1, 0.9], rule="fixed", value=0.0) == 0.0
    for value in (None, -0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match=r"threshold.value in \[0, 1\]"):
            choose_threshold([0, 1], [0.1, 0.9], rule="fixed", value=value)


def test_an_unknown_rule_and_impossible_costs_are_the_users_mistake():
    with pytest.raises(ConfigError, match=r"f1, fbeta, mcc, .* cost or fixed, got 'best'"):
        choose_threshold([0, 1], [0.1, 0.9], rule="best")
    for wasted, missed in ((-1.0, 5.0), (0.0, 0.0), (1.0, math.nan), (math.inf, 1.0)):
        with pytest.raises(ConfigError, match="cost_false_positive"):
            choose_threshold([0, 1], [0.1, 0.9], rule="cost", cost_false_positive=wasted, cost_false_negative=missed)


def test_nan_an_empty_table_and_a_negative_weight_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        choose_threshold([0, 1], [0.1, math.nan])
    with pytest.raises(ValueError, match="n >= 1"):
        choose_threshold([], [])
    with pytest.raises(ValueError, match="smoothing"):
        choose_threshold([0, 1], [0.1, 0.9], smoothing=-1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_limit_is_the_best_of_all_cuts_in_expectation(seed: int):
    probability = np.random.default_rng(seed).beta(1, 3, size=60).round(2)
    threshold, f1 = best_expected_f1(probability)
    expected = {
        cut: 2 * probability[probability >= cut].sum() / ((probability >= cut).sum() + probability.sum())
        for cut in np.unique(probability).tolist()
    }
    assert f1 == pytest.approx(max(expected.values()))
    selected = probability[probability >= threshold]
    assert 2 * selected.sum() / (len(selected) + probability.sum()) == pytest.approx(f1)


def test_the_limit_is_reached_by_labels_drawn_from_the_probabilities():
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 3, size=200_000)
    label = rng.random(len(probability)) < probability
    threshold, f1 = best_expected_f1(probability)
    assert f1_score(label, probability >= threshold) == pytest.approx(f1, abs=0.005)
    assert threshold == pytest.approx(f1 / 2, abs=0.001)  # Lipton, Elkan and Naryanaswamy 2014, theorem 1


def test_the_limit_without_any_churn_is_zero_and_nan_is_refused():
    assert best_expected_f1([0.0, 0.0]) == (0.5, 0.0)
    with pytest.raises(ValueError, match="NaN"):
        best_expected_f1([0.2, math.nan])


@pytest.mark.parametrize("share", [0.005, 0.1, 0.35, 1.0])
@pytest.mark.parametrize("tied", [False, True])
def test_a_capacity_is_used_as_far_as_ties_allow_and_never_exceeded(share: float, tied: bool):
    label, probability = drawn(3, n=200, tied=tied)
    threshold = choose_threshold(label, probability, rule="capacity", share=share)
    selected = int((probability >= threshold).sum())
    assert selected <= share * 200
    one_more = max(probability[probability < threshold], default=None)
    assert one_more is None or int((probability >= one_more).sum()) > share * 200
    assert choose_threshold(label, probability, rule="capacity", count=7, of=20) == choose_threshold(
        label, probability, rule="capacity", share=0.35
    )
    assert choose_threshold([0, 0], [0.2, 0.8], rule="capacity", share=0.5) == pytest.approx(0.5)  # without labels


@pytest.mark.parametrize("floor", [0.3, 0.5, 0.8])
def test_a_precision_floor_is_kept_with_as_many_churners_as_possible(floor: float):
    label, probability = drawn(4, n=300)
    threshold = choose_threshold(label, probability, rule="precision", precision=floor, smoothing=0)
    _, fp, _, tp = counts(label, probability, threshold)
    assert tp / (tp + fp) >= floor
    for cut in np.unique(probability[probability < threshold]):
        _, more_fp, _, more_tp = counts(label, probability, float(cut))
        assert more_tp / (more_tp + more_fp) < floor


def test_a_precision_that_cannot_be_reached_gives_the_best_there_is():
    label, probability = [1, 0, 1, 0], [0.9, 0.9, 0.5, 0.1]
    assert choose_threshold(label, probability, rule="precision", precision=0.9, smoothing=0) == pytest.approx(0.3)


def test_profit_is_most_where_calibrated_probabilities_say_so():
    label, probability = drawn(0, n=20_000)
    assert choose_threshold(label, probability, rule="profit") == pytest.approx(11 / 67, abs=0.03)
    never = choose_threshold(label, probability, rule="profit", campaign=Campaign(value=-5.0))
    assert probability.max() < never <= 1.0
    assert choose_threshold([0, 0], [0.1, 0.2], rule="profit") == pytest.approx(11 / 67)
    assert choose_threshold([1, 1], [0.1, 0.2], rule="profit", campaign=Campaign(value=-5.0)) == 1.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rule": "capacity"}, "threshold.share"),
        ({"rule": "capacity", "share": 1.5}, "threshold.share"),
        ({"rule": "capacity", "count": 9, "of": 5}, "threshold.count customers"),
        ({"rule": "capacity", "count": 9}, "threshold.count customers"),
        ({"rule": "precision"}, "threshold.precision"),
    ],
)
def test_a_rule_without_what_it_needs_is_refused(options: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        choose_threshold([0, 1], [0.1, 0.9], **options)


def test_the_band_holds_the_choice_and_narrows_with_more_rows():
    widths = []
    for n in (150, 3000):
        label, probability = drawn(5, n=n)
        low, high = threshold_band(label, probability, replicates=40)
        assert 0.0 <= low <= choose_threshold(label, probability) <= high <= 1.0
        widths.append(high - low)
    assert widths[1] < widths[0]
    same = threshold_band(label, probability, replicates=40)
    assert same == (low, high)
