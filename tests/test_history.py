"""A long table of months or events becomes list columns, and no row knows what came after it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.data.datamodule import ChurnDataModule
from churnlib.data.history import read_events, with_history
from churnlib.errors import ConfigError, DataError
from churnlib.scoring import score_file
from churnlib.training.run_folder import RunFolder
from churnlib.training.tables import load_table
from churnlib.training.train import train

MONTHS = [dt.date(2024, month, 28) for month in range(1, 7)]
NAMES = {"id": "who", "time": "day", "columns": ["gb", "calls"]}


def long_table(n: int = 40, *, seed: int = 0) -> pl.DataFrame:
    """Six months of each customer, shuffled; the last customers have none."""
    rng = np.random.default_rng(seed)
    rows = [
        {"who": f"C{i:03d}", "day": day, "gb": float(10 * i + month), "calls": int(rng.integers(0, 9))}
        for i in range(n - 3)
        for month, day in enumerate(MONTHS)
    ]
    return pl.DataFrame(rows)[rng.permutation(len(rows))]


def customers(n: int = 40) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "id": [f"C{i:03d}" for i in range(n)],
            "taken": [MONTHS[i % 6] for i in range(n)],
            "age": rng.integers(18, 80, n),
            "churn": ["no", "yes"] * (n // 2),
        }
    )


def gathered(frame: pl.DataFrame, events: pl.DataFrame | str, **options) -> pl.DataFrame:
    return with_history(frame, read_events(events, **NAMES), **{"id": "id", **options})


def test_lists_are_in_the_order_of_time_and_rows_in_the_order_of_the_table():
    frame = customers()[::-1]
    joined = gathered(frame, long_table())
    assert joined.drop("gb", "calls").equals(frame)
    for i, gb in zip(range(39, -1, -1), joined["gb"].to_list(), strict=True):
        assert gb == ([10.0 * i + month for month in range(6)] if i < 37 else [])


def test_a_row_knows_only_what_was_there_when_it_was_taken():
    joined = gathered(customers(), long_table(), time="taken")
    for i, (gb, taken) in enumerate(joined.select("gb", "taken").rows()):
        known = [10.0 * i + month for month, day in enumerate(MONTHS) if day <= taken]
        assert gb == (known if i < 37 else [])


def test_events_after_the_snapshot_change_nothing():
    frame, events = customers(), long_table()
    snapshots = frame.select(pl.col("id").alias("who"), "taken")
    dated = events.join(snapshots, on="who", how="left")
    poisoned = dated.with_columns(pl.when(pl.col("day") > pl.col("taken")).then(1e9).otherwise("gb").alias("gb"))
    assert (poisoned["gb"] != dated["gb"]).any()
    for other in (poisoned.drop("taken"), dated.filter(pl.col("day") <= pl.col("taken")).drop("taken")):
        assert gathered(frame, other, time="taken").equals(gathered(frame, events, time="taken"))


def test_a_customer_with_several_dates_has_a_history_for_each():
    frame = pl.DataFrame({"id": ["C001"] * 3, "taken": [MONTHS[4], None, MONTHS[0]]})
    assert gathered(frame, long_table(), time="taken")["gb"].to_list() == [[10.0, 11.0, 12.0, 13.0, 14.0], [], [10.0]]
    assert gathered(frame, long_table(), time="taken", most=2)["gb"].to_list() == [[13.0, 14.0], [], [10.0]]


def test_an_event_later_on_the_day_of_the_snapshot_is_not_known_yet():
    frame = pl.DataFrame({"id": ["a"], "taken": [dt.date(2024, 1, 5)]})
    hours = pl.DataFrame({"who": ["a", "a"], "day": ["2024-01-05 00:00:00", "2024-01-05 09:30:00"], "gb": [1, 2]})
    events = read_events(hours, id="who", time="day", columns=["gb"])
    assert with_history(frame, events, id="id", time="taken")["gb"].to_list() == [[1.0]]


@pytest.mark.parametrize(
    ("days", "options"),
    [
        (["28.01.2024", "15.02.2024"], {}),
        (["2024-01-28", "2024-02-15"], {}),
        ([20240128, 20240215], {"format": "%Y%m%d"}),
        ([1, 2], {}),
        (["1", "2"], {}),
    ],
)
def test_times_are_dates_in_any_format_or_numbers(days, options):
    events = pl.DataFrame({"who": ["a", "a"], "day": days[::-1], "gb": [2, 1]})
    read = read_events(events, id="who", time="day", columns=["gb"], **options)
    assert with_history(pl.DataFrame({"id": ["a"]}), read, id="id")["gb"].to_list() == [[1.0, 2.0]]


def test_gaps_names_and_text():
    events = pl.DataFrame(
        {
            "who": ["1.0", "1", "1", None, "1"],
            "day": ["2024-03-01", "2024-01-01", "2024-02-01", "2024-02-01", None],
            "gb": ["3", "1,5", "", "9", "9"],
        }
    )
    read = read_events(events, id="who", time="day", columns=["gb"])
    # A cell that is no number is a missing step; without a customer or a time it is none.
    assert with_history(pl.DataFrame({"id": [1, None]}), read, id="id")["gb"].to_list() == [[None, None, 3.0], []]


EVENTS = long_table()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"id": "whom"},
            r"data\.history\.id names the column 'whom', which the table does not have; did you mean 'who'",
        ),
        ({"time": None}, r"data\.history\.time is missing"),
        ({"columns": []}, r"data\.history\.columns is missing"),
        ({"columns": ["gb", "GB"]}, r"data\.history\.columns names the column 'GB'"),
        ({"columns": ["who"]}, r"'who', which holds no number"),
        ({"time": "who"}, r"data\.history\.time names 'who', which holds neither dates nor numbers"),
        ({"format": "%H"}, None),
    ],
)
def test_wrong_words_about_the_long_table_are_one_sentence(change, says):
    if says is None:  # dates stay dates, whatever the format of others
        assert read_events(EVENTS, **{**NAMES, **change}).dated
        return
    with pytest.raises((ConfigError, DataError), match=says) as refusal:
        read_events(EVENTS, **{**NAMES, **change})
    assert "\n" not in str(refusal.value)


def test_wrong_words_about_the_customers_are_one_sentence():
    frame = customers()
    with pytest.raises(ConfigError, match=r"set data\.id=COLUMN"):
        gathered(frame, EVENTS, id=None)
    with pytest.raises(ConfigError, match=r"data\.time names the column 'take'"):
        gathered(frame, EVENTS, time="take")
    with pytest.raises(ConfigError, match="'gb', which the customer table has too"):
        gathered(frame.rename({"age": "gb"}), EVENTS)
    numbered = EVENTS.with_columns(pl.col("day").dt.month())
    with pytest.raises(
        ConfigError, match=r"holds numbers, which cannot be compared with the dates of data\.time=taken"
    ):
        gathered(frame, numbered, time="taken")


# --- in training and scoring ----------------------------------------------------------------------------------------


def words(folder) -> list[str]:
    return [
        "data=table", f"data.path='{folder}/customers.csv'", "data.target=churn", "data.id=id", "data.time=taken",
        f"data.history.path='{folder}/usage.parquet'", "data.history.id=who", "data.history.time=day",
        "data.history.columns=[gb,calls]",
    ]  # fmt: skip


def test_a_run_and_a_scored_file_gather_the_same_lists(tmp_path):
    customers(120).write_csv(tmp_path / "customers.csv")
    long_table(120).write_parquet(tmp_path / "usage.parquet")
    config = compose(
        [*words(tmp_path), "preprocess.max_steps=4", "model=cnn", "split.by=random", "trainer.max_epochs=1",
         "trainer.progress=false", "logger=none", "trainer.accelerator=cpu"]
    )  # fmt: skip
    frame = load_table(config.data, seed=0, max_steps=4).frame
    assert frame["gb"].list.len().max() == 4
    train(config, folder=RunFolder(tmp_path / "run", latest=None))
    scored = score_file(
        ScoreConfig(
            bundle=f"{tmp_path}/run/bundle",
            input=f"{tmp_path}/customers.csv",
            output=f"{tmp_path}/out.parquet",
            history=config.data.history,
            batch_rows=50,
        )
    )
    assert (scored.rows, scored.bad) == (120, 0)
    saved = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    both = saved.join(pl.read_parquet(tmp_path / "out.parquet"), on="customer_id", how="left", maintain_order="left")
    np.testing.assert_allclose(both["churn_probability"], both["churn_probability_right"], atol=1e-6)
    with pytest.raises(DataError, match="lacks the column 'gb'"):
        score_file(
            ScoreConfig(bundle=f"{tmp_path}/run/bundle", input=f"{tmp_path}/customers.csv", output=f"{tmp_path}/o.csv")
        )


def test_a_data_module_gathers_them_too():
    data = ChurnDataModule(
        customers(), target="churn", id="id", time="taken", preprocess={"max_steps": 3}, split={"by": "random"},
        history={"table": long_table(), "id": "who", "time": "day", "columns": ["gb"]},
    )  # fmt: skip
    data.setup()
    assert data.customers.preparation.feature_names == ("age", "gb[-3]", "gb[-2]", "gb[-1]")
