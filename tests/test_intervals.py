"""Intervals of ROC AUC and F1, checked against restatements and by coverage."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from churnlib.evaluation.intervals import (
    confidence_intervals,
    f1_interval,
    log_loss_interval,
    roc_auc_interval,
)
from churnlib.evaluation.metrics import evaluate


def drawn(seed: int, n: int = 300, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) * 1.5 - 1
    probability = 1 / (1 + np.exp(-logits))
    return (rng.random(n) < probability).astype(np.int64), probability.round(decimals)


def delong_from_all_pairs(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """DeLong's area and standard error as the paper writes them, with every pair of customers compared."""
    positive, negative = score[label == 1], score[label == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    return float(wins.mean()), math.sqrt(variance)


@pytest.mark.parametrize("seed", range(3))
def test_roc_auc_interval_is_delongs_on_the_logit_scale(seed: int):
    label, score = drawn(seed)
    area, error = delong_from_all_pairs(label, score)
    low, high = roc_auc_interval(label, score) or (0, 0)
    scaled = 1.959963984540054 * error / (area * (1 - area))
    assert math.log(low / (1 - low)) == pytest.approx(math.log(area / (1 - area)) - scaled, rel=1e-9)
    assert math.log(high / (1 - high)) == pytest.approx(math.log(area / (1 - area)) + scaled, rel=1e-9)


def test_roc_auc_interval_agrees_with_the_bootstrap_of_rows():
    label, score = drawn(5, n=800, decimals=2)
    rng = np.random.default_rng(0)
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    areas = []
    for _ in range(1000):
        rows = np.r_[rng.choice(positive, len(positive)), rng.choice(negative, len(negative))]
        areas.append(evaluate(label[rows], score[rows], threshold=0.5)["roc_auc"])
    assert roc_auc_interval(label, score) == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.004)


def test_roc_auc_interval_holds_the_true_value_about_95_times_of_100():
    rng = np.random.default_rng(0)
    truth = NormalDist().cdf(1.2 / math.sqrt(2))
    label = np.repeat([1, 0], [90, 510])
    held = 0
    for _ in range(2000):
        score = 1 / (1 + np.exp(-(rng.normal(size=600) + 1.2 * label)))
        low, high = roc_auc_interval(label, score) or (0, 0)
        held += low <= truth <= high
    assert 0.93 <= held / 2000 <= 0.965


def test_more_confidence_gives_a_wider_interval_around_the_area():
    label, score = drawn(1)
    area = evaluate(label, score, threshold=0.5)["roc_auc"]
    low, high = roc_auc_interval(label, score) or (0, 0)
    lower, higher = roc_auc_interval(label, score, confidence=0.99) or (0, 0)
    assert 0 <= lower < low < area < high < higher <= 1


def test_too_few_rows_of_a_class_give_no_roc_auc_interval_and_a_perfect_order_gives_a_point():
    assert roc_auc_interval([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4]) is None
    assert roc_auc_interval([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == (1.0, 1.0)
    assert roc_auc_interval([0, 0, 1, 1], [0.5] * 4) == (0.5, 0.5)


def test_f1_interval_agrees_with_the_bootstrap_of_rows():
    label, score = drawn(2, n=600)
    metrics = evaluate(label, score, threshold=0.4)
    rng = np.random.default_rng(0)
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    scores = []
    for _ in range(2000):
        rows = np.r_[rng.choice(positive, len(positive)), rng.choice(negative, len(negative))]
        decision = score[rows] >= 0.4
        hits = (decision & (label[rows] == 1)).sum()
        scores.append(2 * hits / (decision.sum() + len(positive)))
    interval = f1_interval(metrics["confusion"], seed=0)
    assert interval == pytest.approx(np.quantile(scores, [0.025, 0.975]), abs=0.006)
    assert interval is not None and interval[0] < metrics["f1"] < interval[1]


def test_f1_interval_of_several_classes_holds_macro_f1_and_ignores_a_class_without_rows():
    matrix = [[80, 15, 5, 0], [20, 60, 20, 0], [5, 5, 40, 0], [0, 0, 0, 0]]
    confusion = {"classes": ["a", "b", "c", "never"], "matrix": matrix}
    low, high = f1_interval(confusion, seed=0) or (0, 0)
    three = {"classes": ["a", "b", "c"], "matrix": [row[:3] for row in matrix[:3]]}
    macro = np.mean([2 * 80 / (100 + 105), 2 * 60 / (100 + 80), 2 * 40 / (50 + 65)])
    assert low < macro < high
    assert f1_interval(three, seed=0) == pytest.approx((low, high), abs=0.002)


def test_the_seed_decides_the_bootstrap():
    counts = {"tn": 90, "fp": 14, "fn": 11, "tp": 26}
    assert f1_interval(counts, seed=1, replicates=200) == f1_interval(counts, seed=1, replicates=200)
    assert f1_interval(counts, seed=1, replicates=200) != f1_interval(counts, seed=2, replicates=200)


def test_f1_of_rows_without_churners_has_no_interval():
    assert f1_interval({"tn": 90, "fp": 14, "fn": 0, "tp": 0}, seed=0) is None


def test_log_loss_interval_agrees_with_the_bootstrap_of_rows():
    label, score = drawn(4, n=600, decimals=2)
    score = score.clip(0.02, 0.98)
    rng = np.random.default_rng(0)
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    losses = []
    for _ in range(2000):
        rows = np.r_[rng.choice(positive, len(positive)), rng.choice(negative, len(negative))]
        losses.append(evaluate(label[rows], score[rows], threshold=0.5)["log_loss"])
    assert log_loss_interval(label, score) == pytest.approx(np.quantile(losses, [0.025, 0.975]), abs=0.004)


def test_intervals_come_in_the_form_of_metrics_json():
    label, score = drawn(0)
    metrics = evaluate(label, score, threshold=0.4)
    found = confidence_intervals(label, score, metrics, seed=0)
    assert found == {
        "f1": list(f1_interval(metrics["confusion"], seed=0) or ()),
        "log_loss": list(log_loss_interval(label, score) or ()),
        "roc_auc": list(roc_auc_interval(label, score) or ()),
    }
    two_columns = np.c_[1 - score, score]
    of_classes = confidence_intervals(label, two_columns, evaluate(label, two_columns, threshold=None), seed=0)
    assert list(of_classes) == ["f1", "log_loss"]
    assert of_classes["log_loss"] == pytest.approx(found["log_loss"])
    lone = evaluate([0, 1], [0.1, 0.2], threshold=0.5)
    assert list(confidence_intervals([0, 1], [0.1, 0.2], lone, seed=0)) == ["f1"]
