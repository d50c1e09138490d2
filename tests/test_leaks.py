"""What says more than anybody could know is named; what does not is left alone."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import made_customers, made_prepared
from rich.console import Console
from sklearn.metrics import roc_auc_score

from churnlib.commands.train import main
from churnlib.compose import compose
from churnlib.data.customers import prepare_customers
from churnlib.data.leaks import LeakReport, check_leaks
from churnlib.data.leaks.association import area_of_codes, area_of_ranks
from churnlib.data.leaks.names import known_leak
from churnlib.data.simulator import simulate
from churnlib.errors import ConfigError, DataError
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import read_customers, train


def checked(frame: pl.DataFrame, **options) -> LeakReport:
    return check_leaks(prepare_customers(frame, **{"target": "churn", "id": "customer", **options}))


def found(report: LeakReport) -> dict[str, list[str]]:
    """The columns that each check has found."""
    return {check.name: [one.column for one in check.findings] for check in report.checks if check.findings}


def with_column(n: int = 1000, **columns) -> pl.DataFrame:
    frame = made_customers(n)
    gone, rng = (frame["churn"] == "yes").to_numpy(), np.random.default_rng(1)
    return frame.with_columns(pl.Series(name, make(gone, rng)) for name, make in columns.items())


# --- no false alarm, and the leaks of a public table ----------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["data.n_snapshots=6"], ["data.history_months=6"]])
def test_simulated_customers_give_no_alarm(words):
    report = check_leaks(read_customers(compose([*words, "data.n_customers=3000"])))
    assert not report.lines()
    assert {check.verdict for check in report.checks} <= {"pass", "no case"}


@pytest.mark.parametrize("name", ["telco", "mlc"])
def test_public_tables_without_leaks_give_no_alarm(name, data_dir):
    assert not check_leaks(read_customers(compose([f"data={name}"]))).lines()


def test_both_leaks_of_the_isp_table_are_found_unaided(data_dir, tmp_path, capfd):
    words = ["data=table", f"data.path='{data_dir}/isp_churn.csv'", "data.target=churn", "model=logistic"]
    assert main([*words, "report=false", f"output_dir={tmp_path}/run"]) == 0
    said = [line for line in capfd.readouterr().out.splitlines() if "leak" in line and "•" in line]
    assert any("'reamining_contract'" in line and "data.drop=[reamining_contract]" in line for line in said)
    assert any("'id'" in line for line in said)
    kept = json.loads((tmp_path / "run" / "leaks.json").read_text())
    assert "reamining_contract" in kept["columns"]
    assert "reamining_contract" in json.loads((tmp_path / "run" / "metrics.json").read_text())["leaks"]


def test_the_isp_configuration_leaves_both_out(data_dir):
    customers = read_customers(compose(["data=isp"]))
    assert not {"id", "reamining_contract"} & {column.name for column in customers.schema.features}
    assert "reamining_contract" not in check_leaks(customers).columns


def test_a_leak_stops_a_run_that_wants_none_before_anything_is_written(tmp_path):
    words = ["data.n_customers=500", "data.columns.churn_date.role=feature", "model=logistic", "leaks=error"]
    with pytest.raises(DataError, match=r"'churn_date' .* data.drop=\[churn_date\]"):
        train(compose(words), folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()
    allowed = train(compose([*words, "leaks.allow=[churn_date]"]), folder=RunFolder(tmp_path / "run", latest=None))
    assert allowed.metrics["leaks"] == []


def test_no_checks_where_none_are_wanted(tmp_path):
    console = Console(record=True, width=200)
    words = ["data.n_customers=500", "model=logistic", "leaks=off"]
    result = train(compose(words), folder=RunFolder(tmp_path / "run", latest=None), console=console)
    assert result.metrics["leaks"] is None
    assert "leak" not in console.export_text().lower()


# --- each check -----------------------------------------------------------------------------------------------------


def test_a_column_that_is_nearly_the_answer_is_found_in_any_form():
    report = checked(
        with_column(
            up=lambda gone, rng: gone + rng.normal(0, 0.35, len(gone)),
            down=lambda gone, rng: ~gone + rng.normal(0, 0.35, len(gone)),
            ring=lambda gone, rng: np.where(gone, rng.uniform(-1, 1, len(gone)), rng.choice([-3.0, 3.0], len(gone))),
            word=lambda gone, rng: np.where(gone, rng.choice(["a", "b"], len(gone)), rng.choice(["c", "d"], len(gone))),
            noise=lambda gone, rng: rng.normal(size=len(gone)),
        )
    )
    assert found(report)["a single column"] == ["up", "down", "ring", "word"]


def test_values_that_come_once_say_nothing():
    rng = np.random.default_rng(0)
    codes, churned = np.arange(4000), rng.random(4000) < 0.3
    assert area_of_codes(codes, churned).auc < 0.52


@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    churned = rng.random(2000) < 0.3
    values = np.round(rng.normal(size=2000) + churned, 1)
    area = area_of_ranks(pl.Series(values).rank().to_numpy(), churned)
    assert area.auc == pytest.approx(roc_auc_score(churned, values), abs=1e-12)
    codes = rng.integers(0, 4, 2000) + 2 * churned
    rates = np.array([churned[codes == code].mean() for code in range(6)])
    # Few values with many rows each: their rates out of fold order them as those of all rows do.
    assert area_of_codes(codes, churned).auc == pytest.approx(roc_auc_score(churned, rates[codes]), abs=0.01)


def test_gaps_that_tell_who_left_are_found_whatever_the_values():
    hidden = with_column(visit=lambda gone, rng: np.where(rng.random(len(gone)) < 0.1 + 0.5 * gone, np.nan, 1.0))
    hidden = hidden.with_columns(visit=pl.col("visit").fill_nan(None) * pl.int_range(pl.len()))
    assert found(checked(hidden)) == {"the missing values alone": ["visit"]}


def test_gaps_at_random_give_no_alarm():
    assert not checked(with_column(visit=lambda gone, rng: np.where(rng.random(len(gone)) < 0.4, None, "x"))).lines()


def test_what_only_churners_have_is_found():
    report = checked(
        with_column(
            survey=lambda gone, rng: [
                ["price", "moved"][i % 2] if left and draw < 0.2 else None
                for i, (left, draw) in enumerate(zip(gone, rng.random(len(gone)), strict=True))
            ],
            usage=lambda gone, rng: np.where(gone & (rng.random(len(gone)) < 0.3), 0.0, rng.gamma(2, 5, len(gone))),
        )
    )
    assert found(report) == {"filled for churners only": ["survey", "usage"]}
    assert report.columns == ["survey", "usage"]
    assert len(report.lines()) == 2


@pytest.mark.parametrize("n", [4_000, 16_000, 40_000])
def test_a_value_that_few_survive_is_worth_a_look_whatever_the_sample(n):
    """Of 1,000 customers without use two stay, and a sample of 400 of them may hold neither."""
    rng = np.random.default_rng(1)
    none, churned = np.arange(n) < n // 10, rng.random(n) < 0.3
    churned[none] = True
    if n > 4_000:
        churned[np.flatnonzero(none)[::500]] = False
    frame = pl.DataFrame({"use": np.where(none, 0.0, rng.lognormal(size=n)), "left": churned.astype(int)})
    frame = frame.with_columns(other=pl.Series(rng.normal(size=n)))
    report = check_leaks(prepare_customers(frame, target="left"))
    assert [name for name, _ in report.reasons()["use"]] == ["filled for churners only"]
    assert report.alarms == [] and "look the same here" in report.lines()[0]


def test_an_order_of_customer_numbers_that_says_who_left_is_kept_out_and_said():
    frame = made_customers(1000).sort("tenure").with_columns(customer=pl.int_range(pl.len()) + 100_000)
    report = checked(frame)
    assert found(report) == {"identifiers": ["customer"]}
    assert not report.leaks
    assert report.lines()[0].startswith("leak kept out: 'customer'")
    read = frame.rename({"customer": "account_id"})
    forced = checked(read, id=None, columns={"account_id": {"kind": "numeric", "role": "feature"}})
    assert forced.columns == ["account_id"]


def test_a_date_after_the_snapshot_is_found():
    day = dt.date(2022, 12, 31)
    frame = made_customers(400).with_columns(
        taken=pl.lit(day),
        seen=pl.lit(day) - pl.duration(days=pl.int_range(pl.len()) % 40),
        due=pl.lit(day) + pl.duration(days=pl.int_range(pl.len()) % 40 - 20),
    )
    assert found(checked(frame, time="taken")) == {"dates after the snapshot": ["due"]}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("ChurnReason", "churn"),
        ("date_of_cancellation", "cancel*"),
        ("remaning_contract", "remaining contract"),
        ("Termination Date", "terminat* date"),
        ("CLTV", "cltv"),
        ("contract", None),
        ("cancer_cover", None),
        ("TotalCharges", None),
        ("closest_shop", None),
        ("last_interaction_date", None),
    ],
)
def test_names_of_known_leaks_are_known_in_any_spelling(name, entry):
    assert known_leak(name) == entry


def test_users_add_names_and_allow_columns():
    frame = made_customers(300).rename({"paperless": "goodbye_letter", "tenure": "months_to_cancellation"})
    customers = prepare_customers(frame, target="churn", id="customer")
    assert check_leaks(customers).columns == ["months_to_cancellation"]
    assert check_leaks(customers, names=["goodbye"], allow=["months_to_cancellation"]).columns == ["goodbye_letter"]
    with pytest.raises(ConfigError, match=r"leaks\.allow"):
        check_leaks(customers, allow=["tenur"])


def test_customers_on_several_sides_of_a_given_split_are_found():
    table = simulate(400, seed=1, n_snapshots=4).table.drop("churn_date").head(400)
    sides = np.resize(["train", "train", "validation", "test"], 800)
    twice = pl.concat([table, table.with_columns(snapshot_date=pl.col("snapshot_date").dt.offset_by("1y"))])
    twice = twice.with_columns(side=pl.Series(sides).shuffle(seed=0))
    report = check_leaks(
        prepare_customers(
            twice, target="churn", id="customer_id", time="snapshot_date", split={"by": "column", "column": "side"}
        )
    )
    assert [line for line in report.lines() if "several sides" in line]
    with pytest.raises(DataError, match="several sides"):
        report.refuse()


def test_copies_under_another_id_are_found_and_chance_is_not():
    frame = made_customers(600).with_columns(charges=pl.int_range(pl.len()) * 0.37)
    copies = frame.sample(60, seed=0).with_columns(customer=pl.lit("X") + pl.col("customer"))
    assert found(checked(pl.concat([frame, copies]))) == {"copies on several sides": [None]}
    assert not checked(frame).lines()
    few = made_customers(600).select("customer", "plan", "paperless", "churn")
    assert not checked(few).lines()


def test_several_classes_are_checked_each_against_the_others():
    rng = np.random.default_rng(7)
    frame = made_customers(900).with_columns(churn=pl.Series(rng.choice(["stay", "leave", "pause"], 900)))
    frame = frame.with_columns(flag=(pl.col("churn") == "pause").cast(pl.Int8) + pl.Series(rng.normal(0, 0.2, 900)))
    assert found(checked(frame)) == {"a single column": ["flag"]}


def test_rows_that_are_held_out_change_nothing_but_the_comparison_of_sides():
    one = made_prepared(500)
    frame = made_customers(500).with_columns(row=pl.int_range(pl.len()))
    train = set(one.rows("train").tolist())
    other = frame.with_columns(
        pl.when(pl.col("row").is_in(train)).then(column).otherwise(pl.col(column).shuffle(seed=1)).alias(column)
        for column in ("tenure", "charges", "plan")
    ).drop("row")
    side = [
        "train" if row in train else "test" if row in set(one.rows("test").tolist()) else "validation"
        for row in range(500)
    ]
    by = {"by": "column", "column": "side"}
    reports = [checked(f.with_columns(side=pl.Series(side)), split=by).checks[:6] for f in (made_customers(500), other)]
    assert reports[0] == reports[1]


def test_the_lines_are_in_a_readable_order(tmp_path: Path):
    report = checked(with_column(word=lambda gone, rng: np.where(gone, "a", "b")))
    assert report.lines()[0].startswith("leak: 'word': alone it tells")
    assert json.loads(json.dumps(report.to_dict()))["checks"][0]["verdict"] == "leak"
