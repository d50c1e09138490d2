"""The Open Inference Protocol, spoken with Triton's own client over a real port."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from made_served import ROW, MadeServed, made_served
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from churnlib.data.opt_out import WatchedOptOut
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.metadata import describe
from churnlib.serving.answers import Answer
from churnlib.serving.doors.inference_protocol import HEADER_LENGTH, in_protocol, infer, protocol_routes
from churnlib.serving.problems import Problem


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> MadeServed:
    return made_served(tmp_path_factory.mktemp("served"))


def application(served: MadeServed) -> Any:
    """The routes of the protocol as a server wires them."""
    routes = protocol_routes(describe(served.predictor))
    gets = {**routes.documents, **routes.live, **routes.ready}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["method"] == "GET" and scope["path"] in gets:
            answer = Answer(200, gets[scope["path"]])
        elif scope["method"] == "POST" and scope["path"] in routes.infer:
            answer = infer(served, body, {HEADER_LENGTH: headers.get(HEADER_LENGTH, "")})
        else:
            answer = in_protocol(Answer.refusal(Problem(404, "not_found", "no such address")))
        told = {"content-type": "application/json", **dict(answer.headers)}
        sent = [(name.encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.encode()})

    return app


@pytest.fixture(scope="module")
def address(served: MadeServed) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(application(served), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(address)
    yield client
    client.close()


CUSTOMERS: list[dict[str, Any]] = [
    {**ROW, "customer": f"C-{place}", "tenure": tenure, "charges": charges, "plan": plan, "tariff": tariff}
    for place, (tenure, charges, plan, tariff) in enumerate(
        [(3, 70.35, "monthly", "b"), (44, None, "yearly", None), (7, 10.0, "Zürich plan", "a")]
    )
]


def inputs(*, binary: bool = True, column: bool = False, **changed: np.ndarray) -> list[Any]:
    """The customers as tensors, missing numbers as NaN and missing texts as empty ones."""
    tensors = []
    for name in CUSTOMERS[0]:
        cells = [row[name] for row in CUSTOMERS]
        if name in ("tenure", "charges"):
            values = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
        else:
            values = np.array([cell or "" for cell in cells], dtype=np.object_)
        values = changed.get(name, values)
        values = values[:, None] if column else values
        tensors.append(triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype)))
        tensors[-1].set_data_from_numpy(values, binary_data=binary)
    return tensors


def test_what_the_server_tells_of_itself(client: Any, served: MadeServed) -> None:
    version = served.predictor.version
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("churn") and client.is_model_ready("churn", version)
    assert client.is_model_ready(served.predictor.model_name)
    assert not client.is_model_ready("churn", "0") and not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = client.get_model_metadata("churn")
    assert told == client.get_model_metadata("churn", version) and told["versions"] == [version]
    datatypes = {tensor["name"]: (tensor["datatype"], tensor["parameters"]["required"]) for tensor in told["inputs"]}
    assert datatypes == {
        "tenure": ("FP64", True), "charges": ("FP64", False), "plan": ("BYTES", True), "region": ("BYTES", True),
        "paperless": ("BYTES", True), "joined": ("BYTES", True), "tariff": ("BYTES", False),
        "customer_id": ("BYTES", False),
    }  # fmt: skip
    assert {tensor["name"]: tensor["datatype"] for tensor in told["outputs"]} == {
        "churn_probability": "FP64", "churn_prediction": "INT64", "human_review": "BOOL", "customer_id": "BYTES",
    }  # fmt: skip


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("binary", [True, False])
def test_the_clients_arrays_get_the_predictors_answers(
    client: Any, served: MadeServed, binary: bool, column: bool
) -> None:
    charges = np.array([70.35, np.nan if binary else 1e-3, 10.0])  # in JSON there is no NaN
    rows = [{**row, "charges": cell} for row, cell in zip(CUSTOMERS, charges, strict=True)]
    expected = served.predictor.predict(rows)
    names = ["churn_probability", "churn_prediction", "human_review", "customer_id"]
    outputs = None if binary else [triton.InferRequestedOutput(name, binary_data=False) for name in names]
    result = client.infer(
        "churn", inputs(binary=binary, column=column, charges=charges), outputs=outputs, request_id="r-1"
    )
    assert result.get_response()["id"] == "r-1"
    assert result.get_response()["model_version"] == served.predictor.version
    np.testing.assert_allclose(result.as_numpy("churn_probability"), expected["churn_probability"], atol=1e-6)
    assert result.as_numpy("churn_prediction").tolist() == expected["churn_prediction"].to_list()
    # 0.001 is less than anybody of training was charged.
    assert result.as_numpy("human_review").tolist() == [False, not binary, True]
    names_back = [name if isinstance(name, str) else name.decode() for name in result.as_numpy("customer_id").ravel()]
    assert names_back == ["C-0", "C-1", "C-2"]


def test_only_what_is_asked_for_in_its_order(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("churn_prediction"), triton.InferRequestedOutput("churn_probability", False)]
    result = client.infer("churn", inputs(), outputs=outputs)
    assert [tensor["name"] for tensor in result.get_response()["outputs"]] == ["churn_prediction", "churn_probability"]
    assert result.as_numpy("human_review") is None


def test_other_numbers_are_taken_and_names_come_back_as_they_are(client: Any, served: MadeServed) -> None:
    numbers = {
        "customer": np.array([7, 8, 9]),
        "tenure": np.array([3, 44, 7], dtype=np.uint8),
        "charges": np.array([70.35, 0.1, 10], dtype=np.float32),
        "paperless": np.array([True, False, True]),
    }
    result = client.infer("churn", inputs(**numbers))
    rows = [
        {**row, "charges": float(charges), "paperless": bool(paperless)}
        for row, charges, paperless in zip(CUSTOMERS, numbers["charges"], numbers["paperless"], strict=True)
    ]
    np.testing.assert_allclose(result.as_numpy("churn_probability"), served.predictor.probabilities(rows), atol=1e-6)
    assert result.as_numpy("customer_id").tolist() == [7, 8, 9]
    mixed = client.infer("churn", [*inputs(**numbers)[:3], *inputs(binary=False, **numbers)[3:]])
    np.testing.assert_array_equal(mixed.as_numpy("churn_probability"), result.as_numpy("churn_probability"))


def test_a_wrong_customer_refuses_the_request_by_row(client: Any) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("churn", inputs(tenure=np.array([3.0, np.inf, np.nan])))
    assert caught.value.status() == "422"
    assert caught.value.message() == "row 1: tenure must be a finite number (1 more rows are refused)"


def test_an_unknown_model_is_a_404_in_the_protocols_shape(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="no such address"):
        client.infer("other", inputs())


def test_who_has_objected_is_not_scored(tmp_path: Path) -> None:
    listed = tmp_path / "objections.csv"
    listed.write_text("customer\nC-1\n")
    served = made_served(tmp_path, opt_out=WatchedOptOut(listed, id="customer"))
    columns = in_json()
    statuses = []
    for name in ("C-1", "C-2", None):
        columns[0]["data"] = [name]
        answer = infer(served, json.dumps({"inputs": columns}).encode(), {})
        statuses.append(answer.status)
    assert statuses == [403, 200, 422]
    listed.unlink()
    assert infer(served, json.dumps({"inputs": columns}).encode(), {}).status == 503


def in_json(row: dict[str, Any] = ROW) -> list[dict[str, Any]]:
    """One customer as tensors in the JSON."""
    datatypes = {name: "FP64" if isinstance(cell, int | float) else "BYTES" for name, cell in row.items()}
    return [{"name": name, "shape": [1], "datatype": datatypes[name], "data": [row[name]]} for name in row]


TENURE = {"name": "tenure", "shape": [1], "datatype": "FP64", "data": [3]}
WRONG: dict[str, Any] = {
    "no inputs": {},
    "empty inputs": {"inputs": []},
    "inputs that are no tensors": {"inputs": [1]},
    "no name": {"inputs": [{**TENURE, "name": ""}]},
    "no shape": {"inputs": [{**TENURE, "shape": None}]},
    "three dimensions": {"inputs": [{**TENURE, "shape": [1, 1, 1]}]},
    "negative shape": {"inputs": [{**TENURE, "shape": [-1]}]},
    "no steps": {"inputs": [{**TENURE, "shape": [10**15, 0], "data": []}]},
    "other count": {"inputs": [{**TENURE, "shape": [10**15, 10**15]}]},
    "datatype": {"inputs": [{**TENURE, "datatype": "BF16"}]},
    "datatype that is no text": {"inputs": [{**TENURE, "datatype": ["FP64"]}]},
    "no data": {"inputs": [{"name": "tenure", "shape": [1], "datatype": "FP64"}]},
    "text among numbers": {"inputs": [{**TENURE, "data": ["sekret"]}]},
    "objects": {"inputs": [{**TENURE, "data": [{"a": 1}]}]},
    "null among whole numbers": {"inputs": [{**TENURE, "datatype": "INT64", "data": [None]}]},
    "too large for its type": {"inputs": [{**TENURE, "datatype": "INT8", "data": [128]}]},
    "too large for any": {"inputs": [{**TENURE, "datatype": "FP32", "data": [10**400]}]},
    "twice": {"inputs": [TENURE, TENURE]},
    "shared memory": {"inputs": [{**TENURE, "parameters": {"shared_memory_region": "x"}}]},
    "base64": {"inputs": [{**TENURE, "parameters": {"content_type": "base64"}}]},
    "bytes that are not there": {"inputs": [{**TENURE, "parameters": {"binary_data_size": 8}}]},
    "a size that is none": {"inputs": [{**TENURE, "parameters": {"binary_data_size": "8"}}]},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_tensor_is_a_400(served: MadeServed, case: str) -> None:
    answer = infer(served, json.dumps(WRONG[case]).encode(), {})
    body = json.loads(answer.encode())
    assert answer.status == 400 and list(body) == ["error"] and isinstance(body["error"], str)
    assert "sekret" not in body["error"]


def binary(size: int, tail: bytes, **changed: Any) -> tuple[bytes, dict[str, str]]:
    head = json.dumps({"inputs": [{**TENURE, "parameters": {"binary_data_size": size}, **changed}]}).encode()
    return head + tail, {HEADER_LENGTH: str(len(head))}


TEXT = {"datatype": "BYTES"}
BEHIND: dict[str, tuple[bytes, dict[str, str]]] = {
    "too few bytes": binary(8, bytes(7)),
    "too many bytes": binary(8, bytes(9)),
    "bytes of another type": binary(4, bytes(4)),
    "half a length": binary(3, b"\x01\x00\x00", **TEXT),
    "a text longer than what is there": binary(5, struct.pack("<I", 9) + b"a", **TEXT),
    "a huge text": binary(5, struct.pack("<I", 2**32 - 1) + b"a", **TEXT),
    "no UTF-8": binary(5, struct.pack("<I", 1) + b"\xff", **TEXT),
    "two texts for one": binary(8, bytes(8), **TEXT),
    "a length of the JSON that is none": (b"{}", {HEADER_LENGTH: "x"}),
    "a length of the JSON beyond the body": (b"{}", {HEADER_LENGTH: "3"}),
    "no JSON": (b"{", {}),
}


@pytest.mark.parametrize("case", BEHIND)
def test_wrong_bytes_are_a_400(served: MadeServed, case: str) -> None:
    assert infer(served, *BEHIND[case]).status == 400


@pytest.mark.parametrize(
    "outputs", [[{"name": "x"}], [{}], "x", [1], [{"name": "churn_probability", "parameters": {"classification": 1}}]]
)
def test_outputs_that_there_are_not_are_a_400(served: MadeServed, outputs: Any) -> None:
    columns = in_json()
    assert infer(served, json.dumps({"inputs": columns}).encode(), {}).status == 200
    assert infer(served, json.dumps({"inputs": columns, "outputs": outputs}).encode(), {}).status == 400


def test_too_many_customers_are_a_413(served: MadeServed) -> None:
    tensor = {**TENURE, "shape": [3], "data": [1, 2, 3]}
    assert infer(served, json.dumps({"inputs": [tensor]}).encode(), {}, limits=Limits(rows=2)).status == 413


def test_plain_json_is_answered_in_plain_json(address: str, served: MadeServed) -> None:
    columns = [{**tensor, "shape": [1, 1], "data": [tensor["data"]]} for tensor in in_json()]
    response = httpx.post(f"http://{address}/v2/models/churn/infer", json={"inputs": columns})
    assert response.headers["content-type"] == "application/json"
    [expected] = served.predictor.predict([ROW]).to_dicts()
    outputs = {tensor.pop("name"): tensor for tensor in response.json()["outputs"]}
    assert outputs["churn_probability"] == {
        "datatype": "FP64", "shape": [1], "data": [pytest.approx(expected["churn_probability"], abs=1e-6)],
    }  # fmt: skip
    assert outputs["customer_id"]["data"] == ["7590-VHVEG"]


def test_several_classes_have_an_output_each(tmp_path: Path) -> None:
    served = made_served(tmp_path, classes=3)
    told = protocol_routes(describe(served.predictor)).documents["/v2/models/churn"]
    columns = in_json()
    body = json.loads(infer(served, json.dumps({"inputs": columns}).encode(), {}).encode())
    datatypes = {tensor["name"]: tensor["datatype"] for tensor in body["outputs"]}
    assert datatypes == {tensor["name"]: tensor["datatype"] for tensor in told["outputs"]}
    assert datatypes["prediction"] == "BYTES" and datatypes["probability_up"] == "FP64"


def test_json_is_read_as_strictly_as_a_customers_row(served: MadeServed) -> None:
    sound = json.dumps({"id": "a:b", "inputs": in_json({**ROW, "plan": "one: two"})})
    assert infer(served, sound.encode(), {}).status == 200
    assert infer(served, sound.replace("a:b", "a\\u003ab").encode(), {}).status == 200
    twice = sound.replace('"id": "a:b"', '"id": "a", "id": "b"')
    inside = sound.replace('"shape": [1]', '"shape": [1], "shape": [1]', 1)
    odd = [
        twice,
        inside,
        sound.replace("70.35", "NaN"),
        sound.replace("70.35", "1e999"),
        sound.replace("a:b", "\\ud800"),
    ]
    assert [infer(served, body.encode(), {}).status for body in odd] == [400] * 5
    assert infer(served, b"[1]", {}).status == 422
