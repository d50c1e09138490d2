"""From logits to probabilities to decisions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from churnlib.decision import decide, probability_from_logits


def test_two_classes_give_the_sigmoid_of_the_scaled_logit():
    logits = np.linspace(-20, 20, 41)
    expected = [1 / (1 + math.exp(-z / 2.5)) for z in logits.tolist()]
    np.testing.assert_allclose(probability_from_logits(logits, 2.5), expected, rtol=1e-14)


def test_several_classes_give_the_softmax_of_the_scaled_logits():
    logits = np.random.default_rng(0).normal(size=(50, 4))
    powers = np.exp(logits / 0.7)
    np.testing.assert_allclose(
        probability_from_logits(logits, 0.7), powers / powers.sum(axis=1, keepdims=True), rtol=1e-13
    )


def test_two_columns_agree_with_the_log_odds_between_them():
    logits = np.random.default_rng(1).normal(size=(30, 2)) * 5
    np.testing.assert_allclose(
        probability_from_logits(logits)[:, 1], probability_from_logits(logits[:, 1] - logits[:, 0]), rtol=1e-13
    )


def test_huge_logits_neither_overflow_nor_lose_the_small_side():
    with np.errstate(all="raise", under="ignore"):
        binary = probability_from_logits([-1e4, -40.0, 0.0, 40.0, 1e4])
        several = probability_from_logits([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    assert binary[0] == 0.0 and binary[2] == 0.5 and binary[4] == 1.0
    assert binary[1] == pytest.approx(math.exp(-40.0), rel=1e-12)
    np.testing.assert_allclose(several, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("shape", [(7,), (7, 3)])
def test_one_row_has_the_same_bits_as_many_and_float32_is_computed_in_float64(shape: tuple[int, ...]):
    logits = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    together = probability_from_logits(logits, 1.3)
    assert together.dtype == np.float64
    alone = np.concatenate([probability_from_logits(logits[i : i + 1], 1.3) for i in range(len(logits))])
    np.testing.assert_array_equal(alone, together)


def test_the_order_of_customers_survives_any_temperature():
    logits = np.sort(np.random.default_rng(3).normal(size=200))
    for temperature in (0.2, 1.0, 20.0):
        assert (np.diff(probability_from_logits(logits, temperature)) > 0).all()


def test_an_empty_table_gives_empty_answers():
    assert probability_from_logits(np.empty(0)).shape == (0,)
    assert probability_from_logits(np.empty((0, 3))).shape == (0, 3)
    assert decide(np.empty(0), 0.5).shape == (0,)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_temperature_is_refused(temperature: float):
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        probability_from_logits([0.0], temperature)


@pytest.mark.parametrize("shape", [(), (3, 1), (2, 2, 2)])
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="logits must be"):
        probability_from_logits(np.zeros(shape))


def test_a_probability_equal_to_the_threshold_is_positive():
    decision = decide([0.29999999999999993, 0.3, 0.30000000000000004], 0.3)
    assert decision.tolist() == [0, 1, 1]
    assert decision.dtype == np.int64


def test_several_classes_decide_for_the_most_probable_and_the_first_of_equals():
    assert decide([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]).tolist() == [1, 0]


def test_nan_is_refused_and_never_decided_as_staying():
    with pytest.raises(ValueError, match="NaN"):
        decide([0.1, math.nan], 0.5)


@pytest.mark.parametrize(("probability", "threshold"), [([0.1, 0.2], None), ([[0.5, 0.5]], 0.5)])
def test_a_threshold_goes_with_two_classes_only(probability: list, threshold: float | None):
    with pytest.raises(ValueError, match="a threshold goes with"):
        decide(probability, threshold)
