"""A table into a folder with a manifest: what is written when, and what survives a run that is killed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

import churnlib.data.ingested.ingest
from churnlib import cli
from churnlib.config import TableConfig
from churnlib.data.ingested import facts, staging
from churnlib.data.ingested.ingest import Ingested, ingest, verify
from churnlib.data.ingested.lock import locked
from churnlib.data.ingested.manifest import read_manifest
from churnlib.data.sources import read_table, scan_table
from churnlib.errors import ConfigError, DataError
from churnlib.training.tables import describe_source

JAN, FEB, MAR = dt.date(2024, 1, 31), dt.date(2024, 2, 29), dt.date(2024, 3, 31)


def customers(*months: dt.date, n: int = 4, **columns: object) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {"id": [f"c{i}" for i in range(n)], "month": month, "x": [100 * month.month + i for i in range(n)]}
        )
        for month in months
    ]
    return pl.concat(frames).with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def bring(frame: pl.DataFrame, folder: Path, *, time: str | None = "month", **options) -> Ingested:
    roles = {"id": "id", "time": time, "target": None}
    return ingest(frame.lazy(), folder, described={"data": "table"}, roles=roles, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_manifest_says_what_the_folder_holds(tmp_path):
    source = customers(JAN, FEB)
    source.write_csv(tmp_path / "export.csv")
    folder = tmp_path / "out"
    words = [f"data.path={tmp_path / 'export.csv'}", "data.id=id", "data.time=month", f"output={folder}"]
    assert cli.main(["ingest", "data=table", *words, "rows_per_file=3"]) == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {key: manifest[key] for key in ("format", "version", "id", "time", "rows", "source")} == {
        "format": "churnlib ingested table",
        "version": 1,
        "id": "id",
        "time": "month",
        "rows": 8,
        "source": {"data": "table", "path": str(tmp_path / "export.csv")},
    }
    assert manifest["columns"] == [
        {"name": "id", "type": "String", "role": "id"},
        {"name": "month", "type": "String", "role": "time"},
        {"name": "x", "type": "String"},
    ]
    assert dt.datetime.fromisoformat(manifest["ingested"]).utcoffset() == dt.timedelta(0)
    for part in manifest["parts"]:
        written = (folder / part["path"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(written).hexdigest() and part["bytes"] == len(written)
        assert part["rows"] == len(pl.read_parquet(folder / part["path"])) <= 3
        assert set(pl.read_parquet(folder / part["path"])["month"]) == {part["snapshot"]}
    assert [(part["snapshot"], part["rows"]) for part in manifest["parts"]] == [
        ("2024-01-31", 3),
        ("2024-01-31", 1),
        ("2024-02-29", 3),
        ("2024-02-29", 1),
    ]
    assert set(content(folder)) == {".lock", "manifest.json", *(part["path"] for part in manifest["parts"])}
    assert read_table(folder).equals(source.cast(pl.String))


def test_the_same_rows_in_any_order_change_nothing(tmp_path, capsys):
    source = customers(JAN, FEB, n=50)
    bring(source, tmp_path / "out")
    before = content(tmp_path / "out")
    again = bring(source.sample(fraction=1, shuffle=True, seed=1).select("x", "month", "id"), tmp_path / "out")
    assert not again.changed and again.unchanged == ("2024-01-31", "2024-02-29")
    assert content(tmp_path / "out") == before
    source.write_parquet(tmp_path / "in.parquet")
    words = [f"data.path={tmp_path / 'in.parquet'}", "data.id=id", "data.time=month", f"output={tmp_path / 'out'}"]
    assert cli.main(["ingest", "data=table", *words]) == 0
    assert "2 snapshots, 100 rows in 2 files; already ingested, nothing has changed" in capsys.readouterr().out
    assert content(tmp_path / "out") == before


def test_a_new_snapshot_is_added_a_changed_one_replaced_and_one_that_is_gone_kept(tmp_path):
    folder = tmp_path / "out"
    bring(customers(JAN, FEB), folder)
    before = content(folder)
    changed = customers(FEB).with_columns(x=pl.when(pl.col("id") == "c1").then(-1).otherwise("x"))
    done = bring(pl.concat([changed, customers(MAR)]), folder)
    assert (done.added, done.replaced, done.kept) == (("2024-03-31",), ("2024-02-29",), ("2024-01-31",))
    assert read_table(folder).equals(pl.concat([customers(JAN), changed, customers(MAR)]))
    january = next(name for name in before if "2024-01" in name)
    assert content(folder)[january] == before[january]
    assert len([name for name in content(folder) if "2024-02" in name]) == 1


def test_one_row_fewer_or_twice_is_another_content(tmp_path):
    bring(customers(JAN), tmp_path / "out")
    assert bring(customers(JAN)[:3], tmp_path / "out").replaced
    twice = pl.concat([customers(JAN)[:3], customers(JAN)[2:3]])
    assert bring(twice, tmp_path / "out").replaced == ("2024-01-31",)
    swapped = twice.with_columns(x=pl.col("x").reverse())
    assert bring(swapped, tmp_path / "out").replaced and not bring(swapped, tmp_path / "out").changed


def test_without_dates_the_table_is_one_snapshot_in_files_of_bounded_size(tmp_path):
    folder = tmp_path / "out"
    bring(customers(JAN, n=250), folder, time=None, rows_per_file=100)
    assert [part.rows for part in read_manifest(folder).parts] == [100, 100, 50]
    assert read_table(folder).equals(customers(JAN, n=250))
    done = bring(customers(JAN, n=99), folder, time=None, rows_per_file=100)
    assert done.replaced == (None,) and len(list(folder.rglob("*.parquet"))) == 1


def test_rows_without_a_date_and_other_spellings_of_dates(tmp_path):
    source = pl.DataFrame({"id": ["a", "b", "c"], "month": ["31.01.2024", None, "29.02.2024"], "x": [1, 2, 3]})
    assert bring(source, tmp_path / "out").added == ("2024-01-31", "2024-02-29", "none")
    assert read_table(tmp_path / "out")["id"].to_list() == ["a", "c", "b"]
    assert bring(source.with_columns(month=pl.lit("20240131")), tmp_path / "x", formats=("%Y%m%d",)).added == (
        "2024-01-31",
    )


def test_every_plain_type_and_histories_come_back(tmp_path):
    source = customers(JAN).with_columns(
        plan=pl.Series(["a", "b", None, "a"], dtype=pl.Enum(["b", "a"])),
        kind=pl.Series(["u", "v", None, "u"], dtype=pl.Categorical),
        history=pl.Series([[1.0, None], [], None, [2.5]]),
        amount=pl.Series(["1.50", "2.25", None, "0.00"]).str.to_decimal(scale=2),
        nothing=pl.lit(None),
    )
    bring(source, tmp_path / "out")
    as_text = {"plan": pl.String, "kind": pl.String}
    assert read_table(tmp_path / "out").equals(source.cast(as_text))
    assert not bring(source, tmp_path / "out").changed


def test_rows_are_streamed_with_their_number_and_the_leftover_files_are_not_read(tmp_path):
    seen = []
    bring(customers(JAN, n=5_000), tmp_path / "out", progress=seen.append)
    assert seen[-1] == 5_000 and seen == sorted(seen)
    customers(FEB).write_parquet(tmp_path / "out" / "snapshot=2024-01-31" / "0009-0123456789abcdef.parquet")
    assert scan_table(tmp_path / "out").select(pl.len()).collect().item() == 5_000
    bring(customers(JAN, MAR, n=5_000), tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 2


# --- columns that change --------------------------------------------------------------------------------------------


def test_changed_columns_are_refused_by_name_and_taken_when_they_are_accepted(tmp_path, capsys):
    folder = tmp_path / "out"
    bring(customers(JAN, old=1), folder)
    before = content(folder)
    other = customers(FEB, new="n").with_columns(pl.col("x") * 0.5)
    with pytest.raises(ConfigError) as refused:
        bring(other, folder)
    assert "'old' is gone; 'new' is new; 'x' was Int64 and is Float64; add accept_columns=true" in str(refused.value)
    assert content(folder) == before
    bring(other, folder, accept_columns=True)
    both = read_table(folder)
    assert both.schema == {"id": pl.String, "month": pl.Date, "x": pl.Float64, "old": pl.Int32, "new": pl.String}
    assert both["old"].null_count() == both["new"].null_count() == 4
    # What was accepted is known from now on, and a table that lacks it again has changed once more.
    with pytest.raises(ConfigError, match="'old' is gone"):
        bring(other, folder)
    assert not bring(other, folder, accept_columns=True).changed


def test_a_column_without_values_fits_every_type(tmp_path):
    bring(customers(JAN).with_columns(y=pl.lit(None)), tmp_path / "out")
    bring(customers(FEB, y=2.5), tmp_path / "out")
    assert read_table(tmp_path / "out")["y"].to_list() == [None] * 4 + [2.5] * 4


@pytest.mark.parametrize(
    ("other", "options", "sentence"),
    [
        (customers(FEB).rename({"id": "name"}), {"roles": {"id": "name", "time": "month"}}, "data.id=id, not name"),
        (customers(FEB), {"roles": {"id": "id", "time": None}}, "data.time=month, not null"),
        (customers(FEB), {"pseudonyms": {"key_id": "k"}}, "other data.pseudonymise options"),
        (customers(FEB).with_columns(x=pl.lit([1.0])), {"accept_columns": True}, "'x' was Int64 and is List(Float64)"),
        (customers(FEB).drop("month"), {}, "data.time names the column 'month'"),
        (customers(FEB)[:0], {}, "has columns but no rows"),
        (customers(FEB).with_columns(month=pl.lit("soon")), {"accept_columns": True}, "which holds no dates"),
    ],
)
def test_another_table_is_refused_and_the_folder_stays(other, options, sentence, tmp_path):
    folder = tmp_path / "out"
    bring(customers(JAN), folder)
    before = content(folder)
    given = {"roles": {"id": "id", "time": "month"}, "described": {}, **options}
    with pytest.raises((ConfigError, DataError)) as refused:
        ingest(other.lazy(), folder, **given)
    assert sentence in str(refused.value) and content(folder) == before


def test_a_folder_of_something_else_is_refused_and_one_made_for_nothing_goes_again(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"holds notes\.txt, which ingest has not written"):
        bring(customers(JAN), tmp_path / "mine")
    with pytest.raises(DataError, match="has columns but no rows"):
        bring(customers(JAN)[:0], tmp_path / "new")
    monkeypatch.setattr(staging, "MOST_SNAPSHOTS", 3)
    days = customers(JAN, n=9).with_columns(month=pl.date_range(JAN, dt.date(2024, 2, 8), eager=True))
    with pytest.raises(DataError, match=r"data\.time has more than 3 dates"):
        bring(days, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_rows_are_handed_on_in_chunks_however_large_the_sources_row_groups_are(tmp_path):
    n = staging.CHUNK_ROWS * 5
    pl.DataFrame({"id": range(n)}).write_parquet(tmp_path / "in.parquet", row_group_size=n)
    done = [0]
    ingest(
        pl.scan_parquet(tmp_path / "in.parquet"), tmp_path / "out", described={}, roles={"id": "id"},
        progress=done.append,
    )  # fmt: skip
    assert done[-1] == n and max(b - a for a, b in pairwise(done)) <= staging.CHUNK_ROWS


# --- runs that are ended --------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
import polars as pl
import churnlib.data.ingested.ingest as module
point, source, folder = sys.argv[1:]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if point == "moved":
    module.write_manifest = die
if point == "committed":
    write = module.write_manifest
    module.write_manifest = lambda *given: (write(*given), die())
seen = lambda rows: die() if point == "writing" and rows > 60_000 else None
module.ingest(pl.scan_parquet(source), folder, described={}, roles={"id": "id", "time": "month"},
              rows_per_file=5_000, progress=seen)
"""


@pytest.mark.parametrize("point", ["writing", "moved", "committed"])
@pytest.mark.parametrize("first", [True, False])
def test_a_killed_run_leaves_the_old_state_and_the_next_one_completes_it(point, first, tmp_path):
    folder = tmp_path / "out"
    old = customers(JAN, FEB, n=20_000)
    new = pl.concat([customers(JAN, n=20_000), customers(FEB, MAR, n=40_000)])
    if not first:
        bring(old, folder)
    new.write_parquet(tmp_path / "new.parquet", row_group_size=10_000)
    words = [sys.executable, "-c", CHILD, point, str(tmp_path / "new.parquet"), str(folder)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    if point != "writing":  # rows are seen a moment before they are written
        assert len([name for name in content(folder) if name.endswith(".parquet")]) > (0 if first else 2)
    if point == "committed":
        assert read_table(folder).equals(new)
    elif first:
        with pytest.raises(DataError, match="holds no file named like a table"):
            read_table(folder)
    else:
        assert read_table(folder).equals(old)
    assert bring(new, folder).changed == (point != "committed")
    assert read_table(folder).equals(new) and not verify(folder)[1]
    parts = {part.path for part in read_manifest(folder).parts}
    assert set(content(folder)) == {".lock", "manifest.json", *parts}


def test_two_at_once_are_refused(tmp_path, capsys):
    bring(customers(JAN), tmp_path / "out")
    customers(FEB).write_parquet(tmp_path / "in.parquet")
    words = [f"data.path={tmp_path / 'in.parquet'}", "data.id=id", "data.time=month", f"output={tmp_path / 'out'}"]
    with locked(tmp_path / "out"):
        assert cli.main(["ingest", "data=table", *words]) == 1
    said = capsys.readouterr().err
    assert "is being written by another process" in said and said.count("\n") == 1
    assert cli.main(["ingest", "data=table", *words]) == 0


@pytest.mark.parametrize(
    ("content_", "sentence"),
    [
        (None, "there is no file"),
        ("", "is empty; it must have a header"),
        ("id,month,x\n", "has columns but no rows"),
        ("id,month,x\n" + "a,2024-01-31,1\n" * 50_000 + "b,2024-01-31,1,2,3\n", "line 50002 of"),
    ],
)
def test_a_source_that_cannot_be_read_leaves_the_folder_as_it_was(content_, sentence, tmp_path, capsys):
    bring(customers(JAN), tmp_path / "out")
    before = content(tmp_path / "out")
    if content_ is not None:
        (tmp_path / "in.csv").write_text(content_)
    words = [f"data.path={tmp_path / 'in.csv'}", "data.id=id", "data.time=month", f"output={tmp_path / 'out'}"]
    assert cli.main(["ingest", "data=table", "accept_columns=true", *words]) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and content(tmp_path / "out") == before


def test_a_part_that_is_cut_off_or_changes_its_columns_midway_is_named(tmp_path, capsys):
    exports = tmp_path / "exports"
    exports.mkdir()
    for number, month in enumerate((JAN, FEB)):
        customers(month, n=2_000).write_parquet(exports / f"{number}.parquet")
    words = [
        "ingest",
        "data=table",
        f"data.path={exports}",
        "data.id=id",
        "data.time=month",
        f"output={tmp_path / 'o'}",
    ]
    whole = (exports / "1.parquet").read_bytes()
    (exports / "1.parquet").write_bytes(whole[: len(whole) // 2])
    assert cli.main(words) == 1
    assert "1.parquet is a damaged or unfinished Parquet file" in capsys.readouterr().err
    customers(FEB).drop("x").write_parquet(exports / "1.parquet")
    assert cli.main(words) == 1
    assert "1.parquet lacks 'x', compared with 0.parquet" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    (exports / "1.parquet").write_bytes(whole)
    assert cli.main(words) == 0 and len(read_table(tmp_path / "o")) == 4_000


def test_a_join_that_breaks_off_leaves_nothing_and_the_next_run_is_clean(tmp_path, capsys):
    crm = "".join(f"c{i},2024-01-31\n" for i in range(40_000))
    bills = [f"c{i},2024-01-30,{i}\n" for i in range(40_000)]
    (tmp_path / "crm.csv").write_text("id,month\n" + crm)
    words = ["ingest", "data=joined", "data.id=id", "data.time=month", f"output={tmp_path / 'out'}"]
    words += [f"data.sources.crm.path={tmp_path / 'crm.csv'}"]
    words += [f"data.sources.bills={{path: '{tmp_path / 'bills.csv'}', time: billed}}"]
    problems = {
        None: "there is no file",
        "id,billed,amount\n": "bills.csv) has columns but no rows",
        "id,billed,amount\n" + "".join(bills) + "c1,2024-01-29,1,2\n": "line 40002 of",
        "id,billed,amount\n"
        + "".join(bills)
        + "c1,2024-01-30,8\n": "has several rows for 1 of its customers and dates",
    }
    for content_, sentence in problems.items():
        if content_ is not None:
            (tmp_path / "bills.csv").write_text(content_)
        assert cli.main(words) == 1
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1
        assert {path.name for path in tmp_path.iterdir()} <= {"crm.csv", "bills.csv"}
    (tmp_path / "bills.csv").write_text("id,billed,amount\n" + "".join(bills))
    assert cli.main(words) == 0
    assert read_table(tmp_path / "out")["amount"].to_list() == [str(i) for i in range(40_000)]


def test_a_manifest_holds_no_secret_of_its_source():
    def described(path: str) -> str:
        return describe_source(TableConfig(name="table", path=path), seed=0)["path"]

    assert described("s3://key:secret@store/a/*.parquet?signature=secret") == "s3://store/a/*.parquet"
    assert described("exports/a@b.csv") == "exports/a@b.csv"


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_or_cut_off_is_named_at_once_and_changed_bytes_on_demand(tmp_path, capsys):
    folder = tmp_path / "out"
    bring(customers(JAN, FEB), folder)
    assert cli.main(["ingest", "verify=true", f"output={folder}"]) == 0
    assert "2 files, 8 rows, as the manifest says" in capsys.readouterr().out
    part = folder / read_manifest(folder).parts[1].path
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"!")
    assert cli.main(["ingest", "verify=true", f"output={folder}"]) == 1
    said = capsys.readouterr()
    assert f"{part} has other bytes than its manifest says" in said.out and "1 of 2 files" in said.err
    for damage, sentence in ((whole[:-1], "and its manifest says"), (None, "is missing")):
        part.unlink() if damage is None else part.write_bytes(damage)
        with pytest.raises(DataError, match=f"parquet .*{sentence}.*copy the folder again"):
            scan_table(folder)
        with pytest.raises(DataError, match=sentence):
            bring(customers(MAR), folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read"),
        ('{"format": "churnlib ingested table", "version": 9}', "is of version 9, and this release reads 1"),
        ('{"format": "churnlib ingested table", "version": 1}', "lacks 'parts'"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_said_so(text, sentence, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        scan_table(tmp_path)


def test_another_programs_manifest_does_not_matter(tmp_path):
    (tmp_path / "manifest.json").write_text('{"files": []}')
    customers(JAN).write_parquet(tmp_path / "a.parquet")
    assert len(read_table(tmp_path)) == 4


def test_fingerprints_of_another_release_of_polars_are_computed_again(tmp_path):
    folder = tmp_path / "out"
    bring(customers(JAN, FEB), folder)
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    values["polars"] = "1.0.0"
    for part in values["parts"]:
        part["fingerprint"] = "0" * 32
    path.write_text(json.dumps(values))
    assert not bring(customers(JAN, FEB).reverse(), folder).changed
    bring(customers(MAR), folder)
    after = read_manifest(folder)
    assert after.polars == pl.__version__
    assert all(part.fingerprint == facts.facts_of(folder / part.path).fingerprint for part in after.parts)


def test_pseudonyms_are_written_in_place_of_names_and_the_manifest_tells_of_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "0123456789abcdef" * 4)
    customers(JAN).write_parquet(tmp_path / "in.parquet")
    words = ["data=table", f"data.path={tmp_path / 'in.parquet'}", "data.id=id", f"output={tmp_path / 'out'}"]
    assert cli.main(["ingest", *words, "data.pseudonymise={key_env: TEST_KEY, key_id: k1}"]) == 0
    assert not set(read_table(tmp_path / "out")["id"]) & set(customers(JAN)["id"])
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert json.loads(text)["pseudonyms"] == {"key_id": "k1", "tenant": "", "purpose": "churn"}
    assert "0123456789abcdef" * 4 not in text


def test_a_disk_that_is_full_is_said_so(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device (os error 28)")

    monkeypatch.setattr(churnlib.data.ingested.ingest.Stage, "write", full)
    with pytest.raises(DataError, match=r"out cannot be written to \(No space left .* make room there"):
        bring(customers(JAN), tmp_path / "out")
    assert not (tmp_path / "out").exists()
