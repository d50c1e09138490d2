"""Brier parts, calibration error, line and reliability curve, checked against scikit-learn and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from churnlib.evaluation import (
    binned_brier_parts,
    brier_parts,
    calibration_line,
    calibration_noise_floor,
    expected_calibration_error,
    reliability_curve,
    spiegelhalter,
)


def calibrated(seed: int, n: int = 1409) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(1.5 - 1.5 * rng.normal(size=n)))
    return (rng.random(n) < probability).astype(np.int64), probability


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("seed", range(3))
def test_parts_of_the_brier_score_are_those_of_scikit_learns_isotonic_regression(seed: int, decimals: int):
    label, score = calibrated(seed, 400)
    score = score.round(decimals)
    recalibrated = IsotonicRegression().fit(score, label).predict(score)
    brier, best, plain = (brier_score_loss(label, p) for p in (score, recalibrated, np.full(400, label.mean())))
    parts = brier_parts(label, score)
    assert parts == pytest.approx((brier - best, plain - best, plain), abs=1e-12)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(brier, abs=1e-12)


def test_noise_alone_gives_the_reliability_that_the_page_says():
    noise = [brier_parts(*calibrated(seed)).reliability for seed in range(40)]
    assert np.mean(noise) == pytest.approx(0.004, abs=0.0006)


def test_binned_parts_lose_their_bias_and_leave_out_what_is_inside_a_bin():
    label, score = np.array([0, 1, 0, 1, 1, 1]), np.array([0.3, 0.3, 0.3, 0.8, 0.8, 0.8])
    # two bins of three: rates 1/3 and 1; luck (1/3 * 2/3 / 2 * 3 + 0) / 6; shared 2/9 / 5
    luck, shared = 1 / 18, 2 / 45
    expected = (
        (3 * (0.3 - 1 / 3) ** 2 + 3 * 0.2**2) / 6 - luck,
        (3 * (1 / 3) ** 2 + 3 * (1 / 3) ** 2) / 6 - luck + shared,
        2 / 9 + shared,
    )
    assert binned_brier_parts(label, score, bins=2) == pytest.approx(expected)
    many = [binned_brier_parts(*calibrated(seed), bins=10) for seed in range(60)]
    reliability = np.array([parts.reliability for parts in many])
    assert abs(reliability.mean()) < 3 * reliability.std() / math.sqrt(60)


def test_calibration_error_counted_by_hand_and_tied_rows_share_a_bin():
    label, score = [0, 1, 1, 1], [0.25, 0.25, 0.5, 0.5]
    assert expected_calibration_error(label, score, bins=2) == pytest.approx((2 * 0.25 + 2 * 0.5) / 4)
    assert expected_calibration_error(label, score, bins=3) == pytest.approx((2 * 0.25 + 2 * 0.5) / 4)
    assert expected_calibration_error(label, score, bins=1) == pytest.approx(abs(0.375 - 0.75))
    assert expected_calibration_error(label, [0.75] * 4, bins=15) == 0.0
    with pytest.raises(ValueError, match="bins must be at least 1"):
        expected_calibration_error(label, score, bins=0)


@pytest.mark.parametrize(("n", "bins"), [(1409, 15), (1409, 10), (300, 15)])
def test_the_noise_floor_is_what_true_probabilities_show(n: int, bins: int):
    _, probability = calibrated(0, n)
    rng = np.random.default_rng(1)
    errors = [
        expected_calibration_error((rng.random(n) < probability).astype(int), probability, bins=bins)
        for _ in range(1500)
    ]
    floor = calibration_noise_floor(probability, bins=bins)
    assert floor.mean == pytest.approx(np.mean(errors), rel=0.02)
    assert floor.high == pytest.approx(np.quantile(errors, 0.95), rel=0.04)


def test_certain_probabilities_have_no_noise():
    assert calibration_noise_floor([0.0, 1.0, 1.0]) == (0.0, 0.0)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.7), (2.0, -1.0)])
def test_the_calibration_line_is_an_unpenalised_logistic_regression(slope: float, intercept: float):
    label, probability = calibrated(2, 3000)
    logits = np.log(probability / (1 - probability))
    said = 1 / (1 + np.exp(-(logits - intercept) / slope))
    line = calibration_line(label, said)
    said_logits = np.log(said / (1 - said))[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(said_logits, label)
    assert line.slope == pytest.approx(reference.coef_[0, 0], rel=1e-5)
    assert line.intercept == pytest.approx(reference.intercept_[0], abs=1e-5)
    assert line.slope == pytest.approx(slope, rel=0.15)
    moved = 1 / (1 + np.exp(-(said_logits[:, 0] + (line.in_the_large or 0))))
    assert moved.mean() == pytest.approx(label.mean(), abs=1e-9)  # what maximum likelihood asks of an intercept


def test_there_is_no_line_for_one_class_equal_probabilities_or_separated_classes():
    assert calibration_line([0, 0], [0.1, 0.2]) == (None, None, None)
    assert calibration_line([0, 1, 1], [0.4] * 3)[:2] == (None, None)
    assert calibration_line([0, 1, 1], [0.5] * 3).in_the_large == pytest.approx(math.log(2))
    separated = calibration_line([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])
    assert separated[:2] == (None, None) and separated.in_the_large is not None
    certain = calibration_line([0, 1, 0, 1, 1], [0.0, 1.0, 0.3, 0.4, 0.0])
    assert certain.slope is None or math.isfinite(certain.slope)


def test_spiegelhalters_z_is_standard_normal_for_true_probabilities():
    z = np.array([spiegelhalter(*calibrated(seed, 500)) for seed in range(400)])
    assert abs(z.mean()) < 0.15 and z.std() == pytest.approx(1, abs=0.1)
    label, score = calibrated(0)
    assert abs(spiegelhalter(label, np.clip(score * 1.5, 0, 1)) or 0) > 3
    assert spiegelhalter([0, 1], [0.5, 0.5]) is None
    assert spiegelhalter([0, 1], [0.0, 1.0]) is None


@pytest.mark.parametrize("decimals", [1, 9])
def test_the_reliability_curve_is_scikit_learns_isotonic_regression(decimals: int):
    label, score = calibrated(3, 500)
    score = score.round(decimals)
    curve = reliability_curve(label, score, draws=20)
    expected = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    assert curve.at(score) == pytest.approx(expected.predict(score), abs=1e-12)
    assert curve.at([0.123, 0.456]) == pytest.approx(expected.predict([0.123, 0.456]), abs=1e-12)
    assert curve.rows.sum() == 500 and (np.diff(curve.rate) > 0).all()


def test_the_band_holds_calibrated_models_and_not_others():
    outside = [reliability_curve(*calibrated(seed, 800), draws=200).outside for seed in range(12)]
    assert np.mean(outside) == pytest.approx(0.1, abs=0.08)  # a band of 90 % at each point
    label, score = calibrated(0, 800)
    assert reliability_curve(label, score**2, draws=200).outside > 0.6


@pytest.mark.parametrize("label", [[0, 0, 0], [1, 1, 1], [0, 1, 0]])
@pytest.mark.parametrize("score", [[0.0] * 3, [1.0] * 3, [0.0, 1.0, 0.5]])
def test_degenerate_rows_have_documented_parts(label: list, score: list):
    parts = brier_parts(label, score)
    assert parts.reliability - parts.resolution + parts.uncertainty == pytest.approx(brier_score_loss(label, score))
    assert parts.reliability >= -1e-12 and parts.resolution >= -1e-12
    curve = reliability_curve(label, score, draws=5)
    assert 0 <= curve.rate.min() <= curve.rate.max() <= 1


@given(
    score=arrays(np.float64, st.integers(1, 40), elements=st.integers(0, 8).map(lambda k: k / 8)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_no_figure_hangs_on_the_order_of_rows(score: np.ndarray, seed: int):
    rng = np.random.default_rng(seed)
    label, order = rng.integers(0, 2, len(score)), rng.permutation(len(score))
    for figure in (brier_parts, binned_brier_parts):
        assert figure(label[order], score[order]) == pytest.approx(figure(label, score), abs=1e-12)
    error = expected_calibration_error(label, score, bins=4)
    assert expected_calibration_error(label[order], score[order], bins=4) == pytest.approx(error, abs=1e-12)


def test_nan_and_empty_tables_are_refused():
    for figure in (brier_parts, expected_calibration_error, calibration_line, spiegelhalter, reliability_curve):
        with pytest.raises(ValueError, match="NaN"):
            figure([0, 1], [0.1, math.nan])
        with pytest.raises(ValueError, match="n >= 1"):
            figure([], [])
