"""Fitting the temperature on validation rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from churnlib.decision import probability_from_logits
from churnlib.evaluation.calibration import TEMPERATURE_RANGE, fit_temperature


def overconfident(seed: int, *, n: int = 800, k: int = 0, factor: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of ``k`` classes (0: log-odds of two) that are ``factor`` times too large, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k) if k else n) * 1.5 - 0.5
    probability = probability_from_logits(logits)
    label = (rng.random((n, 1)) > probability.cumsum(axis=1)).sum(axis=1) if k else rng.random(n) < probability
    return factor * logits, label.astype(np.int64)


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("factor", [0.3, 2.0, 6.0])
def test_the_temperature_undoes_a_known_overconfidence(k: int, factor: float):
    logits, label = overconfident(0, n=30_000, k=k, factor=factor)
    assert fit_temperature(logits, label) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("k", [0, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_log_loss_is_as_low_as_a_general_optimiser_finds(k: int, seed: int):
    logits, label = overconfident(seed, k=k)

    def loss(temperature: float) -> float:
        return float(log_loss(label, probability_from_logits(logits, temperature)))

    best: Any = minimize_scalar(loss, bounds=TEMPERATURE_RANGE, method="bounded", options={"xatol": 1e-8})
    temperature = fit_temperature(logits, label)
    assert temperature == pytest.approx(best.x, rel=0.01)
    assert loss(temperature) <= best.fun + 1e-5


def test_two_columns_give_the_temperature_of_their_difference():
    logits, label = overconfident(1)
    halves = np.stack([-logits / 2, logits / 2], axis=1)
    # the columns' penalty is the same, so both are one problem
    assert fit_temperature(halves, label) == pytest.approx(fit_temperature(logits, label), rel=1e-9)


def test_the_order_of_the_rows_does_not_matter():
    logits, label = overconfident(2)
    assert fit_temperature(logits[::-1], label[::-1]) == pytest.approx(fit_temperature(logits, label), rel=1e-12)


@pytest.mark.parametrize("churners", [0, 9, 191, 200])
def test_rows_that_say_too_little_leave_probabilities_as_they_are(churners: int):
    label = (np.arange(200) < churners).astype(np.int64)
    assert fit_temperature(np.linspace(-3, 3, 200), label) == 1.0
    assert fit_temperature([], []) == 1.0


@pytest.mark.parametrize("churners", [10, 190])
def test_ten_rows_of_the_smaller_class_are_enough(churners: int):
    label = (np.arange(200) < churners).astype(np.int64)
    assert fit_temperature(np.linspace(-3, 3, 200), label) != 1.0


def test_perfectly_separated_rows_keep_a_moderate_temperature():
    label = np.repeat([0, 1], 300)
    temperature = fit_temperature(np.where(label == 1, 3.0, -3.0), label)
    assert 0.3 < temperature < 1.0


def test_useless_and_reversed_logits_are_softened_no_further_than_the_bound():
    logits, label = overconfident(3)
    assert fit_temperature(-logits, label) == pytest.approx(TEMPERATURE_RANGE[1])


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_any_scale_of_logits_gives_a_temperature_in_range(scale: float, k: int):
    logits, label = overconfident(4, k=k, factor=scale)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        temperature = fit_temperature(logits, label)
    assert TEMPERATURE_RANGE[0] <= temperature <= TEMPERATURE_RANGE[1]


@pytest.mark.parametrize(
    ("logits", "label", "message"),
    [
        ([0.1, 0.2], [0], "must be"),
        ([[0.1], [0.2]], [0, 1], "must be"),
        ([0.1, np.nan], [0, 1], "finite"),
        ([0.1, 0.2], [0, 2], "from 0 to 1"),
        ([0.1, 0.2], [0, 0.5], "from 0 to 1"),
    ],
)
def test_impossible_input_is_refused(logits: list, label: list, message: str):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, label)
