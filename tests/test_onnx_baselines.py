"""Baselines and ensembles as ONNX graphs, beside numpy's and the libraries' own answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made import made_customers, made_prepared

from churnlib.compose import compose
from churnlib.data.customers import Customers, prepare_customers
from churnlib.decision import probability_from_logits
from churnlib.models.ensemble import Ensemble, Member
from churnlib.models.onnx.graph import CannotExport
from churnlib.models.onnx.running import OnnxModel
from churnlib.models.onnx.writing import to_onnx
from churnlib.training.train import fit_model, read_customers

BASELINES = {
    "logistic": [],
    "linear_svm": [],
    "rbf_svm": ["model.n_landmarks=30"],
    "random_forest": ["model.n_estimators=30"],
    "hist_gradient_boosting": ["model.n_estimators=60"],
    "lightgbm": ["model.n_estimators=60"],
    "xgboost": ["model.n_estimators=60"],
    "catboost": ["model.n_estimators=60"],
}


def fitted(name: str, customers: Customers) -> Any:
    return fit_model(compose([f"model={name}", *BASELINES.get(name, [])]), customers, Path()).fit.model


def three_classes() -> Customers:
    table = made_customers(600)
    left = np.random.default_rng(0).choice(["moved", "switched"], 600)
    churn = pl.Series("churn", np.where(table["churn"].to_numpy() == "yes", left, "stayed"))
    return prepare_customers(table.with_columns(churn), target="churn", id="customer")


def made_rows(customers: Customers, n: int = 3_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    train = customers.encoded["train"].numeric
    numeric = train[rng.integers(0, len(train), n)] * rng.choice([1, 0.5, 2, 30], size=(n, train.shape[1]))
    numeric[rng.random(numeric.shape) < 0.15] = np.nan
    sizes = customers.preparation.input_spec()["cardinalities"]
    return numeric.astype(np.float32), np.stack([rng.integers(0, size, n) for size in sizes], axis=1)


def check_alike(model: Any, customers: Customers) -> None:
    n_classes, inputs = len(customers.schema.classes), customers.preparation.input_spec()
    content = to_onnx(
        model,
        n_numeric=len(inputs["fill"]),
        cardinalities=inputs["cardinalities"],
        n_outputs=1 if n_classes == 2 else n_classes,
    )
    graph, rows = OnnxModel(content, original=lambda: model), made_rows(customers)
    together = graph.logits(*rows)
    own, other = (probability_from_logits(logits) for logits in (model.logits(*rows), together))
    assert np.abs(own - other).max() <= 1e-6
    for size in (1, 7, 64):
        starts = range(0, 20 * size, size)
        parts = [graph.logits(*(part[start : start + size] for part in rows)) for start in starts]
        assert np.array_equal(np.concatenate(parts), together[: 20 * size]), size


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_answers_alike(name, classes):
    customers = made_prepared(600) if classes == 2 else three_classes()
    check_alike(fitted(name, customers), customers)


def test_a_mixed_ensemble_whose_members_know_other_columns_and_values():
    customers = made_prepared(600)
    quiet = ["trainer.max_epochs=1", "callbacks=memory", "logger=none"]
    network = fit_model(compose(["model=mlp_plain", *quiet]), customers, Path()).fit.model
    sizes = customers.preparation.input_spec()["cardinalities"]
    # This member takes every second value for one that it never saw.
    tables = tuple(tuple(code if code % 2 == 0 else 1 for code in range(size)) for size in sizes)
    places = tuple(range(len(customers.preparation.input_spec()["fill"])))
    lightgbm, forest, catboost = (fitted(name, customers) for name in ("lightgbm", "random_forest", "catboost"))
    groups = (
        (Member(network), Member(lightgbm, places, tables)),
        (Member(forest),),
        (Member(catboost, places, tables),),
    )
    check_alike(Ensemble(groups, weights=(0.7, 0.4, 0.5), shift=(-0.2,)), customers)


def test_an_ensemble_for_several_classes():
    customers = three_classes()
    groups = (
        tuple(Member(fitted(name, customers)) for name in ("logistic", "xgboost")),
        (Member(fitted("rbf_svm", customers)),),
    )
    check_alike(Ensemble(groups, weights=(0.7, 0.4), shift=(0.1, 0.0, -0.1)), customers)


def test_catboost_asks_for_values_together_with_sides_of_numbers():
    config = compose(["model=catboost", "model.n_estimators=200", "model.patience=200", "data.n_customers=1500"])
    customers = read_customers(config)
    model = fit_model(config, customers, Path()).fit.model
    combinations = [one["elements"] for one in json.loads(model.json)["features_info"]["ctrs"]]
    kinds = [{element["combination_element"] for element in one} for one in combinations]
    # Or else the test would not show what it says.
    assert {"cat_feature_value", "float_feature", "cat_feature_exact_value"} <= set().union(*kinds)
    assert any(len(one) > 2 for one in combinations)
    check_alike(model, customers)


def test_catboost_with_too_many_combinations_is_refused_with_the_remedy(monkeypatch):
    customers = made_prepared(300)
    model = fitted("catboost", customers)
    monkeypatch.setattr("churnlib.models.baselines.catboost_trees.MOST_STATES", 5)
    with pytest.raises(CannotExport, match=r"combinations of values .* fewer categories"):
        check_alike(model, customers)
