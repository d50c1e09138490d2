"""Rows of a real database, ingested alone and joined with files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from servers import PASSWORD, Server, address, postgresql

from churnlib import cli
from churnlib.data.sources import read_table
from churnlib.data.sources.sql import URL_ENV

BILLS = (
    "SELECT 'c' || id AS account, date '2024-01-31' + 29 * (id % 2) AS billed, id * 1.5 AS amount "
    "FROM generate_series(1, 500) AS id"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as started:
        started.run(f"CREATE TABLE bills AS {BILLS}")
        yield started


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_ENV, address(server))


@pytest.mark.slow
def test_rows_of_a_query_are_ingested_once_and_joined_with_files(server, empty_folder, capsys):
    words = ["ingest", "data=sql", "data.query='SELECT * FROM bills'", "data.id=account", "data.time=billed"]
    assert cli.main([*words, "output=bills"]) == 0
    assert cli.main([*words, "output=bills"]) == 0
    assert "already ingested, nothing has changed" in capsys.readouterr().out
    manifest = json.loads(Path("bills/manifest.json").read_text())
    assert manifest["rows"] == 500 and PASSWORD not in json.dumps(manifest)
    assert manifest["source"] == {"data": "sql", "query": "SELECT * FROM bills", "url_env": "CHURNLIB_SQL_URL"}
    server.run("UPDATE bills SET amount = 0 WHERE account = 'c7'")
    assert cli.main([*words, "output=bills"]) == 0
    assert "2024-02-29: replaced" in capsys.readouterr().out

    crm = pl.DataFrame({"id": ["c2", "c1", "c3"], "taken": ["2024-02-01", "2024-02-01", "2024-02-29"]})
    crm.write_csv("crm.csv")
    joined = ["ingest", "data=joined", "data.id=id", "data.time=taken", "data.sources.crm.path=crm.csv"]
    bills = "data.sources.bills={query: 'SELECT * FROM bills', id: account, time: billed}"
    assert cli.main([*joined, bills, "output=customers"]) == 0
    assert read_table("customers").sort("id")["amount"].cast(pl.Float64).to_list() == [None, 3.0, 4.5]


@pytest.mark.slow
def test_a_database_that_refuses_leaves_nothing(server, empty_folder, capsys):
    crm = pl.DataFrame({"id": ["c2"]})
    crm.write_csv("crm.csv")
    joined = ["ingest", "data=joined", "data.id=id", "data.sources.crm.path=crm.csv", "output=customers"]
    assert cli.main([*joined, "data.sources.bills={query: 'SELECT * FROM nowhere', id: account}"]) == 1
    said = capsys.readouterr().err
    assert "nowhere" in said and said.count("\n") == 1 and PASSWORD not in said
    assert [path.name for path in empty_folder.iterdir()] == ["crm.csv"]
