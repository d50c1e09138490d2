"""A table as a CRM exports it, through a whole run: what is left out, how cells are read, what is said and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made import made_customers

import churnlib
from churnlib.commands import train
from churnlib.data.customers import prepare_customers
from churnlib.errors import ConfigError

N = 300


def export() -> pl.DataFrame:
    """300 customers, 20 of them with an older row below their newest one, 6 twice under another name, and gaps."""
    rng = np.random.default_rng(3)
    frame = made_customers(N).with_columns(
        tenure=pl.when(pl.int_range(pl.len()).is_in([10, 20])).then(pl.lit("about 5")).otherwise(pl.col("tenure")),
        # Missing for 9 of 10 who stay and 6 of 10 who leave.
        survey=pl.when(pl.Series(rng.random(N)) < pl.when(pl.col("churn") == "yes").then(0.6).otherwise(0.9))
        .then(None).otherwise(pl.Series(rng.integers(1, 6, N)))
        .cast(pl.String),
        changed=pl.lit("2024-06-30"),
    )  # fmt: skip
    older = frame[:20].with_columns(
        tenure=pl.lit("999"), changed=pl.Series([f"2024-0{1 + i % 5}-15" for i in range(20)])
    )
    twins = frame[40:46].with_columns(customer=pl.lit("other ") + pl.col("customer"))
    return pl.concat([frame, older, twins, frame[60:63]])


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("table") / "crm.csv"
    export().write_csv(path)
    data = ["data=table", f"data.path={path}", "data.target=churn", "data.id=customer", "data.latest=changed"]
    # The twins and the older rows are what this file is about, not leaks.
    return [*data, "data.show_unreadable=3", "model=logistic", "leaks=off", "logger=none"]


def run(folder: Path, *words: str) -> tuple[dict[str, Any], churnlib.Predictor]:
    assert train.main([*words, f"output_dir={folder}"]) == 0
    return json.loads((folder / "cleaning.json").read_text()), churnlib.load(folder / "bundle")


def test_a_run_cleans_the_table_and_accounts_for_it(words, tmp_path, capsys):
    cleaning, predictor = run(tmp_path / "run", *words)
    said = " ".join(capsys.readouterr().out.split())

    # The newest row of each customer is kept, though it stands first; three rows were there twice.
    assert (cleaning["rows"], cleaning["exact_duplicates"], cleaning["repeated_customers"]) == (N + 29, 3, 20)
    assert "3 rows equal to an earlier row left out" in said
    assert "20 rows with a later row of the same customer left out" in said
    ids = pl.read_parquet(tmp_path / "run" / "predictions.parquet")["customer_id"]
    assert ids.n_unique() == len(ids)
    assert predictor.bundle.profile["n"] + 2 * len(ids) == pytest.approx(N + 6, abs=2)
    assert predictor.bundle.profile["columns"]["tenure"]["quantiles"][-1] < 100  # no older row with its 999

    # Under another name: told, and kept.
    assert cleaning["near_duplicates"] == {"rows": 12, "groups": 6, "largest": 2}
    assert "12 rows (6 groups, the largest of 2) are equal to a row under another name" in said

    # How each column was read.
    readings = {reading["column"]: reading for reading in cleaning["columns"]}
    assert readings["tenure"] == {
        "column": "tenure", "came_as": "String", "kind": "numeric", "parsed": N + 4, "missing": 0, "failed": 2,
        "failures": ["about 5"],
    }  # fmt: skip
    assert readings["charges"]["missing"] + readings["charges"]["parsed"] == N + 6
    assert "2 unreadable cells of 'tenure' count as missing, such as 'about 5'" in said

    # A nearly empty column: proposed with the signal of its gaps, and still a feature.
    (gaps,) = cleaning["gaps"]
    assert gaps["column"] == "survey" and gaps["share"] > 0.7 and gaps["roc_auc"] > 0.55
    assert "'survey' is missing in" in said and "to drop it, confirm it with a step drop_missing" in said
    assert "survey" in predictor.bundle.preparation.feature_names


def test_a_column_that_is_confirmed_is_gone_and_scoring_does_without_it(words, tmp_path, capsys):
    cleaning, predictor = run(tmp_path / "run", *words, "preprocess.steps.drop_missing.confirm=true")
    assert cleaning["gaps"] == []
    (line,) = cleaning["steps"]
    assert line.startswith("drop_missing: 'survey' is missing in") and line.endswith("dropped")
    assert line in " ".join(capsys.readouterr().out.split())
    assert "survey" not in predictor.bundle.preparation.feature_names
    row = {**made_customers(1).drop("churn").row(0, named=True), "survey": 3}
    assert predictor.predict([row])["churn_probability"].equals(predictor.predict([{**row, "survey": None}])[
        "churn_probability"
    ])  # fmt: skip


def test_no_cell_is_shown_unless_it_was_asked_for():
    customers = prepare_customers(export(), target="churn", id="customer", latest="changed")
    reading = next(one for one in customers.report.columns if one.column == "tenure")
    assert (reading.failed, reading.failures) == (2, ())
    assert "about 5" not in " ".join(customers.report.lines())


def test_the_newest_row_goes_by_dates_numbers_and_the_format_that_is_given():
    def kept(changed: list[Any], **options: Any) -> list[int]:
        n = len(changed)
        frame = made_customers(60).with_columns(row=pl.int_range(60) + 0.5, changed=pl.Series(changed * (60 // n)))
        frame = frame.with_columns(customer=pl.format("C{}", pl.int_range(60) // n))
        customers = prepare_customers(frame, target="churn", id="customer", latest="changed", **options)
        return [int(row) % n for row in customers.frame["row"].head(1)]

    assert kept(["2024-02-01", "2024-03-01", "2023-12-31"]) == [1]
    assert kept([9, 10, 8]) == [1] == kept(["9", "10", "8"])
    assert kept([None, "2020-01-01"]) == [1]
    assert kept(["2024-01-01"] * 3) == [2]  # of equals the last one
    assert kept(["31.12.2023", "01.02.2024"], columns={"changed": {"format": "%d.%m.%Y"}}) == [1]


def test_a_mistyped_column_of_dates_is_refused():
    with pytest.raises(ConfigError, match=r"data\.latest.*'changd'.*did you mean 'changed'"):
        prepare_customers(export(), target="churn", id="customer", latest="changd")
