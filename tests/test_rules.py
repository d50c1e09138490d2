"""Rules of a table: what is asked, who breaks it, and what becomes of the row in training, in scoring and in Python."""

from __future__ import annotations

import datetime as dt
import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made_bundle, made_customers

import churnlib
from churnlib.bundle import write_bundle
from churnlib.commands import score
from churnlib.compose import compose
from churnlib.data.coercion import coerce
from churnlib.data.customers import prepare_customers
from churnlib.data.prepared_table import prepare_table
from churnlib.data.simulator import simulate
from churnlib.data.simulator.errors import AGE_ERROR
from churnlib.data.validation import BrokenRules, broken, read_rules, validate
from churnlib.data.validation.one_row import OneRowRules
from churnlib.errors import ConfigError, RowErrors
from churnlib.schema import infer_schema
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

TABLE = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d", "d", "f"],
        "tenure": ["1", "2.5", "-3", None, "many", "700"],
        "plan": ["gold", "silver", "tin", "gold", None, "gold"],
        "mail": ["a@b.ch", "nobody", None, "c@d.ch", "e@f.ch", "x y@z.ch"],
        "paid": [1.0, 2.5, -3.0, 4.0, 5.0, 6.0],
        "seen": [dt.date(2024, 1, day) for day in (1, 2, 3, 4, 5, 6)],
    }
)
COLUMNS = {"tenure": {"kind": "numeric"}, "plan": {"kind": "categorical"}, "mail": {"kind": "categorical"}}


def checked(rules: dict[str, Any], frame: pl.DataFrame = TABLE, **options: Any):
    schema = infer_schema(frame, columns=COLUMNS, **options)
    return validate(frame, coerce(frame, schema), schema, read_rules(rules), now=dt.datetime(2024, 1, 20))


# --- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "bad"),
    [
        ({"columns": {"tenure": {"min": 0}}}, {"tenure.min": [2]}),
        ({"columns": {"tenure": {"max": 600}}}, {"tenure.max": [5]}),
        ({"columns": {"tenure": {"whole": True}}}, {"tenure.whole": [1]}),
        ({"columns": {"tenure": {"readable": True}}}, {"tenure.readable": [4]}),
        ({"columns": {"tenure": {"required": True}}}, {"tenure.required": [3, 4]}),
        ({"columns": {"plan": {"values": ["gold", "silver"]}}}, {"plan.values": [2]}),
        ({"columns": {"plan": {"pattern": "g.*|tin"}}}, {"plan.pattern": [1]}),
        ({"columns": {"mail": {"format": "email"}}}, {"mail.format": [1, 5]}),
        ({"columns": {"seen": {"min": "2024-01-03"}}}, {"seen.min": [0, 1]}),
        ({"rows": {"paid_as_agreed": "paid >= tenure"}}, {"paid_as_agreed": [5]}),
        ({"unique": ["id"]}, {"id.unique": [4]}),
        ({"unique": [["id", "seen"]]}, {}),
        ({"columns": {"tenure": {"min": 0}, "plan": {"values": ["gold"]}}}, {"tenure.min": [2], "plan.values": [1, 2]}),
    ],
    ids=str,
)
def test_a_rule_is_broken_by_these_rows(rules, bad):
    found = checked({"max_share": 1.0, **rules})
    expected = {row: [name for name, rows in bad.items() if row in rows] for row in sorted({*chain(*bad.values())})}
    assert np.flatnonzero(~found.kept).tolist() == list(expected)
    assert [sorted(names) for names in found.quarantine["broken_rules"].to_list()] == [*map(sorted, expected.values())]
    assert found.quarantine.drop("broken_rules").equals(TABLE[list(expected)])
    counts = {entry.rule: entry.rows for entry in found.report.entries if entry.rows}
    assert counts == {name: len(rows) for name, rows in bad.items()}


@pytest.mark.parametrize(("days", "passes"), [(13, False), (14, True)])
def test_the_newest_value_may_lie_so_many_days_behind(days, passes):
    assert checked({"fresh": {"seen": days}}).report.passes == passes


@pytest.mark.parametrize(("share", "passes"), [(0.1, False), (0.2, True)])
def test_so_many_cells_may_be_missing(share, passes):
    assert checked({"columns": {"mail": {"max_missing": share}}}).report.passes == passes


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"colums": {}}, r"unknown option data\.rules\.colums; did you mean columns"),
        ({"columns": {"tenure": {"mim": 0}}}, r"unknown option data\.rules\.columns\.tenure\.mim; did you mean min"),
        ({"columns": {"tenur": {"min": 0}}}, "did you mean 'tenure'"),
        ({"columns": {"plan": {"min": 0}}}, "plan"),
        ({"columns": {"plan": {"pattern": "("}}}, "pattern"),
        ({"columns": {"mail": {"format": "mail"}}}, "must be one of email, phone, country, uuid"),
        ({"rows": {"x": "paid + 1"}}, "must be true or false for each row"),
        ({"rows": {"x": "paid > AVG(paid)"}}, "x"),
        ({"max_share": 2}, r"data\.rules\.max_share must be in \[0, 1\], got 2"),
        ({"unique": "id"}, "must be a list of columns"),
        ({"fresh": {"seen": -1}}, "must be a number of days, at least 0"),
    ],
)
def test_rules_that_cannot_be_are_one_sentence(rules, says):
    with pytest.raises(ConfigError, match=says) as refusal:
        checked(rules)
    assert "\n" not in str(refusal.value)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "tenure": st.none() | st.floats(-5, 800) | st.integers(-2, 700),
                "plan": st.none() | st.sampled_from(["gold", "silver", "tin", "", "Gold", "g\n"]),
                "paid": st.none() | st.floats(-10, 900),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_one_row_is_judged_as_many_are(rows):
    rules = {
        "columns": {"tenure": {"min": 0, "max": 600, "whole": True}, "plan": {"pattern": "g.*", "required": True}},
        "rows": {"agreed": "paid >= tenure - 3 OR plan = 'tin'", "some": "paid * 2 < 1000"},
    }
    frame = TABLE.select("tenure", "plan", "paid")
    schema = infer_schema(frame, columns={name: COLUMNS[name] for name in ("tenure", "plan")})
    bound = read_rules(rules).bind(schema, coerce(frame, schema).typed)
    typed = pl.DataFrame(rows, schema={"tenure": pl.Float64, "plan": pl.String, "paid": pl.Float64})
    masks = broken(typed, bound)
    one = OneRowRules(bound, dict(typed.schema))
    for place, row in enumerate(typed.to_dicts()):
        assert {rule.name for rule in one.broken(row)} == {mask.name for mask in masks if mask[place]}


# --- in training ----------------------------------------------------------------------------------------------------

RULES = {"max_share": 0.05, "columns": {"tenure": {"max": 70}}, "rows": {"paid": "charges > 0"}}
MADE = made_customers(300)
BAD_ROWS = (MADE["tenure"] > 70).arg_true().to_list()
"""Some of a percent of made customers are 71 months with the company."""


def test_a_run_goes_on_without_the_rows_that_break_rules_and_accounts_for_them(tmp_path):
    MADE.write_parquet(tmp_path / "t.parquet")
    (tmp_path / "rules.yaml").write_text(json.dumps(RULES))
    words = ["data=table", f"data.path={tmp_path}/t.parquet", "data.target=churn", "data.id=customer", "model=logistic"]
    words += [f"data.rules={tmp_path}/rules.yaml", "leaks=off", "logger=none"]
    train(compose(words), folder=RunFolder(tmp_path / "run", latest=None))
    quarantine = pl.read_parquet(tmp_path / "run" / "quarantine.parquet")
    assert 0 < len(BAD_ROWS) < 0.05 * len(MADE)
    assert quarantine["customer"].to_list() == MADE["customer"][BAD_ROWS].to_list()
    assert quarantine["broken_rules"].to_list() == [["tenure.max"]] * len(BAD_ROWS)
    account = (tmp_path / "run" / "rules.json").read_text()
    assert "tenure.max" in account and not any(name in account for name in quarantine["customer"])
    assert json.loads((tmp_path / "run" / "cleaning.json").read_text())["breaking_rules"] == len(BAD_ROWS)
    # The bundle asks the same of every later row.
    predictor = churnlib.load(tmp_path / "run" / "bundle")
    with pytest.raises(RowErrors, match=r"row 0: column 'tenure' must be at most 70 \(rule tenure\.max\), got 71"):
        predictor.predict(MADE[BAD_ROWS])


def test_above_the_share_a_table_is_refused_with_all_that_was_found():
    with pytest.raises(BrokenRules, match=r"tenure\.max") as refusal:
        prepare_customers(MADE, target="churn", id="customer", rules={**RULES, "max_share": 0.001})
    assert refusal.value.validated.quarantine["customer"].to_list() == MADE["customer"][BAD_ROWS].to_list()


def test_the_shipped_rules_hold_for_simulated_customers_and_set_their_wrong_cells_aside():
    options = {"target": "churn", "id": "customer_id", "time": "snapshot_date", "rules": "simulator"}
    clean = {"missing_share": 0.0, "outlier_share": 0.0, "duplicate_share": 0.0}
    for n_snapshots in (1, 3):
        found = prepare_customers(simulate(2_000, n_snapshots=n_snapshots, seed=2, **clean).table, **options).validated
        assert found is not None and [entry.rule for entry in found.report.entries if not entry.holds] == []
    table = simulate(2_000, seed=2).table
    found = prepare_customers(table, **options).validated
    wrong = table.filter(pl.col("age") == AGE_ERROR)["customer_id"]
    assert found is not None and len(wrong) > 0
    assert set(wrong) == set(found.quarantine.filter(pl.col("broken_rules").list.contains("age.max"))["customer_id"])


def test_piece_by_piece_the_same_rows_are_set_aside(tmp_path):
    MADE.write_parquet(tmp_path / "t.parquet", row_group_size=64)
    options = {"target": "churn", "id": "customer", "rules": RULES}
    done = prepare_table(pl.scan_parquet(tmp_path / "t.parquet"), tmp_path / "out", **options)
    quarantine = pl.read_parquet(tmp_path / "out" / "quarantine.parquet")
    assert sorted(quarantine["customer"]) == sorted(MADE["customer"][BAD_ROWS])
    assert done.rows == len(MADE) - len(BAD_ROWS)
    prepared = pl.read_parquet(tmp_path / "out" / "prepared.parquet")["customer"]
    assert set(prepared).isdisjoint(quarantine["customer"])


# --- in scoring -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules") / "bundle"
    write_bundle(made_bundle(prepare_customers(MADE, target="churn", id="customer", rules=RULES)), folder)
    return folder


@pytest.fixture
def words(bundle: Path, tmp_path: Path) -> list[str]:
    MADE.write_csv(tmp_path / "in.csv")
    return [f"bundle={bundle}", f"input={tmp_path / 'in.csv'}", f"output={tmp_path / 'out.csv'}", "batch_rows=64"]


def test_score_stops_at_a_broken_rule_by_its_name_and_writes_nothing(words, tmp_path, capsys):
    assert score.main(words) == 1
    said = capsys.readouterr().err
    assert f"row {BAD_ROWS[0]}" in said and "(rule tenure.max)" in said
    assert f"{len(BAD_ROWS)}" in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_score_leaves_such_rows_empty_where_that_is_asked_for(words, bundle, tmp_path):
    assert score.main([*words, "on_error=null"]) == 0
    answers = pl.read_csv(tmp_path / "out.csv")
    assert answers["churn_probability"].is_null().arg_true().to_list() == BAD_ROWS
    good = MADE.filter(~pl.int_range(pl.len()).is_in(BAD_ROWS))
    expected = churnlib.load(bundle).predict(good)["churn_probability"]
    np.testing.assert_allclose(answers["churn_probability"].drop_nulls(), expected, atol=1e-6)
