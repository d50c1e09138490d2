"""A whole run, from a table to a bundle."""

import json

import numpy as np
import polars as pl
import pytest
from made import made_customers
from sklearn import metrics as sk

from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.data.customers import prepare_customers
from churnlib.data.simulator import simulate
from churnlib.errors import ConfigError
from churnlib.predictor import load
from churnlib.scoring import score_file
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

FAST = [
    "model.hidden_sizes=[8]",
    "trainer.max_epochs=2",
    "trainer.progress=false",
    "logger=none",
    "trainer.accelerator=cpu",
]
SIMULATED = ["data.n_customers=600", *FAST]


def run(path, words):
    return train(compose(words), folder=RunFolder(path, latest=None)).metrics


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return run(path, SIMULATED), path


def test_the_run_folder_holds_what_the_contract_says(finished):
    metrics, path = finished
    assert {"config.yaml", "metrics.json", "predictions.parquet", "bundle", "checkpoints"} <= {
        p.name for p in path.iterdir()
    }
    assert json.loads((path / "metrics.json").read_text()) == metrics
    names = {
        "roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall", "accuracy", "mcc",
        "threshold", "n", "positives", "confusion",
    }  # fmt: skip
    for part in (metrics["test"], metrics["validation"], metrics["baseline"]["logistic_regression"], metrics["limit"]):
        assert names <= set(part)
    assert {"fit_seconds", "total_seconds", "epochs", "rows_per_second", "model", "seed"} <= set(metrics)
    assert (metrics["model"], metrics["seed"], metrics["epochs"]) == ("mlp", 42, 2)


def test_reported_metrics_are_those_of_the_predictions(finished):
    metrics, path = finished
    table = pl.read_parquet(path / "predictions.parquet")
    assert table.columns == ["customer_id", "label", "churn_probability", "churn_prediction"]
    label, probability, decided = (table[name].to_numpy() for name in table.columns[1:])
    test = metrics["test"]
    assert len(table) == test["n"] == 90
    assert label.sum() == test["positives"]
    assert test["roc_auc"] == pytest.approx(sk.roc_auc_score(label, probability), abs=1e-9)
    assert test["log_loss"] == pytest.approx(sk.log_loss(label, probability), abs=1e-9)
    assert test["f1"] == pytest.approx(sk.f1_score(label, decided), abs=1e-9)
    np.testing.assert_array_equal(decided, (probability >= test["threshold"]).astype(int))


def test_the_bundle_and_a_score_file_give_the_predictions_of_the_run(finished, tmp_path):
    _, path = finished

    predictor = load(path / "bundle")
    assert predictor.replay_golden() <= 1e-6
    wanted = pl.read_parquet(path / "predictions.parquet")
    rows = simulate(600, seed=42).table.unique("customer_id", keep="first", maintain_order=True)
    rows = wanted.select("customer_id").join(rows, on="customer_id", how="left", maintain_order="left")
    together = predictor.predict(rows)["churn_probability"]
    alone = [predictor.predict([row])["churn_probability"][0] for row in rows.to_dicts()]
    rows.write_csv(tmp_path / "rows.csv")
    words = {"bundle": str(path / "bundle"), "input": str(tmp_path / "rows.csv"), "output": str(tmp_path / "out.csv")}
    score_file(ScoreConfig(**words, on_error="raise", batch_rows=32))
    scored = pl.read_csv(tmp_path / "out.csv")["churn_probability"]
    for answers in (together, alone, scored):
        np.testing.assert_allclose(answers, wanted["churn_probability"], atol=1e-6)


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(finished, tmp_path):
    metrics, path = finished
    again = run(tmp_path / "again", SIMULATED)
    other = run(tmp_path / "other", [*SIMULATED, "data.seed=42", "split.seed=42", "seed=1"])
    assert again["test"] == metrics["test"]
    assert again["validation"] == metrics["validation"]
    assert load(tmp_path / "again" / "bundle").version == load(path / "bundle").version
    # split.seed pins the split alone: the same customers are tested, by another model.
    ids = [pl.read_parquet(p / "predictions.parquet")["customer_id"].to_list() for p in (path, tmp_path / "other")]
    assert ids[0] == ids[1]
    assert other["test"]["log_loss"] != metrics["test"]["log_loss"]


def with_sides(path, change=lambda frame: frame):
    frame = made_customers(300)
    sides = np.random.default_rng(0).choice(["train", "validation", "test"], 300, p=[0.6, 0.2, 0.2])
    change(frame.with_columns(side=pl.Series(sides))).write_parquet(path)
    return [
        f"data.path='{path}'",
        "data=table",
        "data.target=churn",
        "data.id=customer",
        "split.by=column",
        "split.column=side",
    ]


def test_test_rows_change_nothing_in_the_model(tmp_path):
    """Invariant 2, over the whole run: with the sides held fixed, the model's version is that of its answers."""
    columns = ["tenure", "charges", "plan", "region", "churn"]
    changes = {
        "as it is": lambda frame: frame,
        "shuffled": lambda frame: frame.with_columns(
            pl.when(pl.col("side") == "test").then(pl.col(c).shuffle(seed=1)).otherwise(c).alias(c) for c in columns
        ),
        "fewer": lambda frame: frame.filter((pl.col("side") != "test") | (pl.col("tenure") < 40)),
    }
    versions = set()
    for i, (name, change) in enumerate(changes.items()):
        words = with_sides(tmp_path / f"{i}.parquet", change)
        run(tmp_path / name, [*words, *FAST])
        versions.add(load(tmp_path / name / "bundle").version)
    assert len(versions) == 1


def test_no_test_rows_are_needed(tmp_path):
    metrics = run(tmp_path / "run", [*SIMULATED, "split.train=0.8", "split.validation=0.2", "split.test=0"])
    assert metrics["test"] is None
    assert metrics["validation"]["n"] == 120
    assert len(pl.read_parquet(tmp_path / "run" / "predictions.parquet")) == 0


def test_a_fixed_threshold_is_kept(tmp_path):
    metrics = run(tmp_path / "run", [*SIMULATED, "threshold=fixed", "threshold.value=0.37", "calibration=none"])
    assert metrics["test"]["threshold"] == 0.37
    decision = json.loads((tmp_path / "run" / "bundle" / "decision.json").read_text())
    assert decision == {"calibration": {"method": "temperature", "temperature": 1.0}, "threshold": 0.37}


def test_calibration_threshold_and_money_go_the_whole_way(tmp_path):
    words = ["data.n_customers=800", "model=logistic", "calibration=isotonic", "threshold=profit", "money.currency=EUR",
             "money.value=90"]  # fmt: skip
    metrics = run(tmp_path / "run", words)
    test = metrics["test"]
    assert {"decisions", "ranking", "calibration", "profit"} <= set(test)
    assert {"empc", "ks", "ece", "profit", "top_decile_lift"} <= set(test["intervals"])
    low, high = metrics["validation"]["intervals"]["threshold"]
    assert low <= high
    decision = json.loads((tmp_path / "run" / "bundle" / "decision.json").read_text())
    assert decision["calibration"]["method"] == "isotonic"
    # a profit is what the decisions earn
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    label, decided = table["label"].to_numpy(), table["churn_prediction"].to_numpy()
    earned = decided * (np.where(label == 1, 0.3 * (90 - 10), -10) - 1)
    assert test["profit"]["profit"] == pytest.approx(earned.mean())
    assert test["profit"]["currency"] == "EUR" and "empb" not in test["profit"]


def test_each_customer_may_have_a_value_of_his_own(tmp_path):
    words = ["data.n_customers=400", "model=logistic", "calibration=auto", "money.column=monthly_charges"]
    money = run(tmp_path / "run", [*words, "money.times=12"])["test"]["profit"]
    assert {"empb", "empb_share", "auepc"} <= set(money)
    assert 120 < money["campaign"]["value"] < 3000  # the mean of a year's charges


def test_each_customer_may_have_a_threshold_of_his_own(tmp_path):
    words = ["data.n_customers=800", "model=logistic", "threshold=value", "money.column=monthly_charges",
             "money.times=12", "money.offer_cost=90", "+data.columns.monthly_charges.role=ignored"]  # fmt: skip
    test = run(tmp_path / "run", words)["test"]
    predictor = load(tmp_path / "run" / "bundle")
    # a column that the model does not learn from is read all the same
    assert "monthly_charges" not in {c["name"] for c in predictor.input_schema()}
    customers = (
        simulate(800, seed=42)
        .table.unique("customer_id")
        .join(pl.read_parquet(tmp_path / "run" / "predictions.parquet"), on="customer_id", maintain_order="right")
    )
    value = 12.0 * customers["monthly_charges"].to_numpy()
    needed = (90.0 + 1.0) / (90.0 + 0.3 * (value - 90.0))
    decided = customers["churn_prediction"].to_numpy()
    probability, label = customers["churn_probability"].to_numpy(), customers["label"].to_numpy()
    assert decided.tolist() == (probability >= needed).astype(int).tolist()
    assert 0 < decided.sum() < (probability >= needed.min()).sum()  # one threshold would decide otherwise
    # what the metrics say is of these decisions
    assert test["confusion"]["tp"] == int((decided * label).sum())
    earned = decided * (np.where(label == 1, 0.3 * (value - 90), -90) - 1)
    assert test["profit"]["profit"] == pytest.approx(earned.mean())


def test_thresholds_by_value_need_a_column_that_says_it(tmp_path):
    with pytest.raises(ConfigError, match=r"money\.column=NAME"):
        run(tmp_path / "run", [*SIMULATED, "threshold=value"])
    assert not (tmp_path / "run").exists()


def test_a_column_of_values_that_is_not_there_is_refused_before_anything_is_fitted(tmp_path):
    with pytest.raises(ConfigError, match=r"money\.column"):
        run(tmp_path / "run", [*SIMULATED, "money.column=worth"])
    assert not (tmp_path / "run").exists()


def test_several_classes_go_the_whole_way(tmp_path):
    rng = np.random.default_rng(0)
    frame = made_customers(300).with_columns(churn=pl.Series(rng.choice(["leaves", "moves", "stays"], 300)))
    frame.write_csv(tmp_path / "table.csv")
    metrics = run(tmp_path / "run", [f"data.path='{tmp_path}/table.csv'", "data=table", "data.target=churn", *FAST])
    assert metrics["test"]["threshold"] is None
    assert set(load(tmp_path / "run" / "bundle").predict(frame)["prediction"].unique()) <= {"leaves", "moves", "stays"}


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path):
    whole = run(tmp_path / "whole", [*SIMULATED, "trainer.max_epochs=4", "scheduler=none"])
    run(tmp_path / "parts", [*SIMULATED, "trainer.max_epochs=2", "scheduler=none"])
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    config = compose([*SIMULATED, "trainer.max_epochs=4", "scheduler=none", f"ckpt_path='{last}'"])
    rest = train(config, folder=RunFolder(ckpt_path=last, latest=None)).metrics
    assert rest["test"] == whole["test"]
    assert rest["epochs"] == 4
    assert load(tmp_path / "parts" / "bundle").version == load(tmp_path / "whole" / "bundle").version


def test_a_device_that_is_not_there_is_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    for word in ("trainer=gpu", "trainer.accelerator=cuda", "trainer.accelerator=mps"):
        with pytest.raises(ConfigError, match="PyTorch sees none on this machine"):
            train(compose([word]), folder=RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_an_impossible_weight_is_refused_before_anything_is_written(tmp_path):
    rng = np.random.default_rng(0)
    frame = made_customers(300).with_columns(churn=pl.Series(rng.choice(["a", "b", "c"], 300)))
    frame.write_csv(tmp_path / "table.csv")
    words = [f"data.path='{tmp_path}/table.csv'", "data=table", "data.target=churn", *FAST, "loss.pos_weight=3"]
    with pytest.raises(ConfigError, match=r"with 3 classes pos_weight must be"):
        run(tmp_path / "run", words)
    assert not (tmp_path / "run").exists()
    assert prepare_customers(frame, target="churn").schema.classes == ("a", "b", "c")
