"""The figures of metrics.json, checked against scikit-learn and by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from churnlib.evaluation.metrics import binary_metrics, evaluate, multiclass_metrics
from churnlib.evaluation.ranking import threshold_counts

KEYS = [
    "roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall", "accuracy", "mcc",
    "balanced_accuracy", "threshold", "n", "positives", "confusion",
]  # fmt: skip
NO_RATIO: Any = {"zero_division": 0}


def drawn(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 500))
    label = np.r_[0, 1, rng.random(n) < rng.uniform(0.05, 0.9)].astype(np.int64)
    score = rng.random(n + 2)
    if kind == "tied":
        score = rng.integers(0, 5, n + 2) / 4  # holds 0 and 1 as well
    if kind == "extreme":
        score = np.where(rng.random(n + 2) < 0.5, score**40, 1 - score**40)
    if kind == "good":
        score = (score + 2 * label) / 3
    return label, score


def test_metrics_of_four_customers_counted_by_hand():
    metrics = binary_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], threshold=0.35)
    assert metrics["confusion"] == {"tn": 1, "fp": 1, "fn": 0, "tp": 2}
    assert metrics["roc_auc"] == 3 / 4  # of four pairs one is in the wrong order
    assert metrics["average_precision"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert metrics["precision"] == 2 / 3
    assert metrics["recall"] == 1.0
    assert metrics["f1"] == 4 / 5
    assert metrics["accuracy"] == 3 / 4
    assert metrics["mcc"] == pytest.approx(2 / math.sqrt(3 * 2 * 2 * 1))
    assert metrics["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert metrics["log_loss"] == pytest.approx(-math.log(0.9 * 0.6 * 0.35 * 0.8) / 4)
    assert (metrics["threshold"], metrics["n"], metrics["positives"]) == (0.35, 4, 2)


@pytest.mark.parametrize("kind", ["random", "tied", "extreme", "good"])
@pytest.mark.parametrize("seed", range(5))
def test_binary_metrics_agree_with_scikit_learn(kind: str, seed: int):
    label, score = drawn(kind, seed)
    decision = score >= 0.5
    expected = {
        "roc_auc": reference.roc_auc_score(label, score),
        "average_precision": reference.average_precision_score(label, score),
        "log_loss": reference.log_loss(label, score),
        "brier": reference.brier_score_loss(label, score),
        "f1": reference.f1_score(label, decision, **NO_RATIO),
        "precision": reference.precision_score(label, decision, **NO_RATIO),
        "recall": reference.recall_score(label, decision, **NO_RATIO),
        "accuracy": reference.accuracy_score(label, decision),
        "mcc": reference.matthews_corrcoef(label, decision),
    }
    metrics = binary_metrics(label, score, threshold=0.5)
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    tn, fp, fn, tp = reference.confusion_matrix(label, decision, labels=[0, 1]).ravel().tolist()
    assert metrics["confusion"] == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}


@pytest.mark.parametrize("seed", range(3))
def test_roc_auc_is_exactly_the_share_of_pairs_in_order_with_ties_as_half(seed: int):
    label, score = drawn("tied", seed)
    positive, negative = score[label == 1], score[label == 0]
    doubled = sum(2 * int((p > negative).sum()) + int((p == negative).sum()) for p in positive)
    assert binary_metrics(label, score, threshold=0.5)["roc_auc"] == doubled / (2 * len(positive) * len(negative))


def test_the_order_of_the_rows_changes_no_bit():
    label, score = drawn("tied", 3)
    order = np.random.default_rng(0).permutation(len(label))
    first, second = (binary_metrics(label[i], score[i], threshold=0.5) for i in (slice(None), order))
    for key in ("roc_auc", "average_precision", "confusion", "f1"):
        assert first[key] == second[key]


@pytest.mark.parametrize("several", [False, True])
def test_the_keys_are_those_of_the_contract_and_json_reads_them_back(several: bool):
    probability: Any = [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]] if several else [0.2, 0.7]
    metrics = evaluate([1, 0] if several else [0, 1], probability, threshold=0.5)
    assert list(metrics) == KEYS
    assert json.loads(json.dumps(metrics)) == metrics
    for key in KEYS[:9]:
        assert type(metrics[key]) is float, key


def test_rows_of_one_class_have_no_ranking_but_everything_else():
    for label in ([0, 0, 0], [1, 1, 1]):
        metrics = binary_metrics(label, [0.2, 0.6, 0.6], threshold=0.5)
        assert metrics["roc_auc"] is None and metrics["average_precision"] is None
        assert metrics["mcc"] == 0.0
        assert metrics["log_loss"] > 0
    assert binary_metrics([0, 0], [0.1, 0.2], threshold=0.5)["f1"] == 0.0


def test_nobody_predicted_to_leave_gives_zero_and_no_warning():
    metrics = binary_metrics([0, 1], [0.1, 0.2], threshold=0.5)
    assert (metrics["precision"], metrics["recall"], metrics["f1"], metrics["mcc"]) == (0.0, 0.0, 0.0, 0.0)


def test_a_certain_and_wrong_answer_costs_a_finite_log_loss():
    metrics = binary_metrics([1, 0], [0.0, 1.0], threshold=0.5)
    assert metrics["log_loss"] == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_decisions_made_elsewhere_replace_those_of_the_threshold():
    metrics = binary_metrics([0, 1, 1], [0.1, 0.2, 0.9], threshold=0.5, prediction=[0, 1, 0])
    assert metrics["confusion"] == {"tn": 1, "fp": 0, "fn": 1, "tp": 1}


def test_counts_of_many_rows_do_not_overflow_in_mcc():
    label = np.repeat([0, 1], 150_000)
    score = np.where(np.arange(300_000) % 10 == 0, 1.0 - label, label)
    assert binary_metrics(label, score, threshold=0.5)["mcc"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("label", "probability", "message"),
    [
        ([], [], "n >= 1"),
        ([0, 1], [0.5], "must be"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
        ([0.5, 1], [0.5, 0.5], "0 or 1"),
        ([0, 1], [0.5, math.nan], "NaN"),
        ([0, 1], [0.5, 1.5], r"\[0, 1\]"),
    ],
)
def test_what_cannot_be_measured_is_refused(label: list, probability: list, message: str):
    with pytest.raises(ValueError, match=message):
        binary_metrics(label, probability, threshold=0.5)


def test_threshold_counts_take_equal_scores_as_one_step():
    score, true_positives, false_positives = threshold_counts(np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.9, 0.1]))
    assert score.tolist() == [0.9, 0.5, 0.1]
    assert true_positives.tolist() == [1, 2, 2]
    assert false_positives.tolist() == [0, 1, 2]


def several(seed: int, k: int = 4, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.integers(1, 8, size=(n, k)) * 1.0  # small integers: many ties
    score /= score.sum(axis=1, keepdims=True)
    return np.array([rng.choice(k, p=row) for row in score]), score


@pytest.mark.parametrize("seed", range(4))
def test_metrics_of_several_classes_agree_with_scikit_learn(seed: int):
    label, score = several(seed)
    decision = score.argmax(axis=1)
    one_hot = np.eye(4)[label]
    expected = {
        "roc_auc": reference.roc_auc_score(one_hot, score, average="macro"),
        "average_precision": reference.average_precision_score(one_hot, score, average="macro"),
        "log_loss": reference.log_loss(label, score),
        "brier": ((score - one_hot) ** 2).sum(axis=1).mean(),
        "f1": reference.f1_score(label, decision, average="macro", **NO_RATIO),
        "precision": reference.precision_score(label, decision, average="macro", **NO_RATIO),
        "recall": reference.recall_score(label, decision, average="macro", **NO_RATIO),
        "accuracy": reference.accuracy_score(label, decision),
        "mcc": reference.matthews_corrcoef(label, decision),
    }
    metrics = multiclass_metrics(label, score, classes=list("abcd"))
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value, rel=1e-9), key
    assert metrics["confusion"] == {
        "classes": list("abcd"), "matrix": reference.confusion_matrix(label, decision).tolist()
    }  # fmt: skip
    assert metrics["positives"] == {name: int((label == i).sum()) for i, name in enumerate("abcd")}
    assert metrics["threshold"] is None


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    label, score = several(0, k=2)
    wide = np.c_[score, np.zeros(len(score))]
    narrow_metrics, metrics = (evaluate(label, p, threshold=None) for p in (score, wide))
    for key in KEYS[:9]:
        assert metrics[key] == pytest.approx(narrow_metrics[key]), key
    assert metrics["positives"]["2"] == 0


def test_two_columns_agree_with_one():
    label, score = drawn("random", 0)
    two = evaluate(label, np.c_[1 - score, score], threshold=None)
    one = evaluate(label, score, threshold=0.5)
    for key in ("roc_auc", "log_loss", "accuracy", "mcc"):
        assert two[key] == pytest.approx(one[key]), key
    assert two["brier"] == pytest.approx(2 * one["brier"])


def test_rows_of_one_of_several_classes_have_no_ranking():
    metrics = multiclass_metrics([1, 1], [[0.2, 0.8], [0.6, 0.4]], classes=["a", "b"])
    assert metrics["roc_auc"] is None and metrics["average_precision"] is None
    assert metrics["mcc"] == 0.0


@pytest.mark.parametrize(
    ("label", "probability", "message"),
    [
        ([0, 3], [[0.2, 0.3, 0.5]] * 2, "from 0 to 2"),
        ([0, 1], [[0.2, 0.3]] * 2, "with 3 classes"),
        ([0, 1], [[0.2, 0.3, 0.1]] * 2, "sum to 1"),
        ([0, 1], [[0.2, math.nan, 0.1]] * 2, "NaN"),
    ],
)
def test_impossible_input_of_several_classes_is_refused(label: list, probability: list, message: str):
    with pytest.raises(ValueError, match=message):
        multiclass_metrics(label, probability, classes=["a", "b", "c"])


def test_two_classes_need_a_threshold():
    with pytest.raises(ValueError, match="a threshold is needed"):
        evaluate([0, 1], [0.1, 0.9], threshold=None)
