"""Resampling reaches training rows alone, and probabilities stay those of the data."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made_customers, made_prepared

import churnlib
from churnlib.compose import compose
from churnlib.data.batches import IndexBatches
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.datamodule import ChurnDataModule
from churnlib.data.resampling import LIBRARY, learning_rows, wanted_counts
from churnlib.decision import probability_from_logits
from churnlib.errors import ConfigError, MissingPackageError
from churnlib.evaluation.calibration import fit_temperature
from churnlib.evaluation.metrics import evaluate
from churnlib.models.baselines.baseline import Head
from churnlib.models.losses import loss_spec, training_loss
from churnlib.training.fitted import Trained
from churnlib.training.prior import CHANGES_CUSTOMERS
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import fit_model, read_customers, train

METHODS = ("random_under", "random_over", "weighted", "smote", "smotenc", "adasyn", "nearmiss")
QUICK = ["trainer.max_epochs=3", "trainer.progress=false", "callbacks=memory", "logger=none"]


def options(name: str, ratio: float = 1.0) -> dict:
    return {"name": name, "ratio": ratio, "neighbors": 3, "version": 1}


def rare(n: int = 600, seed: int = 0, **how) -> Customers:
    """Customers of whom few leave."""
    frame = made_customers(n, seed=seed).with_columns(row=pl.int_range(pl.len()))
    keep = (pl.col("churn") == "no") | (pl.col("row") % 4 == 0)
    return prepare_customers(frame.filter(keep).drop("row"), target="churn", id="customer", **how)


# --- which rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.0, 0.5])
@pytest.mark.parametrize("name", METHODS)
def test_classes_get_the_shares_that_are_asked_for(name, ratio):
    customers = rare()
    rows = learning_rows(customers, options(name, ratio), seed=1)
    wanted = wanted_counts(customers.class_counts("train"), options(name, ratio))
    # ADASYN makes up as many as its weights round to.
    np.testing.assert_allclose(rows.class_counts, wanted, atol=15 if name == "adasyn" else 0)
    np.testing.assert_allclose(rows.ratios, rows.class_counts / customers.class_counts("train"), rtol=0.01)


def test_draws_are_rows_of_the_table_and_under_sampling_keeps_the_rare_class_whole():
    customers = rare()
    original = np.concatenate([customers.encoded["train"].numeric, customers.encoded["train"].codes], axis=1)
    labelled = {(*row, label) for row, label in zip(map(bytes, original), customers.labels("train"), strict=True)}
    for name in ("random_under", "random_over", "nearmiss"):
        rows = learning_rows(customers, options(name), seed=1)
        table = np.concatenate([rows.encoded.numeric, rows.encoded.codes], axis=1)
        drawn = [(*row, label) for row, label in zip(map(bytes, table), rows.label, strict=True)]
        assert set(drawn) <= labelled
        if name != "random_over":
            assert (rows.label == 1).sum() == customers.class_counts("train")[1]


@pytest.mark.parametrize("name", ["smote", "smotenc", "adasyn"])
def test_made_up_customers_lie_below_the_real_ones_and_have_values_of_the_rare_class(name):
    customers = rare()
    rows, real = learning_rows(customers, options(name), seed=1), customers.encoded["train"]
    n = len(real)
    np.testing.assert_array_equal(rows.encoded.numeric[:n], real.numeric)
    np.testing.assert_array_equal(rows.encoded.codes[:n], real.codes)
    assert (rows.label[n:] == 1).all()
    made = rows.encoded.numeric[n:]
    assert not np.isnan(made).any()
    fill = [statistics.fill for statistics in customers.preparation.numeric]
    churned = np.where(np.isnan(real.numeric), fill, real.numeric)[customers.labels("train") == 1]
    assert (made >= churned.min(0) - 1e-3).all()
    assert (made <= churned.max(0) + 1e-3).all()
    for made_codes, codes in zip(rows.encoded.codes[n:].T, real.codes.T, strict=True):
        assert set(made_codes.tolist()) <= set(codes.tolist())


def test_made_up_customers_stand_between_two_of_their_class():
    """SMOTE by its definition, for one number: no made-up customer outside the pairs of nearest neighbours."""
    frame = pl.DataFrame({"x": [0.0, 1, 2, 50, 51, 52] * 2 + [100.0] * 28, "churn": [1] * 12 + [0] * 28})
    frame = frame.with_columns(x=pl.col("x") + pl.int_range(pl.len()) * 1e-3)
    side = pl.Series(["train", "validation"] * 20).sort()
    frame = pl.concat([frame, frame]).with_columns(side=pl.concat([side, side]).sort())
    customers = prepare_customers(frame, target="churn", split={"by": "column", "column": "side"})
    rows = learning_rows(customers, options("smote") | {"neighbors": 2}, seed=0)
    made = rows.encoded.numeric[len(customers.rows("train")) :, 0]
    assert len(made)
    assert (((made >= 0) & (made < 2.1)) | ((made >= 50) & (made < 52.1))).all()


@given(st.integers(0, 10_000), st.sampled_from(["permuted", "changed", "dropped"]), st.sampled_from(METHODS))
@settings(max_examples=15, deadline=None)
def test_validation_and_test_rows_change_no_row_that_is_learned_from(seed, how, name):
    frame = made_customers(200)
    rng = np.random.default_rng(seed)
    side = np.array(["train"] * 120 + ["validation"] * 40 + ["test"] * 40)
    frame = frame.with_columns(side=pl.Series(side))
    rows = np.arange(200)
    if how == "permuted":
        rows[120:] = 120 + rng.permutation(80)
    other = frame[rows]
    if how == "changed":
        held_out = pl.col("side") != "train"
        other = other.with_columns(
            tenure=pl.when(held_out).then(pl.col("tenure").shuffle(seed=seed)).otherwise("tenure"),
            charges=pl.when(held_out).then(pl.lit(float(rng.integers(1, 10**6)))).otherwise("charges"),
        )
    if how == "dropped":
        kept = rng.random(80) < 0.7
        kept[[0, 1, 2, 3, 40, 41, 42, 43]] = True
        other = other[np.concatenate([np.arange(120), 120 + np.flatnonzero(kept)])]
    asked = {"target": "churn", "id": "customer", "split": {"by": "column", "column": "side"}}
    try:
        first, second = (
            learning_rows(prepare_customers(table, **asked), options(name), seed=3) for table in (frame, other)
        )
    except churnlib.errors.DataError:  # a class is gone from a side
        return
    np.testing.assert_array_equal(first.encoded.numeric, second.encoded.numeric)
    np.testing.assert_array_equal(first.encoded.codes, second.encoded.codes)
    np.testing.assert_array_equal(first.label, second.label)


def test_the_seed_decides_and_nothing_is_the_default():
    customers = rare()
    one, same, other = (learning_rows(customers, options("random_under"), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.encoded.numeric, same.encoded.numeric)
    assert not np.array_equal(one.encoded.numeric, other.encoded.numeric)
    as_it_is = learning_rows(customers)
    assert as_it_is.encoded is customers.encoded["train"]
    assert as_it_is.ratios == (1.0, 1.0)
    assert compose([]).resample.name == "none"


def test_weighted_batches_hold_as_many_of_each_class_anew_in_each_epoch():
    data = ChurnDataModule(rare(2000), resample=options("weighted"), batch_size=64, seed=5)
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        epochs.append(torch.cat([label for *_, label in loader]))
        assert len(epochs[-1]) == len(data.customers.rows("train"))
        assert abs(epochs[-1].float().mean() - 0.5) < 0.05
    assert not torch.equal(epochs[0], epochs[1])
    assert (
        torch.cat([label for *_, label in data.val_dataloader()]).tolist()
        == data.customers.labels("validation").tolist()
    )


def test_rows_are_drawn_as_often_as_they_weigh():
    batches = IndexBatches(
        [torch.arange(4).repeat(25_000)],
        batch_size=10**6,
        shuffle=True,
        weights=torch.tensor([0.0, 1, 2, 5]).repeat(25_000),
    )
    (drawn,) = next(iter(batches))
    np.testing.assert_allclose(torch.bincount(drawn, minlength=4) / 100_000, [0, 1 / 8, 2 / 8, 5 / 8], atol=0.01)


# --- what a probability means ---------------------------------------------------------------------------------------


def test_the_shift_is_the_analytic_one():
    """p' = p b / (p b + 1 - p), with b the share of stayers that were kept."""
    p, b = np.array([0.2, 0.5, 0.9]), 0.25
    corrected = p * b / (p * b + 1 - p)
    loss = training_loss(loss_spec("bce"), [100, 100], ratios=[b, 1.0])
    logits = np.log(p / (1 - p))
    np.testing.assert_allclose(1 / (1 + np.exp(-(logits - loss.offset[0]))), corrected, atol=1e-6)
    head = Head.undoing([b, 1.0])
    np.testing.assert_allclose(1 / (1 + np.exp(-head(logits))), corrected, atol=1e-12)


def test_the_training_log_loss_is_that_of_customers_before_resampling():
    rng = np.random.default_rng(0)
    label = torch.from_numpy((rng.random(40_000) < 0.2).astype(np.int64))
    logits = torch.from_numpy(rng.normal(-1.4, 1, 40_000)) + label
    plain = training_loss(loss_spec("bce"), [1, 1]).log_loss(logits, label).mean()
    kept = torch.from_numpy(rng.random(40_000) < 0.25) | (label == 1)
    loss = training_loss(loss_spec("bce"), [1, 1], ratios=[0.25, 1.0])
    resampled = loss.log_loss(logits[kept] + loss.offset[0], label[kept]).mean()
    assert abs(float(resampled) - float(plain)) < 0.01


def fitted(customers: Customers, *words: str) -> Trained:
    config = compose([*QUICK, *words])
    return fit_model(config, customers, Path())


@pytest.fixture(scope="module")
def simulated() -> Customers:
    return read_customers(compose(["data.n_customers=4000", "seed=3"]))


@pytest.mark.parametrize("model", ["logistic", pytest.param("hist_gradient_boosting", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["random_under", "random_over", "smote", "smotenc", "adasyn", "nearmiss"])
def test_probabilities_are_right_on_average_after_resampling(simulated, model, name):
    assert_honest(simulated, [f"model={model}"], name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "name"),
    [([], "random_under"), ([], "weighted"), ([], "smote"), (["cv=3"], "random_under"), (["ensemble=2"], "weighted")],
)
def test_so_they_are_of_networks_folds_and_ensembles(simulated, words, name):
    assert_honest(simulated, ["model=mlp_plain", "trainer.max_epochs=8", *words], name)


PLAIN: dict[tuple[str, ...], np.ndarray] = {}


def plain_logits(customers: Customers, *words: str) -> np.ndarray:
    if words not in PLAIN:
        PLAIN[words] = fitted(customers, *words).held_out.logits
    return PLAIN[words]


def calibrated(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    return probability_from_logits(logits, fit_temperature(logits, label))


def assert_honest(customers: Customers, words: list[str], name: str) -> None:
    trained = fitted(customers, *words, f"resample={name}")
    label = trained.customers.label[trained.held_out.rows]
    probability = calibrated(trained.held_out.logits, label)
    # The intercept is fitted on these rows; without one, three standard errors of the share.
    assert abs(probability.mean() - label.mean()) < (0.01 if name in CHANGES_CUSTOMERS else 0.04)
    before = evaluate(label, calibrated(plain_logits(customers, *words), label), threshold=0.5)["log_loss"]
    after = evaluate(label, probability, threshold=0.5)["log_loss"]
    assert after < before + (0.15 if name == "nearmiss" else 0.03)


def test_without_the_shift_they_would_be_wrong(simulated):
    """The check above can fail: the odds of a balanced sample are those of a share of one half."""
    trained = fitted(simulated, "model=logistic", "resample=random_under")
    head = trained.fit.model.head
    raw = replace(trained.fit.model, head=Head(1.0, (0.0,)))
    encoded = simulated.encoded["validation"]
    assert probability_from_logits(raw.logits(encoded.numeric, encoded.codes)).mean() > 0.35
    assert head.shift[0] == pytest.approx(-np.log(np.divide(*simulated.class_counts("train"))))


@pytest.mark.parametrize("name", ["random_under", "smote"])
def test_several_classes_keep_their_shares(name):
    frame = made_customers(1500)
    third = pl.col("charges").fill_null(0) + pl.col("tenure") > 140
    frame = frame.with_columns(churn=pl.when(third).then(pl.lit("pause")).otherwise("churn"))
    customers = prepare_customers(frame, target="churn", id="customer")
    trained = fitted(customers, "model=logistic", f"resample={name}")
    label = customers.label[trained.held_out.rows]
    shares = calibrated(trained.held_out.logits, label).mean(0)
    np.testing.assert_allclose(shares, np.bincount(label) / len(label), atol=0.04)


# --- the way through a run ------------------------------------------------------------------------------------------


def test_folds_in_one_pass_are_resampled_as_one_by_one():
    from churnlib.training.many import fit_many

    customers = made_prepared(300)
    config = compose([*QUICK, "model=mlp_plain", "model.dropout=0", "resample=random_under"])
    together = fit_many(config, [customers] * 2, [1, 2], Path())
    alone = [fit_many(config, [customers], [seed], Path())[0] for seed in (1, 2)]
    encoded = customers.encoded["test"]
    for one, other in zip(together, alone, strict=True):
        answers = [fit.model.logits(encoded.numeric, encoded.codes) for fit in (one, other)]
        np.testing.assert_allclose(*answers, atol=1e-4)


def test_a_run_says_what_became_of_the_rows_and_the_bundle_answers_alike(tmp_path, capsys):
    from rich.console import Console

    words = ["data.n_customers=800", "model=logistic", "resample=smote", "leaks=off"]
    result = train(compose(words), folder=RunFolder(tmp_path / "run", latest=None), console=Console(width=300))
    said = capsys.readouterr().out
    assert "resample=smote: training rows go from" in said
    assert "resample=none has the best log loss" in said
    test = result.metrics["test"]
    answers = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert len(answers) == test["n"] == 120
    assert abs(answers["churn_probability"].mean() - test["positives"] / test["n"]) < 0.12


@pytest.mark.slow
def test_a_resumed_network_keeps_its_shift(tmp_path):
    words = ["data.n_customers=400", "model=mlp_plain", "resample=random_under", "leaks=off", "trainer.progress=false"]
    folder = tmp_path / "run"
    train(compose([*words, "trainer.max_epochs=2"]), folder=RunFolder(folder, latest=None))
    (folder / "metrics.json").unlink()
    last = folder / "checkpoints" / "last.ckpt"
    config = compose([*words, "trainer.max_epochs=3", f"ckpt_path='{last}'"])
    train(config, folder=RunFolder(None, ckpt_path=last, latest=None))
    offset = churnlib.load(folder / "bundle", backend="torch").bundle.model.network.offset
    counts = read_customers(config).class_counts("train")
    assert float(offset) == pytest.approx(np.log(counts[0] / counts[1]), abs=1e-4)


def test_the_classifier_takes_it_as_an_option():
    frame = made_customers(300)
    clf = churnlib.ChurnClassifier("logistic", options={"resample": "random_over"}, random_state=0)
    clf.fit(frame.drop("churn"), frame["churn"])
    share = (frame["churn"] == "yes").mean()
    assert abs(clf.predict_proba(frame.drop("churn"))[:, 1].mean() - share) < 0.06


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=logistic", "resample=weighted"], "take resample=random_over"),
        (["loss=cost_sensitive", "loss.value=monthly_charges", "resample=random_under"], "choose one"),
        (["data.history_months=4", "resample=smote"], "histories"),
        (["resample=smote", "resample.neighbors=500"], "resample.neighbors=500"),
        (["model=stack", "model.models=[logistic,mlp_plain]", "cv=2", "resample=weighted"], "fitted in one go"),
    ],
)
def test_what_does_not_suit_is_refused_before_anything_is_written(tmp_path, words, says):
    config = compose(["data.n_customers=300", *words])
    with pytest.raises(ConfigError, match=says):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["resample.ratio=0", "resample.ratio=1.5", "resample.name=smoote"])
def test_values_out_of_their_range_are_refused(word):
    with pytest.raises(ConfigError, match=r"resample\."):
        compose([word])


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn", None)
    for name in LIBRARY:
        with pytest.raises(MissingPackageError, match=r"churnlib\[imbalance\]"):
            learning_rows(rare(), options(name))


def test_smotenc_needs_both_kinds_of_columns():
    frame = made_customers(200).select("customer", "tenure", "charges", "churn")
    customers = prepare_customers(frame, target="churn", id="customer")
    with pytest.raises(ConfigError, match="take resample=smote"):
        learning_rows(customers, options("smotenc"))
    assert len(learning_rows(customers, options("smote"))) >= len(customers.rows("train"))
