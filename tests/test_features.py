"""Declared features, and what may not be made into one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf

from churnlib.compose import compose
from churnlib.config.folder import config_dir
from churnlib.data.customers import prepare_customers
from churnlib.data.simulator import simulate, simulate_events
from churnlib.data.steps import Training, fit_chain
from churnlib.errors import ConfigError
from churnlib.schema import Column, Kind, Role
from churnlib.training.train import read_customers

TABLE = simulate(600, seed=1).table
OPTIONS = {"target": "churn", "id": "customer_id", "time": "snapshot_date"}
BARRED = {"churn_date": {"role": "event_time"}}


def prepared(**preprocess):
    return prepare_customers(TABLE, columns=BARRED, preprocess=preprocess, **OPTIONS)


def test_what_exists_only_for_those_who_left_is_no_feature():
    schema = prepared().schema
    assert schema["churn_date"].role is Role.event_time
    assert "churn_date" not in [column.name for column in schema.features]
    assert compose().data.columns["churn_date"].role == "event_time"


@pytest.mark.parametrize(
    "preprocess",
    [
        {"features": {"churn_month": "EXTRACT(MONTH FROM churn_date)"}},
        {"features": {"churn_weekday": "EXTRACT(DOW FROM churn_date)"}},
        {"steps": {"dates": {"columns": ["churn_date"]}}},
    ],
)
def test_nothing_can_be_made_of_it(preprocess):
    with pytest.raises(ConfigError, match="'churn_date', whose role is event_time: it says something only of those"):
        prepared(**preprocess)


def test_nor_of_the_target():
    with pytest.raises(ConfigError, match="reads 'churn', which is the target"):
        prepared(features={"x": "churn || 'x'"})


def test_the_simulators_features_are_what_they_are_called():
    config = compose(["features=simulator", "data.n_customers=600"])
    customers = read_customers(config)
    rows = customers.preparation.chain.apply(customers.typed)
    days = (rows["snapshot_date"] - rows["last_interaction_date"]).dt.total_days().cast(pl.Float64)
    assert rows["days_since_last_interaction"].equals(days.alias("days_since_last_interaction"), null_equal=True)
    ratio = rows["monthly_charges"] / rows["number_of_services"]
    np.testing.assert_allclose(rows["monthly_charges_per_service"].to_numpy(), ratio.to_numpy())
    assert set(rows["tenure_group"].drop_nulls()) <= {"0-12", "13-24", "25-36", "37-48", "49-60", "61+"}


def test_the_shipped_features_of_contracts_and_payments_by_hand():
    rows = {
        "tenure": [0.0, 1, 12, 13, 30],
        "Contract": ["One year", "Two year", "One year", "Month-to-month", "Two year"],
    }
    paid = ["Bank transfer (automatic)", "Mailed check", None, "Electronic check", "Credit card (automatic)"]
    for name, renamed in (("telco", {}), ("simulator", {"tenure": "tenure_months", "Contract": "contract"})):
        features = OmegaConf.to_container(OmegaConf.load(config_dir() / "features" / f"{name}.yaml"))
        assert isinstance(features, dict)
        frame = pl.DataFrame({**rows, "PaymentMethod": paid}).rename(renamed)
        if name == "simulator":
            methods = pl.col("PaymentMethod").str.to_lowercase().str.replace(r" \(automatic\)", "")
            frame = frame.with_columns(pl.col("contract").str.to_lowercase(), payment_method=methods)
        wanted = {key: features[key] for key in ("months_to_contract_end", "pays_automatically")}
        made = fit({"made": {"step": "expressions", "columns": wanted}}, frame).rows
        assert made["months_to_contract_end"].to_list() == [12, 23, 12, 0, 18], name
        assert made["pays_automatically"].to_list() == [1, 0, None, 0, 1], name


def test_the_documented_folding_keeps_a_flag_of_what_it_folds():
    """Of the page: expressions see the words that the map step takes away."""
    page = (Path(__file__).parents[1] / "docs" / "features.md").read_text(encoding="utf-8")
    preprocess = OmegaConf.to_container(OmegaConf.create(page.split("```yaml")[1].split("```")[0]))
    assert isinstance(preprocess, dict)
    services = list(preprocess["steps"]["fold"]["values"])
    words = ["Yes", "No", "No internet service", None]
    frame = pl.DataFrame(dict.fromkeys(services, words)).with_columns(
        MultipleLines=pl.Series(["Yes", "No", "No phone service", None])
    )
    steps = {"flags": {"step": "expressions", "columns": preprocess["features"]}, **preprocess["steps"]}
    made = fit(steps, frame).rows
    assert made["no_internet"].to_list() == [0, 0, 1, None]
    assert [made[name].to_list() for name in services] == [["Yes", "No", "No", None]] * len(services)


def fit(steps, rows, label=None, **options):
    kinds = {pl.Float64: Kind.numeric, pl.String: Kind.categorical}
    columns = tuple(
        Column(name, kinds.get(dtype.base_type(), Kind.datetime), nullable=True)
        for name, dtype in rows.schema.items()
        if name != options.get("time")
    )
    return fit_chain(steps, Training(rows, columns, np.zeros(len(rows)) if label is None else label, **options))


def test_groups_of_tenure_have_the_documented_edges():
    rows = pl.DataFrame({"tenure": [0.0, 12, 13, 24, 60, 61, None]})
    learned = fit({"tenure_groups": {"columns": ["tenure"]}}, rows)
    assert learned.rows["tenure_group"].to_list() == ["0-12", "0-12", "13-24", "13-24", "49-60", "61+", None]
    left = fit({"cut": {"columns": ["tenure"], "edges": [12], "right": False}}, rows)
    assert left.rows["tenure_group"].to_list() == ["< 12", *[">= 12"] * 5, None]


def test_parts_of_dates_by_hand():
    day = pl.Series([datetime(2024, 12, 31)], dtype=pl.Datetime("us"))
    rows = pl.DataFrame({"joined": day, "taken": day.dt.offset_by("10d")})
    made = fit({"dates": {"cyclic": ["quarter"]}}, rows, time="taken").rows.row(0, named=True)
    assert [made[f"joined_{part}"] for part in ("month", "weekday", "quarter", "day")] == [12.0, 2.0, 4.0, 31.0]
    assert (made["joined_quarter_sin"], made["joined_days_before"]) == (pytest.approx(-1), 10.0)


def test_a_hidden_interaction_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    n = 4000
    a, b, c, d = rng.normal(size=(4, n))
    left, right = rng.choice(["x", "y"], (2, n))
    logit = 1.2 * a * b + 1.5 * np.where(left == right, 1, -1) + 0.5 * c**2 + d
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    rows = pl.DataFrame({"a": a, "b": b, "c": c, "d": d, "left": left, "right": right})
    learned = fit({"interactions": {"top": 2}}, rows, label)
    assert {column.name for column in learned.columns[6:]} == {"a_x_b", "left_x_right"}
    assert learned.said[0].startswith("interactions: ") and "log loss out of fold -0." in learned.said[0]
    assert fit({"interactions": {}}, rows, rng.permutation(label)).said[0].endswith("pairs of columns helps")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({"cut": {}}, "must name the columns to cut"),
        ({"cut": {"columns": ["a"], "edges": [2, 1]}}, r"must be rising numbers such as \[12, 24\], got \[2, 1\]"),
        ({"cut": {"columns": ["a"], "edges": [1], "labels": ["x"]}}, "must be 2 different names"),
        ({"tenure_groups": {"columns": ["a"], "edges": [1.5]}}, "must be rising whole numbers above 0"),
        ({"polynomial": {}}, "has nothing to make"),
        ({"polynomial": {"products": ["ab"]}}, "must be pairs such as"),
        ({"polynomial": {"crosses": [["a", "b"]]}}, "names 'a', which is numeric"),
        ({"dates": {"parts": ["moon"]}}, "must be of month, weekday"),
        ({"dates": {"cyclic": ["year"]}}, "does not come again"),
        ({"dates": {"days_before": True}}, r"set data\.time=COLUMN"),
    ],
)
def test_impossible_options_of_steps_are_one_sentence(steps, says):
    with pytest.raises(ConfigError, match=says):
        fit(steps, pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))


def test_simulated_events_agree_with_the_customers():
    clean = {"missing_share": 0.0, "outlier_share": 0.0, "duplicate_share": 0.0}
    drawn = simulate(3000, seed=2, event_days=90, **clean)
    tickets = simulate_events(3000, "tickets", seed=2).group_by("customer_id").len()
    counted = drawn.table.join(tickets, on="customer_id", how="left")["len"].fill_null(0)
    assert (counted == drawn.table["support_tickets"]).all()
    usage = simulate_events(3000, seed=2)
    snapshot = pl.lit(drawn.table["snapshot_date"][0]).cast(pl.Datetime("us"))
    assert usage.filter(pl.col("time") > snapshot).is_empty()
    recent = (
        usage.filter(pl.col("time") > snapshot - pl.duration(days=30)).group_by("customer_id").agg(pl.sum("data_gb"))
    )
    both = drawn.table.join(recent, on="customer_id").filter(pl.col("monthly_data_usage_gb") > 0)
    assert (both["data_gb"].sum() / both["monthly_data_usage_gb"].sum()) == pytest.approx(1, abs=0.03)
    assert simulate_events(50, seed=2).equals(usage.filter(pl.col("customer_id") <= "C000000050"))
    plain = simulate(3000, seed=2, **clean)
    assert plain.table.drop("churn", "churn_date").equals(drawn.table.drop("churn", "churn_date"))
    assert not np.array_equal(plain.churn_probability, drawn.churn_probability)
