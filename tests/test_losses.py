"""Each loss against a formula written otherwise, and its probabilities against the data's."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch.nn import functional as F

from churnlib.data.customers import customer_value, prepare_customers
from churnlib.errors import ConfigError
from churnlib.models.losses import (
    LOSSES,
    cross_entropy,
    focal,
    focal_slope,
    loss_spec,
    training_loss,
    value_weights,
)


def drawn(n=40, classes=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shape = (n,) if classes == 2 else (n, classes)
    return 3 * torch.randn(shape, generator=rng, dtype=torch.float64), torch.randint(0, classes, (n,), generator=rng)


# --- formulas -------------------------------------------------------------------------------------------------------


def test_cross_entropy_is_that_of_scikit_learn_row_by_row():
    logits, label = drawn()
    expected = log_loss(label, logits.sigmoid())
    assert float(cross_entropy(logits, label).mean()) == pytest.approx(expected, abs=1e-12)
    many, several = drawn(classes=4)
    expected = -many.softmax(1).numpy()[np.arange(40), several]
    np.testing.assert_allclose(cross_entropy(many, several), -np.log(-expected), atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_is_the_papers_formula_on_flatter_logits(gamma):
    logits, label = drawn()
    p = (logits / focal_slope(gamma)).sigmoid()
    p = torch.where(label == 1, p, 1 - p)
    torch.testing.assert_close(focal(logits, label, gamma=gamma), -((1 - p) ** gamma) * p.log())


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradients_of_focal_are_those_of_finite_differences_even_far_out(gamma):
    logits, label = drawn()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: focal(x, label, gamma=gamma), logits)
    far = torch.tensor([-200.0, 200.0, 90.0], requires_grad=True)
    focal(far, torch.tensor([0, 1, 1]), gamma=gamma).sum().backward()
    assert torch.isfinite(far.grad).all()


def test_class_weights_multiply_each_rows_loss():
    logits, label = drawn()
    loss = training_loss(loss_spec({"name": "bce", "pos_weight": 3.0}), [30, 10])
    expected = F.binary_cross_entropy_with_logits(
        logits, label.double(), pos_weight=torch.tensor(3.0), reduction="none"
    )
    torch.testing.assert_close(loss(logits, label), expected)


def test_balanced_classes_weigh_the_same_and_the_loss_keeps_its_size():
    _, label = drawn(n=3_000, classes=3)
    counts = torch.bincount(label)
    loss = training_loss(loss_spec({"name": "bce", "pos_weight": "balanced"}), counts.tolist())
    torch.testing.assert_close(counts * loss.weights, (counts * loss.weights)[:1].expand(3))
    assert float(loss.weights[label].mean()) == pytest.approx(1, abs=1e-6)


def test_logit_adjustment_adds_the_classes_log_frequencies_in_training_only():
    many, several = drawn(classes=3)
    loss = training_loss(loss_spec({"name": "logit_adjusted", "tau": 0.5}), [60, 30, 10])
    shift = 0.5 * torch.log(torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64))
    expected = F.cross_entropy(many + shift, several, reduction="none")
    torch.testing.assert_close(loss(many, several), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.tensor(loss.offset), -shift.float())


def test_row_weights_are_those_of_a_weighted_mean():
    logits, label = drawn()
    weight = torch.rand(40, dtype=torch.float64)
    weight /= weight.mean()
    loss = training_loss(loss_spec("cost_sensitive"), [20, 20])
    expected = log_loss(label, logits.sigmoid(), sample_weight=weight)
    assert float((loss(logits, label) * weight).mean()) == pytest.approx(expected, abs=1e-12)


def test_half_precision_logits_have_a_float32_loss():
    logits, label = drawn()
    for name in LOSSES:
        assert training_loss(loss_spec(name), [20, 20])(logits.bfloat16(), label).dtype == torch.float32


# --- honest probabilities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "within"),
    [
        ({"name": "bce", "pos_weight": 4.0}, 1e-4),
        ({"name": "focal", "gamma": 0.5}, 2.5e-3),
        ({"name": "focal", "gamma": 1.0}, 2.5e-3),
        ({"name": "focal", "gamma": 5.0}, 2.5e-3),
        ({"name": "focal", "gamma": 2.0, "alpha": 0.8}, 2.5e-3),
        ({"name": "logit_adjusted", "tau": 1.5}, 1e-4),
    ],
)
def test_the_best_logit_without_its_offset_is_the_log_odds(spec, within):
    """For each share of churners, the logit that minimises the expected loss says that share again."""
    loss = training_loss(loss_spec(spec), [75, 25])
    for share in (0.01, 0.1, 0.3, 0.5, 0.8, 0.97):

        def expected(logit, share=share):
            rows = loss(torch.tensor([logit[0]] * 2, dtype=torch.float64), torch.tensor([0, 1]))
            return float((1 - share) * rows[0] + share * rows[1])

        best = minimize(expected, x0=[0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-14}).x[0]
        assert 1 / (1 + math.exp(loss.offset[0] - best)) == pytest.approx(share, abs=within), share


# --- customers' values ----------------------------------------------------------------------------------------------


def test_values_are_robust_weights():
    rng = np.random.default_rng(0)
    value = rng.lognormal(3, 1, 5_000)
    value[:10], value[10:20], value[20:30] = 1e9, np.nan, -5
    weight = value_weights(value)
    assert weight.dtype == np.float32
    assert weight.mean() == pytest.approx(1, abs=1e-6)
    assert weight.max() / weight.min() <= 101
    order = np.argsort(value[30:])
    assert (np.diff(weight[30:][order]) >= 0).all()
    assert weight[10] == pytest.approx(value_weights(np.append(value[20:], np.nanmedian(value)))[-1], rel=0.02)
    for useless in (np.zeros(5), np.full(5, np.nan), np.array([-1.0, -2.0])):
        with pytest.raises(ValueError, match="no training row has a value above 0"):
            value_weights(useless)


def test_weights_by_value_make_the_valuable_customers_predictions_better():
    """A linear model cannot suit both halves; with weights it suits those who are worth more."""
    rng = np.random.default_rng(0)
    x, rich = rng.normal(size=(20_000, 2)), rng.random(20_000) < 0.3
    label = rng.random(20_000) < 1 / (1 + np.exp(-2 * np.where(rich, x[:, 0], x[:, 1])))
    weights = value_weights(np.where(rich, 100.0, 10.0))
    plain, weighted = (
        LogisticRegression().fit(x, label, sample_weight=w).predict_proba(x[rich])[:, 1] for w in (None, weights)
    )
    assert log_loss(label[rich], weighted) < log_loss(label[rich], plain) - 0.02


def test_a_value_column_may_have_any_role_but_the_targets():
    frame = pl.DataFrame({
        "id": range(60), "worth": ["10.5", None, "x"] * 20, "plan": ["a", "b"] * 30, "churn": [0, 1, 0] * 20,
    })  # fmt: skip
    customers = prepare_customers(frame, target="churn", id="id", drop=["worth"])
    assert "worth" not in customers.preparation.feature_names
    np.testing.assert_array_equal(customer_value(customers, "worth")[:3], [10.5, np.nan, np.nan])
    for column, sentence in {"wort": "did you mean 'worth'", "plan": "holds no numbers", "churn": "target"}.items():
        with pytest.raises(ConfigError, match=sentence):
            customer_value(customers, column)


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        ("fokal", "one of bce, focal"),
        ({"name": "focal", "tau": 1}, "the loss focal takes gamma, alpha, got tau"),
        ({"name": "focal", "gamma": -1}, "gamma must be at least 0"),
        ({"name": "focal", "alpha": 1.0}, r"alpha must be in \(0, 1\)"),
        ({"name": "bce", "pos_weight": 0}, "pos_weight must be a number above 0"),
    ],
)
def test_wrong_options_are_refused(loss, sentence):
    with pytest.raises(ValueError, match=sentence):
        loss_spec(loss)


def test_what_does_not_go_with_the_classes_is_refused():
    with pytest.raises(ValueError, match="for two classes, not 3"):
        training_loss(loss_spec("focal"), [1, 1, 1])
    with pytest.raises(ValueError, match="needs rows of each class"):
        training_loss(loss_spec("logit_adjusted"), [5, 0])
