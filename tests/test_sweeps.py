"""What became of the runs of a sweep."""

from __future__ import annotations

import io
import json
import math

import polars as pl
import pytest
from rich.console import Console

from churnlib.errors import ConfigError
from churnlib.training.sweeps import Outcome, check_root, close_sweep, read_outcomes

METRICS = {"test": {"roc_auc": 0.8125, "log_loss": 0.4, "f1": 0.6}}


def outcome(number: int, **changes) -> Outcome:
    values = {
        "number": number, "overrides": ["model=mlp", f"seed={number}"], "model": "mlp", "seed": number,
        "state": "finished", "seconds": 1.5, "folder": f"many/{number}", "metrics": METRICS,
    }  # fmt: skip
    return Outcome(**{**values, **changes})


def test_outcomes_come_back_in_the_order_of_their_numbers(tmp_path):
    kept = [outcome(number) for number in (10, 2, 0)]
    for one in kept:
        one.save(tmp_path)
    assert read_outcomes(tmp_path) == kept[::-1]


def test_the_end_of_a_sweep_writes_its_runs_and_prints_them(tmp_path):
    runs = [outcome(0), outcome(1, state="failed: the table has one class", metrics={})]
    log = io.StringIO()
    close_sweep(runs, tmp_path, Console(width=120, file=log))
    written = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert [run["state"] for run in written["runs"]] == ["finished", "failed: the table has one class"]
    assert written["runs"][0]["metrics"] == METRICS
    assert written["runs"][0]["comparison"]["best"] and written["runs"][1]["comparison"] is None
    assert [one["runs"] for one in written["configurations"]] == [[0]]
    said = log.getvalue()
    assert "0.8125" in said and "the table has one class" in said and str(tmp_path) in said.replace("\n", "")


def test_runs_on_the_same_customers_are_compared_pair_by_pair(tmp_path):
    """The second run gives everybody 0.5; the first is right with 0.8, and so 0.47 better on each."""
    label = [0, 1] * 20
    certain = {"customer_id": list(range(40)), "label": label, "churn_probability": [0.2, 0.8] * 20}
    for number, probability in enumerate([certain["churn_probability"], [0.5] * 40]):
        (tmp_path / str(number)).mkdir()
        table = pl.DataFrame({**certain, "churn_probability": probability})
        table.write_parquet(tmp_path / str(number) / "predictions.parquet")
    runs = [
        outcome(
            number,
            overrides=[f"model={name}"],
            folder=str(tmp_path / str(number)),
            metrics={**METRICS, "validation": {"log_loss": 0.4 + number}},
        )
        for number, name in enumerate(["mlp", "logistic"])
    ]
    close_sweep(runs, tmp_path, Console(quiet=True))
    first, second = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["runs"]
    assert first["comparison"]["quality"]["log_loss_minus_best"] is None
    difference = second["comparison"]["quality"]["log_loss_minus_best"]
    assert difference["to_run"] == 0
    assert [difference["value"], *difference["interval"]] == pytest.approx([math.log(0.8 / 0.5)] * 3)


def test_seeds_are_listed_before_they_are_averaged(tmp_path):
    log = io.StringIO()
    close_sweep([outcome(0), outcome(1)], tmp_path / "none", Console(width=100, file=log))
    assert log.getvalue().index("run by run") < log.getvalue().index("0, 1")


def test_a_sweep_of_which_no_run_came_to_its_folder_writes_nothing(tmp_path):
    close_sweep([outcome(0, state="failed: no", metrics={})], tmp_path / "many", Console(quiet=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", ["sweep.json", "metrics.json", "3/config.yaml"])
def test_a_folder_with_runs_in_it_is_refused(left, tmp_path):
    check_root(tmp_path)
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    with pytest.raises(ConfigError, match="holds runs already"):
        check_root(tmp_path)
