"""Columns from event tables: what they are, that they know nothing of what comes later, and how they travel."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churnlib.compose import compose
from churnlib.config import EventsConfig, ScoreConfig
from churnlib.data.datamodule import ChurnDataModule
from churnlib.data.events import EventDefinition, gather_events, gathering, read_definition, reading
from churnlib.data.prepared_table import prepare_table, read_preparation
from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.predictor import load
from churnlib.schema import Schema
from churnlib.scoring import score_file
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from plain_events import differs, recompute

EVERYTHING = {
    "id": "who",
    "time": "when",
    "windows": [7, 30, "all"],
    "aggregations": ["count", "active_days", "recency", "sum", "mean", "max", "min", "std", "slope", "distinct"],
    "columns": ["gb"],
    "features": {
        "avg_daily_usage_last_30_days": {"aggregation": "daily_mean", "column": "gb", "window": 30},
        "max_daily_usage_last_7_days": {"aggregation": "daily_max", "column": "gb", "window": 7},
        "usage_against_week_before": {"aggregation": "change", "column": "gb", "window": 7},
        "usage_over_week_before": {"aggregation": "ratio", "column": "gb", "window": 7},
        "events_against_week_before": {"aggregation": "change", "window": 7},
        "events_over_week_before": {"aggregation": "ratio", "window": 7},
        "topics": {"aggregation": "distinct", "column": "topic", "window": 30},
        "billing_share": {"aggregation": "share", "column": "topic", "value": "billing", "window": 30},
        "half_a_day": {"aggregation": "count", "window": 0.5},
        "last_in_window": {"aggregation": "recency", "window": 7},
    },
}
USAGE = read_definition("usage", EVERYTHING)
FIRST = datetime(2024, 3, 1)


def customers(n: int = 60, *, per: int = 1) -> pl.DataFrame:
    """Customers with ``per`` snapshots each; the last one has no name."""
    names = [None if i == n - 1 else f"C{i:03d}" for i in range(n) for _ in range(per)]
    taken = [date(2024, 4, 30) + timedelta(days=3 * (i % 5) + 30 * k) for i in range(n) for k in range(per)]
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "id": names,
            "taken": taken,
            "age": rng.integers(18, 80, n * per),
            "churn": ["no", "yes", "no"] * (n * per // 3),
        }
    )


def events(n: int = 3000, *, seed: int = 0, customers: int = 50) -> pl.DataFrame:
    """Events at odd hours from long before to long after the snapshots, some on the hour, some cells missing."""
    rng = np.random.default_rng(seed)
    seconds = np.where(rng.random(n) < 0.2, 86_400 * rng.integers(0, 120, n), rng.integers(0, 120 * 86_400, n))
    gb = np.round(rng.normal(5, 20, n), 3)
    return pl.DataFrame(
        {
            "who": [f"C{i:03d}" for i in rng.integers(0, customers, n)],
            "when": pl.Series(np.datetime64(FIRST, "us") + seconds.astype("timedelta64[s]")),
            "gb": [None if gone else value for value, gone in zip(gb.tolist(), rng.random(n) < 0.1, strict=True)],
            "topic": rng.choice(["billing", "technical", None], n, p=[0.3, 0.6, 0.1]).tolist(),
        },
        schema_overrides={"gb": pl.Float64, "topic": pl.String},
    )


def made(frame: pl.DataFrame, table: pl.DataFrame | str, definition: EventDefinition = USAGE) -> pl.DataFrame:
    gathered = gather_events(frame, [definition], {"usage": table}, id="id", time="taken")
    return gathered.frame.select(definition.names)


def plain(frame: pl.DataFrame, table: pl.DataFrame) -> list[list[float | None]]:
    features = USAGE.to_dict()["features"]
    by_customer = {
        name: list(rows.rename({"when": "time"}).iter_rows(named=True)) for (name,), rows in table.group_by("who")
    }
    moments = frame["taken"].cast(pl.Datetime("us"))
    return [
        recompute(by_customer.get(name, []) if name else [], moment, features)
        for name, moment in zip(frame["id"], moments, strict=True)
    ]


@pytest.mark.parametrize("per", [1, 3])
def test_every_aggregation_is_what_a_plain_recomputation_gives(per):
    frame, table = customers(per=per), events()
    rows = made(frame, table).rows()
    wrong = [
        (row, name, one, other)
        for row, (ours, theirs) in enumerate(zip(rows, plain(frame, table), strict=True))
        for name, one, other in zip(USAGE.names, ours, theirs, strict=True)
        if differs(one, other)
    ]
    assert not wrong
    assert sum(value is not None for row in rows for value in row) > 1000 * per


def test_in_many_pieces_on_disk_it_is_the_same_to_the_last_bit(monkeypatch):
    frame, table = customers(per=2), events()
    whole = made(frame, table)
    monkeypatch.setattr(gathering, "PIECE_CELLS", 1000)
    assert_frame_equal(made(frame, table), whole, check_exact=True)
    assert_frame_equal(made(frame, events(customers=1).with_columns(who=pl.lit("X"))), made(frame, table[:0]))


@pytest.mark.parametrize("cells", [1000, gathering.PIECE_CELLS])
def test_it_says_how_far_it_is(monkeypatch, cells):
    monkeypatch.setattr(gathering, "PIECE_CELLS", cells)
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    heard, table = [], events()
    wanted = [read_definition("usage", SHORT)]
    gather_events(customers(), wanted, {"usage": table}, id="id", time="taken", progress=lambda *one: heard.append(one))
    (name, last, total), done = heard[-1], [done for _, done, _ in heard]
    assert name == "usage" and last == total == len(table) * (2 if cells == 1000 else 1)
    assert done == sorted(set(done)) and len(done) > 3


def test_a_slope_keeps_its_digits_where_values_are_large_and_times_are_close():
    seconds = [0, 1, 2, 3, 4]
    table = pl.DataFrame(
        {
            "who": ["a"] * 5,
            "when": [FIRST + timedelta(seconds=s) for s in seconds],
            "gb": [1e6 + 3.0 * s for s in seconds],
        }
    )
    grid = {"time": "when", "id": "who", "windows": [900], "aggregations": ["slope"], "columns": ["gb"]}
    definition = read_definition("usage", grid)
    frame = pl.DataFrame({"id": ["a"], "taken": [date(2026, 6, 1)]})
    assert made(frame, table, definition).item() == pytest.approx(3.0 * 86_400, rel=1e-6)


def test_customers_without_events_have_the_documented_values():
    row = made(customers(3), events(9, customers=1)[:0]).row(0, named=True)
    zero = {name for name, value in row.items() if value == 0.0}
    assert zero == {
        *(f"usage_{word}_{window}" for word in ("count", "active_days", "gb_sum", "gb_distinct")
          for window in ("7d", "30d", "all")),
        "avg_daily_usage_last_30_days", "max_daily_usage_last_7_days", "events_against_week_before", "topics",
        "half_a_day",
    }  # fmt: skip
    assert all(value is None for name, value in row.items() if name not in zero)
    assert set(USAGE.nullable) == set(row) - zero


def test_the_window_ends_with_the_snapshot_and_begins_after_its_days():
    hours = [timedelta(0), timedelta(microseconds=-1), timedelta(days=-7), timedelta(days=-7, microseconds=1)]
    table = pl.DataFrame(
        {
            "who": ["a"] * 5,
            "when": [FIRST + hour for hour in [*hours, timedelta(microseconds=1)]],
            "gb": [1.0, 2, 4, 8, 16],
        }
    )
    grid = {"time": "when", "id": "who", "windows": [7], "aggregations": ["sum", "change"], "columns": ["gb"]}
    definition = read_definition("usage", grid)
    frame = pl.DataFrame({"id": ["a"], "taken": [FIRST.date()]})
    gathered = gather_events(frame, [definition], {"usage": table}, id="id", time="taken")
    assert gathered.frame["usage_gb_sum_7d"].item() == 1 + 2 + 8
    assert gathered.frame["usage_gb_change_7d"].item() == pytest.approx(11 / 3 - 4)
    assert gathered.said == ("events.usage: 1 of 5 events after the last snapshot of their customer are not used",)


# --- what must not change anything ----------------------------------------------------------------------------------

changes = settings(max_examples=15, deadline=None)
SMALL = events(400, customers=8)
FRAME = customers(12, per=2)


@changes
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_events_changes_no_bit(seed):
    order = np.random.default_rng(seed).permutation(len(SMALL))
    assert_frame_equal(made(FRAME, SMALL[order]), made(FRAME, SMALL), check_exact=True)


@changes
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_events_of_others_and_later_ones_change_no_bit(seed, n):
    rng = np.random.default_rng(seed)
    others = events(n, seed=seed, customers=8).with_columns(who="X" + pl.col("who"), gb=pl.lit(rng.normal() * 1e12))
    last = FRAME["taken"].max()
    after = (pl.lit(last).cast(pl.Datetime("us")) + pl.duration(microseconds=pl.lit(rng.integers(1, 10**13)))).alias(
        "when"
    )
    later = events(n, seed=seed, customers=8).with_columns(after)
    for more in (others, later, pl.concat([others, later])):
        assert_frame_equal(made(FRAME, pl.concat([more, SMALL])), made(FRAME, SMALL), check_exact=True)


def test_events_after_a_row_but_not_after_the_customers_next_change_that_next_only():
    frame = FRAME.with_row_index()
    first = frame.filter(pl.col("index") % 2 == 0)["taken"].max()
    between = SMALL.filter(pl.col("when") > pl.lit(first).cast(pl.Datetime("us")))
    poisoned = pl.concat([SMALL, between])
    before, after = made(FRAME, SMALL), made(FRAME, poisoned)
    assert_frame_equal(after[::2], before[::2], check_exact=True)
    assert not after[1::2].equals(before[1::2])


def test_a_row_alone_gets_what_it_gets_among_others():
    together = made(FRAME, SMALL)
    for row in range(0, len(FRAME), 5):
        assert_frame_equal(made(FRAME[row : row + 1], SMALL), together[row : row + 1], check_exact=True)


# --- tables as they come --------------------------------------------------------------------------------------------


def test_text_times_in_other_formats_names_as_numbers_and_unreadable_cells(tmp_path):
    table = pl.DataFrame(
        {
            "who": ["7.0", "7", "7", None, "7", *["8"] * 9],
            "when": ["28.04.2024", "29.04.2024", "soon", "29.04.2024", "01.05.2024", *["29.04.2024"] * 9],
            "gb": ["3", "x", "9", "9", "9", *["1"] * 9],
            "topic": ["a"] * 14,
        }
    )
    table.write_csv(tmp_path / "usage.csv")
    frame = pl.DataFrame({"id": [7, 9], "taken": ["2024-04-30", "2024-04-30"]})
    for given_as in (table, str(tmp_path / "usage.csv")):
        gathered = gather_events(frame, [USAGE], {"usage": given_as}, id="id", time="taken")
        assert gathered.frame["usage_gb_sum_7d"].to_list() == [3.0, 0.0]
        assert gathered.frame["usage_count_7d"].to_list() == [2.0, 0.0]
        assert [line.split(": ")[1] for line in gathered.said] == [
            "1 of 14 events after the last snapshot of their customer are not used",
            "9 of 14 events of customers who are not in the table are not used",
            "2 of 14 events without a readable customer or date are not used",
        ]


GRID = {"time": "when", "windows": [7], "aggregations": ["mean"], "columns": ["gb"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"windows": [-7]}, r"data\.events\.usage\.windows must be a number of days above 0, or all, got -7"),
        ({"windows": [True]}, "a number of days above 0, or all, got True"),
        ({"windows": []}, r"names mean, which needs data\.events\.usage\.windows=\[DAYS\]"),
        ({"window": [7]}, r"unknown option data\.events\.usage\.window; did you mean windows\?"),
        ({"aggregations": ["avg"]}, "names 'avg', which is no aggregation"),
        ({"aggregations": ["meen"]}, r"names 'meen', which is no aggregation; did you mean mean\?"),
        ({"aggregations": []}, "has windows or columns but no aggregations"),
        ({"aggregations": ["share"]}, "names share, which needs a value: declare it under"),
        ({"columns": []}, r"names mean, which needs data\.events\.usage\.columns=\[COLUMN\]"),
        ({"columns": "gb"}, r"data\.events\.usage\.columns must be a list, got 'gb'"),
        ({"time": None}, r"data\.events\.usage\.time is missing"),
        ({"aggregations": ["daily_mean"], "windows": ["all"]}, "daily_mean needs a window in days, not all"),
        ({"aggregations": ["daily_max"], "windows": [0.5]}, r"daily_max needs a window of whole days"),
        ({"features": {"x": {"aggregation": "count"}}}, r"features\.x\.window is missing; give days, or all"),
        ({"features": {"x": {"aggregation": "count", "window": 7, "column": "gb"}}}, "count counts events"),
        ({"features": {"x": {"aggregation": "sum", "window": 7}}}, r"features\.x: sum needs a column"),
        ({"features": {"x": {"aggregation": "sum", "window": 7, "columns": "gb"}}}, r"x\.columns; did you mean column"),
        ({"features": {"x": {"aggregation": "mean", "window": 7, "column": "gb", "value": 1}}}, "share and value"),
        ({"features": {"x": 3}}, r"features\.x must be a mapping such as"),
        ({"features": {"usage_gb_mean_7d": {"aggregation": "count", "window": 7}}}, "'usage_gb_mean_7d' twice"),
    ],
)  # fmt: skip
def test_impossible_definitions_are_one_sentence(change, says):
    with pytest.raises(ConfigError, match=says) as refusal:
        read_definition("usage", {**GRID, **change})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"id": "whom"},
            r"data\.events\.usage\.id names the column 'whom', which the table does not have; did you mean",
        ),
        ({"columns": ["GB"]}, r"data\.events\.usage\.columns names the column 'GB'"),
        ({"time": "topic"}, r"data\.events\.usage\.time names 'topic', which holds no dates \(such as 'billing'"),
        ({"time": "gb"}, r"data\.events\.usage\.time names 'gb', which holds no dates"),
        ({"columns": ["topic"]}, "asks for numbers of 'topic', which holds none in its first"),
        ({"columns": ["bytes"]}, r"names 'bytes', which holds List\(Int64\), not single values"),
    ],
)
def test_words_that_do_not_suit_the_event_table_are_one_sentence(change, says):
    table = events(90).with_columns(bytes=pl.concat_list(1, 2).cast(pl.List(pl.Int64)), topic=pl.lit("billing"))
    with pytest.raises((ConfigError, DataError), match=says) as refusal:
        made(customers(), table, read_definition("usage", {**GRID, "id": "who", **change}))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("frame", "options", "says"),
    [
        (customers(), {"id": None}, r"event tables need the column that names the customer: set data\.id=COLUMN"),
        (customers(), {"time": None}, r"says at which date each row was taken: set data\.time=COLUMN"),
        (customers(), {"time": "took"}, r"data\.time names the column 'took'"),
        (customers(), {"time": "age"}, r"data\.time names 'age', which holds no dates"),
        (customers().rename({"age": "half_a_day"}), {}, "makes the column 'half_a_day', which the table has already"),
    ],
)
def test_words_that_do_not_suit_the_customers_are_one_sentence(frame, options, says):
    with pytest.raises((ConfigError, DataError), match=says):
        gather_events(frame, [USAGE], {"usage": events(90)}, **{"id": "id", "time": "taken", **options})


def test_pieces_need_room_on_the_disk(monkeypatch):
    monkeypatch.setattr(gathering, "PIECE_CELLS", 1000)
    monkeypatch.setattr(gathering.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"need about .* GiB in .*; set TMPDIR to a folder on a larger disk"):
        made(customers(), events())


def test_a_definition_is_json_and_means_the_same():
    assert EventDefinition.from_dict(json.loads(json.dumps(USAGE.to_dict()))) == USAGE
    newer = USAGE.to_dict() | {"features": [{**USAGE.to_dict()["features"][0], "aggregation": "median"}]}
    with pytest.raises(BundleError, match="needs a newer release"):
        EventDefinition.from_dict(newer)
    with pytest.raises(BundleError, match="cannot be read"):
        EventDefinition.from_dict({"name": "x"})


# --- in training, scoring and serving -------------------------------------------------------------------------------

SHORT = {
    "id": "who", "time": "when", "windows": [7, 30], "aggregations": ["count", "mean", "recency"], "columns": ["gb"],
}  # fmt: skip


def words(folder: Path) -> list[str]:
    grid = "id: who, time: when, windows: [7, 30], aggregations: [count, mean, recency], columns: [gb]"
    return [
        "data=table", f"data.path='{folder}/customers.csv'", "data.target=churn", "data.id=id", "data.time=taken",
        f"++data.events.usage={{path: '{folder}/usage.parquet', {grid}}}", "split.by=random",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    customers(240).with_columns(id=pl.format("C{}", pl.int_range(240).cast(pl.String).str.zfill(3))).write_csv(
        folder / "customers.csv"
    )
    events(6000, customers=200).write_parquet(folder / "usage.parquet")
    config = compose([*words(folder), "model=logistic", "logger=none"])
    result = train(config, folder=RunFolder(folder / "run", latest=None))
    return folder, result


def scored(folder: Path, **options) -> pl.DataFrame:
    output = folder / "out.parquet"
    score_file(
        ScoreConfig(bundle=f"{folder}/run/bundle", input=f"{folder}/customers.csv", output=str(output), **options)
    )
    return pl.read_parquet(output)


def test_a_scored_file_gets_the_columns_of_training(trained):
    folder, _ = trained
    answers = scored(folder, events={"usage": EventsConfig(path=f"{folder}/usage.parquet")}, batch_rows=70)
    saved = pl.read_parquet(folder / "run" / "predictions.parquet")
    both = saved.join(answers, on="customer_id", how="left", maintain_order="left")
    np.testing.assert_allclose(both["churn_probability"], both["churn_probability_right"], atol=1e-6)


def test_the_bundle_says_how_the_columns_are_made_and_that_some_may_be_missing(trained):
    folder, _ = trained
    schema = load(folder / "run" / "bundle").schema
    definition = read_definition("usage", SHORT)
    assert [EventDefinition.from_dict(one) for one in schema.events] == [definition]
    assert [column.name for column in schema.features] == ["age", *definition.names]
    assert {column.name for column in schema.features if column.nullable} == set(definition.nullable)
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_ready_columns_are_scored_as_they_are_as_rest_gets_them(trained):
    folder, _ = trained
    frame = pl.read_csv(folder / "customers.csv")
    definition = read_definition("usage", SHORT)
    gathered = gather_events(frame, [definition], {"usage": f"{folder}/usage.parquet"}, id="id", time="taken").frame
    answers = scored(folder, events={"usage": EventsConfig(path=f"{folder}/usage.parquet")})
    predictor = load(folder / "run" / "bundle")
    one = predictor.predict(gathered[5:6].to_dicts())
    assert one["churn_probability"].item() == pytest.approx(answers["churn_probability"][5], abs=1e-6)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({}, r"the model reads 'usage_count_7d', which is made from its event table 'usage': give events\.usage\.path"),
        ({"use": EventsConfig(path="x.parquet")}, "the model has no event table 'use'; it has usage"),
        ({"usage": EventsConfig()}, r"events\.usage\.path is missing"),
        ({"usage": EventsConfig(path="x.parquet", windows=[3])}, r"events\.usage\.windows belongs to the model"),
    ],
)
def test_wrong_words_in_scoring_are_one_sentence(trained, tables, says):
    with pytest.raises(ConfigError, match=says):
        scored(trained[0], events=tables)


def test_events_of_nobody_in_the_table_are_refused_in_training(tmp_path):
    customers(60).write_csv(tmp_path / "customers.csv")
    events(90).with_columns(who="X" + pl.col("who")).write_parquet(tmp_path / "usage.parquet")
    config = compose([*words(tmp_path), "model=logistic"])
    with pytest.raises(DataError, match=r"none of the 90 events of data\.events\.usage belongs to a customer"):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


def test_a_data_module_makes_them_too():
    data = ChurnDataModule(
        customers(), target="churn", id="id", time="taken", split={"by": "random"},
        events={"usage": {"table": events(), **SHORT}},
    )  # fmt: skip
    data.setup()
    assert data.customers.preparation.feature_names == ("age", *read_definition("usage", SHORT).names)


def test_a_prepared_table_keeps_how_they_are_made(tmp_path):
    definition = read_definition("usage", SHORT)
    frame = gather_events(customers(90), [definition], {"usage": events()}, id="id", time="taken").frame
    prepare_table(frame.lazy(), tmp_path / "out", target="churn", id="id", time="taken", events=[definition])
    assert read_preparation(tmp_path / "out")[0].events == (definition.to_dict(),)
