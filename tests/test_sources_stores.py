"""Tables in an S3 store: a real server on this machine, and what it looks like when it refuses, lies or dies."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import boto3
import polars as pl
import pytest
from servers import free_port, object_store

from churnlib.cli import main
from churnlib.data.sources import pin_table, read_table, reading, scan_table
from churnlib.data.sources.stores import PATIENCE
from churnlib.errors import ConfigError, DataError

KEY, SECRET = "AKIA-OF-THE-TEST", "secret-of-the-test"
BUCKET = "lake"


@pytest.fixture(scope="module")
def address():
    with object_store() as url:
        client = store(url)
        client.create_bucket(Bucket=BUCKET)
        for number in range(3):
            frame = pl.DataFrame({"id": [f"C{number}"], "n": [number], "churn": [number % 2]})
            put(client, f"parquet/{number}.parquet", frame)
            client.put_object(Bucket=BUCKET, Key=f"csv/{number}.csv", Body=frame.write_csv())
            client.put_object(Bucket=BUCKET, Key=f"json/{number}.ndjson", Body=frame.write_ndjson())
        for name in ("csv/_SUCCESS", "csv/below/9.csv", "empty.csv", "empty.parquet", "empty.ndjson"):
            client.put_object(Bucket=BUCKET, Key=name, Body=b"")
        client.put_object(Bucket=BUCKET, Key="mixed/0.csv", Body=b"id,n,churn\nC0,0,0\n")
        client.put_object(Bucket=BUCKET, Key="mixed/1.csv", Body=b"churn,n,id\n1,1,C1\n")
        client.put_object(Bucket=BUCKET, Key="changed/0.csv", Body=b"id,n,churn\nC0,0,0\n")
        client.put_object(Bucket=BUCKET, Key="changed/1.csv", Body=b"id,m,churn\nC1,1,1\n")
        client.put_object(Bucket=BUCKET, Key="ragged.csv", Body=b"id,n\nC0,0\nC1,1,1\n")
        whole = io.BytesIO()
        pl.DataFrame({"n": range(2000)}).write_parquet(whole)
        client.put_object(Bucket=BUCKET, Key="cut.parquet", Body=whole.getvalue()[:1000])
        yield url


@pytest.fixture
def s3(address, monkeypatch):
    """The store, with its address and keys in the environment."""
    environment(monkeypatch, address)
    return store(address)


def environment(monkeypatch, url, key=KEY, secret=SECRET):
    values = {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def store(url):
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )


def put(client, key, frame, bucket=BUCKET):
    content = io.BytesIO()
    frame.write_parquet(content)
    client.put_object(Bucket=bucket, Key=key, Body=content.getvalue())


def sentence(source, **options):
    """Return the one sentence that a table is refused with, and make sure that it is one, soon, without secrets."""
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        read_table(source, **options)
    text = str(caught.value)
    assert "\n" not in text and "<" not in text and len(text) < 400, text
    assert not [secret for secret in (KEY, SECRET, "of-the-test") if secret in text]
    assert time.monotonic() - started < 60
    return text


def sentences(*names):
    """Return the sentences for several objects, all asked for at one time: the store is waited for once.

    Their bucket is no other test's: polars keeps connections by bucket, and might ask a store that does answer.
    """
    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(sentence, [f"s3://unheard/{name}" for name in names]))


ROWS = [("C0", "0", "0"), ("C1", "1", "1"), ("C2", "2", "0")]


@pytest.mark.parametrize("source", ["parquet/*.parquet", "parquet/", "parquet", "parquet/[0-2].parquet"])
def test_objects_are_the_parts_of_a_table(s3, source):
    assert read_table(f"s3://{BUCKET}/{source}").rows() == [("C0", 0, 0), ("C1", 1, 1), ("C2", 2, 0)]


@pytest.mark.parametrize("source", ["csv", "csv/", "csv/*.csv", "json", "json/*.ndjson"])
def test_objects_of_text_are_read_as_files_are(s3, source):
    assert read_table(f"s3://{BUCKET}/{source}").rows() == ROWS
    assert pin_table(f"s3://{BUCKET}/{source}")[1]["parts"] == 3


def test_one_object_is_read_without_the_right_to_list_others(s3, monkeypatch):
    monkeypatch.setattr("churnlib.data.sources.delta.list_objects", None)
    monkeypatch.setattr("churnlib.data.sources.parts.list_objects", None)
    assert read_table(f"s3://{BUCKET}/parquet/1.parquet").rows() == [("C1", 1, 1)]
    assert read_table(f"s3://{BUCKET}/csv/1.csv").rows() == ROWS[1:2]


def test_parts_may_have_their_columns_in_any_order_but_not_others(s3):
    assert read_table(f"s3://{BUCKET}/mixed").rows() == ROWS[:2]
    said = sentence(f"s3://{BUCKET}/changed/*.csv")
    assert "changed/1.csv lacks 'n' and also has 'm', compared with 0.csv" in said


def test_a_delta_table_in_a_store_is_recognised_and_pinned(s3, tmp_path):
    options = {"AWS_ENDPOINT_URL": s3.meta.endpoint_url, "AWS_ALLOW_HTTP": "true"}
    for number in range(2):
        pl.DataFrame({"n": [number]}).write_delta(f"s3://{BUCKET}/delta", mode="append", storage_options=options)
    assert sorted(read_table(f"s3://{BUCKET}/delta").rows()) == [(0,), (1,)]
    assert read_table(f"s3://{BUCKET}/delta/", delta_version="0").rows() == [(0,)]
    assert pin_table(f"s3://{BUCKET}/delta")[1]["delta_version"] == 1
    assert "has no version 5 (its newest is 1)" in sentence(f"s3://{BUCKET}/delta", delta_version=5)


REFUSED = {
    "parquet/9.parquet": "there is no such object",
    "csv/9.csv": "there is no such object",
    "csv/9*.csv": "no object matches",
    "nothing/": "no object named like a table is right below",
    "empty.csv": "is empty|empty CSV",
    "empty.parquet": "parquet",
    "empty.ndjson": "is empty",
    "cut.parquet": "parquet",
    "ragged.csv": "copy it to this machine to learn which line",
    "t.xlsx": "copy it to this machine",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_cannot_be_read_is_one_sentence(s3, source):
    import re

    said = sentence(f"s3://{BUCKET}/{source}")
    assert f"s3://{BUCKET}/" in said and re.search(REFUSED[source], said), said


@pytest.mark.parametrize("source", ["t.csv", "*.csv", "t.parquet", "folder"])
def test_a_bucket_that_is_not_there_is_told(s3, source):
    assert "there is no such" in sentence(f"s3://nowhere/{source}")


@pytest.mark.parametrize("source", ["parquet/0.parquet", "csv/0.csv", "csv/*.csv", "csv", "json/0.ndjson"])
def test_keys_of_another_store_are_refused_in_one_sentence(s3, source, checked_keys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "WRONG-of-the-test")
    said = sentence(f"s3://{BUCKET}/{source}")
    assert "refuses the credentials" in said or "may not read it" in said


@pytest.fixture
def checked_keys(address):
    """The store checks keys, of which it knows none."""
    import httpx

    text = {"headers": {"content-type": "text/plain"}}
    httpx.post(f"{address}/moto-api/reset-auth", content="0", **text)
    yield
    httpx.post(f"{address}/moto-api/reset-auth", content="Infinity", **text)


def test_rights_that_are_missing_are_told(address, checked_keys, monkeypatch):
    """A user whom the store knows but who may not read."""
    text = {"content": "1000", "headers": {"content-type": "text/plain"}}
    import httpx

    httpx.post(f"{address}/moto-api/reset-auth", **text)
    root = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    iam = boto3.client("iam", endpoint_url=address, **root)
    iam.create_user(UserName="reader")
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    httpx.post(f"{address}/moto-api/reset-auth", **{**text, "content": "0"})
    environment(monkeypatch, address, made["AccessKeyId"], made["SecretAccessKey"])
    for source in ("parquet/0.parquet", "csv/*.csv"):
        assert "these credentials may not read it" in sentence(f"s3://{BUCKET}/{source}")


def test_a_store_that_is_down_is_told_in_seconds(monkeypatch):
    environment(monkeypatch, f"http://127.0.0.1:{free_port()}")
    for said in sentences("t.csv", "t.parquet", "*.parquet", "folder"):
        assert "Connection refused; the store does not answer" in said


# --- stores that fail under way -----------------------------------------------------------------------------------


def test_a_store_that_does_not_answer_is_not_waited_for(monkeypatch):
    """Without a limit polars waits for ever."""
    assert PATIENCE["read_timeout"] == "10s"
    monkeypatch.setitem(PATIENCE, "read_timeout", "1s")
    monkeypatch.setitem(PATIENCE, "max_retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        for said in sentences("t.parquet", "folder"):
            assert "timed out; the store does not answer" in said


@contextmanager
def cutting_proxy(target, *, after):
    """A way to the store that breaks off each answer after so many bytes."""
    host, port = target.removeprefix("http://").split(":")

    class Cut(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.create_connection((host, int(port))) as upstream:
                threading.Thread(target=pump, args=(self.request, upstream), daemon=True).start()
                left = after
                while left > 0 and (content := upstream.recv(min(left, 65536))):
                    self.request.sendall(content)
                    left -= len(content)

    def pump(source, sink):
        try:
            while content := source.recv(65536):
                sink.sendall(content)
        except OSError:
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_answer_that_breaks_off_is_no_shorter_table(s3, monkeypatch):
    put(s3, "long.parquet", pl.DataFrame({"n": pl.int_range(200_000, eager=True).hash(1)}))
    s3.put_object(Bucket=BUCKET, Key="long.csv", Body="a,b\n" + "1,2\n" * 200_000)
    monkeypatch.setitem(PATIENCE, "max_retries", 1)
    with cutting_proxy(s3.meta.endpoint_url, after=100_000) as url:
        environment(monkeypatch, url)
        for source in ("long.parquet", "long.csv"):
            assert "cannot read s3://lake/long" in sentence(f"s3://{BUCKET}/{source}")


TABLE = pl.DataFrame({
    "id": [f"C{number}" for number in range(4000)],
    "n": [number % 7 for number in range(4000)],
    "plan": [f"plan {number % 5}" for number in range(4000)],
    "churn": [number % 3 == 0 for number in range(4000)],
})  # fmt: skip


def put_table(url, bucket):
    """Write the table in eight parts to a bucket of its own: polars keeps a client for each bucket."""
    client = store(url)
    client.create_bucket(Bucket=bucket)
    for number, part in enumerate(TABLE.iter_slices(500)):
        put(client, f"t/{number}.parquet", part, bucket)


@pytest.fixture
def dying_store(monkeypatch):
    """A store of its own with a table; its address and its bucket."""
    with object_store() as url:
        bucket = f"dying-{url.rpartition(':')[2]}"
        put_table(url, bucket)
        environment(monkeypatch, url)
        yield url, bucket


def process_of(url):
    """Return the process that listens at an address."""
    wanted = f"{int(url.rsplit(':', 1)[1]):04X}"
    with open("/proc/net/tcp") as table:  # noqa: PTH123
        inode = next(
            row.split()[9] for row in table if row.split()[1].endswith(f":{wanted}") and row.split()[3] == "0A"
        )
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH115, PTH208
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            return int(pid)
    raise AssertionError("nothing listens there")


def test_a_store_that_is_killed_between_header_and_rows_is_told(dying_store):
    url, bucket = dying_store
    source = f"s3://{bucket}/t/*.parquet"
    lazy = scan_table(source)
    os.kill(process_of(url), signal.SIGKILL)
    told = rf"cannot read s3://{bucket}/t/\*\.parquet: .*the store does not answer"
    with pytest.raises(DataError, match=told), reading(source):
        lazy.collect()


@pytest.mark.slow
def test_preparing_from_a_store_that_dies_leaves_nothing_and_a_second_run_is_as_if_it_had_not(
    dying_store, address, monkeypatch, tmp_path, capsys
):
    from churnlib.data import prepared_table

    url, bucket = dying_store
    words = ["prepare", "data=table", "data.target=churn", "data.id=id", f"output={tmp_path / 'prepared'}"]
    learn, victim = prepared_table._learn, process_of(url)

    def learn_then_lose_the_store(*given, **options):
        os.kill(victim, signal.SIGKILL)
        return learn(*given, **options)

    monkeypatch.setattr(prepared_table, "_learn", learn_then_lose_the_store)
    assert main([*words, f"data.path=s3://{bucket}/t"]) == 1
    said = capsys.readouterr().err
    assert f"cannot read s3://{bucket}/t: " in said and "the store does not answer" in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())

    monkeypatch.setattr(prepared_table, "_learn", learn)
    put_table(address, "restored")
    environment(monkeypatch, address)
    assert main([*words, "data.path=s3://restored/t"]) == 0
    assert pl.read_parquet(tmp_path / "prepared" / "prepared.parquet").height == 4000


@pytest.mark.slow
def test_a_run_from_a_store_is_scored_from_it_and_a_dying_one_leaves_no_scores(
    dying_store, monkeypatch, tmp_path, capsys
):
    url, bucket = dying_store
    run, scores = tmp_path / "run", tmp_path / "scores.csv"
    options = ["model=logistic", "trainer.max_epochs=1", "seed=1", f"output_dir={run}"]
    table = ["data=table", f"data.path=s3://{bucket}/t", "data.target=churn", "data.id=id"]
    assert main(["train", *table, *options]) == 0
    recorded = json.loads((run / "provenance.json").read_text())["sources"]
    assert recorded == [{"option": "data.path", "path": f"s3://{bucket}/t", "format": "Parquet", "parts": 8}]
    score = ["score", f"bundle={run / 'bundle'}", f"input=s3://{bucket}/t", f"output={scores}", "batch_rows=500"]
    assert main(score) == 0
    first = scores.read_bytes()
    assert first.count(b"\n") == 4001

    from churnlib import scoring

    answer, victim = scoring._Stream.score, process_of(url)

    def score_then_lose_the_store(stream, frame):
        os.kill(victim, signal.SIGKILL)
        return answer(stream, frame)

    client = store(url)
    for number, part in enumerate(pl.concat([TABLE] * 100).iter_slices(10_000)):
        put(client, f"t/{number + 8}.parquet", part, bucket)
    monkeypatch.setattr(scoring._Stream, "score", score_then_lose_the_store)
    capsys.readouterr()
    assert main(score) == 1
    said = capsys.readouterr().err
    assert f"cannot read s3://{bucket}/t: " in said and said.count("\n") == 1
    assert scores.read_bytes() == first and not list(tmp_path.glob(".*"))


# --- writing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["train", "output_dir=s3://lake/run"],
    ["score", "input=t.csv", "output=s3://lake/scores.csv"],
    ["prepare", "output=s3://lake/prepared"],
    ["profile", "data=simulator", "output=s3://lake/profile.html"],
    ["simulate", "output=s3://lake/t.parquet"],
    ["pseudonymise", "input=t.csv", "output=s3://lake/t.csv", "id=id", "key_env=KEY", "key_id=1"],
])  # fmt: skip
def test_nothing_is_written_to_addresses(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert "is an address, but churnlib writes to local disks only" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_options_of_a_store_are_refused_as_options_of_a_format_are(s3):
    with pytest.raises(ConfigError, match=r"data\.delta_version=1 is for Delta Lake tables"):
        read_table(f"s3://{BUCKET}/csv", delta_version="1")
