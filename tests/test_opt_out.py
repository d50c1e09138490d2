"""Customers who have objected: no model is asked about them, in files, in reasons and over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made import made_bundle, made_customers
from polars.testing import assert_frame_equal

import churnlib
from churnlib.bundle import write_bundle
from churnlib.commands import score
from churnlib.data.customers import prepare_customers
from churnlib.data.opt_out import read_opt_out
from churnlib.errors import ChurnlibError, ConfigError, DataError
from churnlib.predictor import Predictor
from churnlib.serving.answering.models import Models
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.options import parse_options
from churnlib.serving.problems import RequestError
from churnlib.serving.processes.building import identity_of, models_of

MADE = made_customers(200)
OUT = ["C00003", "C00064", "C00065", "C00199"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opt_out") / "bundle"
    write_bundle(made_bundle(prepare_customers(MADE, target="churn", id="customer", seed=0)), folder)
    return folder


def listed(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def words(bundle: Path, folder: Path, frame: pl.DataFrame = MADE, **options: Any) -> list[str]:
    frame.write_parquet(folder / "in.parquet")
    told = {"input": folder / "in.parquet", "output": folder / "out.parquet", "batch_rows": 64, **options}
    return [f"bundle={bundle}", *(f"{key}={value}" for key, value in told.items())]


# --- the list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["customer\n 7 \n12\n", "note,customer_id\nx,7\ny,12.0\n", "whoever\n7\n12\n"])
def test_names_are_read_as_those_of_a_table_are(tmp_path, text):
    found = read_opt_out(listed(tmp_path / "list.csv", text), id="customer")
    assert found.among(pl.Series([7, 8, 12])).tolist() == [True, False, True]
    assert found.among(pl.Series(["7", None, " 12"])).tolist() == [True, False, True]
    assert 7 in found and "12" in found and 8 not in found and None not in found


def test_a_list_without_rows_is_one_that_nobody_is_on(tmp_path):
    assert len(read_opt_out(listed(tmp_path / "list.csv", "customer\n"), id="customer")) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [("a,b\n1,2\n", "no column 'customer' or 'customer_id'"), ("customer,why\nC1,x\n,y\n", "no name in row 1")],
)
def test_a_list_of_which_it_is_not_known_whom_it_means_is_refused(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read_opt_out(listed(tmp_path / "list.csv", text), id="customer")


# --- files ----------------------------------------------------------------------------------------------------------


def test_their_rows_are_there_without_an_answer_and_all_others_as_ever(bundle, tmp_path, capsys, monkeypatch):
    assert score.main(words(bundle, tmp_path)) == 0
    before = pl.read_parquet(tmp_path / "out.parquet")
    asked: list[str] = []
    read = Predictor.read

    def reading(self: Predictor, table: Any, **options: Any) -> Any:
        asked.extend(table["customer"])
        return read(self, table, **options)

    monkeypatch.setattr(Predictor, "read", reading)
    list_ = listed(tmp_path / "list.csv", "customer\n" + "\n".join(OUT))
    capsys.readouterr()
    assert score.main(words(bundle, tmp_path, opt_out=list_)) == 0
    assert "4 rows are of customers who have objected, and were not scored" in capsys.readouterr().out
    after = pl.read_parquet(tmp_path / "out.parquet")
    assert set(asked) == set(MADE["customer"]) - set(OUT)
    assert after["customer_id"].to_list() == MADE["customer"].to_list()
    assert after.filter("opted_out")["customer_id"].to_list() == OUT
    assert after.filter("opted_out").select("churn_probability", "churn_prediction").null_count().row(0) == (4, 4)
    assert_frame_equal(
        after.filter(~pl.col("opted_out")).drop("opted_out"), before.filter(~pl.col("customer_id").is_in(OUT))
    )


def test_a_bad_row_is_named_by_its_place_in_the_table(bundle, tmp_path, capsys):
    bad = MADE.with_columns(plan=pl.when(pl.col("customer") != "C00066").then(pl.col("plan")))
    list_ = listed(tmp_path / "list.csv", "customer\n" + "\n".join(OUT))
    assert score.main(words(bundle, tmp_path, bad, opt_out=list_)) == 1
    assert "row 66" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()


def test_a_whole_batch_may_have_objected_and_a_list_of_strangers_is_noticed(bundle, tmp_path, capsys):
    list_ = listed(tmp_path / "list.csv", "customer\n" + "\n".join(MADE["customer"][:130]))
    assert score.main(words(bundle, tmp_path, opt_out=list_)) == 0
    assert pl.read_parquet(tmp_path / "out.parquet")["churn_probability"].is_null().arg_true().to_list() == [
        *range(130)
    ]
    capsys.readouterr()
    assert score.main(words(bundle, tmp_path, opt_out=listed(tmp_path / "list.csv", "customer\nc-3\nc-64"))) == 0
    assert "none of the 2 customers of opt_out is in the table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("frame", "list_", "says"),
    [(MADE.drop("customer"), "customer\nC1", "has no column 'customer'"), (MADE, None, "nowhere.csv")],
)
def test_without_names_or_without_the_list_nobody_is_scored(bundle, tmp_path, capsys, frame, list_, says):
    path = tmp_path / "nowhere.csv" if list_ is None else listed(tmp_path / "list.csv", list_)
    assert score.main(words(bundle, tmp_path, frame, opt_out=path)) == 1
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.slow
def test_reasons_are_given_for_all_others(bundle, tmp_path):
    from churnlib.commands import explain

    list_ = listed(tmp_path / "list.csv", "customer\n" + "\n".join(OUT))
    assert explain.main(words(bundle, tmp_path, MADE[:70], opt_out=list_)) == 0
    rows = pl.read_parquet(tmp_path / "out.parquet")
    assert rows.filter(pl.col("reasons").is_null())["customer_id"].to_list() == OUT[:3]
    assert rows.filter("opted_out")["customer_id"].to_list() == OUT[:3]


# --- over HTTP ------------------------------------------------------------------------------------------------------


def answer(api: ChurnLitAPI, request: Any) -> tuple[int, dict[str, Any]]:
    response = api.encode_response(*api.predict([api.decode_request(request)]))
    return response.status_code, json.loads(bytes(response.body))


def test_the_server_refuses_them_and_whoever_does_not_say_who_it_is(bundle, tmp_path, caplog):
    path = listed(tmp_path / "list.csv", "customer\nC-1\n")
    api = ChurnLitAPI(str(bundle), opt_out=str(path))
    api.setup("cpu")
    [row] = MADE[:1].drop("customer", "churn").with_columns(pl.col("joined").cast(pl.String)).to_dicts()
    assert answer(api, {"customer_id": "C-2", **row})[0] == 200
    status, body = answer(api, {"customer": " C-1 ", **row})
    assert (status, body["error"]["code"], body["error"]["field"]) == (403, "opted_out", "customer_id")
    for nobody in ({}, {"customer_id": None}, {"customer_id": " "}):
        assert answer(api, {**nobody, **row})[0] == 422
    # An objection counts from the next answer.
    listed(tmp_path / "new.csv", "customer\nC-1\nC-2\n").replace(path)
    assert answer(api, {"customer_id": "C-2", **row})[0] == 403
    models = Models(lambda bundle: api, str(bundle))
    models._champion = api
    is_ready = identity_of(models)
    assert is_ready()["model_version"] == api.version
    # Whoever has objected is not known: nobody is scored.
    path.unlink()
    assert answer(api, {"customer_id": "C-3", **row})[0] == 503
    with pytest.raises(RequestError, match="cannot be read"):
        is_ready()
    assert "nobody is scored" in caplog.text
    listed(path, "customer\nC-3\n")
    assert [answer(api, {"customer_id": name, **row})[0] for name in ("C-3", "C-2")] == [403, 200]


def test_the_server_does_not_start_without_its_list(bundle, tmp_path):
    models = models_of(parse_options([f"bundle={bundle}", f"opt_out={tmp_path}/nowhere.csv"]))
    with pytest.raises((ConfigError, DataError), match="nowhere") as refusal:
        models.load()
    assert isinstance(refusal.value, ChurnlibError) and "\n" not in str(refusal.value)


def test_a_model_without_names_cannot_honour_a_list(tmp_path, capsys):
    folder = tmp_path / "bundle"
    write_bundle(made_bundle(prepare_customers(MADE.drop("customer"), target="churn", seed=0)), folder)
    assert churnlib.load(folder).schema.id is None
    assert score.main(words(folder, tmp_path, opt_out=listed(tmp_path / "list.csv", "customer\nC1"))) == 1
    assert "the model was trained without data.id" in capsys.readouterr().err
