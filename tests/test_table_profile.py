"""The profile of a table: its figures against independent ones, and a page that needs nothing from anywhere."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from made import made_customers
from scipy import stats

from churnlib import cli, simulate
from churnlib.data.anonymity import joined_edges, k_anonymity, n_joined
from churnlib.data.bins import MISSING, bins_of
from churnlib.data.customers import prepare_customers
from churnlib.evaluation.intervals import wilson_interval
from churnlib.profiling.associations import correlation
from churnlib.profiling.checks import check_lines
from churnlib.profiling.columns import cramers_v
from churnlib.profiling.page import render
from churnlib.profiling.periods import stability
from churnlib.profiling.profile import profile_rows
from churnlib.profiling.rows import read_rows
from churnlib.schema import Column, Kind

COLUMNS = {"gender": {"sensitive": True}, "age": {"sensitive": True, "use": True, "purpose": "the offer"}}


def profiled(frame: pl.DataFrame, *, profile=None, **options):
    rows = read_rows(frame, target="churn", **options)
    return profile_rows(rows, today=dt.date(2026, 1, 1), **(profile or {}))


@pytest.fixture(scope="module")
def simulated():
    table = simulate(6_000, seed=3, n_snapshots=3).table.drop("churn_date")
    known = {"id": "customer_id", "time": "snapshot_date", "columns": COLUMNS, "about": {"retention_days": 200}}
    return table, profiled(table, profile={"quasi_identifiers": ["region"]}, **known)


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (47, 1000)])
def test_wilsons_interval_is_scipys(k, n):
    wanted = stats.binomtest(k, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(k, n), (wanted.low, wanted.high), atol=1e-12)


def test_correlations_are_those_of_pandas_over_the_rows_that_two_columns_share():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))
    values[rng.random(values.shape) < 0.2] = np.nan
    np.testing.assert_allclose(correlation(values), pd.DataFrame(values).corr().to_numpy(), atol=1e-12)
    assert correlation(np.column_stack([np.ones(9), np.arange(9.0)]))[0, 1] == 0


def test_cramers_v_without_bias():
    table = np.array([[30, 5], [8, 40], [10, 11]])
    n, (r, k) = table.sum(), table.shape
    phi = stats.contingency.association(table, method="cramer") ** 2 * (min(r, k) - 1)
    phi = phi - (r - 1) * (k - 1) / (n - 1)
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    assert cramers_v(table.ravel(), 2) == pytest.approx(np.sqrt(phi / smaller))
    rng = np.random.default_rng(0)
    noise = [cramers_v(rng.multinomial(500, np.full(20, 0.05)), 2) for _ in range(200)]
    assert np.mean(np.square(noise)) < 0.01


def test_without_drift_the_index_is_above_its_noise_in_one_of_twenty_cases():
    rng = np.random.default_rng(1)
    drawn = [rng.multinomial(n, np.full(10, 0.1), size=1_000) for n in (2_000, 500)]
    found = [stability(before, after) for before, after in zip(*drawn, strict=True)]
    above = np.mean([value > noise for value, noise, _ in found])
    assert 0.03 < above < 0.08
    assert np.mean([value for value, _, _ in found]) == pytest.approx(9 * (1 / 2_000 + 1 / 500), rel=0.1)
    assert stability(np.array([900, 100]), np.array([500, 500]))[2] < 1e-9


def test_cells_hold_every_row_once_and_enough_of_them():
    rng = np.random.default_rng(2)
    numbers = pl.Series("x", np.where(rng.random(3_000) < 0.1, None, rng.lognormal(3, 1, 3_000)).tolist(), pl.Float64)
    words = pl.Series("x", rng.choice([f"w{i}" for i in range(40)], 3_000, p=np.arange(1, 41) / 820).tolist())
    for values, kind in ((numbers, Kind.numeric), (words, Kind.categorical)):
        bins = bins_of(values, Column("x", kind), fewest=5)
        assert bins.counts().sum() == 3_000 and bins.counts().min() >= 5 and len(bins.labels) <= 14
    bins = bins_of(numbers, Column("x", Kind.numeric), fewest=5)
    place = bins.labels.index(MISSING)
    assert ((bins.codes == place) == numbers.is_null().to_numpy()).all()
    few = bins_of(pl.Series("x", [0.0] * 9 + [1.0] * 3 + [2.0] * 8), Column("x", Kind.numeric), fewest=5)
    assert few.labels == ("0", "1 – 2") and few.counts().tolist() == [9, 11]


def test_churn_in_a_cell_is_a_plain_count(simulated):
    table, profile = simulated
    rows = table.unique("customer_id")
    contract = next(column for column in profile["columns"] if column["name"] == "contract")
    for cell in contract["cells"]:
        own = rows.filter(pl.col("contract") == cell["label"])
        assert cell["n"] == len(own) and cell["rate"] == pytest.approx((own["churn"] == "yes").mean())
    assert profile["table"]["rate"] == pytest.approx((rows["churn"] == "yes").mean())


def test_cells_of_few_are_joined_and_who_stands_out_is_counted():
    assert joined_edges([1, 1, 1], 5) == [] and joined_edges([5, 5], 5) == [0]
    assert n_joined([1], 5) == 1
    frame = pl.DataFrame({"a": ["x"] * 6 + ["y"] * 2, "b": [1] * 8})
    told = k_anonymity(frame, ["a", "b"])
    assert (told["groups"], told["smallest"], told["below"], told["share"]) == (2, 2, 2, 0.25)


# --- what a reader is told ------------------------------------------------------------------------------------------


def test_dates_count_as_days_before_the_snapshot_and_do_not_drift_by_themselves(simulated):
    profile = simulated[1]
    last = next(column for column in profile["columns"] if column["name"] == "last_interaction_date")
    assert (last["kind"], last["unit"]) == ("datetime", "days before snapshot_date")
    assert {one["verdict"] for one in profile["drift"]} <= {"within noise", "small"}


def test_a_shift_beyond_noise_is_told(simulated):
    table = simulated[0]
    newest = pl.col("snapshot_date") == table["snapshot_date"].max()
    moved = table.with_columns(
        pl.when(newest).then(pl.col("monthly_charges") * 1.5).otherwise(pl.col("monthly_charges"))
    )
    profile = profiled(moved, id="customer_id", time="snapshot_date")
    assert profile["drift"][0]["column"] == "monthly_charges" and profile["drift"][0]["verdict"] == "large"
    assert any("monthly_charges" in one["text"] and one["where"] == "time" for one in profile["findings"])


def test_groups_retention_doubles_and_small_groups(simulated):
    profile = simulated[1]
    assert [group["column"] for group in profile["groups"]] == ["age", "gender"]
    assert profile["retention"]["before"] == "2025-06-15" and profile["retention"]["rows"] > 0
    assert profile["singled_out"][0]["columns"] == ["age", "gender", "region"]
    assert profile["singled_out"][0]["below"] > 1_000
    twice = made_customers(150)
    twin = twice.with_columns(customer=pl.format("D{}", pl.col("customer")))
    doubled = profiled(pl.concat([twice, twin]), id="customer", columns={"paperless": {"sensitive": True}})
    assert doubled["near_duplicates"] == {"rows": 300, "groups": 150, "largest": 2}
    assert any("fewer than 200 customers" in one["text"] for one in doubled["findings"])


def test_a_mostly_missing_column_and_a_telling_gap_are_told():
    frame = made_customers(1_000)
    left = pl.col("churn") == "yes"
    frame = frame.with_columns(
        gap=pl.when(left).then(None).otherwise(pl.col("tenure") * 1.5), hollow=pl.when(pl.col("tenure") > 60).then(1.5),
    )  # fmt: skip
    told = " ".join(one["text"] for one in profiled(frame, id="customer")["findings"])
    assert "hollow is missing for" in told and "Where gap is missing, 100% leave" in told


def test_several_classes_have_no_churn_rate():
    frame = made_customers(300).with_columns(churn=pl.Series(["a", "b", "c"] * 100))
    profile = profiled(frame, id="customer")
    assert "rate" not in profile["table"] and "rate" not in profile["columns"][0]["cells"][0]
    assert "<html" in render(profile)


def test_leaks_and_broken_rules_are_told():
    frame = made_customers(600).with_columns(told=(pl.col("churn") == "yes").cast(pl.Int64) * 10 + pl.col("tenure") % 7)
    known = {"target": "churn", "id": "customer"}
    rules = {"max_share": 1.0, "columns": {"tenure": {"max": 60}}}
    leaks, told = check_lines(lambda: prepare_customers(frame, **known, rules=rules))
    assert [line["evidence"].partition(":")[0] for line in leaks if not line["passed"]] == ["'told'"]
    assert [line["passed"] for line in told] == [False]
    page = render(profile_rows(read_rows(frame, **known), customers=lambda: prepare_customers(frame, **known)))
    assert "told" in page and "Leak checks" in page


def test_a_table_that_cannot_be_prepared_says_why_in_place_of_the_checks():
    frame = made_customers(300)
    (line,), rules = check_lines(lambda: prepare_customers(frame, target="churn", id="nobody"))
    assert not line["passed"] and "nobody" in line["evidence"] and rules == []


# --- the page -------------------------------------------------------------------------------------------------------


class Loads(HTMLParser):
    """Addresses that a page would load, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href", "srcset", "data") and value]


def test_the_page_loads_nothing_runs_nothing_and_names_nobody(simulated):
    profile = simulated[1]
    page = render(profile)
    seen = Loads()
    seen.feed(page)
    assert not [address for address in seen.loads if not address.startswith(("#", "data:,"))]
    assert "script" not in seen.tags and not re.search(r"url\(|@import|https?://", page)
    assert not re.search(r"C0000\d+", page + json.dumps(profile))
    assert seen.tags.count("h1") == 1 and seen.tags.count("caption") == seen.tags.count("table")
    assert len(page) < 400_000


def test_odd_names_are_text():
    frame = made_customers(300).rename({"plan": "<script>alert(1)</script>", "region": 'a "b" & c'})
    page = render(profiled(frame, id="customer"))
    assert "<script" not in page and "a &#34;b&#34; &amp; c" in page


def test_fifty_columns_stay_below_a_megabyte():
    rng = np.random.default_rng(0)
    wide = {f"number_{i}": rng.normal(size=800) for i in range(40)}
    wide |= {f"word_{i}": rng.choice([f"value {j}" for j in range(12)], 800) for i in range(10)}
    page = render(profiled(pl.DataFrame({**wide, "churn": [0, 1] * 400})))
    assert len(page.encode()) < 1_000_000


def test_the_command_writes_page_and_figures(empty_folder, capsys):
    made_customers(400).write_parquet("customers.parquet")
    data = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer"]
    assert cli.main(["profile", *data, "data.owner='Ms Doe'", "output=page.html"]) == 0
    assert {path.name for path in empty_folder.iterdir()} == {"customers.parquet", "page.html", "page.json"}
    assert json.loads((empty_folder / "page.json").read_text())["table"]["owner"] == "Ms Doe"
    assert "Columns that tell most" in capsys.readouterr().out
    assert cli.main(["profile", *data, "output=nowhere/page.html"]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_the_command_describes_and_checks_the_rows_of_a_training_run_with_their_events(empty_folder):
    """Complaints come in the week before somebody leaves, and one of the rows of each customer is an old one."""
    customers = made_customers(600).with_columns(taken=pl.lit(dt.date(2025, 1, 1)), written=pl.lit(2))
    older = customers.head(50).with_columns(written=pl.lit(1), churn=pl.lit("no"))
    pl.concat([customers, older]).write_parquet("customers.parquet")
    gone = customers.filter(pl.col("churn") == "yes")
    gone.select("customer", day=pl.lit(dt.date(2024, 12, 30))).write_parquet("complaints.parquet")
    event = "{path: complaints.parquet, id: customer, time: day, windows: [7], aggregations: [count]}"
    words = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer", "data.time=taken"]
    words += ["data.latest=written", f"+data.events.complaints={event}", "split.by=random", "output=page.html"]
    assert cli.main(["profile", *words]) == 0
    page = json.loads((empty_folder / "page.json").read_text())
    assert page["table"]["rows"] == 600
    columns = {column["name"]: column for column in page["schema"]}
    (made,) = [name for name in columns if name.startswith("complaints")]
    # Counts that are all 0 or 1 look like a truth word; they are numbers, here as in training.
    assert columns[made]["kind"] == "numeric" and columns["written"]["role"] == "ignored"
    (told,) = [check["evidence"] for check in page["leaks"] if not check["passed"] and made in check["evidence"]][:1]
    assert "1.000" in told or "100" in told, told


OWN_SERVICES = re.compile(r"https?://([\w-]+\.)*(google|googleapis|gvt1|gstatic)\.com(/|$)")
"""Requests that the browser makes for itself, whatever page it shows."""


def opened(page: str, folder: Path, width: int) -> tuple[int, list[str], list[str]]:
    """Show a page in a browser; return the size of its picture, complaints in the console, and addresses asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium is installed")
    file, log, picture = folder / "page.html", folder / "net.json", folder / "page.png"
    file.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'browser'}",
             f"--window-size={width},2000", "--enable-logging=stderr", f"--log-net-log={log}",
             f"--screenshot={picture}"]  # fmt: skip
    done = subprocess.run([chromium, *flags, file.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    asked = set(re.findall(r'"url":"(https?:[^"]*)"', log.read_text(errors="replace")))
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return picture.stat().st_size, complaints, sorted(url for url in asked if not OWN_SERVICES.match(url))


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_the_page_without_a_complaint_or_a_request(width, simulated, tmp_path):
    size, complaints, asked = opened(render(simulated[1]), tmp_path, width)
    assert size > 20_000 and not complaints and not asked


@pytest.mark.slow
def test_the_browser_would_tell_of_a_complaint_and_a_request(tmp_path):
    page = '<!doctype html><img src="http://elsewhere.invalid/x.png"><script>console.error("no")</script>'
    _, complaints, asked = opened(page, tmp_path, 400)
    assert complaints and asked == ["http://elsewhere.invalid/x.png"]
