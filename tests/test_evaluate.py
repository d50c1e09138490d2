"""All layers of an evaluation, and their intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from made_scores import drawn
from sklearn import metrics as reference

from churnlib import evaluation
from churnlib.evaluation import (
    Campaign,
    auepc,
    brier_parts,
    calibration_line,
    empb,
    empc,
    evaluate,
    expected_calibration_error,
    kolmogorov_smirnov,
    lift,
    roc_auc_interval,
)
from churnlib.evaluation.binary import LAYERS, BinaryRows
from churnlib.evaluation.bootstrap import customer_numbers, resampled


@pytest.mark.parametrize("decimals", [1, 9])
def test_every_layer_holds_what_its_own_functions_say(decimals: int):
    label, score = drawn(0, decimals=decimals)
    value = np.random.default_rng(1).lognormal(5, 1, len(label))
    found = evaluate(label, score, threshold=0.4, layers=LAYERS, value=value)
    decision = score >= 0.4
    for beta, name in ((0.5, "f0_5"), (2, "f2")):
        assert found["decisions"][name] == pytest.approx(reference.fbeta_score(label, decision, beta=beta))
    assert found["decisions"]["specificity"] == pytest.approx(reference.recall_score(1 - label, ~decision))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(label, decision))
    percent = 100 * reference.confusion_matrix(label, decision, normalize="true").ravel()
    assert list(found["decisions"]["row_percent"].values()) == pytest.approx(percent.tolist())
    assert found["ranking"]["ks"] == pytest.approx(kolmogorov_smirnov(label, score))
    assert found["ranking"]["top_decile_lift"] == pytest.approx(lift(label, score))
    assert found["calibration"]["ece"] == pytest.approx(expected_calibration_error(label, score))
    parts = brier_parts(label, score)._asdict()
    assert {name: found["calibration"][name] for name in parts} == pytest.approx(parts)
    assert found["calibration"]["brier_skill"] == pytest.approx(1 - found["brier"] / parts["uncertainty"])
    line = calibration_line(label, score)
    assert found["calibration"]["calibration_slope"] == pytest.approx(line.slope)
    money = found["profit"]
    best = empc(label, score, Campaign(value=value.mean()))
    assert (money["empc"], money["empc_share"]) == pytest.approx(best[:2])
    assert money["empb"] == pytest.approx(empb(label, score, value).profit)
    assert money["auepc"] == pytest.approx(auepc(label, score, value))
    gain = np.where(label == 1, 0.3 * (value - 10) - 1, -11) * decision
    assert money["profit"] == pytest.approx(gain.mean())
    assert sum(money["confusion"].values()) == pytest.approx(gain.sum())
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("decimals", [1, 9])
def test_a_replicate_is_the_figures_of_the_rows_drawn(decimals: int):
    label, score = drawn(2, 60, decimals)
    value = np.random.default_rng(1).lognormal(5, 1, len(label))
    rows = BinaryRows(label, score, (score >= 0.4).astype(np.int64), Campaign(), value)
    order = rows.ranking.order
    for weights in resampled(label[order], None, replicates=5, seed=3):
        for one in weights:
            again = np.repeat(order, one.astype(int))
            copied = BinaryRows(
                label[again], score[again], (score[again] >= 0.4).astype(np.int64), Campaign(), value[again]
            )
            copied.alike = rows.alike  # the mean value is that of the rows, not of the draw
            expected, figures = copied.figures(LAYERS), rows.figures(LAYERS, one[None])
            for name in set(expected) - {
                "ece",
                "calibration_slope",
                "calibration_intercept",
                "calibration_in_the_large",
            }:
                assert figures[name] == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


def test_one_step_of_the_calibration_line_is_as_good_as_a_fit_to_each_replicate():
    label, score = drawn(1, 800)
    rows = BinaryRows(label, score, label)
    stepped = rows.replicates(("calibration",), replicates=60, seed=0)["calibration_slope"]
    order = rows.ranking.order
    fitted = [
        calibration_line(label[again], score[again]).slope
        for weights in resampled(label[order], None, replicates=60, seed=0)
        for again in (np.repeat(order, one.astype(int)) for one in weights)
    ]
    fitted = np.array(fitted, dtype=float)
    assert (stepped - fitted).std() < 0.1 * fitted.std()
    assert stepped.std() == pytest.approx(fitted.std(), rel=0.1)


def test_intervals_hold_the_figures_and_agree_with_delong():
    label, score = drawn(4, 1000)
    found = evaluate(label, score, threshold=0.4, layers=LAYERS, replicates=400)
    flat = found | {name: figure for layer in LAYERS for name, figure in found[layer].items()}
    for name, (low, high) in found["intervals"].items():
        assert low <= flat[name] <= high, name
    assert set(found["intervals"]) >= {"ece", "ks", "empc", "top_decile_lift", "calibration_slope", "mcc", "profit"}
    assert tuple(found["intervals"]["roc_auc"]) == roc_auc_interval(label, score)
    bootstrapped = evaluate(label, score, threshold=0.4, replicates=400, customers=np.r_[0, np.arange(999)])
    assert bootstrapped["intervals"]["roc_auc"] == pytest.approx(found["intervals"]["roc_auc"], abs=0.006)


@pytest.mark.slow
def test_intervals_hold_what_all_customers_show_about_95_times_of_100():
    all_label, all_score = drawn(9, 200_000)
    whole = evaluate(all_label, all_score, threshold=0.4, layers=LAYERS)
    names = ["average_precision", "mcc", "ks", "top_decile_lift", "empc", "calibration_slope", "profit", "brier"]
    whole |= {name: figure for layer in LAYERS for name, figure in whole[layer].items()}
    held = dict.fromkeys(names, 0)
    trials = 120
    for trial in range(trials):
        label, score = drawn(1000 + trial, 500)
        found = evaluate(label, score, threshold=0.4, layers=LAYERS, replicates=200, seed=trial, stratified=False)
        for name in names:
            low, high = found["intervals"][name]
            held[name] += low <= whole[name] <= high
    assert min(held.values()) > 0.84 * trials, held
    assert np.mean(list(held.values())) > 0.9 * trials, held


def test_rows_of_the_same_customers_are_worth_less_than_so_many_customers():
    label, score = drawn(5, 250)
    same = np.repeat(np.arange(250), 4)
    of_rows = evaluate(label[same], score[same], threshold=0.4, layers=["ranking"], replicates=200)
    of_customers = evaluate(
        label[same], score[same], threshold=0.4, layers=["ranking"], replicates=200, customers=[f"c{i}" for i in same]
    )
    wide, narrow = (np.diff(found["intervals"]["ks"])[0] for found in (of_customers, of_rows))
    assert wide == pytest.approx(2 * narrow, rel=0.25)


def test_customers_are_drawn_whole_and_by_class():
    customers = customer_numbers(["a", "b", "a", "c", "d", "c"], 6)
    assert customers is not None
    label = np.array([0, 0, 1, 0, 0, 0])  # of the four only customer a churned
    for block in resampled(label, customers, replicates=50, seed=0):
        assert (block[:, 0] == block[:, 2]).all() and (block[:, 3] == block[:, 5]).all()
        assert (block[:, 0] == 1).all()
        assert (block[:, 1] + block[:, 3] + block[:, 4] == 3).all()
    assert customer_numbers(["a", "b"], 2) is None
    with pytest.raises(ValueError, match="customer of each of 3 rows, got 2"):
        customer_numbers(["a", "b"], 3)
    assert customer_numbers(["a", None, "a", None], 4).tolist() == [0, 1, 0, 2]
    assert customer_numbers([None, None], 2) is None


def test_the_seed_decides_the_intervals():
    label, score = drawn(6, 100)
    one, again, other = (
        evaluate(label, score, threshold=0.5, layers=["ranking"], replicates=50, seed=seed)["intervals"]["ks"]
        for seed in (0, 0, 1)
    )
    assert one == again != other


@pytest.mark.parametrize("label", [[0, 0, 0, 0], [1, 1, 1, 1]])
@pytest.mark.parametrize("score", [[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 1.0], [0.5] * 4])
def test_rows_of_one_class_lack_what_needs_two(label: list, score: list):
    found = evaluate(label, score, threshold=0.5, layers=LAYERS, value=[10.0, -5.0, 0.0, 99.0], replicates=20)
    assert found["roc_auc"] is found["ranking"]["ks"] is found["ranking"]["gini"] is None
    assert found["calibration"]["calibration_slope"] is found["calibration"]["brier_skill"] is None
    assert (found["ranking"]["top_decile_lift"] is None) == (sum(label) == 0)
    assert "roc_auc" not in found["intervals"] and "ks" not in found["intervals"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("score", [[0.5], [0.0], [1.0]])
@pytest.mark.parametrize("label", [0, 1])
def test_a_single_row_can_be_measured(label: int, score: list):
    found = evaluate([label], score, threshold=0.5, layers=LAYERS, value=[50.0], replicates=5)
    assert found["n"] == 1 and found["roc_auc"] is None
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_ties_everywhere_and_certain_probabilities_can_be_measured(score: float):
    label = np.r_[1, 1, np.zeros(8, dtype=int)]
    found = evaluate(label, np.full(10, score), threshold=0.5, layers=LAYERS, value=np.full(10, -3.0), replicates=20)
    assert found["roc_auc"] == 0.5 and found["ranking"]["ks"] == 0.0
    assert found["ranking"]["top_decile_lift"] == pytest.approx(1.0)
    assert found["calibration"]["ece"] == pytest.approx(abs(score - 0.2))
    assert found["profit"]["empb"] == 0.0 and found["profit"]["auepc"] is None
    json.dumps(found, allow_nan=False)


def test_nan_empty_tables_and_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        evaluate([0, 1], [0.1, math.nan], threshold=0.5, layers=LAYERS)
    with pytest.raises(ValueError, match="n >= 1"):
        evaluate([], [], threshold=0.5, layers=LAYERS)
    with pytest.raises(ValueError, match="value must be a number in every row"):
        evaluate([0, 1], [0.1, 0.9], threshold=0.5, layers=["profit"], value=[1.0, math.nan])
    with pytest.raises(ValueError, match="layers must be some of decisions, ranking, calibration, profit, got 'money'"):
        evaluate([0, 1], [0.1, 0.9], threshold=0.5, layers=["money"])
    with pytest.raises(ValueError, match="replicates must be at least 1"):
        evaluate([0, 1], [0.1, 0.9], threshold=0.5, replicates=-1)


def test_several_classes_are_measured_one_against_the_rest_and_weighted():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([2, 1, 1], 600)
    label = (probability.cumsum(axis=1) > rng.random((600, 1))).argmax(axis=1)
    found = evaluate(label, probability, threshold=None, classes=["a", "b", "c"], layers=LAYERS, replicates=50)
    decision = probability.argmax(axis=1)
    assert found["weighted"]["f1"] == pytest.approx(reference.f1_score(label, decision, average="weighted"))
    weighted = reference.roc_auc_score(label, probability, multi_class="ovr", average="weighted")
    assert found["weighted"]["roc_auc"] == pytest.approx(weighted)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(label, decision))
    b = found["classes"]["b"]
    assert b["roc_auc"] == pytest.approx(reference.roc_auc_score(label == 1, probability[:, 1]))
    assert b["ks"] == pytest.approx(kolmogorov_smirnov(label == 1, probability[:, 1]))
    assert b["f1"] == pytest.approx(reference.f1_score(label == 1, decision == 1))
    parts = found["calibration"]
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    assert total == pytest.approx(found["brier"])
    assert "profit" not in found
    for name in ("accuracy", "mcc", "brier", "roc_auc", "f1", "log_loss"):
        low, high = found["intervals"][name]
        assert low < found[name] < high
    json.dumps(found, allow_nan=False)


def test_every_public_name_of_the_room_can_be_used():
    assert evaluation.__all__ == sorted(evaluation.__all__)
    assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'profits'"):
        evaluation.profits  # noqa: B018
