"""Baselines: fitted on the rows of a network, kept without pickle, and equal to their libraries."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import numpy as np
import polars as pl
import pytest
from made import made_customers

from churnlib.bundle import read_bundle
from churnlib.compose import compose
from churnlib.data.customers import Customers, prepare_customers
from churnlib.errors import BundleError, ConfigError, MissingPackageError
from churnlib.models.baselines import BASELINES
from churnlib.models.baselines.baseline import Baseline
from churnlib.models.baselines.forest import RandomForest, _sets, forest_inputs
from churnlib.models.baselines.hist_gradient_boosting import HistGradientBoosting, to_trees
from churnlib.models.baselines.inputs import raw_matrix
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.models.baselines.recipes import recipe_of
from churnlib.models.baselines.restoring import restore
from churnlib.models.baselines.trees import Trees
from churnlib.predictor import load
from churnlib.training.baselines import rows_of, task_of
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

SMALL = {
    "random_forest": {"n_estimators": 20},
    **{name: {"n_estimators": 15} for name in ("hist_gradient_boosting", "lightgbm", "xgboost", "catboost")},
}


def recipe(name: str) -> Baseline:
    module, _, cls = BASELINES[name].rpartition(".")
    return getattr(import_module(module), cls)(**SMALL.get(name, {}))


def customers_of(n_classes: int) -> Customers:
    frame = made_customers(400)
    if n_classes == 3:
        classes = np.random.default_rng(9).choice(["a", "b", "c"], len(frame))
        frame = frame.with_columns(churn=pl.Series(classes))
    return prepare_customers(frame, target="churn", id="customer")


@pytest.fixture(scope="module", params=[2, 3])
def customers(request) -> Customers:
    return customers_of(request.param)


def unusual(customers: Customers) -> tuple[np.ndarray, np.ndarray]:
    """Test rows with many missing numbers and unseen categories, and one row of nothing else."""
    rng, encoded = np.random.default_rng(1), customers.encoded["test"]
    numeric, codes = encoded.numeric.copy(), encoded.codes.copy()
    numeric[rng.random(numeric.shape) < 0.3] = np.nan
    codes[rng.random(codes.shape) < 0.3] = 1
    codes[rng.random(codes.shape) < 0.1] = 0
    numeric[0], codes[0] = np.nan, 1
    return numeric, codes


def task(customers: Customers):
    return task_of(customers, class_weights=[1.0] * len(customers.schema.classes))


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_comes_back_as_it_was_written_and_one_row_equals_many(name, customers):
    model = recipe(name).fit(rows_of(customers, "train"), rows_of(customers, "validation"), task(customers))
    numeric, codes = unusual(customers)
    answers = model.logits(numeric, codes)
    n_classes = len(customers.schema.classes)
    assert answers.shape == ((len(numeric),) if n_classes == 2 else (len(numeric), n_classes))
    assert np.isfinite(answers).all()
    kept = model.keep()
    again = restore(json.loads(json.dumps(kept.values)), kept.states, n_classes=n_classes)
    np.testing.assert_array_equal(again.logits(numeric, codes), answers)
    alone = np.concatenate([again.logits(numeric[i : i + 1], codes[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, answers[:10], atol=1e-9)


def test_the_forest_votes_as_scikit_learns(customers, monkeypatch):
    from sklearn import ensemble

    made = []
    original = ensemble.RandomForestClassifier.fit
    monkeypatch.setattr(
        ensemble.RandomForestClassifier, "fit", lambda self, *a, **k: made.append(self) or original(self, *a, **k)
    )
    rows = rows_of(customers, "train")
    model = RandomForest(n_estimators=20).fit(rows, rows_of(customers, "validation"), task(customers))
    numeric, codes = unusual(customers)
    spec = task(customers).input_spec
    sets = _sets(spec["cardinalities"], spec["has_missing"])
    inputs = forest_inputs(type(rows)(numeric, codes, np.zeros(len(codes))), sets)
    expected = made[0].predict_proba(inputs)
    expected = expected[:, 1:] if expected.shape[1] == 2 else expected
    np.testing.assert_allclose(model.sums(numeric, codes), expected, atol=1e-12)


def test_histogram_boosting_adds_up_as_scikit_learns(customers):
    recipe, rows = HistGradientBoosting(n_estimators=15), rows_of(customers, "train")
    library = recipe.fit_library(rows, rows_of(customers, "validation"), task(customers))
    trees = to_trees(library, task(customers), rounds=library.n_iter_)
    numeric, codes = unusual(customers)
    # A code that training did not have counts as missing there, as NaN does in scikit-learn.
    matrix = raw_matrix(numeric, codes).astype(np.float64)
    expected = library.decision_function(matrix)
    expected = expected[:, None] if expected.ndim == 1 else expected
    np.testing.assert_allclose(trees(numeric, codes), expected, atol=1e-9)


def test_class_weights_are_taken_off_the_probabilities():
    """A logistic regression with little penalty says the same with and without weights, but for its intercept."""
    customers = customers_of(2)
    train_rows, validation = rows_of(customers, "train"), rows_of(customers, "validation")
    plain, weighted = (
        LogisticRegression().fit(train_rows, validation, task_of(customers, class_weights=[1.0, weight]))
        for weight in (1.0, 4.0)
    )
    mean = [model.logits(train_rows.numeric, train_rows.codes).mean() for model in (plain, weighted)]
    assert abs(mean[0] - mean[1]) < 0.2 < np.log(4)


def test_a_trees_child_must_come_after_its_parent():
    arrays = {
        "column": np.zeros(1, np.int32), "threshold": np.zeros(1, np.float32), "value": np.zeros((1, 1)),
        "output": np.zeros(1, np.int32), "roots": np.zeros(1, np.int32), "start": np.zeros(1),
        "set_feature": np.zeros(0, np.int32), "set_right": np.zeros((0, 0), np.int8),
    }  # fmt: skip
    Trees(n_numeric=1, children=np.array([[0, 0]], np.int32), **arrays).check()
    with pytest.raises(ValueError, match="come after"):
        Trees(n_numeric=1, children=np.array([[0, -1]], np.int32), **arrays).check()
    with pytest.raises(ValueError, match="root that does not exist"):
        Trees(
            n_numeric=1, children=np.array([[0, 0]], np.int32), **{**arrays, "roots": np.array([5], np.int32)}
        ).check()


# --- the whole way ----------------------------------------------------------------------------------------------------

FAST = ["data.n_customers=600", "logger=none", "trainer.progress=false"]


@pytest.mark.parametrize("name", ["logistic", "rbf_svm", "hist_gradient_boosting", "lightgbm"])
def test_a_run_ends_with_a_bundle_that_gives_its_predictions(name, tmp_path):
    words = [f"model.{key}={value}" for key, value in SMALL.get(name, {}).items()]
    config = compose([f"model={name}", *words, *FAST])
    metrics = train(config, folder=RunFolder(tmp_path / "run", latest=None)).metrics
    assert metrics["model"] == name
    assert set(metrics["inference"]) == {"p50_ms", "p95_ms", "rows_per_second", "backend", "flops", "bundle_bytes"}
    assert load(tmp_path / "run" / "bundle", backend="torch").replay_golden() <= 1e-9
    assert load(tmp_path / "run" / "bundle").replay_golden() <= 1e-6
    assert not list((tmp_path / "run" / "bundle").glob("*.pkl"))
    if name == "logistic":
        one, other = (dict(figures(found)) for found in (metrics["test"], metrics["baseline"]["logistic_regression"]))
        assert len(other) > 10 and {key: one[key] for key in other} == pytest.approx(other, rel=1e-9)


def figures(values, path=()):
    """Yield every number in nested metrics with the way to it."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from figures(value, (*path, key))
    else:
        yield path, values


def test_the_same_seed_gives_the_same_version(tmp_path):
    for name in ("catboost", "xgboost"):
        for copy in ("a", "b"):
            config = compose([f"model={name}", "model.n_estimators=5", *FAST])
            train(config, folder=RunFolder(tmp_path / name / copy, latest=None))
        assert (
            read_bundle(tmp_path / name / "a" / "bundle").version
            == read_bundle(tmp_path / name / "b" / "bundle").version
        )


def test_a_baseline_cannot_go_on_from_a_checkpoint(tmp_path):
    (tmp_path / "last.ckpt").touch()
    config = compose(["model=logistic", *FAST, f"ckpt_path='{tmp_path}/last.ckpt'"])
    with pytest.raises(ConfigError, match="fitted in one go"):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))


def test_a_missing_package_is_one_sentence_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingPackageError, match=r"needs the package lightgbm.*churnlib\[boosting\]"):
        recipe_of({"_target_": BASELINES["lightgbm"]})


def test_a_kind_that_is_not_known_is_refused(tmp_path):
    from test_bundle import rewrite

    train(compose(["model=logistic", *FAST]), folder=RunFolder(tmp_path / "run", latest=None))
    rewrite(tmp_path / "run" / "bundle", "baseline.json", lambda content: content.__setitem__("kind", "os.system"))
    with pytest.raises(BundleError, match=r"has the kind 'os\.system'"):
        load(tmp_path / "run" / "bundle", backend="torch")
