"""A baseline goes through every door that a network goes through: files, Python, REST, and a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from made import made_customers
from test_serving import linux, running

from churnlib import cli
from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.models.baselines import BASELINES
from churnlib.predictor import Predictor, load
from churnlib.scoring import score_file
from churnlib.serving.api import ChurnLitAPI
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

SMALL = {
    "random_forest": ["model.n_estimators=20"],
    **{name: ["model.n_estimators=15"] for name in ("hist_gradient_boosting", "lightgbm", "xgboost", "catboost")},
}
FAST = ["logger=none", "trainer.progress=false", "data=table", "data.target=churn", "data.id=customer"]


def customers(classes: int = 2) -> pl.DataFrame:
    """Customers with a monthly usage of one to six steps, some missing, and an unknown usage here and there."""
    table = made_customers(240)
    rng = np.random.default_rng(1)
    usage = [
        [None if rng.random() < 0.1 else float(x) for x in rng.poisson(9, rng.integers(1, 7))] for _ in table["plan"]
    ]
    usage[5], usage[6] = None, []
    table = table.with_columns(pl.Series("usage", usage, dtype=pl.List(pl.Float64)))
    if classes == 2:
        return table
    where = pl.Series(rng.choice(["to a rival", "abroad"], len(table)))
    return table.with_columns(pl.when(pl.col("churn") == "yes").then(where).otherwise(pl.lit("stays")).alias("churn"))


def trained(name: str, folder: Path, *, classes: int = 2) -> tuple[Path, pl.DataFrame]:
    """Train on a file; return the run's folder and the table."""
    table = customers(classes)
    folder.mkdir(exist_ok=True)
    table.write_parquet(folder / "customers.parquet")
    words = [f"model={name}", *SMALL.get(name, []), *FAST, f"data.path='{folder}/customers.parquet'"]
    if classes == 2:
        words.append("data.positive=yes")
    train(compose(words), folder=RunFolder(folder / name, latest=None))
    return folder / name, table


def rest_row(row: dict[str, Any]) -> dict[str, Any]:
    """A customer as a program sends it: JSON, without the label and what it does not know."""
    sent = {key: value for key, value in row.items() if key != "churn" and value is not None}
    return {**sent, "joined": sent["joined"].isoformat()}


def figures(answers: pl.DataFrame) -> np.ndarray:
    """The probabilities of a table of answers, one column or several."""
    return answers.select([name for name in answers.columns if "probability" in name]).to_numpy()


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("logistic", 2),
        ("lightgbm", 3),
        *(
            pytest.param(name, classes, marks=pytest.mark.slow)
            for name in BASELINES
            for classes in (2, 3)
            if (name, classes) not in {("logistic", 2), ("lightgbm", 3)}
        ),
    ],
)
def test_every_door_gives_the_answers_of_training(name: str, classes: int, tmp_path: Path):
    run, table = trained(name, tmp_path, classes=classes)
    in_training = pl.read_parquet(run / "predictions.parquet")
    assert {"usage"} <= {column["name"] for column in load(run / "bundle").input_schema()}

    config = ScoreConfig(
        bundle=str(run / "bundle"),
        input=str(tmp_path / "customers.parquet"),
        output=str(tmp_path / "scores.parquet"),
        on_error="raise",
        batch_rows=64,
    )
    assert score_file(config).rows == len(table)
    scored = pl.read_parquet(tmp_path / "scores.parquet")
    of_test_rows = in_training.select("customer_id").join(scored, on="customer_id", maintain_order="left")
    np.testing.assert_allclose(figures(of_test_rows), figures(in_training), atol=1e-6)
    decided = scored.columns[-1]
    assert of_test_rows[decided].to_list() == in_training[decided].to_list()

    predictor = load(run / "bundle")
    np.testing.assert_allclose(figures(predictor.predict(table)), figures(scored), atol=1e-6)
    rows = table.head(12).to_dicts()  # among them a missing history and an empty one
    alone = np.concatenate([figures(predictor.predict([row])) for row in rows])
    np.testing.assert_allclose(alone, figures(scored)[:12], atol=1e-6)

    api = ChurnLitAPI(str(run / "bundle"))
    api.setup("cpu")
    answers = [served(api, rest_row(row)) for row in rows]
    found = [[value for key, value in answer.items() if "probability" in key] for answer in answers]
    np.testing.assert_allclose(found, figures(scored)[:12], atol=1e-6)
    assert {answer["model_version"] for answer in answers} == {predictor.version}


def served(api: ChurnLitAPI, row: dict[str, Any]) -> dict[str, Any]:
    [output] = api.predict([api.decode_request(row)])
    response = api.encode_response(output)
    assert response.status_code == 200, bytes(response.body)
    return json.loads(bytes(response.body))


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", ["random_forest", "catboost"])
def test_a_server_answers_with_a_baseline(name: str, tmp_path: Path):
    """Trees that numpy reads, and a library's own format, each in a real process."""
    run, table = trained(name, tmp_path)
    rows = [rest_row(row) for row in table.head(5).to_dicts()]
    expected = load(run / "bundle").predict(table.head(5))
    with running(run / "bundle", tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [client.post("/predict", json=row).json() for row in rows]
        assert client.get("/metadata").json()["model"] == name
    found = [answer["churn_probability"] for answer in answers]
    assert found == pytest.approx(expected["churn_probability"].to_list(), abs=1e-6)


@pytest.mark.slow
def test_a_sweep_of_baselines_ends_in_their_comparison(empty_folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["data.n_customers=400", "logger=none", "trainer.progress=false", "output_dir=many"]
    assert cli.main(["train", "-m", "model=logistic,linear_svm,hist_gradient_boosting", *words]) == 0
    runs = json.loads(Path("many/sweep.json").read_text(encoding="utf-8"))["runs"]
    compared = [run["comparison"] for run in runs]
    losses = [run["metrics"]["validation"]["log_loss"] for run in runs]
    assert [one["rank"] - 1 for one in compared] == np.argsort(np.argsort(losses)).tolist()
    assert [one["interpretability"]["shows"] for one in compared] == ["coefficients", "coefficients", "none"]
    best = int(np.argmin(losses))
    for number, one in enumerate(compared):
        difference = one["quality"]["log_loss_minus_best"]
        if number == best:
            assert difference is None
            continue
        tests = [runs[place]["metrics"]["test"]["log_loss"] for place in (number, best)]
        assert difference["value"] == pytest.approx(tests[0] - tests[1])
        assert difference["interval"][0] <= difference["value"] <= difference["interval"][1]
        assert difference["to_run"] == best
    said = capsys.readouterr().out.rpartition("runs, by log loss")[2]
    assert said.index(["logistic", "linear_svm", "hist_gradient_"][best]) < said.index("best: lowest")


def test_a_baseline_reads_a_history_as_its_last_steps(tmp_path: Path):
    """Changing the newest step changes the answer; steps before the oldest that is read do not."""
    run, table = trained("logistic", tmp_path)
    predictor: Predictor = load(run / "bundle")
    [row] = table.filter(pl.col("usage").list.len() == 6).head(1).to_dicts()
    answers = figures(
        predictor.predict(
            [row, {**row, "usage": [*row["usage"][:-1], 99.0]}, {**row, "usage": [50.0, 60.0, *row["usage"]]}]
        )
    )
    assert answers[0] != pytest.approx(answers[1], abs=1e-4)
    assert answers[0] == pytest.approx(answers[2], abs=1e-9)
