"""Many customers in one request: each gets what he would get alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_served import ROW, MadeServed, made_served

from churnlib.column_predictor import ColumnPredictor
from churnlib.data.opt_out import WatchedOptOut, name_of, names_of
from churnlib.data.profile import draw_rows
from churnlib.decision import Offer, OwnThreshold
from churnlib.predictor import Predictor
from churnlib.serving.answering import scored
from churnlib.serving.answering.bulk_answers import predict_batch
from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answering.jobs import PATH
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.review import Review
from churnlib.serving.answers import Answer
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.doors.platforms import CONTENT_TYPE
from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.worker_api import WorkerAPI
from churnlib.serving.seeing.metric_files import collect
from churnlib.serving.seeing.metric_folder import FOLDER_VARIABLE
from churnlib.serving.seeing.recording import Recorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> MadeServed:
    return made_served(folder)


@pytest.fixture(scope="module")
def alone(served: MadeServed, folder: Path) -> ChurnLitAPI:
    """The way of a customer who comes alone."""
    api = ChurnLitAPI(str(folder / "bundle2"))
    api.setup("cpu")
    return api


@pytest.fixture(scope="module")
def rows(served: MadeServed) -> list[dict[str, Any]]:
    drawn = draw_rows(dict(served.predictor.bundle.profile), served.predictor.schema, 60, seed=3)
    return [{"customer_id": f"c{i}", **row} for i, row in enumerate(drawn)]


def batch(served: MadeServed, document: Any, **options: Any) -> tuple[int, Any]:
    """Ask about many; return the status and what the JSON says."""
    answer = predict_batch(served, json.dumps(document).encode(), {}, **options)
    return answer.status, json.loads(answer.encode())


def singly(api: ChurnLitAPI, row: Any) -> dict[str, Any]:
    """Ask about one, in the shape in which he is answered among others."""
    [answer] = api.predict([api.decode_request(row)])
    body = json.loads(answer.encode())
    body.pop("model_version", None)
    if "error" in body:
        body["error"].pop("request_id")
    return body


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in rows[0]}


UNUSUAL: list[Any] = [
    ROW,
    {**ROW, "tenure": "12"},
    {**ROW, "tenure": True},
    {**ROW, "paperless": 1},
    {**ROW, "tenure": 10**30},
    {**ROW, "tenure": "sekret"},
    {**ROW, "plan": 3},
    {**ROW, "joined": 20200615},
    {**ROW, "tenure ": 1, "x": {"deep": [1]}},
    {**ROW, "z": 1, "comment": ["not read"]},
    {"customer": 1, "tenure\u00a0": 3, **{k: v for k, v in ROW.items() if k != "tenure"}},
    {k: v for k, v in ROW.items() if k != "tariff"},
    {**ROW, "tariff": None, "charges": None},
    {k: v for k, v in ROW.items() if k != "plan"},
    {**ROW, "plan": None},
    {**ROW, "plan": "Ten years", "region": "sekret"},
    {**ROW, "tariff": {"name": "a"}, "plan": ["b"]},
    {**ROW, "tenure": 601, "charges": -2},
    {**ROW, "customer_id": 5},
    {**ROW, "customer_id": None, "customer": 10**25},
    {**ROW, "customer_id": ["sekret"]},
    dict(reversed(ROW.items())),
    {},
    [ROW],
    None,
    7,
]


def test_rows_get_what_each_would_get_alone(served: MadeServed, alone: ChurnLitAPI, rows: list[dict]) -> None:
    asked = [*UNUSUAL, *rows]
    status, body = batch(served, {"instances": asked})
    assert status == 200 and body["model_version"] == served.predictor.version
    assert len(body["predictions"]) == len(asked)
    for row, found in zip(asked, body["predictions"], strict=True):
        expected = singly(alone, row) if row is not None else {"error": singly(alone, 7)["error"]}
        if type(row) is not dict:
            assert found["error"]["code"] == expected["error"]["code"]
            continue
        if "churn_probability" in expected:
            assert found.pop("churn_probability") == pytest.approx(expected.pop("churn_probability"), abs=1e-6)
        assert found == expected and list(found) == list(expected)
    assert "sekret" not in json.dumps(body).replace('"customer_id": ["sekret"]', "")


def test_columns_say_the_same_as_rows(served: MadeServed, rows: list[dict]) -> None:
    odd = [(3, "monthly"), ("12", "yearly"), ("x", "monthly"), (True, "Mars"), (None, "yearly"), ([1], "monthly")]
    asked = [{**ROW, "tenure": tenure, "plan": plan} for tenure, plan in [*odd, (601, "yearly")]]
    asked = [{**row, "customer_id": place} for place, row in enumerate([*asked, *({**ROW, **row} for row in rows)])]
    _, by_row = batch(served, {"instances": asked})
    status, body = batch(served, {"columns": columns_of(asked)})
    assert status == 200 and list(body) == ["columns", "errors", "warnings", "model_version"]
    refused = {each.pop("row"): each for each in body["errors"]}
    assert list(refused) == sorted(refused)
    warned: dict[int, list[Any]] = {}
    for each in body["warnings"]:
        for row in each["rows"]:
            warned.setdefault(row, []).append({"field": each["field"], "message": each["message"]})
    for place, expected in enumerate(by_row["predictions"]):
        cells = {name: values[place] for name, values in body["columns"].items()}
        if "error" in expected:
            assert refused[place] == expected["error"]
            assert {*cells.values()} == {asked[place]["customer_id"], None}
        else:
            assert expected.pop("human_review", False) is cells.pop("human_review")
            assert sorted(map(str, expected.pop("warnings", []))) == sorted(map(str, warned.get(place, [])))
            assert cells == pytest.approx(expected, abs=1e-6)


def test_what_concerns_all_of_the_columns_is_said_once(served: MadeServed) -> None:
    columns = {k: [v, v] for k, v in ROW.items() if k != "tariff"} | {"remark": [1, {"any": "thing"}]}
    status, body = batch(served, {"columns": columns})
    assert status == 200
    assert body["warnings"] == [
        {"field": "remark", "message": "is not a column of this model and was not read", "rows": None},
        {"field": "tariff", "message": "is absent", "rows": None},
    ]
    assert body["columns"]["human_review"] == [True, True]


REFUSED: dict[str, tuple[Any, int, str, str | None]] = {
    "neither form": ({"rows": [ROW]}, 422, "not_a_bulk", None),
    "both forms": ({"instances": [], "columns": {}}, 422, "not_a_bulk", None),
    "rows that are no array": ({"instances": ROW}, 422, "not_an_array", "instances"),
    "columns that are no object": ({"columns": [ROW]}, 422, "not_an_object", "columns"),
    "a column that is no array": ({"columns": {"tenure": 3}}, 422, "not_an_array", "tenure"),
    "columns of different lengths": ({"columns": {"tenure": [3], "plan": ["a", "b"]}}, 422, "unequal_lengths", "plan"),
    "a required column is absent": ({"columns": {"tenure": [3]}}, 422, "invalid_field", "plan"),
    "a column twice": ({"columns": {"tenure": [3], "tenure ": [3]}}, 422, "duplicate_field", "tenure"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_requests_in_neither_form_are_refused_whole(served: MadeServed, case: str) -> None:
    document, status, code, name = REFUSED[case]
    found, body = batch(served, document)
    assert (found, body["error"]["code"], body["error"]["field"]) == (status, code, name)


NO_JSON = [b"", b"{", b'{"instances": [NaN]}', b"\xff", b'{"instances":' + b"[" * 9_000, b'{"columns": 1e400}']


@pytest.mark.parametrize("body", NO_JSON)
def test_what_is_no_json_is_a_400(served: MadeServed, body: bytes) -> None:
    assert predict_batch(served, body, {}).status == 400


@pytest.mark.parametrize("document", [{"instances": [ROW] * 4}, {"columns": {k: [v] * 4 for k, v in ROW.items()}}])
def test_too_many_customers_are_a_413(served: MadeServed, document: dict[str, Any]) -> None:
    assert [batch(served, document, limits=Limits(rows=most))[0] for most in (4, 3)] == [200, 413]


@pytest.mark.parametrize("document", [{"instances": []}, {"columns": {}}, {"columns": {k: [] for k in ROW}}])
def test_nobody_gets_an_empty_answer(served: MadeServed, document: dict[str, Any]) -> None:
    status, body = batch(served, document)
    assert status == 200
    assert body.get("predictions") == [] or set(map(len, body["columns"].values())) == {0}


def test_all_refused_still_have_the_columns_of_an_answer(served: MadeServed) -> None:
    status, body = batch(served, {"columns": {**{k: [v] for k, v in ROW.items()}, "tariff": [{"a": 1}]}})
    assert status == 200
    assert body["columns"] == {
        "customer_id": ["7590-VHVEG"], "churn_probability": [None], "churn_prediction": [None], "human_review": [None],
    }  # fmt: skip


def test_unknown_columns_are_refused_where_that_is_asked_for(folder: Path) -> None:
    strict = made_served(folder, unknown="refuse")
    _, body = batch(strict, {"instances": [ROW, {**ROW, "tenur": 1}, {**ROW, "comment": 1}]})
    assert [each.get("error", {}).get("code") for each in body["predictions"]] == [None, "unknown_field", None]
    status, body = batch(strict, {"columns": {**{k: [v] for k, v in ROW.items()}, "tenur": [1]}})
    assert (status, body["error"]["field"]) == (422, "tenur")


def test_who_has_objected_is_not_scored(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "objections.csv"
    listed.write_text("customer\nC-1\n12\n")
    served = made_served(folder, opt_out=WatchedOptOut(listed, id="customer"))
    seen: list[Any] = []
    read = Predictor.read
    monkeypatch.setattr(
        Predictor, "read", lambda self, table, **o: seen.extend(table["tenure"]) or read(self, table, **o)
    )
    asked = [{**ROW, "customer": name, "tenure": i} for i, name in enumerate(["C-0", " C-1", 12, 12.0, None, "C-2"])]
    codes = [None, "opted_out", "opted_out", "opted_out", "missing_field", None]
    _, body = batch(served, {"instances": asked})
    assert [each.get("error", {}).get("code") for each in body["predictions"]] == codes
    assert seen == [0, 5]
    _, body = batch(served, {"columns": columns_of(asked)})
    assert {each["row"]: each["code"] for each in body["errors"]} == {i: code for i, code in enumerate(codes) if code}
    assert seen == [0, 5, 0, 5] and body["columns"]["churn_probability"][1] is None
    listed.unlink()
    assert batch(served, {"instances": asked})[0] == 503


def test_names_read_alike_alone_and_together() -> None:
    names = ["C-1", " 7 ", "7.0", 7, 7.0, 7.5, 10**30, True, "", None, 1e22, "é", "12.50"]
    assert names_of(names) == [name_of(name) for name in names]


def test_one_that_breaks_the_model_breaks_only_himself(
    served: MadeServed, rows: list[dict], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = ColumnPredictor.read

    def fragile(self: ColumnPredictor, table: Any) -> Any:
        if "poison" in table["tariff"]:
            raise RuntimeError(f"{max(table['tariff'])} is no value")
        return read(self, table)

    asked = [{**ROW, **row} for row in rows]
    _, expected = batch(served, {"instances": asked})
    monkeypatch.setattr(ColumnPredictor, "read", fragile)
    asked[17] = {**asked[17], "tariff": "poison"}
    status, body = batch(served, {"instances": asked})
    assert status == 200 and body["predictions"][17]["error"]["code"] == "internal_error"
    for row, (found, known) in enumerate(zip(body["predictions"], expected["predictions"], strict=True)):
        assert row == 17 or found == pytest.approx(known, abs=1e-6)
    assert (
        "poison" not in json.dumps(body) and "poison is no value" not in caplog.text and "RuntimeError" in caplog.text
    )


def test_an_answer_that_is_no_number_is_an_error_and_no_null(
    served: MadeServed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Predictor, *args: Any, **options: Any) -> np.ndarray:
        return np.array([0.5, np.nan, np.inf])

    monkeypatch.setattr(Predictor, "calibrated", broken)
    _, body = batch(served, {"columns": {k: [v] * 3 for k, v in ROW.items()}})
    assert body["columns"]["churn_probability"] == [0.5, None, None]
    assert [(each["row"], each["code"]) for each in body["errors"]] == [(1, "internal_error"), (2, "internal_error")]


@pytest.mark.parametrize("form", ["instances", "columns"])
def test_parts_of_a_table_say_what_the_whole_says(
    served: MadeServed, rows: list[dict], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [{**ROW, **row} for row in rows]
    asked[5]["tenure"], asked[6]["tariff"], asked[40]["plan"], asked[41]["plan"] = "x", {"a": 1}, "Mars", None
    document = {form: asked if form == "instances" else columns_of(asked)}
    _, whole = batch(served, document)
    monkeypatch.setattr(scored, "CELLS_AT_A_TIME", 7 * 11)
    _, parts = batch(served, document)
    if form == "columns":
        whole["columns"]["churn_probability"] = pytest.approx(whole["columns"]["churn_probability"], abs=1e-6)
        assert parts == whole
    else:
        for found, known in zip(parts["predictions"], whole["predictions"], strict=True):
            assert found.pop("churn_probability", 0) == pytest.approx(known.pop("churn_probability", 0), abs=1e-6)
            assert found == known


def test_an_open_decision_is_for_a_person(served: MadeServed, rows: list[dict], folder: Path) -> None:
    asked = [{**ROW, **row} for row in rows]
    probability = served.predictor.probabilities(asked)
    low, high = np.quantile(probability, [0.3, 0.7])
    metrics = {"validation": {"intervals": {"threshold": [low, high]}}}
    open_ = made_served(folder)
    open_.review = Review(Predictor(dataclasses.replace(served.predictor.bundle, metrics=metrics)))
    _, body = batch(open_, {"columns": columns_of(asked)})
    odd = {row for each in body["warnings"] for row in each["rows"]}
    expected = [bool(low <= p <= high) or row in odd for row, p in enumerate(probability)]
    assert body["columns"]["human_review"] == expected and 5 < sum(expected) < 55


def test_several_classes_have_a_probability_each(tmp_path: Path) -> None:
    served = made_served(tmp_path, classes=3)
    names = ["probability_down", "probability_stay", "probability_up", "prediction"]
    [expected] = served.predictor.predict([ROW]).drop("customer_id").to_dicts()
    _, body = batch(served, {"instances": [ROW, {}]})
    found = body["predictions"][0]
    assert list(found) == ["customer_id", *names]
    assert found.pop("customer_id") == ROW["customer"] and found.pop("prediction") == expected.pop("prediction")
    assert found == pytest.approx(expected, abs=1e-6)
    _, body = batch(served, {"columns": {k: [v] for k, v in ROW.items()}})
    assert list(body["columns"]) == ["customer_id", *names, "human_review"]


def test_bytes_are_sent_as_they_are() -> None:
    assert Answer(200, b"\x00", (("content-type", "application/octet-stream"),)).encode() == b"\x00"


def test_what_a_customer_is_worth_counts_for_his_threshold(served: MadeServed) -> None:
    own = OwnThreshold(
        column="value", times=1.0, otherwise=100.0, offer=Offer(offer_cost=1, contact_cost=0, acceptance=1)
    )
    predictor = Predictor(dataclasses.replace(served.predictor.bundle, own_threshold=own))
    valued = MadeServed(predictor)
    rows = [{**ROW, "value": 1e6}, {**ROW, "value": -5}, {**ROW, "value": None}]
    _, body = batch(valued, {"instances": [*rows, ROW]})
    found = body["predictions"]
    assert [each["churn_prediction"] for each in found] == [
        *predictor.predict(rows)["churn_prediction"], *predictor.predict([ROW])["churn_prediction"],
    ]  # fmt: skip
    assert found[0]["churn_prediction"] != found[1]["churn_prediction"]
    told = [each.get("warnings", [{"message": ""}])[0]["message"] for each in found]
    assert [("worth 100" in text) for text in told] == [False, False, True, True]
    _, body = batch(valued, {"columns": {k: [v] for k, v in ROW.items()}})
    assert "worth 100" in body["warnings"][0]["message"] and body["columns"]["human_review"] == [True]


@contextmanager
def recording(kept: list[Any]) -> Iterator[Recorder]:
    """A recorder that hands over what it has at the end of the block."""
    recorder = Recorder(kept.extend, ids="clear")
    yield recorder
    recorder.flush()


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    return pl.DataFrame(rows).write_csv().encode()


def tensors_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The request of the Open Inference Protocol for rows."""
    kinds = {str: "BYTES", int: "FP64", float: "FP64"}
    columns = columns_of(rows).items()
    inputs = [{"name": k, "shape": [len(v)], "datatype": kinds[type(v[0])], "data": v} for k, v in columns]
    return {"inputs": inputs}


TWO = [ROW, {**ROW, "customer": "B", "tenure": 40}]
DOORS: dict[str, tuple[str, dict[str, str], bytes, int]] = {
    "rows": ("batch", {}, json.dumps({"instances": TWO}).encode(), 2),
    "columns": ("batch", {}, json.dumps({"columns": columns_of(TWO)}).encode(), 2),
    "vertex": ("vertex", {}, json.dumps({"instances": TWO, "parameters": {"a": 1}}).encode(), 2),
    "sagemaker, one": ("invocations", {}, json.dumps(ROW).encode(), 1),
    "sagemaker, rows": ("invocations", {}, json.dumps({"instances": TWO}).encode(), 2),
    "lines": (
        "invocations",
        {CONTENT_TYPE: "application/jsonlines"},
        b"\n".join(json.dumps(r).encode() for r in TWO),
        2,
    ),
    "csv": ("invocations", {CONTENT_TYPE: "text/csv"}, csv_of(TWO), 2),
    "protocol": ("infer", {PATH: "/v2/models/churn/infer"}, json.dumps(tensors_of(TWO)).encode(), 2),
    "reasons": ("explain", {}, json.dumps(ROW).encode(), 1),
}


@pytest.fixture(scope="module")
def noting(folder: Path, served: MadeServed) -> Iterator[tuple[Endpoint, list[Any]]]:
    """The model as a server holds it, and what its recorder has handed over."""
    kept: list[Any] = []
    with recording(kept) as recorder:
        endpoint = Endpoint(str(folder / "bundle2"), recorder=recorder)
        endpoint.setup()
        yield endpoint, kept


@pytest.mark.parametrize("door", DOORS)
def test_every_door_records_and_counts_its_customers_under_the_requests_id(
    door: str, noting: tuple[Endpoint, list[Any]], served: MadeServed
) -> None:
    endpoint, kept = noting
    job, query, body, n = DOORS[door]
    expected = served.predictor.predict(TWO[:n])
    kept.clear()
    answer = endpoint.run(job, body, query, "r-1")
    endpoint.recorder.flush()
    [record] = kept
    assert answer.status == 200 and list(record.request_ids) == ["r-1"] * n
    assert list(record.customer_ids) == [ROW["customer"], "B"][:n]
    assert record.probabilities == pytest.approx(expected["churn_probability"].to_numpy(), abs=1e-6)
    assert list(record.decisions) == list(answer.decisions) == expected["churn_prediction"].to_list()
    assert record.model_version == answer.version == served.predictor.version


def test_who_is_refused_is_counted_and_not_recorded(noting: tuple[Endpoint, list[Any]]) -> None:
    endpoint, kept = noting
    kept.clear()
    odd = {**ROW, "plan": "new"}
    answer = endpoint.run(
        "batch", json.dumps({"instances": [odd, {}, {}, {k: ROW[k] for k in ROW if k != "tariff"}]}).encode()
    )
    assert list(answer.refused) == [("invalid_field", 2)] and len(answer.decisions) == 2
    assert sorted(answer.warned) == [("absent", 1), ("unseen", 1)]
    endpoint.recorder.flush()
    assert [len(record) for record in kept] == [2]
    bad = tensors_of([ROW, {**ROW, "tenure": -1}])
    whole = endpoint.run("infer", json.dumps(bad).encode(), {PATH: "/v2/models/churn/infer"})
    endpoint.recorder.flush()
    assert whole.status == 422 and len(kept) == 1  # the protocol refuses all of them


def test_what_a_worker_records_is_seen_in_the_metrics(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(numbers))
    options = ServeOptions(bundle=str(folder / "bundle2"), record=str(tmp_path / "records"))
    worker = WorkerAPI(options, None, loop="auto")
    worker.setup()
    worker.models.run("batch", json.dumps({"instances": TWO}).encode(), {}, "r-1")
    worker.close()
    found = {metric.name: metric for metric in collect(numbers)}
    assert [sample.value for sample in found["churnlib_recorded"].samples] == [2.0]
