"""Keyed pseudonyms: what they are, what they hide, and that every door makes the same ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import polars as pl
import pytest
from made import made_customers

from churnlib import cli
from churnlib.compose import compose
from churnlib.config import PseudonymConfig
from churnlib.data.prepared_table import read_preparation
from churnlib.data.pseudonyms import Pseudonyms, read_pseudonyms
from churnlib.errors import ConfigError

KEY = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)


def pseudonyms(**options) -> Pseudonyms:
    return read_pseudonyms(key_env="TEST_KEY", key_id="k1", **options)  # type: ignore[return-value]


def plainly(name: str, *, key: str = KEY, tenant: str = "", purpose: str = "churn") -> str:
    """The documented formula, by the standard library alone."""
    inner = hmac.new(key.encode(), f"churnlib pseudonyms\0{tenant}\0{purpose}".encode(), hashlib.sha256).digest()
    return base64.b32encode(hmac.new(inner, name.encode(), hashlib.sha256).digest()[:16]).decode()[:26].lower()


def test_a_pseudonym_is_the_documented_one():
    for name in ("C0001", "ä 📱", "x" * 200):
        assert pseudonyms().of(name) == plainly(name)
    assert pseudonyms(tenant="north", purpose="offers").of("C1") == plainly("C1", tenant="north", purpose="offers")
    assert len(pseudonyms().of("C1")) == 26


def test_keys_tenants_and_purposes_cannot_be_joined(monkeypatch):
    made = {pseudonyms().of("C1"), pseudonyms(tenant="t").of("C1"), pseudonyms(purpose="p").of("C1")}
    monkeypatch.setenv("TEST_KEY", KEY[::-1])
    assert len(made | {pseudonyms().of("C1")}) == 4


def test_a_name_has_one_pseudonym_as_text_as_number_and_as_category():
    wanted = [plainly("7"), plainly("12"), None]
    for names in (
        pl.Series([" 7", "12.0", None]),
        pl.Series([7, 12, None]),
        pl.Series([7.0, 12.0, float("nan")]),
        pl.Series(["7", "12", None], dtype=pl.Categorical),
    ):
        assert pseudonyms().column(names).to_list() == wanted
    lazy = pl.LazyFrame({"id": [7, 12, None], "x": [1, 2, 3]})
    assert pseudonyms().scan(lazy, "id").collect(engine="streaming")["id"].to_list() == wanted
    assert pseudonyms().column(pl.Series("id", [], dtype=pl.String)).dtype == pl.String


def test_no_key_is_shown():
    assert KEY not in repr(pseudonyms()) and KEY not in str(pseudonyms().note())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"key_env": "NO_SUCH", "key_id": "k"}, "NO_SUCH holds no key; make one with python -c"),
        ({"key_file": "nowhere/key", "key_id": "k"}, "the key file nowhere/key cannot be read"),
        ({"key_env": "SHORT", "key_id": "k"}, "the key 'k' has 5 characters"),
        ({"key_env": "TEST_KEY"}, "key_id is missing"),
        ({"key_env": "TEST_KEY", "key_id": "k", "tenant": "a\0b"}, "holds a NUL"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_without_being_shown(options, sentence, monkeypatch):
    monkeypatch.setenv("SHORT", "weak!")
    with pytest.raises(ConfigError, match=sentence) as refused:
        read_pseudonyms(**options)
    assert "weak!" not in str(refused.value) and KEY not in str(refused.value)


def test_a_key_may_come_from_a_file(tmp_path):
    (tmp_path / "key").write_text(f"\n{KEY}\n")
    assert read_pseudonyms(key_file=tmp_path / "key", key_id="k1").of("C1") == plainly("C1")  # type: ignore[union-attr]


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="names no key"):
        PseudonymConfig(key_id="k")
    with pytest.raises(ConfigError, match="both name a key"):
        PseudonymConfig(key_env="A", key_file="b", key_id="k")
    with pytest.raises(ConfigError, match=r"data\.id is missing"):
        compose(
            ["data=table", "data.path=a.csv", "data.target=b", "data.pseudonymise={key_env: A, key_id: k}"]
        )  # fmt: skip


def test_every_door_replaces_the_names_and_says_by_which_key(empty_folder, capsys):
    table = made_customers(240)
    table.write_parquet("customers.parquet")
    data = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer"]
    door = ["data.pseudonymise={key_env: TEST_KEY, key_id: k1}"]
    assert cli.main(["train", *data, *door, "model=logistic", "output_dir=run", "logger=none"]) == 0
    assert cli.main(["prepare", *data, *door, "output=prepared"]) == 0
    score = ["bundle=run/bundle", "input=customers.parquet", "output=scores.csv"]
    assert cli.main(["score", *score, "pseudonymise.key_env=TEST_KEY", "pseudonymise.key_id=k1"]) == 0
    named = ["input=customers.parquet", "id=customer", "key_env=TEST_KEY", "key_id=k1"]
    assert cli.main(["pseudonymise", *named, "output=p.parquet"]) == 0

    everybody = [plainly(name) for name in table["customer"]]
    assert pl.read_csv("scores.csv")["customer_id"].to_list() == everybody
    assert pl.read_parquet("p.parquet").drop("customer").equals(table.drop("customer"))
    assert pl.read_parquet("p.parquet")["customer"].to_list() == everybody
    assert pl.read_parquet("prepared/prepared.parquet")["customer"].to_list() == everybody
    subjects = pl.read_parquet("run/subjects.parquet")
    assert set(subjects["customer_id"]) == set(everybody) and set(subjects["side"]) == {"train", "validation", "test"}
    test = subjects.filter(pl.col("side") == "test")["customer_id"]
    assert set(pl.read_parquet("run/predictions.parquet")["customer_id"]) == set(test)

    note = {"key_id": "k1", "tenant": "", "purpose": "churn"}
    assert json.loads(Path("run/bundle/schema.json").read_text())["about"]["pseudonyms"] == note
    assert read_preparation("prepared")[0].about["pseudonyms"] == note
    for beside in ("scores.csv", "p.parquet"):
        assert json.loads(Path(f"{beside}.pseudonyms.json").read_text()).items() >= note.items()
    assert "key_env: TEST_KEY" in Path("run/config.yaml").read_text()
    written = [path for path in empty_folder.rglob("*") if path.is_file() and path.name != "customers.parquet"]
    for content in (path.read_bytes() for path in written):
        assert KEY.encode() not in content and b"C00001" not in content
    said = capsys.readouterr()
    assert KEY not in said.out + said.err


def test_scores_under_another_purpose_are_told_apart_from_the_models(empty_folder, capsys):
    made_customers(240).write_parquet("customers.parquet")
    data = ["data=table", "data.path=customers.parquet", "data.target=churn", "data.id=customer"]
    door = ["data.pseudonymise={key_env: TEST_KEY, key_id: k1}", "model=logistic", "output_dir=run", "logger=none"]
    assert cli.main(["train", *data, *door]) == 0
    other = ["pseudonymise={key_env: TEST_KEY, key_id: k1, purpose: other}"]
    assert cli.main(["score", "bundle=run/bundle", "input=customers.parquet", "output=s.csv", *other]) == 0
    assert "cannot be joined" in capsys.readouterr().out


def test_a_table_without_the_id_column_is_refused(empty_folder, capsys):
    made_customers(40).write_csv("customers.csv")
    named = ["input=customers.csv", "output=p.csv", "key_env=TEST_KEY", "key_id=k1"]
    assert cli.main(["pseudonymise", *named, "id=nobody"]) == 1
    assert "nobody" in capsys.readouterr().err and not Path("p.csv").exists()
