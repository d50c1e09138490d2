"""Several models that answer together."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from churnlib.evaluation.blending import fit_blend
from churnlib.models.ensemble import Ensemble, Member, blend_logits, mean_logits


@dataclass(frozen=True)
class Fixed:
    """A model that adds up what it reads."""

    slope: float = 1.0
    n_classes: int = 2

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        total = self.slope * (numeric.sum(axis=1) + 10 * codes.sum(axis=1))
        return total if self.n_classes == 2 else np.stack([total * k for k in range(self.n_classes)], axis=1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def test_members_are_combined_by_their_mean_probability():
    rng = np.random.default_rng(0)
    two, three = rng.normal(size=(4, 30)), rng.normal(size=(4, 30, 3))
    np.testing.assert_allclose(sigmoid(mean_logits(list(two))), sigmoid(two).mean(axis=0), rtol=1e-12)
    means = np.mean([softmax(z) for z in three], axis=0)
    np.testing.assert_allclose(softmax(mean_logits(list(three))), means, rtol=1e-12)


def test_very_sure_members_still_differ():
    # In probabilities both would be exactly 1.
    a, b = mean_logits([np.array([60.0, 61.0]), np.array([62.0, 62.0])])
    assert 60 < a < b < 62


def test_a_member_reads_the_columns_and_codes_that_it_was_fitted_with():
    member = Member(Fixed(), numeric=(2, 0), codes=((0, 1, 5, 1),))
    numeric, codes = np.array([[1.0, 100.0, 3.0]], dtype=np.float32), np.array([[2]])
    assert member.logits(numeric, codes).tolist() == [4.0 + 50.0]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_groups_are_weighed(n_classes: int):
    numeric, codes = np.array([[0.1], [-0.4]], dtype=np.float32), np.zeros((2, 1), dtype=np.int64)
    first, second = Fixed(1.0, n_classes), Fixed(-2.0, n_classes)
    shift = (0.5,) if n_classes == 2 else (0.5, 0.0, -0.5)
    model = Ensemble(((Member(first),), (Member(second), Member(second))), (0.7, 0.3), shift)
    z = [one.logits(numeric, codes) for one in (first, second)]
    if n_classes == 2:
        np.testing.assert_allclose(model.logits(numeric, codes), 0.7 * z[0] + 0.3 * z[1] + 0.5)
    else:
        expected = softmax(0.7 * z[0] + 0.3 * z[1] + np.array(shift))
        np.testing.assert_allclose(softmax(model.logits(numeric, codes)), expected)


@pytest.mark.parametrize(("weights", "shift"), [((1.0, 1.0), (0.0,)), ((np.inf,), (0.0,)), ((1.0,), (np.nan,))])
def test_weights_that_fit_no_groups_are_refused(weights, shift):
    with pytest.raises(ValueError, match="weights"):
        Ensemble(((Member(Fixed()),),), weights, shift)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_blend_is_the_logistic_regression_that_may_not_subtract(n_classes: int):
    # Reference: a fine search by scipy's general solver on the log loss as scikit-learn computes it.
    from scipy.optimize import minimize
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(n_classes)
    label = rng.integers(0, n_classes, 400)
    if n_classes == 2:
        truth = (2 * label - 1).astype(float)
        logits = [truth + rng.normal(size=400), 0.3 * truth + rng.normal(size=400), -0.5 * truth + rng.normal(size=400)]
    else:
        truth = np.eye(3)[label]
        logits = [
            truth + rng.normal(size=(400, 3)),
            0.3 * truth + rng.normal(size=(400, 3)),
            -truth + rng.normal(size=(400, 3)),
        ]
    weights, shift = fit_blend(logits, label)

    def loss(values):
        z = blend_logits(logits, values[:3], values[3:])
        pull = np.square(values[:3] - 1 / 3).sum() / len(label)
        return log_loss(label, sigmoid(z) if n_classes == 2 else softmax(z), labels=range(n_classes)) + pull

    n_shifts = 1 if n_classes == 2 else 3
    bounds = [(0, None)] * 3 + [(None, None)] * n_shifts
    found = minimize(loss, np.full(3 + n_shifts, 0.2), method="SLSQP", bounds=bounds, options={"ftol": 1e-12})
    assert loss(np.concatenate([weights, shift])) <= found.fun + 1e-7
    assert weights[2] == 0, "a model that is wrong more often than not must not be turned round"
    np.testing.assert_allclose(weights, found.x[:3], atol=2e-3)


def test_a_blend_of_models_that_make_no_mistake_has_finite_weights():
    label = np.array([0, 1] * 20)
    weights, _ = fit_blend([label * 8.0 - 4.0, label * 2.0 - 1.0], label)
    assert np.isfinite(weights).all() and weights.max() < 10


def test_what_is_written_down_is_json():
    from churnlib.models.fitted import Kept

    class Kind(Fixed):
        def keep(self):
            return Kept("baseline.json", {"kind": "x", "state": "model.txt"}, {"model.txt": b"1"})

    kept = Ensemble(((Member(Kind(), (0,), ((0, 1),)), Member(Kind())),)).keep()
    assert sorted(kept.states) == ["member_000.model.txt", "member_001.model.txt"]
    assert json.loads(json.dumps(kept.values))["members"][0]["codes"] == [[0, 1]]
