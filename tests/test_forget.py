"""Finding and forgetting a person: nothing of them stays, nothing of anybody else changes."""

from __future__ import annotations

import gzip
import json
import stat
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import made_customers
from polars.testing import assert_frame_equal

from churnlib import cli
from churnlib.data.ingested import shrinking
from churnlib.data.ingested.ingest import ingest, verify
from churnlib.data.ingested.lock import locked
from churnlib.data.ingested.manifest import read_manifest
from churnlib.data.pseudonyms import read_pseudonyms
from churnlib.data.sources import read_table
from churnlib.errors import ConfigError, DataError
from churnlib.privacy import models
from churnlib.privacy.forget import forget, read_records, search
from churnlib.privacy.persons import Erased, Person, named
from churnlib.privacy.stores import find_stores
from churnlib.privacy.subject import subject_report
from churnlib.serving.answering.feedback import Feedback
from churnlib.serving.seeing.labels import LabelFile
from churnlib.serving.seeing.record_files import open_record

KEY = "0123456789abcdef" * 4
KEYS = '[{key_env: TEST_KEY, key_id: "k1"}]'


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)


def pseudonyms():
    return read_pseudonyms(key_env="TEST_KEY", key_id="k1")


TABLE = pl.DataFrame(
    {
        "customer_id": ["A1", "B2", None, "B2", "C3"],
        "amount": [1.5, None, 3.0, 4.0, 5.0],
        "history": [[1.0, 2.0], [], None, [3.0], [4.0]],
        "plan": pl.Series(["x", "y", "x", "y", None], dtype=pl.Enum(["x", "y"])),
    }
)


def remove(name: str, folder: Path, **options):
    return forget(Person(named(name)), [folder], record=folder / "erasures.jsonl", **options)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_a_parquet_file_keeps_all_other_rows_their_order_types_and_metadata(tmp_path):
    path = tmp_path / "deep" / "er" / "rows.parquet"
    path.parent.mkdir(parents=True)
    TABLE.write_parquet(path, metadata={"made by": "a test"})
    path.chmod(0o640)
    done = remove("B2", tmp_path)
    assert dict(done.removed) == {path: 2}
    assert_frame_equal(pl.read_parquet(path), TABLE[[0, 2, 4]])
    assert pl.read_parquet_metadata(path)["made by"] == "a test"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["rows.parquet"]


CSV = (
    b'\xef\xbb\xbfcustomer_id;"a note";x\r\n'
    b'A1;"two\r\nlines; B2";1\r\n'
    b" B2 ;gone;2\r\n"
    b'"B2";"also ""gone""";3\r\n'
    b"B22;stays;4\r\n"
    b"\r\n"
    b";nobody B2;5\r\n"
    b"C3;last"
)
LEFT = b'\xef\xbb\xbfcustomer_id;"a note";x\r\nA1;"two\r\nlines; B2";1\r\nB22;stays;4\r\n\r\n;nobody B2;5\r\nC3;last'


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_of_a_csv_file_the_bytes_of_other_records_stay(name, tmp_path):
    (tmp_path / name).write_bytes(gzip.compress(CSV) if name.endswith("gz") else CSV)
    assert remove("B2", tmp_path).found.rows[tmp_path / name]["x"].to_list() == ["2", "3"]
    left = (tmp_path / name).read_bytes()
    assert (gzip.decompress(left) if name.endswith("gz") else left) == LEFT


def test_quotes_that_are_text_do_not_join_lines(tmp_path):
    (tmp_path / "rows.tsv").write_text('customer_id\tscreen\nA1\t24" wide\nB2\t27" wide\nC3\t30" wide\n')
    remove("B2", tmp_path)
    assert (tmp_path / "rows.tsv").read_text() == 'customer_id\tscreen\nA1\t24" wide\nC3\t30" wide\n'


def test_a_number_is_found_as_text_and_text_as_number(tmp_path):
    pl.DataFrame({"customer_id": [7, 70]}).write_parquet(tmp_path / "whole.parquet")
    pl.DataFrame({"customer_id": [7.0, 70.0]}).write_parquet(tmp_path / "float.parquet")
    pl.DataFrame({"customer_id": ["7.0", "07"]}).write_csv(tmp_path / "text.csv")
    assert sum(remove("7", tmp_path).removed.values()) == 3
    assert pl.read_csv(tmp_path / "text.csv", infer_schema=False)["customer_id"].to_list() == ["07"]


def test_id_columns_come_from_schemas_beside_the_tables_or_from_the_user(tmp_path):
    rows = TABLE.rename({"customer_id": "account"})
    for folder in ("ingested", "prepared", "other"):
        (tmp_path / folder / "month=1").mkdir(parents=True)
        rows.write_parquet(tmp_path / folder / "month=1" / "part.parquet")
    (tmp_path / "ingested" / "manifest.json").write_text(json.dumps({"id": "account", "files": []}))
    schema = {"schema": {"columns": [{"name": "account", "role": "id"}]}}
    (tmp_path / "prepared" / "preparation.json").write_text(json.dumps(schema))
    assert len(find_stores([tmp_path]).tables) == 2
    assert len(find_stores([tmp_path], id_columns=["account"]).tables) == 3


def ingested(folder: Path, **options) -> Path:
    """Two snapshots of the table, one of them in two files, under another name of the id."""
    rows = pl.concat([TABLE.with_columns(month=pl.lit(month)) for month in ("2024-01-31", "2024-02-29")])
    rows = rows.rename({"customer_id": "account"})
    roles = {"id": "account", "time": "month"}
    ingest(rows.lazy(), folder, described={}, roles=roles, rows_per_file=4, **options)
    return folder


def test_of_an_ingested_table_rows_go_and_the_manifest_names_the_new_files(tmp_path):
    folder = ingested(tmp_path / "customers")
    before, rows = read_manifest(folder), read_table(folder)
    done = remove("B2", tmp_path)
    assert sum(done.removed.values()) == 4 and len(done.removed) == 2
    after = read_manifest(folder)
    assert before is not None and after is not None
    assert_frame_equal(read_table(folder), rows.filter(pl.col("account").is_null() | (pl.col("account") != "B2")))
    assert (before.rows, after.rows) == (10, 6) and not verify(folder)[1]
    assert [part.rows for part in after.parts] == [2, 1, 2, 1]
    # Files without the person are those that were there, and nothing else lies in the folder.
    assert [old.path == new.path for old, new in zip(before.parts, after.parts, strict=True)] == [False, True] * 2
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {".lock", "manifest.json", *(part.path for part in after.parts)}
    # From a source that has forgotten them too nothing has to be ingested again.
    again = ingest(read_table(folder).lazy(), folder, described={}, roles=dict(before.roles))
    assert not again.changed


def test_leftovers_of_an_ingest_are_searched_too(tmp_path):
    folder = ingested(tmp_path / "customers")
    leftover = folder / "snapshot=2024-01-31" / "0009-0123456789abcdef.parquet"
    TABLE.rename({"customer_id": "account"}).write_parquet(leftover)
    (folder / ".staging").mkdir()
    TABLE.rename({"customer_id": "account"}).write_parquet(folder / ".staging" / "whole.parquet")
    (folder / ".staging" / "half.parquet").write_bytes(b"PAR1")
    done = remove("B2", tmp_path)
    assert pl.read_parquet(leftover)["account"].to_list() == ["A1", None, "C3"]
    assert not (folder / ".staging" / "whole.parquet").exists()
    assert [path.name for path, _ in done.found.unsearched] == ["half.parquet"]


def test_a_table_that_is_being_ingested_is_named_and_the_rest_is_done(tmp_path):
    folder = ingested(tmp_path / "customers")
    TABLE.write_parquet(tmp_path / "scores.parquet")
    with locked(folder), pytest.raises(DataError, match="is being written by another process"):
        remove("B2", tmp_path)
    assert len(pl.read_parquet(tmp_path / "scores.parquet")) == 3 and read_table(folder).height == 10
    assert len(read_records(tmp_path / "erasures.jsonl")[0]["not_searched"]) == 2
    assert sum(remove("B2", tmp_path).removed.values()) == 4


@pytest.mark.parametrize("point", ["staged", "committed"])
def test_an_erasure_that_is_ended_leaves_a_table_that_can_be_read_and_is_completed(point, tmp_path, monkeypatch):
    folder = ingested(tmp_path / "customers")
    write = shrinking.write_manifest

    def ended(*given):
        if point == "committed":
            write(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shrinking, "write_manifest", ended)
        with pytest.raises(KeyboardInterrupt):
            remove("B2", tmp_path)
    assert read_table(folder).height == (10 if point == "staged" else 8) and not verify(folder)[1]
    remove("B2", tmp_path)
    assert read_table(folder).height == 6
    assert not any((pl.read_parquet(path)["account"] == "B2").any() for path in folder.rglob("*.parquet"))


@pytest.fixture(scope="module")
def quarantined(tmp_path_factory):
    """A run, a prepared table and a refused run of a table with two bad rows."""
    folder = tmp_path_factory.mktemp("quarantined")
    rules = "data.rules={max_share: 0.1, columns: {charges: {min: 0}}}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = (
            made_customers(240)
            .with_row_index()
            .with_columns(charges=pl.when(pl.col("index") < 2).then(-1.0).otherwise("charges"))
        )
        rows.drop("index").write_parquet("customers.parquet")
        data = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer", "data.time=null"]
        fit = ["model=logistic", "logger=none", "leaks=off"]
        assert cli.main(["train", *data, rules, *fit, "output_dir=outputs/run"]) == 0
        assert cli.main(["prepare", *data, rules, "output=outputs/prepared"]) == 0
        strict = rules.replace("0.1", "0.001")
        assert cli.main(["train", *data, strict, *fit, "output_dir=outputs/refused"]) == 1
    return folder


@pytest.mark.slow
def test_rows_in_quarantine_are_reported_and_forgotten(quarantined, monkeypatch):
    """They are no training rows, and still the person's."""
    monkeypatch.chdir(quarantined)
    files = [Path("outputs", name, "quarantine.parquet").resolve() for name in ("run", "prepared", "refused")]
    assert not Path("outputs/refused/bundle").exists()
    assert all(pl.read_parquet(path)["customer"].to_list() == ["C00000", "C00001"] for path in files)
    assert cli.main(["subject-report", "id=C00001", "output=report.json"]) == 0
    told = {Path(table["file"]): table["rows"] for table in json.loads(Path("report.json").read_text())["tables"]}
    assert set(told) == set(files)
    assert all(row["broken_rules"] == ["charges.min"] for (row,) in told.values())
    assert cli.main(["forget", "id=C00001"]) == 0
    assert all(pl.read_parquet(path)["customer"].to_list() == ["C00000"] for path in files)


def test_links_are_not_followed_and_overlapping_folders_are_searched_once(tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    TABLE.write_parquet(tmp_path / "runs" / "one" / "rows.parquet")
    (tmp_path / "runs" / "latest").symlink_to(tmp_path / "runs" / "one")
    found = search(Person("B2"), [tmp_path, tmp_path / "runs"])[1]
    assert found.searched == 1 and found.n_rows == 2


def test_a_file_that_cannot_be_written_stays_as_it_was_and_the_rest_is_done(tmp_path, monkeypatch):
    for name in ("a", "b"):
        TABLE.write_parquet(tmp_path / f"{name}.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    replace = Path.replace

    def full(self, target):
        if Path(target).name == "a.parquet":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"a\.parquet cannot be written without the rows"):
        remove("B2", tmp_path)
    assert (tmp_path / "a.parquet").read_bytes() == before and len(pl.read_parquet(tmp_path / "b.parquet")) == 3
    record = read_records(tmp_path / "erasures.jsonl")[0]
    assert record["rows"] == 2 and list(record["not_searched"]) == [str(tmp_path / "a.parquet")]


def test_an_unreadable_table_is_named(tmp_path):
    TABLE.write_parquet(tmp_path / "good.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    done = remove("B2", tmp_path)
    assert [path.name for path, _ in done.found.unsearched] == ["bad.parquet"]


# --- records and pseudonyms -----------------------------------------------------------------------------------------


def test_an_erasure_can_be_applied_again_to_a_restored_backup_and_its_record_names_nobody(tmp_path):
    clear = tmp_path / "clear.parquet"
    TABLE.write_parquet(clear)
    hidden = pseudonyms().frame(TABLE, "customer_id")
    hidden.drop("history").write_csv(tmp_path / "hidden.csv")
    backup = {path: path.read_bytes() for path in (clear, tmp_path / "hidden.csv")}
    record = tmp_path / "erasures.jsonl"
    done = forget(Person("B2", (pseudonyms(),)), [tmp_path], record=record)
    assert sorted(done.removed.values()) == [2, 2]
    assert "B2" not in record.read_text()

    for path, content in backup.items():
        path.write_bytes(content)
    again = forget(Erased.from_records(read_records(record), [pseudonyms()]), [tmp_path], record=record)
    assert sorted(again.removed.values()) == [2, 2]
    assert pl.read_parquet(clear)["customer_id"].to_list() == ["A1", None, "C3"]
    assert len(pl.read_csv(tmp_path / "hidden.csv")) == 3
    nothing = forget(Erased.from_records(read_records(record), [pseudonyms()]), [tmp_path], record=record)
    assert not nothing.removed and len(read_records(record)) == 2


def test_records_without_a_key_cannot_be_applied_again(tmp_path):
    TABLE.write_parquet(tmp_path / "rows.parquet")
    remove("B2", tmp_path)
    with pytest.raises(ConfigError, match="the records hold no trace of whom they concern"):
        Erased.from_records(read_records(tmp_path / "erasures.jsonl"), [])


def test_tables_of_another_key_are_not_passed_over_in_silence(tmp_path):
    TABLE.drop("history").write_csv(tmp_path / "clear.csv")
    path = tmp_path / "scores.csv"
    pseudonyms().frame(TABLE.drop("history"), "customer_id").write_csv(path)
    pseudonyms().write_note(path, "customer_id")
    found = search(Person("B2"), [tmp_path])[1]
    assert found.unsearched == ((path, "holds pseudonyms (key_id=k1, purpose=churn); name their key in keys=[...]"),)
    assert not search(Person("B2", (pseudonyms(),)), [tmp_path])[1].unsearched


# --- the records of a server ----------------------------------------------------------------------------------------


def recorded(folder: Path, key, *names: str, form: str = "parquet") -> None:
    """Predictions and labels of customers, as a server writes them."""
    recorder = open_record(folder, form=form, pseudonyms=key)
    labels = LabelFile(folder, recorder)
    n = len(names)
    recorder.record("v1", [f"r-{i}" for i in range(n)], names, np.linspace(0.1, 0.9, n), [1] * n)
    recorder.close()
    for name in names:
        labels(Feedback(name, 1, "2026-01-01"))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_server_forgets_predictions_and_labels(form, tmp_path):
    recorded(tmp_path / "records", pseudonyms(), "A1", "B2", "C3", "B2", form=form)
    wanted = Person("B2", (pseudonyms(),))
    found = search(wanted, [tmp_path])[1]
    report = subject_report("B2", found)
    assert sorted(len(table["rows"]) for table in report["tables"]) == [2, 2]
    assert {row.get("request_id") for table in report["tables"] for row in table["rows"]} == {"r-1", "r-3", None}
    done = forget(wanted, [tmp_path], record=tmp_path / "erasures.jsonl")
    assert sum(done.removed.values()) == 4 and done.found.records == (tmp_path / "records",)
    [part] = (tmp_path / "records").glob("part-*")
    left = pl.read_parquet(part) if form == "parquet" else pl.read_ndjson(part)
    assert left["request_id"].to_list() == ["r-0", "r-2"]
    [labels] = (tmp_path / "records").glob("labels-*")
    assert pl.read_ndjson(labels)["customer_id"].to_list() == [pseudonyms().of(name) for name in ("A1", "C3")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (part, labels)} == {0o600}
    assert len(list((tmp_path / "records").iterdir())) == 3


def test_labels_that_come_meanwhile_are_kept(tmp_path):
    recorded(tmp_path, pseudonyms(), *["B2", "A1"] * 50)
    labels = LabelFile(tmp_path, open_record(tmp_path, pseudonyms=pseudonyms()))

    def come() -> None:
        for _ in range(300):
            labels(Feedback("C3", 1, "2026-01-01"))

    coming = threading.Thread(target=come)
    coming.start()
    while coming.is_alive():
        forget(Erased((), {}, frozenset({pseudonyms().of("B2")})), [tmp_path], record=tmp_path / "erasures.jsonl")
        labels(Feedback("B2", 1, "2026-01-01"))
    coming.join()
    [file] = tmp_path.glob("labels-*")
    assert pl.read_ndjson(file)["customer_id"].to_list().count(pseudonyms().of("C3")) == 300


def test_records_under_every_key_that_a_server_has_had_are_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", KEY[::-1])
    other = read_pseudonyms(key_env="OTHER_KEY", key_id="k2")
    recorded(tmp_path, pseudonyms(), "B2")
    recorded(tmp_path, other, "B2")
    found = search(Person("B2", (other,)), [tmp_path])[1]
    assert found.unsearched == (
        (tmp_path, "holds pseudonyms (key_id=k1, purpose=churn); name their key in keys=[...]"),
    )
    assert search(Person("B2", (other, pseudonyms())), [tmp_path])[1].n_rows == 4


def test_a_record_that_cannot_be_read_is_named_and_what_may_come_is_said(tmp_path, capsys):
    recorded(tmp_path, pseudonyms(), "B2")
    [labels] = tmp_path.glob("labels-*")
    labels.write_bytes(labels.read_bytes() + b"{half a li")
    words = [f"folders=[{tmp_path}]", f"keys={KEYS}", f"record={tmp_path / 'erasures.jsonl'}"]
    assert cli.main(["forget", "id=B2", *words]) == 1
    said = capsys.readouterr().out
    assert f"NOT SEARCHED {labels}: holds a line that is no record of a customer" in said and "1 rows removed" in said
    assert f"MAY GROW {tmp_path} holds a server's records" in said and "last 60 seconds" in said


# --- models and commands --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on names in clear, and one on pseudonyms of the same table."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TEST_KEY", KEY)
        made_customers(240).write_parquet("customers.parquet")
        data = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer"]
        data += ["data.columns.plan.purpose=offers"]
        fit = ["model=logistic", "logger=none"]
        assert cli.main(["train", *data, *fit, "output_dir=outputs/clear"]) == 0
        door = ["data.pseudonymise={key_env: TEST_KEY, key_id: k1}"]
        assert cli.main(["train", *data, *fit, *door, "output_dir=outputs/hidden"]) == 0
    return folder


def sides(folder: Path) -> dict[str, str]:
    """A name of each side: the runs split alike."""
    names = made_customers(240)["customer"].to_list()
    subjects = dict(pl.read_parquet(folder / "outputs" / "hidden" / "subjects.parquet").iter_rows())
    return {subjects[pseudonyms().of(name)]: name for name in names}


def test_what_a_model_saw_is_said_as_far_as_it_can_be_known(trained, monkeypatch):
    monkeypatch.chdir(trained)

    def saw(name, *keys):
        found = search(Person(name, keys), ["outputs"])[1]
        return {model.bundle.parent.name: model.saw for model in found.models}

    names = sides(trained)
    assert saw(names["train"], pseudonyms())["hidden"] == models.LEARNED
    assert saw(names["validation"], pseudonyms()) == {"hidden": models.CHOSE, "clear": models.CHOSE}
    assert saw(names["test"], pseudonyms()) == {"hidden": models.JUDGED, "clear": models.JUDGED}
    assert saw(names["train"])["hidden"] == models.UNSEARCHED
    assert saw(names["train"])["clear"] == models.LIKELY
    assert saw("nobody") == {"hidden": models.UNSEARCHED, "clear": models.ABSENT}
    (trained / "customers.parquet").rename(trained / "moved.parquet")
    try:
        assert saw(names["train"])["clear"] == models.UNKNOWN
    finally:
        (trained / "moved.parquet").rename(trained / "customers.parquet")


def test_of_a_joined_table_every_source_is_looked_into_and_its_base_counts(tmp_path):
    (tmp_path / "crm.csv").write_text("KUNDENNR;x\nA1;1\nB2;2\n")
    pl.DataFrame({"account": ["A1", "C3"]}).write_parquet(tmp_path / "billing.parquet")
    crm = {"path": str(tmp_path / "crm.csv"), "rename": {"KUNDENNR": "customer"}}
    billing = {"path": str(tmp_path / "billing.parquet"), "id": "account"}
    data = {"id": "customer", "base": "crm", "sources": {"crm": crm, "billing": billing}}
    for name, held, where in (("A1", True, ["billing.parquet", "crm.csv"]), ("C3", False, ["billing.parquet"])):
        sources = models.Sources(Person(name))
        assert sources.hold(data) is held
        assert sorted(path.name for path in sources.holding) == where


def test_the_commands_from_report_to_erasure(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    name = sides(trained)["test"]
    assert cli.main(["subject-report", f"id={name}", f"keys={KEYS}", "output=report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert stat.S_IMODE(Path("report.json").stat().st_mode) == 0o600
    assert report["customer"] == name and len(report["tables"]) == 3 and len(report["models"]) == 2
    assert report["also_in"] == [str((trained / "customers.parquet").resolve())]
    assert cli.main(["forget", f"id={name}", f"keys={KEYS}", "dry_run=true"]) == 0
    assert "Dry run" in capsys.readouterr().out and not Path("outputs/erasures.jsonl").exists()
    assert cli.main(["forget", f"id={name}", f"keys={KEYS}"]) == 0
    assert "3 rows removed; recorded in outputs/erasures.jsonl" in capsys.readouterr().out
    assert cli.main(["forget", f"id={name}", f"keys={KEYS}"]) == 1
    assert "tables below outputs, multirun names this customer" in capsys.readouterr().err
    assert cli.main(["forget", "reapply=outputs/erasures.jsonl", f"keys={KEYS}"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["forget"], "forget needs id=CUSTOMER or reapply=FILE"),
        (["forget", "id=a", "folders=[nowhere]"], "there is no folder nowhere"),
        (["subject-report"], "subject-report needs id=CUSTOMER"),
        (["forget", "reapply=nowhere.jsonl", "folders=[.]"], "the records nowhere.jsonl cannot be read"),
        (["forget", "id='  '", "folders=[.]"], "id is empty"),
        (["forget", "id=a", "folders=[.]", "keys=[{key_env: NO_SUCH, key_id: k}]"], "NO_SUCH holds no key"),
    ],
)
def test_mistakes_are_answered_by_one_sentence(words, sentence, empty_folder, capsys):
    assert cli.main(words) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not list(empty_folder.iterdir())
