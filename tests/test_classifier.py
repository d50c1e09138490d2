"""ChurnClassifier in scikit-learn's hands, on raw customer tables, and beside train.py."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from made import made_customers
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import churnlib
from churnlib import ChurnClassifier
from churnlib.compose import compose
from churnlib.errors import BundleError, ConfigError, RowErrors
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

TINY = {"trainer.max_epochs": 2, "model.hidden_sizes": [8], "optimizer.lr": 1e-2}
SMALL = {**TINY, "trainer.max_epochs": 15, "model.hidden_sizes": [32]}


def tiny(**options: Any) -> ChurnClassifier:
    return ChurnClassifier(**{"options": TINY, "random_state": 0, **options})


def rows_and_labels(n: int = 300, *, seed: int = 0) -> tuple[pl.DataFrame, pl.Series]:
    table = made_customers(n, seed=seed)
    return table.drop("churn"), table["churn"]


@pytest.fixture(scope="module")
def fitted() -> ChurnClassifier:
    return tiny().fit(*rows_and_labels())


# --- raw tables -----------------------------------------------------------------------------------------------------


def test_a_raw_customer_table_is_learned_from():
    rows, labels = rows_and_labels(900)
    classifier = ChurnClassifier("mlp", options=SMALL, random_state=0).fit(rows[:600], labels[:600])
    probability = classifier.predict_proba(rows[600:])
    assert roc_auc_score(labels[600:], probability[:, 1]) > 0.7
    np.testing.assert_allclose(probability.sum(axis=1), 1.0)
    assert classifier.classes_.tolist() == ["no", "yes"]
    assert set(classifier.predict(rows[600:])) == {"no", "yes"}
    assert classifier.n_features_in_ == rows.width and classifier.feature_names_in_.tolist() == rows.columns


@pytest.mark.parametrize(
    "form",
    [
        pl.DataFrame.to_pandas,
        pl.DataFrame.lazy,
        pl.DataFrame.to_dicts,
        lambda rows: rows.to_pandas().astype(object),
        lambda rows: rows.select(pl.all().cast(pl.String)),
    ],
    ids=["pandas", "lazy", "dicts", "objects", "text"],
)
def test_the_same_rows_in_another_form_have_the_same_probabilities(fitted: ChurnClassifier, form: Any):
    rows, labels = rows_and_labels()
    expected = fitted.predict_proba(rows)
    np.testing.assert_allclose(fitted.predict_proba(form(rows)), expected, atol=1e-12)
    again = tiny().fit(form(rows), labels.to_list())
    np.testing.assert_allclose(again.predict_proba(rows), expected, atol=1e-12)


def test_array_columns_are_taken_by_their_place():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(80, 3))
    numbers[:, 2] = 7.0  # a constant
    label = (numbers[:, 0] > 0).astype(int)
    classifier = tiny().fit(numbers, label)
    assert not hasattr(classifier, "feature_names_in_")
    expected = classifier.predict_proba(numbers)
    for same in (numbers.tolist(), numbers.astype(object), np.asfortranarray(numbers)):
        np.testing.assert_allclose(classifier.predict_proba(same), expected, atol=1e-12)
    # Whole numbers that are all different are numbers too, not the names of customers.
    counted = np.column_stack([np.arange(80), rng.integers(0, 2, 80)])
    assert [c.kind for c in tiny().fit(counted, label).predictor_.schema.features] == ["numeric", "numeric"]


def test_arrays_may_hold_text():
    words = np.array([["monthly", 1.5], ["yearly", 2.5]] * 30, dtype=object)
    classifier = tiny(options=SMALL).fit(words, ["left", "stayed"] * 30)
    assert [column.kind for column in classifier.predictor_.schema.features] == ["categorical", "numeric"]
    assert classifier.predict(words[:2]).tolist() == ["left", "stayed"]


def test_any_column_may_lack_values_later(fitted: ChurnClassifier):
    rows, _ = rows_and_labels()
    assert rows["tenure"].null_count() == 0
    gaps = rows.with_columns(tenure=pl.lit(None, dtype=pl.Int64), plan=pl.lit(None, dtype=pl.String))
    assert np.isfinite(fitted.predict_proba(gaps)).all()


def test_a_number_that_cannot_be_read_is_named(fitted: ChurnClassifier):
    rows, _ = rows_and_labels(3)
    strange = rows.with_columns(tenure=pl.Series(["1", "many", "3"]))
    with pytest.raises(RowErrors, match="row 1: column 'tenure' must be a finite number, got 'many'"):
        fitted.predict(strange)


def test_dicts_may_name_their_columns_in_any_order_and_leave_out_gaps(fitted: ChurnClassifier):
    rows, _ = rows_and_labels(5)
    dicts = [dict(reversed(row.items())) for row in rows.with_columns(charges=pl.lit(None)).to_dicts()]
    expected = fitted.predict_proba(rows.with_columns(charges=pl.lit(None, dtype=pl.Float64)))
    for row in dicts:
        del row["charges"]
    np.testing.assert_allclose(fitted.predict_proba(dicts), expected, atol=1e-12)
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- shoe_size"):
        fitted.predict([{**row, "shoe_size": 43} for row in dicts])


def test_columns_can_be_corrected():
    rows, labels = rows_and_labels()
    classifier = tiny(columns={"tenure": {"kind": "categorical"}, "region": {"role": "ignored"}}).fit(rows, labels)
    schema = classifier.predictor_.schema
    assert schema["tenure"].kind == "categorical" and "region" not in {c.name for c in schema.features}


def test_no_row_is_left_out_however_often_it_comes():
    rows, labels = rows_and_labels(60)
    twice = tiny().fit(pl.concat([rows, rows]), pl.concat([labels, labels]))
    assert twice.predictor_.bundle.profile["n"] + twice._metrics["validation"]["n"] == 120


# --- labels ---------------------------------------------------------------------------------------------------------


LABELS: list[Any] = [
    [0, 1], [5, -3], [False, True], [1.0, 0.0], ["stay", "go"], ["b", "c", "a"], [10, 9, 2],
    np.array(["x", "y"], dtype=object),
]  # fmt: skip


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_labels_of_any_type_come_back_from_fit_and_from_a_bundle(labels: Any, tmp_path: Path):
    X, blob = make_blobs(60, centers=len(labels), random_state=0)
    y = np.asarray(labels)[blob]
    classifier = tiny().fit(X, y)
    assert classifier.classes_.tolist() == sorted(set(y.tolist()))
    assert set(classifier.predict(X)) <= set(y.tolist())
    classifier.save(tmp_path / "bundle")
    again = ChurnClassifier.load(tmp_path / "bundle")
    assert again.classes_.tolist() == classifier.classes_.tolist()
    assert again.classes_.dtype.kind == ("U" if y.dtype == object else y.dtype.kind)


def test_the_second_class_is_the_one_whose_log_odds_are_decided_on():
    X, y = make_blobs(80, centers=2, random_state=0)
    classifier = tiny(options=SMALL).fit(X, np.array(["a", "b"])[y])
    log_odds, probability = classifier.decision_function(X), classifier.predict_proba(X)
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), probability[:, 1], atol=1e-12)
    assert (classifier.predict(X) == np.array(["a", "b"])[y]).mean() > 0.8


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 10, r"needs rows of two or more classes, got one class: \['a'\]"),
        (["a", None] * 5, r"Input y contains NaN or None \(5 labels are missing\)"),
        ([0.0, np.nan] * 5, "Input y contains NaN"),
        (np.linspace(0, 1, 10), "Unknown label type"),
        (["a", "b"], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
    ids=["one class", "None", "NaN", "numbers", "too few", "none"],
)
def test_labels_that_are_no_classes_are_refused(labels: Any, message: str):
    with pytest.raises(ValueError, match=message):
        tiny().fit(np.arange(20.0).reshape(10, 2), labels)


def test_a_class_of_one_row_is_trained_on():
    X, y = make_blobs(40, centers=2, random_state=0)
    y[0] = 2
    assert tiny().fit(X, y).predict_proba(X).shape == (40, 3)
    assert tiny().fit(X[:2], [0, 1]).predict_proba(X).shape == (40, 2)


# --- validation rows and decisions ----------------------------------------------------------------------------------


def test_given_validation_rows_are_used_and_the_others_all_trained_on():
    (rows, labels), (others, other_labels) = rows_and_labels(200), rows_and_labels(77, seed=1)
    classifier = tiny().fit(rows, labels, eval_set=(others, other_labels))
    assert classifier.predictor_.bundle.profile["n"] == 200
    assert classifier._metrics["validation"]["n"] == 77
    with pytest.raises(ValueError, match=r"eval_set has labels that y does not have: \['maybe'\]"):
        tiny().fit(rows, labels, eval_set=(others, ["maybe"] * 77))


def test_a_share_of_each_class_is_taken_for_validation():
    rows, labels = rows_and_labels(200)
    classifier = tiny(validation_fraction=0.25).fit(rows, labels)
    validation = classifier._metrics["validation"]
    assert validation["n"] == pytest.approx(50, abs=1)
    assert validation["positives"] == pytest.approx((labels == "yes").sum() / 4, abs=1)
    with pytest.raises(ValueError, match=r"validation_fraction must be in \(0, 1\), got 1.5"):
        tiny(validation_fraction=1.5).fit(rows, labels)


@pytest.mark.parametrize("threshold", [0.2, "f1", "youden", "cost"])
def test_the_threshold_decides(threshold: Any):
    rows, labels = rows_and_labels()
    classifier = tiny(threshold=threshold).fit(rows, labels)
    chosen = classifier.predictor_.threshold
    assert chosen == 0.2 if threshold == 0.2 else 0 <= chosen <= 1
    assert ((classifier.predict(rows) == "yes") == (classifier.predict_proba(rows)[:, 1] >= chosen)).all()


# --- one way --------------------------------------------------------------------------------------------------------


def test_it_answers_like_a_run_of_train_py_on_the_same_rows(tmp_path: Path):
    table = made_customers(400).sort("customer")
    side = ["train"] * 250 + ["validation"] * 70 + ["test"] * 80
    table.with_columns(side=pl.Series(side)).write_parquet(tmp_path / "table.parquet")
    words = [f"{key}={value}" for key, value in TINY.items()]
    words += ["data=table", f"data.path={tmp_path}/table.parquet", "data.target=churn", "seed=3", "logger=none"]
    words += ["split.by=column", "split.column=side", "trainer.progress=false", "data.id=customer"]
    folder = RunFolder(tmp_path / "run", latest=None)
    train(compose(words), folder=folder)
    expected = churnlib.load(tmp_path / "run" / "bundle").predict(table[320:])["churn_probability"]

    X, y = table.drop("churn"), table["churn"]
    classifier = tiny(random_state=3, columns={"customer": {"role": "id"}})
    classifier.fit(X[:250], y[:250], eval_set=(X[250:320], y[250:320]))
    np.testing.assert_allclose(classifier.predict_proba(X[320:])[:, 1], expected, atol=1e-6)


def test_a_saved_classifier_is_a_bundle_and_comes_back(fitted: ChurnClassifier, tmp_path: Path):
    rows, _ = rows_and_labels()
    predictor = fitted.save(tmp_path / "bundle")
    assert predictor.replay_golden() <= 1e-6
    probability = fitted.predict_proba(rows)[:, 1]
    scored = churnlib.load(tmp_path / "bundle").predict(rows)
    np.testing.assert_allclose(scored["churn_probability"], probability, atol=1e-6)
    again = ChurnClassifier.load(tmp_path / "bundle")
    np.testing.assert_allclose(again.predict_proba(rows), fitted.predict_proba(rows), atol=1e-12)
    assert again.feature_names_in_.tolist() == rows.columns and again.model == "mlp"
    with pytest.raises(BundleError, match="exists already"):
        fitted.save(tmp_path / "bundle")


def test_a_copy_answers_the_same(fitted: ChurnClassifier):
    rows, _ = rows_and_labels(20)
    for same in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(same.predict_proba(rows), fitted.predict_proba(rows))


def test_answers_do_not_depend_on_the_rows_beside_them(fitted: ChurnClassifier):
    rows, _ = rows_and_labels(50)
    alone = np.concatenate([fitted.predict_proba(rows[i]) for i in range(len(rows))])
    np.testing.assert_allclose(alone, fitted.predict_proba(rows), atol=1e-9)


# --- manners --------------------------------------------------------------------------------------------------------


def global_state() -> dict[str, Any]:
    loggers = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith("PL_")},
        "warnings": list(warnings.filters),
        "loggers": [list(logging.getLogger(name).filters) for name in loggers],
    }


def test_a_fit_leaves_everything_as_it_was(empty_folder: Path, capfd: pytest.CaptureFixture):
    rows, labels = rows_and_labels()
    torch.manual_seed(5)
    torch.set_num_threads(2)
    before = global_state()
    tiny().fit(rows, labels).predict(rows)
    assert global_state() == before
    assert not list(empty_folder.iterdir())
    assert capfd.readouterr() == ("", "")


def test_the_seed_fixes_everything():
    rows, labels = rows_and_labels()
    first, second, other = (tiny(random_state=seed).fit(rows, labels).predict_proba(rows) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.allclose(first, other)
    drawn = []
    for seed in (7, 7):
        np.random.seed(seed)  # noqa: NPY002
        drawn.append(tiny(random_state=None).fit(rows, labels).predict_proba(rows))
    assert np.array_equal(*drawn)


def test_importing_it_loads_no_lightning():
    import subprocess

    code = "import churnlib, sys; churnlib.ChurnClassifier(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lightning", "hydra", "wandb"} & set(done.stdout.split())


# --- options --------------------------------------------------------------------------------------------------------


def test_options_of_the_command_line_are_parameters():
    classifier = tiny()
    assert classifier.get_params()["optimizer__lr"] == 1e-2
    changed = clone(classifier).set_params(optimizer__lr=0.5, loss__pos_weight=None, random_state=3)
    assert changed.options == {**TINY, "optimizer.lr": 0.5, "loss.pos_weight": None} and changed.random_state == 3
    assert classifier.options == TINY


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "mpl"}, "mpl"),
        ({"options": {"model.droput": 0.1}}, "model.droput"),
        ({"options": {"model.dropout": 2}}, r"model.dropout must be in \[0, 1\), got 2"),
        ({"options": {"model.dropout": object()}}, "the option model.dropout must be text, a number, a list or None"),
        ({"options": {"seed": 1}}, "seed is no option of a classifier; it has random_state instead"),
        ({"options": {"split.test": 0.1}}, "split.test is no option of a classifier; it has validation_fraction"),
        ({"options": ["model.dropout=0.1"]}, "options must be a mapping such as"),
        ({"threshold": "f2"}, "f2"),
        ({"threshold": 2}, r"threshold.value must be in \[0, 1\], got 2"),
    ],
)
def test_a_wrong_option_is_one_sentence(parameters: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        tiny(**parameters).fit(*rows_and_labels(40))


# --- in scikit-learn's hands ----------------------------------------------------------------------------------------


def test_it_is_cross_validated_and_searched():
    rows, labels = rows_and_labels(240)
    scores = cross_val_score(tiny(), rows.to_pandas(), labels.to_numpy(), cv=3, scoring="roc_auc", error_score="raise")
    assert len(scores) == 3 and (scores > 0.4).all()
    search = GridSearchCV(tiny(), {"optimizer__lr": [1e-4, 1e-2]}, cv=2, error_score="raise")
    search.fit(rows.to_pandas(), labels.to_numpy())
    assert search.best_estimator_.options["optimizer.lr"] in (1e-4, 1e-2)


def test_it_stands_behind_transformers():
    rows, labels = rows_and_labels(200)
    columns = ColumnTransformer(
        [("number", StandardScaler(), ["tenure"]), ("word", OneHotEncoder(sparse_output=False), ["plan", "paperless"])]
    )
    for chosen in (columns, columns.set_output(transform="pandas")):
        pipeline = make_pipeline(clone(chosen), tiny()).fit(rows.to_pandas(), labels.to_numpy())
        assert pipeline.predict_proba(rows.to_pandas()).shape == (200, 2)
    pipeline.set_params(churnclassifier__model__dropout=0.1)
    assert pipeline[-1].options == {**TINY, "model.dropout": 0.1}


def test_it_can_be_calibrated_again():
    rows, labels = rows_and_labels(240)
    calibrated = CalibratedClassifierCV(tiny(), method="sigmoid", cv=2).fit(rows.to_pandas(), labels.to_numpy())
    assert calibrated.predict_proba(rows.to_pandas()).shape == (240, 2)


def test_what_pandas_names_with_numbers_has_no_names():
    rows, labels = rows_and_labels(60)
    frame = rows.select("tenure", "plan").to_pandas()
    frame.columns = [0, 1]
    classifier = tiny().fit(frame, pd.Series(labels.to_list(), name="churn"))
    assert not hasattr(classifier, "feature_names_in_")
    assert classifier.predictor_.schema.target == "churn"
    assert len(classifier.predict(frame)) == 60


CHECKED = [
    ChurnClassifier("mlp", options=SMALL),
    ChurnClassifier("tabnet", options={"trainer.max_epochs": 15}),
    ChurnClassifier("ft_transformer", options={"trainer.max_epochs": 30, "model.d_token": 16, "optimizer.lr": 1e-2}),
]
"""Trained for less long than by default, which takes half a minute for each."""


@pytest.mark.slow
@parametrize_with_checks(CHECKED)
def test_scikit_learns_own_checks(estimator: Any, check: Any):
    """Each raises what it finds; besides, it works on copies, and so must whatever else is handed an estimator."""
    given = estimator.get_params()
    check(estimator)
    assert estimator.get_params() == given
    assert not hasattr(estimator, "predictor_")
