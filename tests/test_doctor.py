"""The doctor: what a table can give, what it lacks, and what is too good to be true, on tables made for the purpose."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import SMOTE
from rich.console import Console

import churnlib
from churnlib.commands.doctor import main
from churnlib.compose import compose
from churnlib.data.simulator import simulate
from churnlib.diagnosis.doctor import doctor
from churnlib.diagnosis.result import Diagnosis
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.ceiling.goal import Goal
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train
from scripts import trap


def table(n: int = 1200, *, seed: int = 0) -> pl.DataFrame:
    """Customers whose churn hangs on three numbers to the cent, a quarter of whom leave."""
    rng = np.random.default_rng(seed)
    x = rng.normal(50, 10, (n, 4)).round(2)
    logit = -1.5 + (x[:, 0] - 50) / 8 - (x[:, 1] - 50) / 12
    left = rng.random(n) < 1 / (1 + np.exp(-logit))
    plan = rng.choice(["a", "b", "c"], n)
    return pl.DataFrame(
        {"usage": x[:, 0], "bill": x[:, 1], "calls": x[:, 2], "age": x[:, 3], "plan": plan, "churn": left.astype(int)}
    )


@pytest.fixture(scope="module")
def honest() -> dict:
    """What can be attained in F1 on the table that others are spoiled from."""
    return doctor(table(900), target="churn").attainable["f1"]


@pytest.fixture(scope="module")
def healthy() -> Diagnosis:
    return doctor(table(), target="churn", goal=Goal(metric="f1", at_least=0.85), claim=0.55)


# --- a table without faults -------------------------------------------------------------------------------------------


def test_a_healthy_table_gives_no_alarm(healthy):
    assert not healthy.too_good and healthy.causes == [] and healthy.as_it_stands is None
    assert healthy.lines()[0].startswith("No leak, no resampled row")
    f1 = healthy.attainable["f1"]
    assert f1["low"] < healthy.baselines[healthy.best]["f1"] < f1["high"]
    assert healthy.goal["verdict"] == "out of reach" and f1["test_rows"] == 180
    assert healthy.balanced_f1 > f1["value"] + 0.05


def test_it_says_whether_rows_and_columns_suffice(healthy):
    rows = [point["rows"] for point in healthy.sufficiency["points"]]
    assert rows == [100, 200, 400, 800]
    assert healthy.sufficiency["inputs"] == 4 + 3
    losses = [point["log_loss"] for point in healthy.sufficiency["points"]]
    assert losses[-1] < losses[0]
    assert next(iter(healthy.columns)) == "usage"
    told = {remedy["what"] for remedy in healthy.remedies if not remedy["have"]}
    assert told == {"one more column that tells something new", "twice as many customers like these"}
    gains = [remedy["gain"] for remedy in healthy.remedies if not remedy["have"]]
    assert gains == sorted(gains, reverse=True)


def test_it_is_told_to_programs_terminals_and_notebooks(healthy):
    assert json.loads(json.dumps(healthy.to_dict()))["too_good"] is False
    console = Console(record=True, width=100)
    console.print(healthy)
    shown = console.export_text()
    assert "What can be attained" in shown and "profit" not in shown and healthy.best in shown
    html = healthy._repr_html_()
    assert html.count("<table>") == 5 and "Do the rows suffice?" in html


def test_the_same_seed_finds_the_same():
    one, other = (doctor(table(400), target="churn", seed=3).to_dict() for _ in range(2))
    assert one == other


@pytest.mark.slow
def test_simulated_customers_are_judged_beside_the_truth():
    drawn = simulate(4_000, seed=2)
    found = doctor(
        drawn.table.drop("churn_date"), target="churn", positive="yes", id="customer_id", time="snapshot_date",
        truth=drawn.churn_probability,
    )  # fmt: skip
    assert found.limit is not None and not found.too_good
    # No baseline knows more than the truth, and these know most of it.
    assert found.limit["f1"] - 0.08 < found.attainable["f1"]["value"] < found.limit["f1"] + 0.01


# --- what is too good -------------------------------------------------------------------------------------------------


def test_a_claim_that_only_other_test_rows_can_show_is_flagged():
    found = doctor(table(600), target="churn", claim=0.95)
    assert found.causes == ["claim"] and "resampled to half and half" in found.flags[0]["evidence"]


def test_a_leaking_column_is_flagged_and_the_ceiling_is_told_without_it(honest):
    frame, rng = table(900), np.random.default_rng(1)
    leak = frame["churn"] * 2.0 + pl.Series(rng.normal(0, 0.5, 900)).round(2)
    found = doctor(frame.with_columns(refund=leak), target="churn", goal=Goal(metric="f1", at_least=0.9))
    assert found.causes == ["leak"] and found.flags[0]["columns"] == ("refund",)
    assert found.attainable["f1"]["value"] == pytest.approx(honest["value"], abs=0.02)
    assert found.as_it_stands["f1"]["value"] > 0.9 > honest["high"]
    assert "Not certified: 'refund'" in found.goal["said"]


def resampled() -> pl.DataFrame:
    frame = table(900).drop("plan").to_pandas()
    return pl.from_pandas(
        pd.concat(SMOTE(random_state=0).fit_resample(frame.drop(columns="churn"), frame["churn"]), axis=1)
    )


def test_rows_that_were_made_up_are_flagged_and_the_ceiling_is_told_without_them():
    found, honest = doctor(resampled(), target="churn"), doctor(table(900).drop("plan"), target="churn")
    assert found.causes == ["resampled before the split"]
    assert found.attainable["f1"]["value"] == pytest.approx(honest.attainable["f1"]["value"], abs=0.02)
    assert found.as_it_stands["f1"]["value"] > honest.attainable["f1"]["value"] + 0.1


def test_rows_that_were_drawn_again_are_flagged_whatever_they_are_called(honest):
    frame = table(900)
    churners = frame.filter(churn=1)
    again = pl.concat([frame, churners.sample(900 - 2 * len(churners), with_replacement=True, seed=1)])
    for given in (again, again.with_columns(id=pl.format("C{}", pl.int_range(pl.len())))):
        found = doctor(given, target="churn", id="id" if "id" in given.columns else None)
        assert "resampled before the split" in found.causes
        assert found.attainable["f1"]["value"] == pytest.approx(honest["value"], abs=0.03)


def test_rows_shared_across_the_sides_of_a_given_split_are_flagged():
    frame = table(900).with_columns(side=pl.Series((["train"] * 7 + ["validation", "test", "test"]) * 90))
    copies = frame.filter(side="train").head(90).with_columns(side=pl.lit("test"))
    by = {"by": "column", "column": "side"}
    assert doctor(frame, target="churn", split=by).causes == []
    assert doctor(pl.concat([frame, copies]), target="churn", split=by).causes == ["shared rows"]


def test_sides_of_different_churn_rates_are_worth_a_look():
    frame = table(1500)
    test = pl.concat([frame.filter(churn=1).head(150), frame.filter(churn=0).head(150)]).with_columns(
        side=pl.lit("test")
    )
    rest = frame.join(test, on=["usage", "bill", "calls", "age"], how="anti")
    rest = rest.with_columns(side=pl.Series(np.resize(["train", "train", "validation"], len(rest))))
    found = doctor(pl.concat([rest, test]), target="churn", split={"by": "column", "column": "side"})
    assert not found.too_good and "the sides differ in their churn rate" in found.flags[0]["evidence"]


# --- what cannot be examined, and what is barely possible ------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table(50).with_columns(churn=pl.lit(1)), "churn"),
        (table(10), "rows"),
        (table(100).with_columns(churn=pl.Series([1] * 12 + [0] * 88)), r"only 12 of 100 rows are '1', .* needs 20"),
        (table(200).with_columns(usage=pl.lit(3)).select("usage", "churn"), "column"),
        (table(200).select("churn"), "column"),
        (table(200).with_columns(churn=pl.lit(None)), "churn"),
        (table(300).with_columns(churn=pl.Series(["a", "b", "c"] * 100)), "two classes and the target has 3"),
    ],
    ids=["one class", "ten rows", "few churners", "constant columns", "no columns", "no labels", "three classes"],
)  # fmt: skip
def test_what_cannot_be_examined_is_said_in_one_sentence(frame, said):
    with pytest.raises((DataError, ConfigError), match=said) as error:
        doctor(frame, target="churn")
    assert "\n" not in str(error.value)


def test_columns_that_say_nothing_and_ties_everywhere():
    churn = pl.Series([0, 0, 0, 1] * 100).shuffle(seed=1)
    frame = table(400).select(id=pl.int_range(pl.len()), tied=pl.Series([0, 1] * 200), churn=churn)
    found = doctor(frame, target="churn", id="id")
    assert any("say next to nothing about who leaves" in line for line in found.lines())
    assert found.attainable["f1"]["value"] == pytest.approx(0.4, abs=0.03)  # everybody: 2 * 0.25 / 1.25


def test_rows_without_a_label_are_left_out():
    frame = table(600).with_columns(churn=pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise(pl.col("churn")))
    found = doctor(frame, target="churn")
    assert found.rows == 600 and found.examined == 500 and "100 rows without a target" in found.cleaning[0]


def test_of_many_rows_some_are_drawn_and_customers_stay_whole():
    frame = table(1500).with_columns(id=pl.int_range(pl.len()) // 3)
    frame = frame.with_columns(day=pl.date(2024, 1, 1) + pl.duration(days=30 * (pl.int_range(pl.len()) % 3)))
    found = doctor(frame, target="churn", id="id", time="day", split={"by": "random"}, sample_rows=900)
    assert found.sampled and found.examined == 900 and found.rows == 1500
    assert any("900 rows were drawn from 1,500" in line for line in found.lines())


# --- doors ------------------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(tmp_path, capfd):
    table(500).write_csv(tmp_path / "a.csv")
    words = ["data=table", f"data.path='{tmp_path}/a.csv'", "data.target=churn", f"output={tmp_path}/found.json"]
    assert main([*words, "claim=0.97", "money.currency=EUR", "goal.metric=roc_auc", "goal.at_least=0.7"]) == 0
    shown, found = capfd.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert "Too good to be true: claim: roc_auc 0.970" in " ".join(shown.split())
    assert "profit per customer" in shown and found["goal"]["metric"] == "roc_auc" and found["too_good"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert main([*words, "goal=none"]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["goal"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["output=a.txt"], "must end in .json"),
        (["output=nowhere/a.json"], "there is no folder"),
        (["goal.metric=f3"], "did you mean f2|f3 is no figure"),
        (["sample_rows=10"], "sample_rows must be at least 500"),
        (["-m"], "doctor runs once"),
    ],
)
def test_wrong_words_of_the_command(words, said, empty_folder, capfd):
    import re

    assert main(words) == 1
    assert re.search(said, capfd.readouterr().err)


def test_a_run_says_how_its_goal_stands(tmp_path):
    words = ["data.n_customers=600", "model=logistic", "bundle.onnx=false"]
    console = Console(record=True, width=200)
    folder = RunFolder(tmp_path / "run", latest=None)
    result = train(compose(words), folder=folder, console=console)
    assert result.goal == result.metrics["goal"] and result.goal["verdict"] == "out of reach"
    assert result.goal["measured"] == result.metrics["test"]["f1"] and not result.goal["certified"]
    assert result.goal["estimate"]["test_rows"] == result.metrics["test"]["n"]
    assert "Goal f1 of at least 0.85: above what these data can give" in console.export_text()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["goal"]["at_least"] == 0.85
    for word, verdict in (("goal=none", None), ("goal.metric=ks", "met")):
        config = compose([*words, word, *(["goal.at_least=0.2"] if verdict else [])])
        found = train(config, folder=RunFolder(tmp_path / word, latest=None)).goal
        assert (None if found is None else found["verdict"]) == verdict


def test_it_is_a_public_name():
    assert churnlib.doctor is doctor


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["resample", "data=mlc", "rows=1500", "trees=40"], ["leak", "rows=3000", "trees=40"]]
)
def test_the_traps_on_real_tables(words, data_dir, capfd):
    status, shown = trap.main(words), capfd.readouterr().out
    assert status == 0, shown
    assert shown.count(": right, it is") == (2 if words[0] == "resample" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["telco", "mlc", "isp"])
def test_public_tables_are_healthy(name, data_dir, tmp_path):
    # Of 6,000 rows of isp everybody left who downloaded nothing, by chance: of all rows 23 of 10,941 stayed.
    assert main([f"data={name}", f"output={tmp_path}/a.json", "sample_rows=6000"]) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert not found["too_good"]
    assert found["attainable"]["f1"]["value"] == pytest.approx(
        {"telco": 0.636, "mlc": 0.825, "isp": 0.82}[name], abs=0.03
    )
