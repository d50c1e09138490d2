"""Public tables: found, checked, downloaded once, or one sentence about where to get them."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from churnlib.data import reference
from churnlib.data.download import DownloadFailed, download
from churnlib.data.reference import REFERENCE, cache_dir, check_reference, load_reference, reference_path
from churnlib.data.target import check_target, encode_target
from churnlib.errors import ConfigError, DataError

CONTENT = b"id,plan,left\n1,a,yes\n2,b,no\n3,,no\n4,b,yes\n5,a,no\n"

TINY = replace(
    REFERENCE["telco"],
    name="tiny",
    file_name="tiny.csv",
    columns=("id", "plan", "left"),
    rows=5,
    target="left",
    positive="yes",
    positives=2,
    where_to_get="ask the one who made it",
    url=None,
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Point both folders at empty ones, so that no test sees this machine's."""
    for name, folder in ((reference.DATA_DIR, "data"), (reference.CACHE_DIR, "cache")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("NO_PROXY", "*")


class Server(ThreadingHTTPServer):
    """A server on this machine that gives every request the same answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, CONTENT)
        self.requests = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        assert isinstance(self.server, Server)
        self.server.requests += 1
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny(server, monkeypatch):
    """A small table that the server serves."""
    table = replace(TINY, url=f"http://127.0.0.1:{server.server_port}/tiny.csv")
    monkeypatch.setitem(REFERENCE, "tiny", table)
    return table


def with_first_column(name):
    """The content with a first column of row numbers."""
    header, *rows = CONTENT.splitlines()
    return b"\n".join([name + b"," + header, *(b"%d,%s" % (number, row) for number, row in enumerate(rows))])


def own_copy(tmp_path, content, table=TINY):
    path = tmp_path / "data" / table.file_name
    path.write_bytes(content)
    return path


def test_a_table_is_downloaded_once_and_read(tiny, server, tmp_path, capfd):
    assert load_reference("tiny").rows()[:2] == [("1", "a", "yes"), ("2", "b", "no")]
    assert load_reference("tiny").height == 5
    assert server.requests == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny.csv"]
    assert capfd.readouterr() == ("", "")  # neither pooch's log nor, off a terminal, the bar


def test_an_answer_packed_for_the_way_is_unpacked(tiny, server):
    server.answer = (200, {"Content-Encoding": "gzip"}, gzip.compress(CONTENT))
    assert reference_path("tiny").read_bytes() == CONTENT


def test_the_own_copy_is_preferred_and_checked(tiny, server, tmp_path):
    path = own_copy(tmp_path, CONTENT)
    assert reference_path("tiny") == path
    own_copy(tmp_path, CONTENT.replace(b"5,a,no\n", b""))
    with pytest.raises(DataError, match="has 4 rows, not 5"):
        reference_path("tiny")
    assert server.requests == 0


def test_a_damaged_copy_in_the_cache_is_downloaded_again(tiny, server):
    path = reference_path("tiny")
    path.write_bytes(CONTENT[:20])
    assert reference_path("tiny").read_bytes() == CONTENT
    assert server.requests == 2


def test_another_file_at_the_address_is_told_and_not_kept(tiny, server, tmp_path):
    server.answer = (200, {}, CONTENT.replace(b"yes", b"no"))
    with pytest.raises(DataError, match=r"another SHA-256\); ask the one who made it .*put it at .*data/tiny\.csv"):
        reference_path("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusing_server_is_told(tiny, server, tmp_path, status):
    server.answer = (status, {}, b"no")
    with pytest.raises(DataError, match=rf"the server answered {status}\)"):
        reference_path("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_broken_connection_leaves_nothing_behind(tiny, server, tmp_path):
    server.answer = (200, {"Content-Length": "9999"}, CONTENT)
    with pytest.raises(DataError, match=r"no connection\)"):
        reference_path("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_one_sentence_says_where_to_put_the_file(monkeypatch, tmp_path):
    monkeypatch.setitem(REFERENCE, "tiny", replace(TINY, url="http://127.0.0.1:9/tiny.csv"))
    with pytest.raises(DataError) as caught:
        reference_path("tiny")
    sentence = str(caught.value)
    assert "http://127.0.0.1:9/tiny.csv (no connection)" in sentence
    assert f"put it at {tmp_path / 'data' / 'tiny.csv'} (the folder that CHURNLIB_DATA_DIR names)" in sentence
    assert "\n" not in sentence
    monkeypatch.delenv(reference.DATA_DIR)
    with pytest.raises(DataError, match=r"put it as tiny\.csv into a folder .* CHURNLIB_DATA_DIR names$"):
        reference_path("tiny")


def test_a_cache_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadFailed, match=r"folder .*file cannot be written"):
        download(f"http://127.0.0.1:{server.server_port}/x", tmp_path / "file" / "x.csv", sha256=TINY.sha256 or "")


def test_the_bar_counts_the_bytes_on_a_terminal(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    url, checksum = f"http://127.0.0.1:{server.server_port}/tiny.csv", TINY.sha256 or ""
    download(url, tmp_path / "tiny.csv", sha256=checksum)
    shown = capfd.readouterr()
    assert "downloading tiny.csv" in shown.err and shown.out == ""
    download(url, tmp_path / "again.csv", sha256=checksum, progress=False)
    assert capfd.readouterr().err == ""


# --- copies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        CONTENT.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + CONTENT,
        CONTENT.replace(b",", b";"),
        CONTENT.rstrip(b"\n"),
        b"\n".join(
            b'"%d",%s' % (i, line) if i else b'"rownames",' + line for i, line in enumerate(CONTENT.splitlines())
        ),
        b"\n".join(b"%d,%s" % (i, line) if i else b"," + line for i, line in enumerate(CONTENT.splitlines())),
        b"plan,id,left\na,1,yes\nb,2,no\n,3,no\nb,4,yes\na,5,no\n",
    ],
    ids=["CRLF", "BOM", "semicolons", "no last line end", "row names of R", "index of pandas", "other order"],
)
def test_a_copy_of_the_same_values_is_the_same_table(monkeypatch, tmp_path, content):
    monkeypatch.setitem(REFERENCE, "tiny", TINY)
    own_copy(tmp_path, content)
    assert load_reference("tiny").rows() == [
        ("1", "a", "yes"), ("2", "b", "no"), ("3", None, "no"), ("4", "b", "yes"), ("5", "a", "no"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CONTENT.replace(b"plan", b"tariff"), "lacks the columns plan and has the columns tariff besides"),
        (CONTENT.replace(b"id,", b"id,score,").replace(b",a", b",1,a"), "score besides"),
        (CONTENT + b"6,b,no\n", "has 6 rows, not 5"),
        (CONTENT.replace(b"4,b,yes", b"4,b,no"), "has 1 rows with left=yes, not 2"),
        (CONTENT.replace(b"yes", b"1").replace(b"no", b"0"), "has 0 rows with left=yes, not 2"),
        (b"", "is empty"),
        (CONTENT + b"\xe9,b,no\n", "not UTF-8"),
        (CONTENT + b"6,b,no,x,y\n", "line 7"),
    ],
)
def test_an_edited_copy_is_refused_with_what_differs(monkeypatch, tmp_path, content, words):
    monkeypatch.setitem(REFERENCE, "tiny", TINY)
    path = own_copy(tmp_path, content)
    with pytest.raises(DataError, match=words) as caught:
        reference_path("tiny")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# --- the three tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlc", "isp"])
def test_a_table_of_unclear_licence_is_not_downloaded_but_taken_from_the_cache(name, tmp_path):
    table = REFERENCE[name]
    with pytest.raises(DataError, match=rf"does not download the table '{name}' \(licence: .*{table.file_name}"):
        load_reference(name)
    cached = tmp_path / "cache" / table.file_name
    cached.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=rf"{re.escape(str(cached))} is not an unchanged copy"):
        load_reference(name)


def test_an_unknown_name_is_told_with_the_one_like_it():
    with pytest.raises(ConfigError, match="no public table 'telko', only telco, mlc, isp; did you mean 'telco'"):
        load_reference("telko")
    with pytest.raises(ConfigError, match="data=table"):
        load_reference("zzz")


def test_the_cache_is_the_users_own_unless_named(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv(reference.CACHE_DIR)
    assert cache_dir().name == "churnlib"


@pytest.mark.parametrize("name", ["telco", "mlc", "isp"])
def test_what_is_known_about_a_table_agrees_with_itself(name):
    table = REFERENCE[name]
    assert table.name == name
    assert table.target in table.columns and len(set(table.columns)) == len(table.columns)
    assert 0 < table.positives < table.rows
    assert (table.url is None) == (table.sha256 is None)
    assert table.url is None or re.search(r"/[0-9a-f]{40}/", table.url), "pinned to a commit"


DATA_DIR = os.environ.get("CHURNLIB_DATA_DIR")


@pytest.mark.skipif(not DATA_DIR, reason="CHURNLIB_DATA_DIR is not set")
@pytest.mark.parametrize("name", ["telco", "mlc", "isp"])
def test_the_real_table_is_what_is_known_about_it(name, monkeypatch):
    monkeypatch.setenv(reference.DATA_DIR, str(DATA_DIR))
    table = REFERENCE[name]
    path = Path(str(DATA_DIR)) / table.file_name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    frame = load_reference(name)
    assert frame.equals(pl.read_csv(path, infer_schema=False))
    assert frame.columns == list(table.columns) and frame.height == table.rows
    assert check_target(frame, table.target).missing == 0
    assert encode_target(frame[table.target], table.positive)[0].sum() == table.positives
    if table.sha256 is not None:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == table.sha256
    check_reference(table, path)
