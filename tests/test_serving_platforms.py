"""The addresses of clouds: what they ask, in the forms in which they ask it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from made_served import ROW, MadeServed, made_served

from churnlib.data.opt_out import WatchedOptOut
from churnlib.errors import ConfigError
from churnlib.serving.answering.limits import Limits
from churnlib.serving.doors.platform_routes import Platform, platform_routes
from churnlib.serving.doors.platforms import CONTENT_TYPE, invocations, vertex


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> MadeServed:
    return made_served(tmp_path_factory.mktemp("served"))


def test_sagemaker_is_always_answered() -> None:
    assert platform_routes({}) == Platform(("/ping",), {"/invocations": "invocations"})


def test_vertex_names_its_addresses_and_the_port() -> None:
    environ = {"AIP_HEALTH_ROUTE": "/up", "AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict", "AIP_HTTP_PORT": "8080"}
    found = platform_routes(environ)
    assert found.ready == ("/ping", "/up") and found.port == 8080
    assert found.jobs["/v1/endpoints/7:predict"] == "vertex"


def test_azure_and_sagemaker_have_variables_too() -> None:
    assert platform_routes({"AZUREML_MODEL_DIR": "/models"}).jobs["/score"] == "invocations"
    assert platform_routes({"SAGEMAKER_BIND_TO_PORT": "9000"}).port == 9000


def test_addresses_of_the_servers_own_keep_their_meaning() -> None:
    taken = frozenset({"/predict", "/health"})
    assert platform_routes({"AIP_HEALTH_ROUTE": "/health"}, taken=taken).ready == ("/ping",)
    with pytest.raises(ConfigError, match="AIP_PREDICT_ROUTE=/predict is an address of the server's own"):
        platform_routes({"AIP_PREDICT_ROUTE": "/predict"}, taken=taken)


@pytest.mark.parametrize(
    "environ",
    [{"AIP_PREDICT_ROUTE": "predict"}, {"AIP_HEALTH_ROUTE": "/"}, {"AIP_HTTP_PORT": "x"}, {"AIP_HTTP_PORT": "80"}],
)
def test_variables_that_say_nothing_useful_are_named(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environ))):
        platform_routes(environ)


def said(answer: Any) -> Any:
    return json.loads(answer.encode())


def test_vertex_gets_predictions_in_order(served: MadeServed) -> None:
    body = json.dumps({"instances": [ROW, {**ROW, "tenure": "x"}], "parameters": {"confidence": 0.5}}).encode()
    found = said(vertex(served, body, {}))
    [expected] = served.predictor.predict([ROW])["churn_probability"].to_list()
    assert found["predictions"][0]["churn_probability"] == pytest.approx(expected, abs=1e-6)
    assert found["predictions"][1]["error"]["field"] == "tenure"
    assert vertex(served, b'{"columns": {}}', {}).status == vertex(served, b"{}", {}).status == 422
    assert vertex(served, b"{", {}).status == 400


@pytest.mark.parametrize("header", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_one_customer_in_json(served: MadeServed, header: str) -> None:
    answer = invocations(served, json.dumps({**ROW, "plan": "Mars"}).encode(), {CONTENT_TYPE: header})
    assert answer.status == 200
    assert list(said(answer)) == [
        "customer_id", "churn_probability", "churn_prediction", "model_version", "human_review", "warnings",
    ]  # fmt: skip
    assert invocations(served, json.dumps({**ROW, "tenure": "x"}).encode(), {CONTENT_TYPE: header}).status == 422


def test_many_customers_in_json(served: MadeServed) -> None:
    found = said(invocations(served, json.dumps({"instances": [ROW, {}]}).encode(), {}))
    assert [next(iter(each)) for each in found["predictions"]] == ["customer_id", "error"]
    assert "columns" in said(
        invocations(served, json.dumps({"columns": {k: [v] for k, v in ROW.items()}}).encode(), {})
    )


def test_a_customer_in_each_line(served: MadeServed) -> None:
    lines = [json.dumps(ROW), '{"tenure": ', "", json.dumps({**ROW, "plan": None}), "7", json.dumps(ROW)]
    answer = invocations(served, "\n".join(lines).encode(), {CONTENT_TYPE: "application/jsonlines"})
    assert answer.headers == ((CONTENT_TYPE, "application/jsonlines"),)
    found = [json.loads(line) for line in answer.encode().splitlines()]
    codes = [each.get("error", {}).get("code") for each in found]
    assert codes == [None, "malformed_json", "invalid_field", "not_an_object", None]
    assert found[0] == found[-1]


def test_a_table_in_csv(served: MadeServed, tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "tenure": "x"}, {**ROW, "customer": 'a "b", c', "charges": None, "plan": "Mars"}]
    body = io.StringIO()
    writer = csv.DictWriter(body, list(ROW))
    writer.writeheader()
    writer.writerows(rows)
    answer = invocations(served, b"\xef\xbb\xbf" + body.getvalue().encode(), {CONTENT_TYPE: "text/csv"})
    assert dict(answer.headers)[CONTENT_TYPE] == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(answer.encode().decode())))
    expected = served.predictor.predict(rows, on_error="null")
    assert [row["customer_id"] for row in found] == ["7590-VHVEG", "7590-VHVEG", 'a "b", c']
    assert [row["error"] for row in found] == ["", "invalid_field", ""]
    assert [row["human_review"] for row in found] == ["false", "", "true"]
    assert found[1]["churn_probability"] == ""
    assert [float(found[i]["churn_probability"]) for i in (0, 2)] == pytest.approx(
        [expected["churn_probability"][i] for i in (0, 2)], abs=1e-6
    )
    listed = tmp_path / "objections.csv"
    listed.write_text("customer\n7590-VHVEG\n")
    served = MadeServed(served.predictor, opt_out=WatchedOptOut(listed, id="customer"))
    answer = invocations(served, body.getvalue().encode(), {CONTENT_TYPE: "text/csv"})
    assert [line.rsplit(",", 1)[1] for line in answer.encode().decode().splitlines()] == [
        "error", "opted_out", "opted_out", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"tenure,tenure\n1,2", 400),
        (b"tenure,plan\n1", 400),
        (b'tenure\n"1', 400),
        (b"tenure\n1", 422),
        (b"3,70.35,monthly\n4,1,monthly", 422),
    ],
)
def test_what_is_no_table_of_this_model_is_refused(served: MadeServed, body: bytes, status: int) -> None:
    assert invocations(served, body, {CONTENT_TYPE: "text/csv"}).status == status


def test_other_forms_are_a_415_and_too_many_a_413(served: MadeServed) -> None:
    assert invocations(served, b"<a/>", {CONTENT_TYPE: "application/xml"}).status == 415
    three = {"text/csv": "tenure\n1\n2\n3", "application/jsonlines": "1\n2\n3", "": '{"instances": [1, 2, 3]}'}
    for media, body in three.items():
        assert invocations(served, body.encode(), {CONTENT_TYPE: media}, limits=Limits(rows=2)).status == 413
