"""The server over a real bundle: the hooks in this process, and the whole server as its users meet it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from made import made_bundle, made_prepared
from made_served import ROW, served_bundle

import churnlib
from churnlib.bundle import write_bundle
from churnlib.data.profile import draw_rows
from churnlib.predictor import Predictor
from churnlib.serving.answering.metadata import describe, example_row
from churnlib.serving.answering.review import Review
from churnlib.serving.answers import Answer
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.server import main

ROOT = Path(churnlib.__file__).parents[1]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")

# --- a bundle -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two") / "bundle"
    write_bundle(served_bundle(), path)
    return path


@pytest.fixture(scope="session")
def predictor(bundle: Path) -> Predictor:
    return churnlib.load(bundle)


@pytest.fixture(scope="module")
def rows(predictor: Predictor) -> list[dict[str, Any]]:
    """Fifty made-up customers, ids included, gaps left out."""
    drawn = draw_rows(dict(predictor.bundle.profile), predictor.schema, 50, seed=3)
    return [{"customer_id": f"c{i}", **{k: v for k, v in row.items() if v is not None}} for i, row in enumerate(drawn)]


# --- the hooks, in this process -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(bundle: Path) -> ChurnLitAPI:
    api = ChurnLitAPI(str(bundle))
    api.setup("cpu")
    return api


def answer(api: ChurnLitAPI, *requests: Any) -> list[tuple[int, dict[str, Any]]]:
    """Take requests through the hooks as LitServe's loop does."""
    outputs = api.predict([api.decode_request(request) for request in requests])
    responses = [api.encode_response(output) for output in outputs]
    return [(response.status_code, json.loads(bytes(response.body))) for response in responses]


def test_an_answer_has_what_the_predictor_says(api: ChurnLitAPI, predictor: Predictor) -> None:
    [(status, body)] = answer(api, ROW)
    [expected] = predictor.predict([ROW]).to_dicts()
    assert status == 200
    assert list(body) == ["customer_id", "churn_probability", "churn_prediction", "model_version"]
    assert body["customer_id"] == "7590-VHVEG"
    assert body["churn_probability"] == pytest.approx(expected["churn_probability"], abs=1e-6)
    assert body["churn_prediction"] == expected["churn_prediction"]
    assert type(body["churn_prediction"]) is int
    assert body["model_version"] == predictor.version


def test_a_batch_answers_as_its_rows_do_alone(api: ChurnLitAPI, rows: list[dict[str, Any]]) -> None:
    together = answer(api, *rows)
    alone = [answer(api, row)[0] for row in rows]
    for (status, body), (status_alone, body_alone) in zip(together, alone, strict=True):
        assert (status, status_alone) == (200, 200)
        assert body.pop("churn_probability") == pytest.approx(body_alone.pop("churn_probability"), abs=1e-6)
        assert body == body_alone


NEIGHBOURS: dict[str, Any] = {
    "good": ROW,
    "number as text": {**ROW, "tenure": "12"},
    "fraction": {**ROW, "tenure": 12.5},
    "truth value as number": {**ROW, "tenure": True},
    "number as truth value": {**ROW, "paperless": 1},
    "huge number": {**ROW, "tenure": 10**30},
    "text in a number": {**ROW, "tenure": "twelve"},
    "number in a category": {**ROW, "plan": 3},
    "number in a date": {**ROW, "joined": 20200615},
    "unknown columns": {**ROW, "tenure ": 1, "x": {"deep": [1]}, "y": [2]},
    "other unknown column": {**ROW, "z": 1},
    "other spelling": {"customer": 1, "tenure\u00a0": 3, **{k: v for k, v in ROW.items() if k != "tenure"}},
    "optional absent": {k: v for k, v in ROW.items() if k != "tariff"},
    "required absent": {k: v for k, v in ROW.items() if k != "plan"},
    "required null": {**ROW, "plan": None},
    "nested": {**ROW, "tariff": {"name": "a"}},
    "nothing": {},
    "no object": [ROW],
    "lone surrogate": {**ROW, "tariff": "\ud800"},
    "ping": None,
}


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_nobody_depends_on_the_neighbours(api: ChurnLitAPI, case: str) -> None:
    [(status, alone)] = answer(api, NEIGHBOURS[case])
    others = [request for name, request in NEIGHBOURS.items() if name != case]
    status_among, among = answer(api, *others[:9], NEIGHBOURS[case], *others[9:])[9]
    assert status_among == status
    if "churn_probability" in alone:
        assert among.pop("churn_probability") == pytest.approx(alone.pop("churn_probability"), abs=1e-6)
    assert among == alone


def test_a_row_that_breaks_the_model_breaks_only_itself(
    api: ChurnLitAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fragile(rows: list[Any]) -> list[dict[str, Any]]:
        if any(row.typed["tariff"] == "poison" for row in rows):
            raise RuntimeError(f"cannot read {[row.typed for row in rows]}")
        return answers_of(rows)

    answers_of = api.reader._rows.answers
    monkeypatch.setattr(api.reader._rows, "answers", fragile)
    answers = answer(api, ROW, {**ROW, "tariff": "poison"}, {**ROW, "tenure": "x"}, ROW)
    assert [status for status, _ in answers] == [200, 500, 422, 200]
    assert answers[1][1]["error"]["code"] == "internal_error"
    assert "poison" not in json.dumps(answers)
    assert "RuntimeError" in caplog.text
    assert "poison" not in caplog.text.replace('"poison"', "")  # the source line is shown, the value is not


def test_unknown_columns_are_refused_where_that_is_asked_for(bundle: Path, api: ChurnLitAPI) -> None:
    strict = ChurnLitAPI(str(bundle), unknown="refuse")
    strict.setup("cpu")
    [(status, body)] = answer(strict, {**ROW, "tenur": 3})
    assert (status, body["error"]["code"], body["error"]["field"]) == (422, "unknown_field", "tenur")
    known = {**ROW, "comment": "is a column of the table, though not read"}
    assert [answer(one, {**ROW, **extra})[0][0] for one, extra in ((strict, known), (api, {"tenur": 3}))] == [200, 200]


def test_an_output_that_is_no_number_is_a_500(api: ChurnLitAPI) -> None:
    response = api.encode_response(Answer(200, {"churn_probability": float("nan")}))
    assert response.status_code == 500


@pytest.mark.parametrize("name", ["C-1", 12, 1.5, True, "", 10**25, "Zürich 🌍", None])
def test_the_customer_id_comes_back_as_sent(api: ChurnLitAPI, name: Any) -> None:
    row = {k: v for k, v in ROW.items() if k != "customer"}
    bodies = [body for _, body in answer(api, {"customer_id": name, **row}, {"customer": name, **row}, row)]
    assert [body["customer_id"] for body in bodies] == [name, name, None]
    assert type(bodies[0]["customer_id"]) is type(name)


def test_columns_known_in_another_role_are_not_read(api: ChurnLitAPI) -> None:
    [(_, plain), (status, body)] = answer(api, ROW, {**ROW, "churn": ["?"], "comment": {"any": "thing"}})
    assert status == 200
    assert body == plain


def test_a_reading_as_text_gives_the_same_answer(api: ChurnLitAPI) -> None:
    [(_, typed), (_, text)] = answer(api, ROW, {**ROW, "tenure": " 3 ", "charges": "70.35", "paperless": "TRUE"})
    assert text == typed


def test_unusual_rows_are_served_with_warnings(api: ChurnLitAPI) -> None:
    row = {**ROW, "plan": "Ten years", "\x1b[31mplanet" + "x" * 100: "Mars"}
    del row["tariff"]
    [(status, body)] = answer(api, row)
    assert status == 200
    plain = ["customer_id", "churn_probability", "churn_prediction", "model_version"]
    assert list(body) == [*plain, "human_review", "warnings"]
    by_field = {warning["field"]: warning["message"] for warning in body["warnings"]}
    assert set(by_field) == {"plan", "tariff", "?[31mplanet" + "x" * 53 + "..."}
    assert by_field["tariff"] == "is absent"
    assert "Ten years" not in json.dumps(body)
    assert "Mars" not in json.dumps(body)


def test_a_person_is_asked_where_the_row_was_odd_or_the_decision_is_open(
    api: ChurnLitAPI, predictor: Predictor, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*requests: dict[str, Any]) -> list[bool]:
        return [body.get("human_review", False) for _, body in answer(api, *requests)]

    unread, unseen, absent = {**ROW, "x": 1}, {**ROW, "plan": "Ten years"}, {**ROW, "tariff": None}
    del absent["tariff"]
    assert asked(ROW, unread, unseen, absent) == [False, False, True, True]
    whole = [{**ROW, **row} for row in rows]
    probability = predictor.predict(whole)["churn_probability"]
    low, high = float(probability.quantile(0.3) or 0.0), float(probability.quantile(0.7) or 1.0)
    bundle = dataclasses.replace(
        predictor.bundle, metrics={"validation": {"intervals": {"threshold": [low - 1e-5, high + 1e-5]}}}
    )
    monkeypatch.setattr(api, "_review", Review(Predictor(bundle)))
    between = [low - 1e-5 <= p <= high + 1e-5 for p in probability]
    assert asked(*whole) == between and 5 < sum(between) < 45


def test_all_wrong_fields_are_named_and_no_value(api: ChurnLitAPI) -> None:
    [(status, body)] = answer(api, {**ROW, "tenure": "sekret", "joined": "sekret", "plan": None})
    assert status == 422
    assert body["error"]["field"] == "tenure"
    assert body["error"]["message"] == "tenure must be a finite number; also wrong: plan, joined"
    assert "sekret" not in json.dumps(body)


def test_a_row_that_breaks_rules_breaks_only_itself(api: ChurnLitAPI) -> None:
    [(_, alone), (status, body), (_, beside)] = answer(api, ROW, {**ROW, "tenure": 601, "charges": -2}, ROW)
    assert status == 422
    assert body["error"]["message"] == "tenure must be at most 600 months (rule tenure.max); also wrong: charges"
    assert alone == beside


def test_several_classes_have_a_probability_each(tmp_path: Path) -> None:
    write_bundle(served_bundle(classes=3), tmp_path / "bundle")
    api = ChurnLitAPI(str(tmp_path / "bundle"))
    api.setup("cpu")
    [(status, body)] = answer(api, ROW)
    assert status == 200
    [expected] = churnlib.load(tmp_path / "bundle").predict([ROW]).to_dicts()
    names = ["probability_down", "probability_stay", "probability_up"]
    assert list(body) == ["customer_id", *names, "prediction", "model_version"]
    assert [body[name] for name in names] == pytest.approx([expected[name] for name in names], abs=1e-6)
    assert body["prediction"] == expected["prediction"]
    described = [field["name"] for field in describe(api.predictor)["output_schema"]]
    assert described == [*body, "human_review", "warnings"]


def test_setup_refuses_a_model_that_answers_differently_here(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "logits", lambda self, typed: np.zeros(len(typed), dtype=np.float32))
    with pytest.raises(churnlib.ChurnlibError, match="golden rows differently"):
        ChurnLitAPI(str(bundle)).setup("cpu")


def test_hooks_before_setup_say_what_is_missing(bundle: Path) -> None:
    with pytest.raises(RuntimeError, match=r"setup\(\) was not called"):
        _ = ChurnLitAPI(str(bundle)).predictor


def test_metadata_is_json_even_where_metrics_are_not(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "metrics", {"test": {"roc_auc": float("nan"), "n": [1, float("inf")]}})
    assert describe(predictor)["metrics"] == {"test": {"roc_auc": None, "n": [1, None]}}


def test_metadata_says_of_how_many_customers_and_which_time_the_model_is(predictor: Predictor) -> None:
    n = len(made_prepared().rows("train"))
    assert describe(predictor)["trained_on"] == {"customers": n, "from": None, "to": None}
    dated = made_prepared(time="joined")
    joined = dated.typed["joined"].gather(dated.rows("train"))
    found = describe(Predictor(made_bundle(dated)))["trained_on"]
    assert found["customers"] == len(joined)
    assert [found["from"], found["to"]] == [str(t.isoformat()) for t in (joined.min(), joined.max())]


def test_the_authorization_hook_lets_everybody_in(api: ChurnLitAPI) -> None:
    assert asyncio.run(api.authorize()) is None


# --- the command, before it serves --------------------------------------------------------------------------------


def test_a_missing_bundle_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"bundle={tmp_path / 'none'}", f"port={free_port()}"]) == 1
    assert capsys.readouterr().err.startswith("Error: there is no folder ")


def test_a_damaged_bundle_is_one_sentence(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "bundle"
    broken.mkdir()
    for file in bundle.iterdir():
        (broken / file.name).write_bytes(file.read_bytes().replace(b"two years", b"ten years"))
    assert main([f"bundle={broken}", f"port={free_port()}"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is damaged" in said


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([f"port={port}"]) == 1
    assert capsys.readouterr().err == f"Error: port {port} is in use; choose another with port=...\n"


def test_litserves_own_key_is_refused_rather_than_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIT_SERVER_API_KEY", "sekret")
    assert main([]) == 1
    said = capsys.readouterr().err
    assert "LIT_SERVER_API_KEY" in said
    assert "sekret" not in said


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["port=1", "--help"]) == 0
    assert "max_batch_size" in capsys.readouterr().out


# --- the whole server ---------------------------------------------------------------------------------------------

SPY = """
import importlib.abc, os, sys

class Spy(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        with open(os.environ["IMPORT_LOG"], "a") as log:
            log.write(f"{os.getpid()} {name.partition('.')[0]}\\n")

sys.meta_path.insert(0, Spy())
"""
"""Put before all other code of each Python process by its name, ``sitecustomize``: notes every package imported."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(group: int, patience: float = 5.0) -> list[int]:
    """Return the processes of a group that are still there after some patience."""
    end = time.monotonic() + patience
    while (left := members(group)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]
    output: Path
    imports: Path


@contextmanager
def running(bundle: Path, folder: Path, *words: str) -> Iterator[Server]:
    """Run the real command in a process group of its own until the block ends."""
    port = free_port()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(SPY))
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "IMPORT_LOG": str(folder / "imports.txt"), "OMP_NUM_THREADS": "1"}
    code = "import sys; from churnlib.serving.server import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, f"bundle={bundle}", f"port={port}", "spares=0", *words]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}", process, folder / "output.txt", folder / "imports.txt")
    try:
        wait_until_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        finally:
            for left in members(process.pid):
                os.kill(left, signal.SIGKILL)


def wait_until_ready(server: Server, patience: float = 120.0) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"the server did not start:\n{server.output.read_text()}")


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(bundle, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@linux
def test_a_customer_is_answered(client: httpx.Client, predictor: Predictor) -> None:
    response = client.post("/predict", json=ROW)
    [expected] = predictor.predict([ROW]).to_dicts()
    assert response.status_code == 200
    assert response.json() == {
        "customer_id": "7590-VHVEG",
        "churn_probability": pytest.approx(expected["churn_probability"], abs=1e-6),
        "churn_prediction": expected["churn_prediction"],
        "model_version": predictor.version,
    }
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


@linux
def test_customers_at_the_same_time_get_their_own_answers(
    client: httpx.Client, predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    with ThreadPoolExecutor(16) as pool:
        bodies = [response.json() for response in pool.map(lambda row: client.post("/predict", json=row), rows * 2)]
    expected = predictor.probabilities(rows).tolist() * 2
    assert [body["customer_id"] for body in bodies] == [row["customer_id"] for row in rows * 2]
    assert [body["churn_probability"] for body in bodies] == pytest.approx(expected, abs=1e-6)


JSON = {"content-type": "application/json"}


def changed(**values: Any) -> bytes:
    return json.dumps({**ROW, **values}).encode()


def without(*names: str) -> bytes:
    return json.dumps({name: value for name, value in ROW.items() if name not in names}).encode()


BREAKING: dict[str, tuple[dict[str, Any], str, str]] = {
    "above the highest": ({"tenure": 601}, "tenure", "must be at most 600 months (rule tenure.max)"),
    "of another form": ({"tariff": "9sekret"}, "tariff", "must be of the form [a-z].* (rule tariff.pattern)"),
    "against a rule of two columns": ({"charges": -1.5}, "charges", "(rule paid_for)"),
}
"""Rows that break a rule of the table: the change, the field that is named, and what is said of it."""

BAD: dict[str, tuple[bytes, dict[str, str], int, str | None]] = {
    "malformed": (b'{"tenure": ', JSON, 400, None),
    "empty body": (b"", JSON, 400, None),
    "not UTF-8": (b'{"tariff": "\xff"}', JSON, 400, None),
    "NaN": (b'{"tenure": NaN}', JSON, 400, None),
    "Infinity": (b'{"tenure": Infinity}', JSON, 400, None),
    "5,000 digits": (b'{"tenure": ' + b"1" * 5000 + b"}", JSON, 400, "tenure"),
    "1e999": (b'{"tenure": 1e999}', JSON, 400, "tenure"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, JSON, 400, None),
    "lone surrogate": (rb'{"tariff": "\ud800"}', JSON, 400, "tariff"),
    "duplicate field": (b'{"tariff": "a", "tariff": "b"}', JSON, 400, "tariff"),
    "too large": (b'{"tariff": "' + b"x" * 1_000_000 + b'"}', JSON, 413, None),
    "text": (b"{}", {"content-type": "text/plain"}, 415, None),
    "form": (b"tenure=3", {"content-type": "application/x-www-form-urlencoded"}, 415, None),
    "gzip": (b"\x1f\x8b\x08", {**JSON, "content-encoding": "gzip"}, 415, None),
    "latin-1": (b"{}", {"content-type": "application/json; charset=iso-8859-1"}, 415, None),
    "array": (b"[1]", JSON, 422, None),
    "null": (b"null", JSON, 422, None),
    "text as body": (b'"churn"', JSON, 422, None),
    "empty object": (b"{}", JSON, 422, "tenure"),
    "only an id": (b'{"customer_id": 1}', JSON, 422, "tenure"),
    "required absent": (without("plan"), JSON, 422, "plan"),
    "required null": (changed(plan=None), JSON, 422, "plan"),
    "required blank": (changed(tenure="  "), JSON, 422, "tenure"),
    "text in a number": (changed(tenure="sekret"), JSON, 422, "tenure"),
    "infinity as text": (changed(tenure="inf"), JSON, 422, "tenure"),
    "date in a number": (changed(tenure="2020-01-01"), JSON, 422, "tenure"),
    "no date": (changed(joined="sekret"), JSON, 422, "joined"),
    "number as date": (changed(joined=20200101), JSON, 422, "joined"),
    "array in a field": (changed(tenure=[3]), JSON, 422, "tenure"),
    "object in a field": (changed(tariff={"sekret": 1}), JSON, 422, "tariff"),
    "object as id": (changed(customer_id={"sekret": 1}), JSON, 422, "customer_id"),
    "two spellings": (changed(**{" tenure": 4}), JSON, 422, "tenure"),
    **{name: (changed(**values), JSON, 422, field) for name, (values, field, _) in BREAKING.items()},
}


@linux
@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_explained(client: httpx.Client, case: str) -> None:
    content, headers, status, field = BAD[case]
    response = client.post("/predict", content=content, headers={**headers, "x-request-id": "case-1"})
    assert response.status_code == status, response.text
    assert response.headers["x-request-id"] == "case-1"
    error = response.json()["error"]
    assert set(error) == {"code", "message", "field", "request_id"}
    assert (error["field"], error["request_id"]) == (field, "case-1")
    assert field is None or field in error["message"] or status == 400
    assert "sekret" not in response.text
    assert "Traceback" not in response.text


@linux
@pytest.mark.parametrize("case", BREAKING)
def test_a_broken_rule_is_called_by_its_name_and_the_value_is_not(client: httpx.Client, case: str) -> None:
    values, field, said = BREAKING[case]
    response = client.post("/predict", content=changed(**values), headers=JSON)
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith(field) and said in response.json()["error"]["message"]
    assert not any(str(value) in response.text for value in values.values())


@linux
@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/info", 404), ("PUT", "/predict", 405)]
)
def test_other_addresses_are_refused(client: httpx.Client, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"code", "message", "field", "request_id"}


@linux
def test_a_missing_content_type_is_read_as_json(client: httpx.Client) -> None:
    response = client.post("/predict", content=json.dumps(ROW).encode())
    assert "content-type" not in response.request.headers
    assert response.status_code == 200


@linux
def test_a_large_answer_is_not_compressed(client: httpx.Client) -> None:
    response = client.post("/predict", json={**ROW, **{f"unknown column number {i}": i for i in range(50)}})
    assert response.status_code == 200
    assert len(response.content) > 1000
    assert "content-encoding" not in response.headers


@linux
def test_health_names_the_model(client: httpx.Client, predictor: Predictor) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "model": predictor.model_name, "model_version": predictor.version}
    assert client.head("/health").status_code == 200


@linux
def test_metadata_describes_the_model(client: httpx.Client, predictor: Predictor) -> None:
    body = client.get("/metadata").json()
    assert body["model"] == predictor.model_name
    assert body["model_version"] == predictor.version
    assert body["threshold"] == 0.4
    assert body["metrics"] == {"test": {"roc_auc": 0.8}}
    assert body["input_schema"] == predictor.input_schema()
    answered = client.post("/predict", json=ROW).json()
    assert [field["name"] for field in body["output_schema"] if field["required"]] == list(answered)
    assert body["versions"]["torch"] == version("torch")


@linux
def test_the_printed_example_can_be_sent(server: Server, client: httpx.Client, predictor: Predictor) -> None:
    printed = server.output.read_text()
    assert server.url in printed
    words = shlex.split(next(line for line in printed.splitlines() if line.startswith("curl")))
    body = words[words.index("-d") + 1]
    assert json.loads(body) == example_row(predictor)
    response = client.post(words[2], content=body.encode(), headers=JSON)
    assert response.status_code == 200
    assert all(warning["message"] == "is absent" for warning in response.json().get("warnings", []))


@linux
def test_no_process_of_the_server_imports_what_it_does_not_need(server: Server) -> None:
    imported: dict[int, set[str]] = {}
    for line in server.imports.read_text().splitlines():
        process, package = line.split()
        imported.setdefault(int(process), set()).add(package)
    everything = set.union(*imported.values())
    unwanted = "lightning lightning_fabric pytorch_lightning hydra omegaconf wandb matplotlib torchmetrics sklearn"
    assert everything & set(unwanted.split()) == set()
    computing = {"numpy", "polars", "torch", "onnxruntime", "litserve", "fastapi", "uvicorn"}
    assert imported[server.process.pid] & computing == set(), "the supervisor"
    http = [packages for packages in imported.values() if "uvicorn" in packages and "litserve" not in packages]
    workers = [packages for packages in imported.values() if "litserve" in packages]
    assert len(http) == len(workers) == 1
    assert "fastapi" not in http[0]
