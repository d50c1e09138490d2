"""The simulated customers: what they look like, what is wrong with them, and what can be learned from them."""

from __future__ import annotations

from datetime import date
from io import StringIO

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from churnlib.commands.simulate import write_customers
from churnlib.data.simulator import (
    BLOCK_SIZE,
    SNAPSHOT_DATE,
    TRUTH,
    model,
    simulate,
    simulate_to_parquet,
    snapshot_dates,
)
from churnlib.data.simulator.errors import AGE_ERROR, CALL_ERROR, MISSING_WEIGHTS, USAGE_ERROR
from churnlib.errors import ConfigError, DataError

CLEAN = {"missing_share": 0.0, "outlier_share": 0.0, "duplicate_share": 0.0}


@pytest.fixture(scope="module")
def drawn():
    return simulate(40_000, seed=3)


@pytest.fixture(scope="module")
def clean():
    return simulate(40_000, seed=3, **CLEAN)


def distinct(drawn):
    """The table with the truth, each customer once."""
    table = drawn.table.with_columns(truth=drawn.churn_probability)
    return table.unique("customer_id", keep="first", maintain_order=True)


def expected_error(share, n):
    """Four standard errors of a share."""
    return 4 * np.sqrt(share * (1 - share) / n)


# --- the same customers every time ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_table_and_another_seed_another():
    first, again, other = simulate(300, seed=1), simulate(300, seed=1), simulate(300, seed=2)
    assert_frame_equal(first.table, again.table)
    np.testing.assert_array_equal(first.churn_probability, again.churn_probability)
    assert not np.array_equal(first.table["monthly_charges"], other.table["monthly_charges"])


def test_blocks_hold_different_customers():
    table = simulate(2 * BLOCK_SIZE, **CLEAN).table
    assert not np.array_equal(table["monthly_charges"][:BLOCK_SIZE], table["monthly_charges"][BLOCK_SIZE:])


@pytest.mark.parametrize("n_small", [1, 700, BLOCK_SIZE, BLOCK_SIZE + 1])
def test_a_small_table_holds_the_first_customers_of_a_large_one(n_small):
    small, large = distinct(simulate(n_small, seed=5)), distinct(simulate(2 * BLOCK_SIZE + 500, seed=5))
    assert_frame_equal(small, large.head(n_small))


def test_a_file_holds_the_rows_of_the_table_in_memory(tmp_path):
    n, options = 2 * BLOCK_SIZE + 700, {"seed": 4, "n_snapshots": 3}
    calls: list[int] = []
    rows = simulate_to_parquet(tmp_path / "customers.parquet", n, progress=calls.append, **options)
    expected, written = simulate(n, **options), pl.read_parquet(tmp_path / "customers.parquet")
    assert_frame_equal(written.drop(TRUTH), expected.table)
    np.testing.assert_array_equal(written[TRUTH].to_numpy(), expected.churn_probability)
    assert rows == written.height == calls[-1]
    assert len(calls) == 3 and calls == sorted(calls)
    assert [path.name for path in tmp_path.iterdir()] == ["customers.parquet"]


def test_a_file_without_the_truth_is_the_table_alone(tmp_path):
    simulate_to_parquet(tmp_path / "customers.parquet", 50, truth=False)
    assert_frame_equal(pl.read_parquet(tmp_path / "customers.parquet"), simulate(50).table)


def test_errors_change_only_the_cells_they_hit(clean):
    other = simulate(5_000, seed=3, **(CLEAN | {"missing_share": 0.05})).table
    assert other.null_count().drop("churn_date").sum_horizontal().item() > 0
    filled = other.with_columns(pl.coalesce(name, clean.table[name].head(5_000)) for name in MISSING_WEIGHTS)
    assert_frame_equal(filled, clean.table.head(5_000))


# --- what the table says ----------------------------------------------------------------------------------------------


def test_the_table_has_every_data_element_with_its_type(drawn):
    kinds = {"text": [], "whole": [], "number": [], "date": []}
    names = {pl.String: "text", pl.Int64: "whole", pl.Float64: "number", pl.Date: "date"}
    for name, dtype in drawn.table.schema.items():
        kinds[names[dtype.base_type()]].append(name)
    assert kinds == {
        "text": [
            "customer_id", "gender", "region", "partner", "dependents", "contract", "payment_method", "phone_service",
            "multiple_lines", "internet_service", *model.ADDITIONS, "churn",
        ],
        "whole": ["age", "tenure_months", "number_of_services", "support_tickets"],
        "number": [
            "monthly_data_usage_gb", "call_duration_avg_minutes", "monthly_charges", "total_charges",
        ],
        "date": ["snapshot_date", "last_interaction_date", "churn_date"],
    }  # fmt: skip
    yes_no = ["partner", "dependents", "phone_service", "multiple_lines", *model.ADDITIONS, "churn"]
    assert all(set(drawn.table[name].unique()) == {"yes", "no"} for name in yes_no)
    assert set(drawn.table["region"].unique()) == set(model.REGIONS) and len(model.REGIONS) == 60


def test_no_customer_contradicts_himself(clean):
    table = clean.table
    assert table["customer_id"].n_unique() == table.height == 40_000
    assert table.drop("churn_date").null_count().sum_horizontal().item() == 0
    numbers = table.select(pl.selectors.numeric())
    assert np.isfinite(numbers.to_numpy()).all() and (numbers.to_numpy() >= 0).all()
    assert table["age"].is_between(18, 90).all()
    assert (table["tenure_months"] < 12 * (table["age"] - 17)).all()
    assert (table["total_charges"] <= table["tenure_months"] * table["monthly_charges"] + 0.01).all()
    assert (table["total_charges"] >= 0.8 * table["tenure_months"] * table["monthly_charges"]).all()
    has = {name: table[name] == "yes" for name in ("phone_service", "multiple_lines", *model.ADDITIONS)}
    online = table["internet_service"] != "no"
    assert (table["number_of_services"] == sum(flag.cast(pl.Int64) for flag in has.values()) + online).all()
    assert (table["number_of_services"] >= 1).all()
    assert not (has["multiple_lines"] & ~has["phone_service"]).any()
    assert not any((has[name] & ~online).any() for name in model.ADDITIONS)
    assert (table["monthly_data_usage_gb"].filter(~online) == 0).all()
    assert (table["call_duration_avg_minutes"].filter(~has["phone_service"]) == 0).all()


def test_dates_are_in_order(drawn):
    table = drawn.table
    assert (table["snapshot_date"] == SNAPSHOT_DATE).all()
    days = (table["snapshot_date"] - table["last_interaction_date"]).dt.total_days()
    assert days.min() == 0 and days.max() <= model.MAX_RECENCY_DAYS
    assert (days.filter(table["support_tickets"] > 0).drop_nulls() <= model.TICKET_WINDOW_DAYS).all()
    assert (days <= 30 * table["tenure_months"] + 30).all()
    assert (table["churn_date"].is_not_null() == (table["churn"] == "yes")).all()
    ahead = (table["churn_date"] - table["snapshot_date"]).dt.total_days()
    assert (ahead.min(), ahead.max()) == (1, model.HORIZON_DAYS)


def test_several_snapshots_share_the_customers_evenly_and_do_not_drift():
    drawn = distinct(simulate(30_000, seed=1, n_snapshots=3, snapshot_date=date(2024, 3, 31)))
    single = distinct(simulate(30_000, seed=1))
    groups = drawn.group_by("snapshot_date").agg(n=pl.len(), p=pl.col("truth").mean()).sort("snapshot_date")
    assert groups["snapshot_date"].to_list() == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)]
    assert np.abs(groups["n"].to_numpy().astype(float) - 10_000).max() < 4 * np.sqrt(30_000 * 2 / 9)
    assert groups["p"].max() - groups["p"].min() < 0.015
    # The same people with the same prospects, only seen on other days.
    np.testing.assert_array_equal(drawn["truth"], single["truth"])
    days = pl.col("snapshot_date") - pl.col("last_interaction_date")
    assert_frame_equal(drawn.select(days), single.select(days))


def test_snapshot_dates_are_month_ends_before_the_last_one():
    assert snapshot_dates(date(2025, 1, 15), 3) == [date(2024, 11, 30), date(2024, 12, 31), date(2025, 1, 15)]


# --- errors in the documented shares ----------------------------------------------------------------------------------


def test_missing_cells_have_the_documented_shares(drawn):
    table = distinct(drawn)
    for column, weight in MISSING_WEIGHTS.items():
        share = 0.02 * weight
        assert abs(table[column].null_count() / table.height - share) < expected_error(share, table.height), column
    whole = table.drop(*MISSING_WEIGHTS, "churn_date")
    assert whole.null_count().sum_horizontal().item() == 0


def test_newcomers_bills_are_missing_more_often():
    table = distinct(simulate(40_000, missing_share=0.1))
    missing = table.group_by(pl.col("tenure_months") < 3).agg(pl.col("total_charges").is_null().mean())
    newcomers, others = missing.sort("tenure_months", descending=True)["total_charges"]
    assert newcomers > 1.5 * others


def test_outliers_have_the_documented_shares_and_sizes(drawn, clean):
    table, truth = distinct(drawn), clean.table
    factors = {"monthly_data_usage_gb": USAGE_ERROR, "call_duration_avg_minutes": CALL_ERROR}
    for column, factor in factors.items():
        both = pl.DataFrame({"seen": table[column], "true": truth[column]}).filter(pl.col("true") > 0).drop_nulls()
        wrong = both.filter(pl.col("seen") != pl.col("true"))
        np.testing.assert_allclose(wrong["seen"], factor * wrong["true"])
        assert abs(wrong.height / both.height - 0.003) < expected_error(0.003, both.height), column
    old = table["age"].drop_nulls() == AGE_ERROR
    assert abs(old.mean() - 0.003) < expected_error(0.003, len(old))


def test_some_rows_are_repeated_exactly_and_later_in_the_table(drawn):
    table = drawn.table.with_columns(truth=drawn.churn_probability).with_row_index()
    copies = table.height - 40_000
    assert abs(copies / 40_000 - 0.005) < expected_error(0.005, 40_000)
    assert table.drop("index").unique().height == table["customer_id"].n_unique() == 40_000
    repeated = table.filter(pl.col("customer_id").is_duplicated())
    apart = repeated.group_by("customer_id").agg(pl.col("index").max() - pl.col("index").min())["index"]
    assert apart.median() > 500
    originals = table.filter(pl.col("customer_id").is_first_distinct())["customer_id"]
    assert originals.is_sorted()


# --- what can be learned ----------------------------------------------------------------------------------------------


def test_labels_come_as_often_as_the_true_probabilities_say(drawn):
    table = distinct(drawn)
    churn, p = (table["churn"] == "yes").to_numpy(), table["truth"].to_numpy()
    assert 0.20 <= churn.mean() <= 0.27
    for rows in np.array_split(np.argsort(p), 20):
        error = np.sqrt((p[rows] * (1 - p[rows])).sum())
        assert abs(churn[rows].sum() - p[rows].sum()) < 4 * error


def test_the_true_probability_is_the_logistic_function_of_the_terms_of_one_plain_customer():
    """A customer computed by hand, from the equations of the module's text."""
    one = dict.fromkeys(model.Customers.__dataclass_fields__, np.array([0]))
    one |= {
        "age": np.array([48]),
        "region": np.array([0]),
        "partner": np.array([True]),
        "dependents": np.array([False]),
        "internet_service": np.array([model.NO_INTERNET]),
        "additions": {name: np.array([False]) for name in model.ADDITIONS},
        "number_of_services": np.array([1]),
        "contract": np.array([model.TWO_YEAR]),
        "payment_method": np.array([model.MAILED_CHECK]),
        "monthly_charges": np.array([20.0]),
        "normal_charges": np.array([20.0]),
    }
    customer = model.Customers(**one)
    terms = {name: value.item() for name, value in model.churn_terms(customer).items()}
    assert {name for name, value in terms.items() if abs(value) > 0.02} == {"contract", "family", "region"}
    logit = model.CHURN_INTERCEPT + sum(terms.values())
    assert model.churn_probability(customer).item() == pytest.approx(1 / (1 + np.exp(-logit)))


def test_the_limit_is_reachable_and_out_of_a_linear_models_reach(drawn):
    table = distinct(drawn)
    churn, p = (table["churn"] == "yes").to_numpy(), table["truth"].to_numpy()
    days = (pl.col("snapshot_date") - pl.col("last_interaction_date")).dt.total_days()
    inputs = table.with_columns(days=days).drop("customer_id", "churn", "truth", pl.selectors.date())
    numbers = inputs.select(pl.selectors.numeric())
    flags = numbers.select(pl.all().is_null().name.suffix("_missing")).cast(pl.Float64)
    filled = numbers.with_columns(pl.all().fill_null(pl.all().median()))
    filled = filled.select((pl.all() - pl.all().mean()) / pl.all().std())
    one_hot = inputs.select(pl.selectors.string()).to_dummies().cast(pl.Float64)
    x = pl.concat([filled, flags, one_hot], how="horizontal").to_numpy()
    train, test = slice(0, 28_000), slice(28_000, None)
    logistic = LogisticRegression(max_iter=300).fit(x[train], churn[train])
    limit = roc_auc_score(churn[test], p[test])
    assert 0.80 < limit < 0.90
    assert roc_auc_score(churn[test], logistic.decision_function(x[test])) < limit - 0.02


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_customers": 0}, "n_customers must be a whole number from 1 to 1,000,000,000, got 0"),
        ({"n_customers": 10.5}, "got 10.5"),
        ({"n_customers": True}, "got True"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"n_snapshots": 0}, "n_snapshots must be a whole number from 1 to 120, got 0"),
        ({"missing_share": 0.5}, "missing_share must be a fraction from 0 to 0.2, got 0.5"),
        ({"outlier_share": float("nan")}, "outlier_share must be a fraction from 0 to 0.2, got nan"),
        ({"duplicate_share": "much"}, "duplicate_share must be a fraction from 0 to 0.2, got 'much'"),
        ({"snapshot_date": "2025-06-30"}, "snapshot_date must be a date from 1990 to 2200, got '2025-06-30'"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(options, said, tmp_path):
    options = {"n_customers": 10} | options
    with pytest.raises(ConfigError) as error:
        simulate(**options)
    assert said in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="must be"):
        simulate_to_parquet(tmp_path / "customers.parquet", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        simulate_to_parquet(tmp_path / "missing" / "customers.parquet", 10)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(DataError, match=r"folder\.parquet cannot be written"):
        simulate_to_parquet(tmp_path / "folder.parquet", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]


def test_a_stopped_draw_leaves_the_older_file_and_nothing_else(tmp_path):
    file = tmp_path / "customers.parquet"
    file.write_text("older")

    def stop(rows: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        simulate_to_parquet(file, 3 * BLOCK_SIZE, progress=stop)
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


def test_the_command_says_what_it_wrote(tmp_path):
    console = Console(record=True, file=StringIO())
    file = tmp_path / "customers.parquet"
    rows = write_customers(file, 500, console=console, seed=1)
    table = pl.read_parquet(file)
    assert table.height == rows
    said = console.export_text()
    assert f"{rows:,} rows in" in said and f"churn rate {(table['churn'] == 'yes').mean():.1%}" in said
