"""A table prepared piece by piece is the table prepared at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from polars.io.plugins import register_io_source
from polars.testing import assert_frame_equal
from sklearn.utils import murmurhash3_32

from churnlib.commands import prepare as command
from churnlib.data.coercion import coerce
from churnlib.data.drawn_sides import sample, with_sides
from churnlib.data.prepared_table import prepare_table, prepared_columns, read_preparation
from churnlib.data.unfinished import UNFINISHED, remove_leftovers, unfinished_folder
from churnlib.errors import ConfigError, DataError
from churnlib.privacy.stores import find_stores
from tests.made import made_customers

FEATURES = {"features": {"per": "charges / NULLIF(tenure, 0)", "long": "tenure > 24"}}
TABLE = made_customers(3_000)


def prepared(tmp_path, table=TABLE, *, name="out", **options):
    options = {"target": "churn", "id": "customer", "preprocess": FEATURES, **options}
    done = prepare_table(table.lazy(), tmp_path / name, **options)
    return done, pl.read_parquet(tmp_path / name / "prepared.parquet")


def test_every_row_is_there_in_its_order_with_the_steps_applied(tmp_path):
    done, rows = prepared(tmp_path)
    assert rows["customer"].to_list() == TABLE["customer"].to_list()
    assert rows["churn"].to_list() == TABLE["churn"].to_list()
    expected = [None if c is None or t == 0 else c / t for c, t in zip(TABLE["charges"], TABLE["tenure"], strict=True)]
    assert rows["per"].to_list() == pytest.approx(expected)
    assert (done.rows, done.left_out) == (3_000, 0)
    assert set(done.columns) == {"tenure", "charges", "plan", "region", "paperless", "joined", "per", "long"}


def test_pieces_of_a_stream_are_prepared_like_the_whole(tmp_path):
    TABLE.write_parquet(tmp_path / "table.parquet", row_group_size=700)
    prepare_table(
        pl.scan_parquet(tmp_path / "table.parquet"),
        tmp_path / "out",
        target="churn",
        id="customer",
        preprocess=FEATURES,
    )
    schema, preparation = read_preparation(tmp_path / "out")
    whole = preparation.chain.apply(coerce(TABLE, schema).typed)
    rows = pl.read_parquet(tmp_path / "out" / "prepared.parquet")
    assert_frame_equal(rows.select(whole.columns), whole)


def test_rows_are_prepared_while_later_ones_are_still_to_be_read(tmp_path):
    """Whatever needs the number of rows first would hold the whole table back in memory."""
    pieces, read, ahead = 200, [], []

    def source(with_columns, predicate, n_rows, batch_size):
        read.clear()
        for place in range(pieces):
            read.append(place)
            piece = TABLE.with_columns(pl.col("customer") + f"-{place}").lazy()
            piece = piece if predicate is None else piece.filter(predicate)
            yield (piece if with_columns is None else piece.select(with_columns)).collect()

    rows = register_io_source(source, schema=TABLE.schema)
    done = prepare_table(
        rows, tmp_path / "out", target="churn", id="customer", sample_rows=3_000,
        progress=lambda *_: ahead.append(len(read)),
    )  # fmt: skip
    assert done.rows == pieces * 3_000
    assert ahead[0] < pieces // 2


def test_shares_are_those_asked_for_and_the_account_counts_them(tmp_path):
    done, rows = prepared(tmp_path, shares=(0.5, 0.2, 0.3))
    counted = dict(rows["side"].value_counts().iter_rows())
    assert counted == done.sides
    assert np.array([counted[side] for side in ("train", "validation", "test")]) / 3_000 == pytest.approx(
        [0.5, 0.2, 0.3], abs=0.03
    )
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["sides"] == counted


def test_rows_of_a_customer_stay_on_one_side(tmp_path):
    twice = pl.concat([TABLE, TABLE.with_columns(pl.col("tenure") + 1)])
    _, rows = prepared(tmp_path, twice)
    assert rows.group_by("customer").agg(pl.col("side").n_unique())["side"].to_list() == [1] * 3_000


def test_a_column_that_steps_turn_into_another_kind_is_called_what_it_has_become(tmp_path):
    """Of the table's own columns only those stay as they were declared that no step has made something else of."""
    steps = {
        "cut": {"columns": ["tenure"], "edges": [12], "labels": ["new", "old"]},
        "hashing": {"columns": ["region"]},
    }
    columns = {"plan": {"kind": "ordinal", "order": ["monthly", "yearly", "two years"]}}
    steps["bins"] = {"columns": ["charges"], "method": "tree", "output": "woe"}
    done, rows = prepared(tmp_path, columns=columns, preprocess={"steps": steps})
    schema, preparation = read_preparation(tmp_path / "out")
    kinds = {column.name: column.kind for column in prepared_columns(schema, preparation)}
    assert list(kinds) == list(done.columns)
    assert kinds["plan"] == "ordinal" and schema["plan"] in prepared_columns(schema, preparation)
    for name, kind in kinds.items():
        numeric = rows.schema[name].is_numeric()
        assert numeric == (kind == "numeric"), (name, kind)
    assert rows["customer"].to_list() == TABLE["customer"].to_list()


def test_whole_numbers_as_ids_come_back_as_text_in_their_order(tmp_path):
    numbered = TABLE.with_columns(customer=pl.int_range(pl.len()) * 3 + 100_000)
    _, rows = prepared(tmp_path, numbered)
    assert rows.columns[:2] == ["customer", "churn"]
    assert rows["customer"].to_list() == [str(number) for number in numbered["customer"]]


def test_without_an_id_each_row_is_dealt_by_itself(tmp_path):
    _, rows = prepared(tmp_path, TABLE.drop("customer"), id=None)
    assert "customer" not in rows.columns
    assert rows["side"].n_unique() == 3


def test_a_customer_has_the_same_side_in_every_release(tmp_path):
    """Whoever prepares next year's table, with next year's packages, finds this year's test customers among them."""
    wanted = [*["train"] * 3, "validation", *["train"] * 8]
    _, rows = prepared(tmp_path)
    assert rows["side"][:12].to_list() == wanted
    _, rows = prepared(tmp_path, TABLE.reverse(), name="reversed")
    assert rows["side"].reverse()[:12].to_list() == wanted
    # By the public definition of the hash, which scikit-learn has as well.
    drawn = np.array([murmurhash3_32(name.encode(), seed=42, positive=True) for name in TABLE["customer"]]) / 2**32
    sides = np.select([drawn < 0.7, drawn < 0.85], ["train", "validation"], "test")
    assert rows["side"].reverse().to_list() == sides.tolist()


def test_rows_without_a_name_are_dealt_and_sampled_by_their_number():
    table = pl.DataFrame({"a": range(5_000)}).lazy()
    sides = with_sides(table, None, (0.7, 0.15, 0.15), 7)
    drawn = np.array([murmurhash3_32(str(row).encode(), seed=7, positive=True) for row in range(5_000)]) / 2**32
    assert (sides.collect()["side"] == "train").to_list() == (drawn < 0.7).tolist()
    drawn = np.array([murmurhash3_32(str(row).encode(), seed=8, positive=True) for row in range(5_000)]) / 2**32
    drawn_rows = sample(sides, 5_000, 1_000, 7)
    assert drawn_rows["a"].to_list() == np.flatnonzero(drawn < 0.2).tolist()
    assert drawn_rows["side"].eq("train").mean() == pytest.approx(0.7, abs=0.05)


def test_only_training_rows_are_learned_from(tmp_path):
    done, rows = prepared(tmp_path)
    changed = TABLE.with_columns(
        pl.when(rows["side"] == "train").then(pl.col("charges")).otherwise(pl.col("charges") * 100 + 7).alias("charges")
    )
    prepared(tmp_path, changed, name="other")
    first, other = ((tmp_path / name / "preparation.json").read_text() for name in ("out", "other"))
    assert first == other
    assert done.sampled == done.sides["train"]


def test_a_sample_is_spread_over_the_table_and_leaves_the_sides_alone(tmp_path):
    whole, _ = prepared(tmp_path)
    part, _ = prepared(tmp_path, name="part", sample_rows=1_000)
    assert part.sides == whole.sides
    assert 550 < part.sampled < 850


def test_rows_without_a_target_are_left_out_and_unreadable_cells_counted(tmp_path):
    marred = TABLE.with_columns(
        pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise(pl.col("churn")).alias("churn"),
        pl.when(pl.int_range(pl.len()) == 50).then(pl.lit("much")).otherwise(pl.col("charges").cast(pl.String))
        .alias("charges"),
    )  # fmt: skip
    done, rows = prepared(tmp_path, marred)
    assert (done.left_out, len(rows)) == (10, 2_990)
    assert done.unreadable == {"charges": 1}


def test_progress_ends_with_all_rows(tmp_path):
    calls = []
    prepared(tmp_path, progress=lambda done, rows: calls.append((done, rows)))
    assert calls[-1] == (3_000, 3_000)


def test_a_folder_that_is_there_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        prepared(tmp_path)


def test_a_column_named_side_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a column 'side' already"):
        prepared(tmp_path, TABLE.with_columns(side=pl.lit("left")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "left"}, "left"),
        ({"id": "name"}, "data.id names the column 'name'"),
        ({"preprocess": {"steps": {"x": {"step": "nope"}}}}, "no preparation step 'nope'"),
        ({"shares": (0.5, 0.2, 0.2)}, "must sum to 1"),
    ],
)
def test_wrong_options_leave_nothing_behind(tmp_path, options, said):
    with pytest.raises((ConfigError, DataError), match=said):
        prepared(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="no rows"):
        prepared(tmp_path, TABLE[:0])


def test_a_failure_in_the_stream_leaves_nothing_behind(tmp_path):
    def stop(done, rows):
        raise OSError("disk full")

    with pytest.raises(Exception, match="disk full"):
        prepared(tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


CHILD = """
import os, signal, sys, time
from pathlib import Path
import polars as pl
from churnlib.data.prepared_table import prepare_table
def die(done, rows):
    if done > 30_000:
        while not list(Path(sys.argv[2]).parent.glob(".*/prepared.parquet")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
prepare_table(pl.scan_parquet(sys.argv[1]), sys.argv[2], target="churn", id="customer", progress=die)
"""


def test_what_a_killed_run_has_left_is_told_of_and_goes_at_the_next_run(tmp_path):
    pl.concat([TABLE] * 20).write_parquet(tmp_path / "table.parquet", row_group_size=3_000)
    folder = tmp_path / "prepared"
    words = [sys.executable, "-c", CHILD, str(tmp_path / "table.parquet"), str(folder / "killed")]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    (left,) = (path for path in folder.iterdir() if path.is_dir())
    assert UNFINISHED.fullmatch(left.name)
    (told,) = find_stores([folder]).unread
    assert told[0] == left / "prepared.parquet" and "run prepare beside it again" in told[1]
    prepared(folder)
    assert [path.name for path in folder.iterdir()] == ["out"]


def test_a_folder_that_is_being_written_is_left_alone(tmp_path):
    with unfinished_folder(tmp_path / "out") as folder:
        (folder / "rows").touch()
        assert remove_leftovers(tmp_path) == []
        assert (folder / "rows").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "rows"]


def test_the_command_prepares_a_file_that_train_takes(tmp_path, capsys):
    from churnlib.commands import train

    TABLE.write_parquet(tmp_path / "table.parquet")
    words = ["data=table", f"data.path={tmp_path}/table.parquet", "data.target=churn", "data.id=customer"]
    assert command.main([*words, f"output={tmp_path}/out", "preprocess.features.per=charges / tenure"]) == 0
    assert "7 features" in capsys.readouterr().out.replace("\n", " ")
    (source,) = json.loads((tmp_path / "out" / "prepared.json").read_text())["sources"]
    assert source == {"option": "data.path", "path": f"{tmp_path}/table.parquet", "format": "Parquet", "parts": 1}
    words = ["data=table", f"data.path={tmp_path}/out/prepared.parquet", "data.target=churn", "split.by=column"]
    words += ["split.column=side", "model=logistic", "logger=none", f"output_dir={tmp_path}/run"]
    assert train.main(words) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "output is missing"),
        (["output=x", "split.by=time"], "prepare deals customers at random"),
        (["output=x", "data=table", "data.path=none.csv", "data.target=left"], "none.csv"),
        (["output=x", "sample_rows=5"], "sample_rows must be at least 100"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
