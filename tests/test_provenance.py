"""A run says which rows, which code and which machine its figures come from."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from decimal import Decimal

import polars as pl
import pytest
from made import made_prepared

from churnlib.training.provenance import fingerprint, provenance

TABLE = pl.DataFrame({"tenure": [1, None, 3], "plan": ["a", "b", None], "use": [[1.0, None], [], None]})


def test_equal_tables_have_equal_fingerprints_however_they_lie_in_memory():
    pieces = pl.concat([TABLE[:1], TABLE[1:]], rechunk=False)
    assert fingerprint(pieces) == fingerprint(TABLE)


@pytest.mark.parametrize(
    "other",
    [
        TABLE.with_columns(tenure=pl.Series([1, None, 4])),
        TABLE.with_columns(plan=pl.Series(["a", "b", ""])),
        TABLE.cast({"tenure": pl.Float64}),
        TABLE.rename({"plan": "Plan"}),
        TABLE.reverse(),
        TABLE.select("plan", "tenure", "use"),
    ],
)
def test_any_other_cell_type_name_or_order_is_another_fingerprint(other: pl.DataFrame):
    assert fingerprint(other) != fingerprint(TABLE)


def test_columns_of_every_kind_that_a_file_may_have_can_be_read():
    odd = pl.DataFrame(
        {
            "bytes": [b"\xff\x00", None],
            "money": [Decimal("1.50"), None],
            "when": [dt.datetime(2025, 1, 1), None],
            "hour": [dt.time(3), None],
            "span": [dt.timedelta(days=1), None],
            "word": pl.Series(["a", None], dtype=pl.Categorical),
            "nothing": [None, None],
            "big": [float("inf"), float("nan")],
        }
    )
    assert fingerprint(odd) != fingerprint(odd.reverse())


def test_the_state_of_the_code_in_the_working_directory_is_named(tmp_path, monkeypatch):
    customers = made_prepared(60)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance(customers)["code"] == {"commit": None, "changed": False}
    for words in (["init"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], check=True, capture_output=True)
    found = provenance(customers)
    assert len(found["code"]["commit"]) == 40
    assert not found["code"]["changed"]
    assert found["data"]["rows"] == 60
    assert json.loads(json.dumps(found)) == found
