"""Runs of several models: folds, seeds and stacks, from the options to the bundle."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made import made_prepared
from rich.console import Console
from sklearn.metrics import roc_auc_score

import churnlib
from churnlib import ChurnClassifier
from churnlib.compose import compose
from churnlib.decision import probability_from_logits
from churnlib.errors import ConfigError
from churnlib.training.cross_validation import design, fit_design
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import read_customers, train

QUICK = [
    "data.n_customers=600", "trainer.max_epochs=3", "trainer.progress=false", "logger=none", "model.hidden_sizes=[8]",
]  # fmt: skip
BASELINE = ["data.n_customers=600", "model=logistic"]


def run(folder: Path, *words: str) -> dict[str, Any]:
    train(compose(list(words)), folder=RunFolder(folder, latest=None))
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("words", "n_models"),
    [
        ([*QUICK, "model=mlp_plain", "cv=3"], 3),
        ([*QUICK, "model=mlp", "cv=2", "model.n_members=2"], 2),
        ([*QUICK, "model=mlp_plain", "ensemble=2"], 2),
        ([*BASELINE, "cv=3", "cv_repeats=2", "ensemble=2"], 12),
    ],
    ids=["folds in one pass", "folds one by one", "seeds", "folds, repeats and seeds"],
)
def test_a_run_of_several_models_ends_in_one_bundle_that_answers_as_they_do(tmp_path, words, n_models):
    metrics = run(tmp_path / "run", *words)
    assert len(metrics["members"]["parts"]) == n_models
    predictor = churnlib.load(tmp_path / "run" / "bundle", backend="torch")
    assert len(predictor.bundle.model.members) == n_models  # type: ignore[attr-defined]
    assert predictor.replay_golden() < 1e-6
    written = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    auc = roc_auc_score(written["label"], written["churn_probability"])
    assert metrics["test"]["roc_auc"] == pytest.approx(auc, abs=1e-12)
    held_out = pl.read_parquet(tmp_path / "run" / "held_out.parquet")
    auc = roc_auc_score(held_out["label"], held_out["churn_probability"])
    assert metrics["validation"]["roc_auc"] == pytest.approx(auc, abs=1e-12)
    assert metrics["validation"]["n"] == len(held_out)


def test_one_row_equals_many_in_an_ensemble(tmp_path):
    run(tmp_path / "run", *QUICK, "model=mlp_plain", "cv=3")
    predictor = churnlib.load(tmp_path / "run" / "bundle")
    rows = [dict(golden["row"]) for golden in predictor.bundle.golden]
    together = predictor.probabilities(rows)
    alone = np.concatenate([predictor.probabilities([row]) for row in reversed(rows)])[::-1]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_held_out_answers_are_those_of_the_models_that_did_not_see_the_rows(tmp_path):
    config, customers = compose([*BASELINE, "cv=4"]), made_prepared(300)
    plan = design(config, customers)
    trained = fit_design(config, plan, tmp_path, name="logistic")
    for part, table in zip(trained.parts, plan.tables, strict=True):
        rows = table.rows("validation")
        encoded = table.preparation.encode(customers.typed[rows])
        place = np.searchsorted(trained.held_out.rows, rows)
        np.testing.assert_allclose(
            trained.held_out.logits[place], part.fit.model.logits(encoded.numeric, encoded.codes), rtol=1e-9
        )


def test_an_ensemble_answers_with_the_mean_of_its_members_probabilities(tmp_path):
    config, customers = compose([*BASELINE, "cv=3"]), made_prepared(300)
    plan = design(config, customers)
    trained = fit_design(config, plan, tmp_path, name="logistic")
    typed = customers.typed[customers.rows("test")]
    whole = plan.customers.preparation.encode(typed)
    answers = []
    for part, table in zip(trained.parts, plan.tables, strict=True):
        own = table.preparation.encode(typed)
        answers.append(probability_from_logits(part.fit.model.logits(own.numeric, own.codes)))
    together = probability_from_logits(trained.fit.model.logits(whole.numeric, whole.codes))
    np.testing.assert_allclose(together, np.mean(answers, axis=0), rtol=1e-9)


def test_labels_of_test_rows_reach_nothing_but_the_test_metrics(tmp_path):
    # The same rows on each side, with the labels of the test rows turned round.
    rng = np.random.default_rng(0)
    side = np.array((["train"] * 5 + ["validation"] + ["test"] * 2) * 40)
    use = rng.normal(size=len(side))
    label = (use + rng.normal(size=len(side)) > 0).astype(int)
    versions = []
    for number, turned in enumerate((label, np.where(side == "test", 1 - label, label))):
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame({"use": use, "side": side, "churn": turned}).write_parquet(path)
        data = ["data=table", f"data.path={path}", "data.target=churn", "split.by=column", "split.column=side"]
        run(tmp_path / f"run{number}", *data, "model=stack", "model.models=[logistic,random_forest]", "cv=3")
        versions.append(churnlib.load(tmp_path / f"run{number}" / "bundle").version)
    assert versions[0] == versions[1]


def test_a_stack_weighs_its_models_and_says_so(tmp_path, capsys):
    from churnlib.commands.train import main

    models = "logistic,'hist_gradient_boosting model.n_estimators=20','mlp_plain trainer.max_epochs=2'"
    words = ["data.n_customers=600", "model=stack", f"model.models=[{models}]", "cv=2"]
    assert main([*words, "trainer.progress=false", f"output_dir={tmp_path / 'run'}"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    kinds = metrics["members"]["kinds"]
    named = ["logistic", "hist_gradient_boosting model.n_estimators=20", "mlp_plain trainer.max_epochs=2"]
    assert list(kinds) == named
    assert metrics["model"] == "stack" and all(kind["weight"] >= 0 for kind in kinds.values())
    # Better than each of them on the rows by which it was weighed: the weights could have been those of any one.
    held_out = metrics["validation"]["log_loss"]
    assert held_out <= min(kind["log_loss"]["mean"] for kind in kinds.values()) + 0.01
    model: Any = churnlib.load(tmp_path / "run" / "bundle", backend="torch").bundle.model
    assert len(model.groups) == sum(kind["weight"] > 0 for kind in kinds.values())
    assert "6 models answer together" in capsys.readouterr().out


def test_folds_of_dated_rows_go_by_time_and_a_run_says_so(tmp_path):
    console = Console(width=200, record=True, quiet=False, file=io.StringIO())
    config = compose(["data.n_customers=600", "data.n_snapshots=6", "model=logistic", "cv=2"])
    train(config, folder=RunFolder(tmp_path / "run", latest=None), console=console)
    said = console.export_text()
    assert "cut by time into 3 parts" in said
    held_out = pl.read_parquet(tmp_path / "run" / "held_out.parquet")
    customers = read_customers(config)
    pool = len(customers.rows("train")) + len(customers.rows("validation"))
    assert abs(len(held_out) - pool * 2 / 3) <= 1


def test_several_classes_are_held_out_and_stacked(tmp_path):
    rng = np.random.default_rng(0)
    label = np.arange(240) % 3
    frame = pl.DataFrame(
        {"a": label + rng.normal(size=240), "b": rng.normal(size=240), "why": np.array(list("xyz"))[label]}
    )
    frame.write_parquet(tmp_path / "t.parquet")
    words = ["data=table", f"data.path={tmp_path / 't.parquet'}", "data.target=why", "model=stack", "cv=3"]
    metrics = run(tmp_path / "run", *words, "model.models=[logistic,random_forest]")
    assert metrics["test"]["roc_auc"] > 0.7
    assert churnlib.load(tmp_path / "run" / "bundle").replay_golden() < 1e-6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cv=1"], "cv must be at least 2"),
        (["cv=5000"], "cv must be between 2 and"),
        (["cv_repeats=2"], "cv_repeats=2 repeats a cross-validation; add cv=5"),
        (["ensemble=0"], "ensemble must be at least 1"),
        (["model=stack", "cv=null"], "model=stack weighs models by rows"),
        (["model=stack", "loss=focal"], "loss is no option of a stack, whose models have each their own"),
        (["model=stack", "trainer.max_epochs=3"], "trainer.max_epochs is no option of a stack"),
        (["model=stack", "model.models=[mlp]"], "model.models needs two or more different models"),
        (["model=stack", "model.models=[mlp,mlpp]"], "did you mean mlp"),
        (["model=stack", "model.models=[mlp,'mlp model.depth=3']"], "'mlp model.depth=3', which cannot be used"),
        (["model=stack", "model.models=[mlp,'mlp model.dropout=3']"], "model.dropout must be in [0, 1)"),
    ],
)
def test_impossible_designs_are_refused_before_anything_is_written(tmp_path, words, said):
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "run", "data.n_customers=600", *words)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_classifier_takes_folds_and_judges_itself_by_held_out_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    one = ChurnClassifier("logistic", options={"cv": 4}, random_state=0).fit(x, y)
    assert len(one.predictor_.bundle.model.members) == 4  # type: ignore[attr-defined]
    assert roc_auc_score(y, one.predict_proba(x)[:, 1]) > 0.75
    # All rows were held out once.
    assert one._metrics["validation"]["n"] == 200
