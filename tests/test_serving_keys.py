"""API keys: who is let in, what the file may say, how it changes under a running server; and the command."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from churnlib import cli
from churnlib.commands.key import append, make_key
from churnlib.data.watched import Watched
from churnlib.errors import ConfigError
from churnlib.serving.http.keys import KeyBook, read_keys
from churnlib.serving.problems import Problem, RequestError

CRM, OLD, PROM = "churn_crm", "churn_old", "churn_prom"
TEXT = f"""\
# our clients

crm predict,admin sha256:{hashlib.sha256(CRM.encode()).hexdigest()}
\tcrm  predict sha256:{hashlib.sha256(OLD.encode()).hexdigest().upper()}  expires=2027-01-01 # until the change is made
prom metrics sha256:{hashlib.sha256(PROM.encode()).hexdigest()}
"""


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(TEXT)
    return path


def at(day: str) -> Any:
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return lambda: moment


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def refused(book: KeyBook, headers: dict[str, str], scope: str = "predict") -> Problem:
    with pytest.raises(RequestError) as caught:
        book.holder(headers, scope)
    return caught.value.problem


# --- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "scope", "name"),
    [
        (bearer(CRM), "predict", "crm"),
        (bearer(CRM), "admin", "crm"),
        (bearer(OLD), "predict", "crm"),
        (bearer(PROM), "metrics", "prom"),
        ({"authorization": f"bearer   {CRM} "}, "predict", "crm"),
        ({"x-api-key": CRM}, "predict", "crm"),
        ({"authorization": "Basic Z2F0ZTp3YXk=", "x-api-key": CRM}, "predict", "crm"),
    ],
)
def test_who_shows_a_key_is_known_by_its_name(file, headers, scope, name):
    assert KeyBook(file, now=at("2026-12-31T23:59:59")).holder(headers, scope) == name


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_key"),
        ({"authorization": ""}, "missing_key"),
        ({"authorization": "Bearer"}, "missing_key"),
        ({"authorization": "Bearer ", "x-api-key": CRM}, "missing_key"),
        ({"authorization": "Basic Y2h1cm5fY3Jt"}, "missing_key"),
        ({"authorization": CRM}, "missing_key"),
        (bearer(CRM + "x"), "invalid_key"),
        (bearer(CRM[:-1]), "invalid_key"),
        (bearer(CRM.upper()), "invalid_key"),
        (bearer("wrong"), "invalid_key"),
        (bearer("\udc80ä\x00"), "invalid_key"),
        (bearer("x" * 100_000), "invalid_key"),
        (bearer(hashlib.sha256(CRM.encode()).hexdigest()), "invalid_key"),
        ({"authorization": "Bearer wrong", "x-api-key": CRM}, "invalid_key"),
    ],
)
def test_anybody_else_is_a_401_that_says_how_to_ask(file, headers, code):
    problem = refused(KeyBook(file), headers)
    assert (problem.status, problem.code) == (401, code)
    [(name, value)] = problem.headers
    assert (name, 'error="invalid_token"' in value) == ("WWW-Authenticate", code == "invalid_key")
    assert value.startswith('Bearer realm="churnlib"')
    assert CRM not in problem.message


def test_a_key_works_until_its_day_begins(file):
    problem = refused(KeyBook(file, now=at("2027-01-01T00:00:00")), bearer(OLD))
    assert (problem.status, problem.code) == (401, "expired_key")
    assert KeyBook(file, now=at("2027-01-01T00:00:00")).holder(bearer(CRM), "predict") == "crm"


@pytest.mark.parametrize(("key", "scope"), [(CRM, "metrics"), (PROM, "predict"), (PROM, "admin")])
def test_a_key_for_other_things_is_a_403(file, key, scope):
    problem = refused(KeyBook(file), bearer(key), scope)
    assert (problem.status, problem.code) == (403, "insufficient_scope")
    assert f'scope="{scope}"' in dict(problem.headers)["WWW-Authenticate"]


# --- the file while the server runs ---------------------------------------------------------------------------------


def test_a_changed_file_counts_within_a_second(file, clock):
    book = KeyBook(file, clock=clock)
    file.write_text(TEXT.replace("prom", "grafana"))
    assert book.holder(bearer(PROM), "metrics") == "prom"
    clock.seconds += 1.0
    assert book.holder(bearer(PROM), "metrics") == "grafana"
    file.write_text("".join(line for line in TEXT.splitlines(keepends=True) if "admin" not in line))
    clock.seconds += 1.0
    assert refused(book, bearer(CRM)).code == "invalid_key"
    assert book.holder(bearer(OLD), "predict") == "crm"


@pytest.mark.parametrize("bad", ["", "# nobody\n", "crm predict sha256:12\n", None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_any_more_lets_nobody_in(file, clock, bad, caplog):
    book = KeyBook(file, clock=clock)
    if bad is None:
        file.unlink()
    else:
        file.write_bytes(bad if isinstance(bad, bytes) else bad.encode())
    clock.seconds += 1.0
    for _ in range(3):
        problem = refused(book, bearer(CRM))
        assert (problem.status, problem.code) == (503, "keys_unavailable")
        assert refused(book, {}).status == 503
        clock.seconds += 0.5
    assert len(caplog.records) == 1
    file.write_text(TEXT)
    clock.seconds += 1.0
    assert book.holder(bearer(CRM), "predict") == "crm"


def test_a_file_swapped_as_kubernetes_does_it_is_noticed(tmp_path, clock):
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys.txt").write_text(TEXT.replace("prom ", f"prom{version} "))
    (tmp_path / "data").symlink_to("1")
    (tmp_path / "keys.txt").symlink_to("data/keys.txt")
    book = KeyBook(tmp_path / "keys.txt", clock=clock)
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(tmp_path / "data")
    clock.seconds += 1.0
    assert book.holder(bearer(PROM), "metrics") == "prom2"


def test_a_file_is_looked_at_as_often_as_asked(tmp_path, clock):
    path, reads = tmp_path / "a", []
    path.write_text("1")
    watched = Watched(path, lambda found: reads.append(found.read_text()) or reads[-1], option="a", clock=clock)
    assert [watched.current(), watched.current(), reads] == ["1", "1", ["1"]]
    path.write_text("22")
    assert [watched.current(), watched.current(), reads] == ["22", "22", ["1", "22"]]


# --- what the file may say ------------------------------------------------------------------------------------------


def test_lines_become_keys(file):
    new, old, prom = read_keys(file)
    assert (new.name, new.scopes, new.expires) == ("crm", {"predict", "admin"}, None)
    assert (old.name, old.digest, old.expires) == ("crm", hashlib.sha256(OLD.encode()).digest(), date(2027, 1, 1))
    assert prom.line() == f"prom metrics sha256:{hashlib.sha256(PROM.encode()).hexdigest()}"


HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key; make one with: churnlib key"),
        ("crm predict\n", "line 1 of keys=FILE has 2 words; expected NAME SCOPES sha256:HEX"),
        (f"\ncrm predict {HASH[:-1]}\n", "line 2 of keys=FILE cannot be read"),
        (f"crm predict {HASH[7:]}\n", "line 1 of keys=FILE cannot be read"),
        (f"crm prdict {HASH}\n", "must be of predict, metrics, admin, with commas; did you mean predict?"),
        (f"crm predict, {HASH}\n", "must be of predict, metrics, admin"),
        (f"cr/m predict {HASH}\n", "name must be 1 to 64 letters"),
        (f"crm predict {HASH} expires=soon\n", "expires must be a day such as expires=2027-01-01"),
        (f"crm predict {HASH} 2027-01-01\n", "line 1 of keys=FILE cannot be read"),
        (f"a predict {HASH}\nb predict {HASH}\n", "line 2 of keys=FILE has a key that stands there already"),
        ("crm predict churn_secret\n", "line 1 of keys=FILE holds a key itself, which the file must not"),
    ],
)
def test_wrong_lines_are_explained_without_showing_them(tmp_path, text, said):
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        KeyBook(path)
    assert said.replace("FILE", str(path)) in str(caught.value)
    assert "secret" not in str(caught.value) and "0000" not in str(caught.value)


def test_a_server_does_not_start_without_its_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyBook(tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyBook(tmp_path)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_makes_a_key_that_a_server_knows(tmp_path, capsys):
    path = tmp_path / "keys.txt"
    assert cli.main(["key", "name=crm", "scopes=predict,metrics", "expires=2999-01-01", f"file={path}"]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("churn_") and len(key) == len("churn_") + 43  # 256 bits, 6 in each character
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert KeyBook(path).holder(bearer(key), "metrics") == "crm"

    path.write_text(path.read_text().rstrip("\n"))  # as some editors leave it
    path.chmod(0o640)
    assert cli.main(["key", "name=crm", f"file={path}"]) == 0
    newer = capsys.readouterr().out.strip()
    assert [KeyBook(path).holder(bearer(each), "predict") for each in (key, newer)] == ["crm", "crm"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["keys.txt"]  # noqa: PTH208


def test_without_a_file_the_line_is_printed_beside_the_key(tmp_path, capsys):
    assert cli.main(["key", "name=crm"]) == 0
    said = capsys.readouterr()
    path = tmp_path / "keys.txt"
    path.write_text(said.err)
    line = next(line for line in said.err.splitlines() if "sha256:" in line)
    path.write_text(line)
    assert KeyBook(path).holder(bearer(said.out.strip()), "predict") == "crm"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a key needs a name"),
        (["nam=crm"], "got 'nam=crm'; did you mean name?"),
        (["crm"], "expected key=value"),
        (["name=a b"], "name must be 1 to 64 letters"),
        (["name=crm", "scopes="], "scopes must be of"),
        (["name=crm", "expires=2020-01-01"], "expires=2020-01-01 is not in the future"),
        (["name=crm", "file="], "file is empty"),
        (["name=crm", "file=no/such/folder/keys.txt"], "cannot be written"),
        (["name=crm", "file=."], "cannot be written"),
        (["name=crm", "file=wrong.txt"], "line 1 of file="),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    Path("wrong.txt").write_text("what?")
    assert cli.main(["key", *words]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and said in err and err.count("\n") == 1
    assert os.listdir() == ["wrong.txt"] and Path("wrong.txt").read_text() == "what?"  # noqa: PTH208


def test_keys_made_at_once_are_all_in_the_file(tmp_path):
    path = tmp_path / "keys.txt"
    made = [make_key(f"c{i}", frozenset({"predict"})) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: append(each[1], path), made))
    book = KeyBook(path)
    assert [book.holder(bearer(key), "predict") for key, _ in made] == [f"c{i}" for i in range(40)]


def test_a_link_to_the_file_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("keys.txt")
    append(make_key("crm", frozenset({"predict"}))[1], tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and len(read_keys(tmp_path / "keys.txt")) == 1


def test_the_command_is_light():
    heavy = {"hydra", "litserve", "numpy", "polars", "rich", "torch"}
    code = f"import sys, churnlib.commands.key; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
