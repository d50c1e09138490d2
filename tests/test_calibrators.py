"""Calibrations: fitted as scikit-learn fits them, kept as numbers, and applied alike everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from churnlib.calibration import Beta, Isotonic, Platt, Temperature, calibration_from_dict, log_odds
from churnlib.decision import probability_from_logits
from churnlib.errors import ConfigError
from churnlib.evaluation.calibrators import CALIBRATIONS, choose_method, cross_fitted, fit_calibration
from churnlib.logistic import fit_platt

BINARY = ("temperature", "platt", "beta", "isotonic")


def drawn(n: int, seed: int = 0, *, slope: float = 0.6, shift: float = -0.8) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too extreme and too high on the whole."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) * 2
    return logits, (rng.random(n) < probability_from_logits(slope * logits + shift)).astype(np.int64)


def test_platt_is_scikit_learns_logistic_regression():
    logits, label = drawn(4000)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits[:, None], label)
    fitted = fit_calibration(logits, label, method="platt")
    assert isinstance(fitted, Platt)
    assert (fitted.slope, fitted.shift[0]) == pytest.approx(
        (reference.coef_[0, 0], reference.intercept_[0]),
        abs=2e-3,  # a prior as strong as one row
    )


def test_platt_of_several_classes_has_the_lowest_loss_of_its_kind():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3000, 3)) * 2
    shares = probability_from_logits(0.6 * logits + np.array([0.3, 0.0, -0.5]))
    label = (shares.cumsum(axis=1) < rng.random(3000)[:, None]).sum(axis=1)

    def loss(values: np.ndarray) -> float:
        return log_loss(label, probability_from_logits(values[0] * logits + np.append(values[1:], 0.0)))

    best = minimize(loss, [1.0, 0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    fitted = fit_calibration(logits, label, method="platt")
    assert isinstance(fitted, Platt)
    apart = np.array(fitted.shift[:2]) - fitted.shift[2]  # only differences between shifts say something
    assert (fitted.slope, *apart) == pytest.approx(best.x, abs=3e-3)  # a prior as strong as one row


def test_margins_of_any_scale_get_the_same_probabilities():
    margin, label = drawn(500)
    for scale in (1e-3, 1e3):
        slope, shift = fit_platt(scale * margin, label, unit=scale * float(margin.std()))
        same = fit_platt(margin, label, unit=float(margin.std()))
        assert (slope * scale, shift[0]) == pytest.approx((same[0], same[1][0]), rel=1e-6)
    slope, shift = fit_platt([-1.0, -0.5, 0.5, 1.0], [0, 0, 1, 1])  # a cut parts the classes: the prior holds it
    assert 0 < slope < 5 and abs(shift[0]) < 1e-6


def test_beta_has_the_lowest_loss_of_its_kind():
    logits, label = drawn(3000)
    p = probability_from_logits(logits)
    label = (np.random.default_rng(1).random(3000) < probability_from_logits(1.6 * np.log(p) - 0.4 * np.log(1 - p))) * 1

    def loss(values: np.ndarray) -> float:
        a, b, c = values
        return log_loss(label, probability_from_logits(a * np.log(p) - b * np.log(1 - p) + c))

    fitted = fit_calibration(logits, label, method="beta")
    assert isinstance(fitted, Beta)
    best = minimize(
        loss, [1.0, 1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 4000}
    )
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(best.x, abs=0.06)  # a prior as strong as one row
    assert log_loss(label, fitted.probabilities(logits)) <= best.fun + 1e-5


def test_beta_never_turns_the_order_round():
    logits, label = drawn(400)
    fitted = fit_calibration(logits, 1 - label, method="beta")
    assert isinstance(fitted, Beta) and min(fitted.a, fitted.b) >= 0
    assert (np.diff(fitted.probabilities(np.linspace(-5, 5, 50))) >= 0).all()


@pytest.mark.parametrize("decimals", [1, 9])
def test_isotonic_is_scikit_learns_but_for_the_edges(decimals: int):
    logits, label = drawn(2000)
    logits = logits.round(decimals)
    fitted = fit_calibration(logits, label, method="isotonic")
    edge = 1 / 2002
    reference = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(logits, label)
    new = np.linspace(-8, 8, 999)
    assert fitted.probabilities(new) == pytest.approx(reference.predict(new), abs=2e-6)
    assert (np.diff(fitted.probabilities(new)) > 0).all()  # no ties: customers keep their order
    assert isinstance(fitted, Isotonic) and len(fitted.logits) < 150


@pytest.mark.parametrize("method", BINARY)
def test_a_calibration_helps_on_new_rows_and_never_changes_the_order(method: str):
    fitted = fit_calibration(*drawn(6000), method=method)
    logits, label = drawn(20_000, seed=1)
    probability = fitted.probabilities(logits)
    assert log_loss(label, probability) < log_loss(label, probability_from_logits(logits))
    assert (np.argsort(probability, kind="stable") == np.argsort(logits, kind="stable")).all()


@pytest.mark.parametrize("method", BINARY)
def test_what_is_kept_is_read_back_to_the_last_bit(method: str):
    logits, label = drawn(1500)
    fitted = fit_calibration(logits, label, method=method)
    again = calibration_from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again == fitted and again.method == method
    np.testing.assert_array_equal(again.probabilities(logits), fitted.probabilities(logits))
    one_by_one = [float(again.probabilities(logits[i : i + 1])[0]) for i in range(50)]
    assert one_by_one == again.probabilities(logits)[:50].tolist()
    np.testing.assert_allclose(
        probability_from_logits(log_odds(fitted, logits)), fitted.probabilities(logits), atol=1e-14
    )
    assert np.isnan(fitted.probabilities([np.nan, 0.0])).tolist() == [True, False]
    assert np.isfinite(fitted.probabilities([-1e5, 1e5])).all()


def test_several_classes_take_a_slope_and_a_shift_for_each():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 3)) * 2
    label = (probability_from_logits(0.5 * logits + [0.0, 1.0, -1.0]).cumsum(axis=1) > rng.random((3000, 1))).argmax(
        axis=1
    )
    fitted = fit_calibration(logits, label, method="platt")
    assert isinstance(fitted, Platt) and len(fitted.shift) == 3
    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert log_loss(label, fitted.probabilities(logits)) < log_loss(
        label, fit_calibration(logits, label).probabilities(logits)
    )
    assert fit_calibration(logits, label, method="auto").method == "temperature"
    for method in ("beta", "isotonic"):
        with pytest.raises(ConfigError, match=f"calibration={method} is for two classes"):
            fit_calibration(logits, label, method=method)


@pytest.mark.parametrize(
    ("churners", "method"), [(99, "temperature"), (100, "platt"), (999, "platt"), (1000, "isotonic")]
)
def test_auto_counts_the_rarer_class(churners: int, method: str):
    label = np.r_[np.ones(churners, dtype=int), np.zeros(3000, dtype=int)]
    assert choose_method(np.zeros(len(label)), label, "auto") == method
    assert choose_method(np.zeros(len(label)), 1 - label, "auto") == method


@pytest.mark.parametrize("method", CALIBRATIONS)
@pytest.mark.parametrize("label", [[0] * 40, [1] * 40, [0] * 39 + [1]])
def test_rows_that_say_nothing_change_nothing(method: str, label: list):
    logits = np.linspace(-2, 2, 40)
    assert fit_calibration(logits, label, method=method) == Temperature(1.0)
    assert cross_fitted(logits, label, method=method) == pytest.approx(probability_from_logits(logits))


@pytest.mark.parametrize("method", BINARY)
def test_separated_classes_and_equal_scores_keep_probabilities_off_0_and_1(method: str):
    label = np.repeat([0, 1], 50)
    for logits in (np.where(label == 1, 30.0, -30.0), np.zeros(100), np.full(100, 500.0)):
        probability = fit_calibration(logits, label, method=method).probabilities(logits)
        assert np.isfinite(probability).all()
        if logits[0] == 0.0:
            assert probability == pytest.approx(np.full(100, 0.5), abs=1e-6)
    assert 0 < fit_calibration(np.where(label == 1, 30.0, -30.0), label, method="isotonic").probabilities([30.0])[0] < 1


def test_cross_fitted_probabilities_flatter_no_curve():
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(30):
        logits, label = rng.normal(size=400), (rng.random(400) < 0.4).astype(np.int64)  # the scores say nothing
        own = fit_calibration(logits, label, method="isotonic").probabilities(logits)
        crossed = cross_fitted(logits, label, method="isotonic")
        losses.append([log_loss(label, p) for p in (own, np.full(400, label.mean()), crossed)])
    own, nothing, crossed = np.mean(losses, axis=0)
    assert own < nothing - 0.005 < nothing < crossed
    order = rng.permutation(400)
    again = cross_fitted(logits[order], label[order], method="isotonic")
    np.testing.assert_allclose(again, cross_fitted(logits, label, method="isotonic")[order], atol=1e-12)


def test_what_is_no_calibration_is_refused():
    with pytest.raises(ConfigError, match="calibration must be one of auto, temperature"):
        fit_calibration([0.0], [0], method="magic")
    for values, says in (
        ({"method": "magic"}, "unknown to this release"),
        ({"method": "platt", "slope": 1.0}, "lacks 'shift'"),
        ({"method": "platt", "slope": -1.0, "shift": [0.0]}, "slope must be a positive number"),
        ({"method": "beta", "a": -1.0, "b": 1.0, "c": 0.0}, "a and b must be at least 0"),
        ({"method": "isotonic", "logits": [1.0, 0.0], "rates": [0.1, 0.2]}, "rising logits"),
        ({"method": "isotonic", "logits": [0.0, 1.0], "rates": [0.0, 0.2]}, r"in \(0, 1\)"),
        ({"temperature": 0.0}, "temperature must be a positive number"),
    ):
        with pytest.raises(ValueError, match=says):
            calibration_from_dict(values)
    with pytest.raises(ValueError, match="for two classes"):
        Beta(1.0, 1.0, 0.0).probabilities(np.zeros((2, 2)))
