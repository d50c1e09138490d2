"""Customers from PostgreSQL and MariaDB, from real servers that are started here."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from servers import PASSWORD, PASSWORD_ESCAPED, Server, address, mariadb, postgresql

from churnlib import cli
from churnlib.data.simulator import simulate
from churnlib.data.sources.sql import URL_ENV, fetch, fetch_sql, read_sql
from churnlib.data.sources.sql.address import read_address
from churnlib.data.sources.sql.statement import one_select, range_conditions, read_query
from churnlib.errors import ChurnlibError, ConfigError, DataError, MissingPackageError

BIG = {
    "postgresql": "SELECT id, repeat('x', 50) AS t FROM generate_series(1, 20000000) AS id",
    "mysql": "SELECT seq AS id, REPEAT('x', 50) AS t FROM seq_1_to_20000000",
}
"""Queries whose rows take long enough to be interrupted."""


@pytest.fixture(scope="module")
def pg() -> Iterator[Server]:
    with postgresql() as server:
        server.run(
            "CREATE TABLE keyed AS SELECT id::int8, CASE WHEN id % 7 > 0 THEN id % 50 END::int4 AS k, "
            "date '2024-01-01' + (id % 90)::int4 AS day FROM generate_series(1, 1000) AS id; CREATE SEQUENCE counted; "
            "GRANT USAGE ON SEQUENCE counted TO reader"
        )
        yield server


@pytest.fixture(scope="module")
def maria() -> Iterator[Server]:
    with mariadb() as server:
        server.run(
            "USE crm; CREATE TABLE log (n INT); CREATE TABLE keyed (id BIGINT, k INT, day DATE) AS "
            "SELECT seq AS id, IF(seq % 7, seq % 50, NULL) AS k, DATE '2024-01-01' + INTERVAL (seq % 90) DAY AS day "
            "FROM seq_1_to_1000"
        )
        server.run(
            "delimiter //\nCREATE FUNCTION crm.writes() RETURNS INT MODIFIES SQL DATA "
            "BEGIN INSERT INTO crm.log VALUES (1); RETURN 1; END//"
        )
        server.run("GRANT EXECUTE ON crm.* TO reader@'%'")
        yield server


@pytest.fixture(params=["pg", "maria"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    found: Server = request.getfixturevalue(request.param)
    monkeypatch.setenv(URL_ENV, address(found))
    return found


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed, whatever a driver says."""
    yield
    assert capfd.readouterr() == ("", "")


def refusal(query: str, folder: Path, **options: object) -> str:
    """The sentence with which a read fails; nothing is left in the folder, and no secret is said."""
    with pytest.raises(ChurnlibError) as error:
        fetch_sql(query, folder / "rows", **options)  # type: ignore[arg-type]
    said = str(error.value)
    assert list(folder.iterdir()) == []
    assert PASSWORD not in said and PASSWORD_ESCAPED not in said and "\n" not in said and "Error" not in said
    return said


# --- what comes -----------------------------------------------------------------------------------------------------


def test_postgresql_gives_columns_that_a_schema_knows(pg, monkeypatch):
    monkeypatch.setenv("CRM", address(pg))
    first = {
        "1::int2": 1, "9007199254740993::int8": 9007199254740993, "1.5::float4": 1.5, "12.30::numeric(10,2)": 12.3,
        "avg(1.5)": 1.5, "sum(3::int8)": 3.0, "'NaN'::numeric": None, "true": True, "'x '::char(5)": "x",
        "date '2024-02-29'": dt.date(2024, 2, 29), "date 'infinity'": None,
        "timestamp '2024-02-29 12:34:56.5'": dt.datetime(2024, 2, 29, 12, 34, 56, 500_000),
        "timestamptz '2024-02-29 12:00+02'": dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC), "time '01:02:03'": "01:02:03",
        "interval '1 day'": "1 day", "'{\"a\": 1}'::jsonb": '{"a": 1}', "3.5::money": 3.5, "b'101'": "101",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "'ab'::bytea": "6162",
        "'high'::level": "high", "inet '10.0.0.1'": "10.0.0.1/32", "array[1, null]": [1, None],
        "array[1.5]::numeric[]": [1.5], "array['a']::text[]": ["a"], "'it''s; -- no end'::text": "it's; -- no end",
    }  # fmt: skip
    pg.run("DROP TYPE IF EXISTS level; CREATE TYPE level AS ENUM ('low', 'high')")
    named = [f"{sql} AS c{number}" for number, sql in enumerate(first)]
    missing = ", ".join("NULL" for _ in first)
    frame = read_sql(f"SELECT {', '.join(named)} UNION ALL SELECT {missing}", url_env="CRM")
    assert dict(zip(first, frame.row(0), strict=True)) == first
    assert set(frame.row(1)) == {None}


def test_mariadb_gives_columns_that_a_schema_knows(maria, monkeypatch):
    monkeypatch.setenv("CRM", address(maria).replace("mysql://", "mariadb+pymysql://"))
    columns = {
        "TINYINT(1)": ("TRUE", 1), "BIGINT": ("9007199254740993", 9007199254740993), "DOUBLE": ("2.5", 2.5),
        "BIGINT UNSIGNED": ("18446744073709551615", 18446744073709551615), "DECIMAL(10,2)": ("12.30", 12.3),
        "DATE": ("'2024-02-29'", dt.date(2024, 2, 29)), "TIME": ("'01:02:03'", "01:02:03"), "YEAR": ("2024", 2024),
        "DATETIME(6)": ("'2024-02-29 12:34:56.5'", dt.datetime(2024, 2, 29, 12, 34, 56, 500_000)),
        "CHAR(9) CHARACTER SET latin1": ("'Grüße'", "Grüße"), "ENUM('low','high')": ("'high'", "high"),
        "JSON": ("'[1]'", "[1]"), "VARBINARY(4)": ("X'00ff'", "00ff"), "BIT(3)": ("5", "05"), "UUID": ("UUID()", ...),
    }  # fmt: skip
    named = ", ".join(f"c{number} {type_}" for number, type_ in enumerate(columns))
    values = ", ".join(sql for sql, _ in columns.values())
    maria.run(
        f"SET NAMES utf8mb4; CREATE OR REPLACE TABLE crm.kinds ({named}); INSERT INTO crm.kinds VALUES ({values})"
    )
    maria.run("INSERT INTO crm.kinds VALUES ()")
    frame = read_sql("SELECT * FROM kinds ORDER BY c0 DESC", url_env="CRM")
    wanted = {type_: value for type_, (_, value) in columns.items() if value is not ...}
    assert {type_: value for type_, value in zip(columns, frame.row(0), strict=True) if type_ in wanted} == wanted
    assert set(frame.row(1)) == {None}


def test_a_query_may_be_a_file_and_keeps_its_order(server, tmp_path):
    query = tmp_path / "customers.SQL"
    lines = ["-- customers; all of them", "SELECT id, k FROM keyed WHERE id <= 3 ORDER BY id DESC;", "-- end;", ""]
    query.write_text("\n".join(lines), encoding="utf-8")
    assert read_sql(str(query)).rows() == [(3, 3), (2, 2), (1, 1)]


@pytest.mark.parametrize("column", ["k", pytest.param("day", marks=pytest.mark.slow)])
def test_ranges_hold_each_row_once(server, column, tmp_path):
    lazy = fetch_sql("SELECT * FROM keyed -- all", tmp_path / "rows", partition_on=column, partitions=3)
    day = dt.date(2024, 1, 1)
    wanted = [(i, i % 50 if i % 7 else None, day + dt.timedelta(days=i % 90)) for i in range(1, 1001)]
    assert sorted(lazy.collect().rows(), key=lambda row: row[0]) == wanted
    parts = [pl.read_parquet(part) for part in sorted((tmp_path / "rows").iterdir())]
    assert len(parts) == 3 and min(part.height for part in parts) > 100


def test_no_rows_are_an_error_unless_they_are_expected(server):
    with pytest.raises(DataError, match="gives 3 columns but no rows"):
        read_sql("SELECT * FROM keyed WHERE id < 0")
    assert read_sql("SELECT * FROM keyed WHERE id < 0", partition_on="k", allow_empty=True).shape == (0, 3)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_the_session_may_only_read(server, tmp_path, silent):
    query = {"postgresql": "SELECT nextval('counted')", "mysql": "SELECT writes()"}[server.kind]
    assert "the query may only read: " in refusal(query, tmp_path)
    count = {"postgresql": "SELECT is_called FROM counted", "mysql": "SELECT COUNT(*) FROM crm.log"}[server.kind]
    assert server.run(count).strip() in ("f", "0")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "wrong"}, "refuses the user: "),
        pytest.param(
            {"database": "nope"}, "cannot connect to .*nope.*; correct the name of the database", marks=pytest.mark.slow
        ),
        pytest.param({"port": 1}, "cannot connect to .*:1: .*refused.*; check the address", marks=pytest.mark.slow),
    ],
)
def test_a_connection_refused_is_one_sentence(server, wrong, said, tmp_path, monkeypatch, silent):
    monkeypatch.setenv(URL_ENV, address(server, **wrong))
    started = time.monotonic()
    assert re.search(said, refusal("SELECT 1 AS one", tmp_path))
    assert time.monotonic() - started < 25, "a driver goes on trying for half a minute"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nope", "refuses the query: .*nope.* exist"),
        ("SELECT id AS x, k AS x FROM keyed", "two columns of the query are called 'x'; give each a name"),
        pytest.param("SELECT nope FROM keyed", "refuses the query: .*nope", marks=pytest.mark.slow),
        pytest.param("SELECT id FROM keyed WHERE", "refuses the query: .*syntax", marks=pytest.mark.slow),
    ],
)
def test_a_query_refused_is_one_sentence(server, query, said, tmp_path, silent):
    assert re.search(said, refusal(query, tmp_path))


def test_values_that_cannot_be_read_are_named_without_being_shown(maria, tmp_path, monkeypatch, silent):
    monkeypatch.setenv(URL_ENV, address(maria))
    maria.run(
        "SET sql_mode = ''; CREATE OR REPLACE TABLE crm.zero (day DATE); INSERT INTO crm.zero VALUES ('0000-00-00')"
    )
    said = refusal("SELECT day FROM zero", tmp_path)
    assert "cannot be read here (such as a zero date" in said and "0000" not in said


def test_a_number_that_would_not_stay_exact_is_refused(pg, tmp_path, monkeypatch, silent):
    monkeypatch.setenv(URL_ENV, address(pg))
    said = refusal("SELECT 12345678901234567 ::numeric AS id", tmp_path)
    assert said.startswith("the column 'id' holds whole numbers beyond 2^53") and "1234" not in said


@pytest.mark.parametrize(
    ("column", "said"), [("nope", "nope"), ("name", "to partition on holds .*whole numbers or dates")]
)
@pytest.mark.slow
def test_ranges_need_a_column_of_whole_numbers_or_dates(server, column, said, tmp_path, silent):
    query = "SELECT id, 'a' AS name FROM keyed"
    assert re.search(said, refusal(query, tmp_path, partition_on=column))


def test_a_slow_query_ends_with_its_time(server, tmp_path, silent):
    slow = {
        "postgresql": "SELECT pg_sleep(60)::text AS x",
        "mysql": "SELECT COUNT(*) AS x FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b WHERE a.seq < b.seq",
    }
    said = refusal(slow[server.kind], tmp_path, timeout_seconds=0.5)
    assert "did not send all rows within timeout_seconds=0.5; raise it, or ask for less" in said
    running = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' "
        "AND pid <> pg_backend_pid()",
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'reader' AND command <> 'Sleep'",
    }
    assert server.run(running[server.kind]).strip() == "0", "the server goes on working"


@contextmanager
def mute_server() -> Iterator[int]:
    """A server that lets itself be called and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened.getsockname()[1]


def readers(of: int) -> set[Path]:
    """The processes that read for this one."""
    found = {path for path in Path("/proc").glob("[0-9]*") if b"sources.sql.reader" in _bytes(path / "cmdline")}
    return {path for path in found if f"PPid:\t{of}\n".encode() in _bytes(path / "status")}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind", ["postgresql", pytest.param("mysql", marks=pytest.mark.slow)])
def test_a_server_that_hangs_ends_with_the_time_and_no_secret_is_seen_meanwhile(kind, tmp_path, monkeypatch, silent):
    monkeypatch.setattr(fetch, "GRACE_SECONDS", 0.5)
    with mute_server() as port:
        monkeypatch.setenv(URL_ENV, f"{kind}://reader:{PASSWORD_ESCAPED}@127.0.0.1:{port}/crm")
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(refusal("SELECT 1 AS x", tmp_path, timeout_seconds=2)))
        thread.start()
        while not (seen := readers(os.getpid())):
            time.sleep(0.02)
        shown = [_bytes(path / name) for path in seen for name in ("cmdline", "environ")]
        thread.join()
    assert any(shown) and all(secret.encode() not in text for text in shown for secret in (PASSWORD, PASSWORD_ESCAPED))
    assert re.search("did not send all rows within timeout_seconds=2|cannot connect", said[0])
    assert not readers(os.getpid())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_the_reader_ends_with_the_program_that_asked(tmp_path):
    with mute_server() as port:
        program = "from churnlib.data.sources.sql import read_sql; read_sql('SELECT 1 AS x')"
        environment = {**os.environ, URL_ENV: f"postgresql://reader@127.0.0.1:{port}/crm"}
        asking = subprocess.Popen([sys.executable, "-c", program], env=environment)
        while not (seen := readers(asking.pid)):
            time.sleep(0.05)
        asking.kill()
        asking.wait()
        until = time.monotonic() + 30
        while any(b"sources.sql.reader" in _bytes(path / "cmdline") for path in seen) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(b"sources.sql.reader" in _bytes(path / "cmdline") for path in seen)


def interrupt(kind: str, folder: Path, stop: Callable[[], object]) -> str:
    """Read many rows, stop the server or its connection once some have been written, return what is said."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(refusal(BIG[kind], folder)))
    thread.start()
    while thread.is_alive() and not any(part.stat().st_size > 50_000 for part in folder.glob(".*/part-*")):
        time.sleep(0.01)
    assert thread.is_alive(), said
    stop()
    thread.join()
    return said[0]


@pytest.mark.slow
def test_a_connection_that_is_cut_leaves_nothing_and_a_second_run_reads_all(server, tmp_path, silent):
    def cut() -> None:
        if server.kind == "postgresql":
            server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
        else:
            server.run("KILL USER reader@'%'")

    said = interrupt(server.kind, tmp_path, cut)
    assert re.search(r"the connection to .* broke after [1-9][\d,]* rows, none of which are kept; run it again", said)
    assert fetch_sql("SELECT * FROM keyed", tmp_path / "rows").select(pl.len()).collect().item() == 1000


@pytest.mark.slow
@pytest.mark.parametrize("start", [postgresql, mariadb])
def test_a_server_killed_while_it_sends_never_leaves_a_table_that_is_short(start, tmp_path, monkeypatch, silent):
    with start() as mortal:
        monkeypatch.setenv(URL_ENV, address(mortal))
        said = interrupt(mortal.kind, tmp_path, mortal.stop)
    assert re.search(r"the connection to .* broke after [1-9][\d,]* rows, none of which are kept; run it again", said)


@pytest.mark.slow
def test_ranges_of_postgresql_are_of_one_snapshot(pg, tmp_path, monkeypatch):
    monkeypatch.setenv(URL_ENV, address(pg))
    pg.run("CREATE TABLE moving AS SELECT id, id AS k FROM generate_series(1, 20000) AS id")
    ended = threading.Event()

    def move() -> None:
        while not ended.is_set():
            pg.run("UPDATE moving SET k = 20001 - k")

    thread = threading.Thread(target=move)
    thread.start()
    try:
        for run in range(2):
            lazy = fetch_sql("SELECT * FROM moving", tmp_path / str(run), partition_on="k", partitions=16)
            assert sorted(lazy.collect()["id"]) == list(range(1, 20_001))
    finally:
        ended.set()
        thread.join()


# --- without a server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("", "is not set; let it hold postgresql://user:password@host:5432/database"),
        ("secret", "does not hold an address"),
        ("sqlite:///secret", "does not hold an address"),
        ("postgresql://reader:se/cret@host/db", "cannot be read; write characters such as @"),
        ("postgresql://reader:12/secret@host:5432/db", "cannot be read; write characters such as @"),
        ("mysql://reader:#secret@host/db", "cannot be read; write characters such as @"),
        ("mysql://reader:a@b/secret@host/db", "cannot be read; write characters such as @"),
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(held, said, monkeypatch):
    monkeypatch.setenv("CRM", held)
    with pytest.raises(ConfigError, match=said) as error:
        read_address("CRM")
    assert "CRM" in str(error.value) and "secret" not in str(error.value)


def test_an_address_says_where_the_database_is_and_nothing_else(monkeypatch):
    monkeypatch.setenv("CRM", "postgres://me:p%2Fw@[::1]:5432,b/db?sslmode=require&options=-c%20a%3Db&sslpassword=hush")
    found = read_address("CRM")
    assert (str(found), found.kind) == ("PostgreSQL at [::1]:5432,b", "postgresql")
    assert "p%2Fw" not in repr(found) and "hush" not in repr(found)
    assert {"sslmode=require", "options=-c%20a%3Db", "connect_timeout=15"} <= set(
        found.url.partition("?")[2].split("&")
    )
    assert found.without_secrets("p/w, p%2Fw and hush") == "***, *** and ***"


def test_the_address_itself_is_no_option():
    with pytest.raises(ConfigError, match="url_env must be the name of an environment variable") as error:
        read_sql("SELECT 1", url_env="postgresql://me:secret@host/db")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("-- a; b\nSELECT ';' AS \"a;b\" /* ; */ FROM t ;\n-- end;\n", "-- a; b\nSELECT ';' AS \"a;b\" /* ; */ FROM t"),
        ("(select 1) union (select 2)", "(select 1) union (select 2)"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "WITH a AS (SELECT 1) SELECT * FROM a"),
        ("SELECT 1; SELECT 2", None),
        ("DELETE FROM customers", None),
        ("/* only */ -- words", None),
        ("SHOW TABLES", None),
    ],
)
def test_one_select_is_found(kind, sql, statement):
    if statement is not None:
        assert one_select(sql, kind) == statement
    else:
        with pytest.raises(ConfigError, match=r"several statements|must be a SELECT"):
            one_select(sql, kind)


def test_quotes_are_those_of_the_database():
    assert one_select("SELECT $a$;$a$, E'\\';', $1", "postgresql").endswith("$1")
    assert one_select("SELECT '\\';', `;` # ;", "mysql").startswith("SELECT")
    with pytest.raises(ConfigError, match="several"):
        one_select("SELECT '\\'; DELETE FROM a", "postgresql")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_query(str(tmp_path / "none.sql"))
    (tmp_path / "latin.sql").write_bytes("SELECT 'ü'".encode("latin1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_query(str(tmp_path / "latin.sql"))


def test_ranges_are_as_many_as_there_are_values():
    assert range_conditions("k", None, None, 4) == range_conditions("k", 5, 5, 4) == ["1 = 1"]
    assert range_conditions("k", 1, 2, 4) == ["(k < 2 OR k IS NULL)", "k >= 2"]
    assert range_conditions("k", dt.date(2024, 1, 1), dt.date(2024, 1, 4), 2)[1] == "k >= '2024-01-03'"
    times = range_conditions("k", dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 3), 2)
    assert times[1] == "k >= '2024-01-02 00:00:00'"


def test_a_driver_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setenv("CRM", "mysql://me@host/db")
    monkeypatch.setattr(fetch, "find_spec", lambda name: None if name == "connectorx" else name)
    with pytest.raises(MissingPackageError, match=r"connectorx; add it with: pip install 'churnlib\[sql\]'"):
        read_sql("SELECT 1", url_env="CRM")


def test_a_folder_that_is_there_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setenv("CRM", "mysql://me@host/db")
    with pytest.raises(ConfigError, match="give a new folder"):
        fetch_sql("SELECT 1", tmp_path, url_env="CRM")


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crm(pg: Server) -> Server:
    """PostgreSQL with a table of simulated customers."""
    from adbc_driver_postgresql.dbapi import connect

    with connect(address(pg, user="owner")) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("customers", simulate(600, seed=1).table.to_arrow())
        connection.commit()
    return pg


def files_with(secret: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.mark.slow
def test_train_prepare_profile_and_score_read_a_query(crm, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CRM", address(crm))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Path("all.sql").write_text("SELECT * FROM customers ORDER BY customer_id", encoding="utf-8")
    words = ["data=sql", "data.query=all.sql", "data.url_env=CRM", "data.target=churn", "data.id=customer_id"]
    train = [*words, "data.drop=[churn_date]", "trainer=debug", "logger=none", "trainer.progress=false"]
    assert cli.main(["train", *train, "output_dir=run"]) == 0
    assert json.loads(Path("run/metrics.json").read_text(encoding="utf-8"))["test"]["n"] > 50
    assert cli.main(["prepare", *words, "data.partition_on=snapshot_date", "output=prepared"]) == 0
    assert pl.scan_parquet("prepared/prepared.parquet").select(pl.len()).collect().item() >= 600
    assert cli.main(["profile", *words, "output=profile.html"]) == 0
    assert cli.main(["score", "bundle=run/bundle", "input=all.sql", "url_env=CRM", "output=scores.csv"]) == 0
    scores = pl.read_csv("scores.csv")
    tested = pl.read_parquet("run/predictions.parquet").join(scores, on="customer_id", suffix="_scored")
    assert (tested["churn_probability"] - tested["churn_probability_scored"]).abs().max() < 1e-6
    assert cli.main(["score", "bundle=run/bundle", "input=all.sql", "url_env=NONE", "output=none.csv"]) == 1
    printed = capfd.readouterr()
    assert "the environment variable NONE is not set" in printed.err and not Path("none.csv").exists()
    for secret in (PASSWORD, PASSWORD_ESCAPED):
        assert secret not in printed.out + printed.err and files_with(secret, tmp_path) == []
    assert list((tmp_path / "temporary").glob("churnlib*")) == []


@pytest.mark.slow
def test_a_frame_of_a_connection_of_ones_own_is_a_table(crm):
    from adbc_driver_postgresql.dbapi import connect

    from churnlib.data.sources import table_from

    with connect(address(crm)) as connection:
        frame = pl.read_database("SELECT customer_id, churn FROM customers WHERE tenure_months > 12", connection)
    assert table_from(frame).columns == ["customer_id", "churn"]
