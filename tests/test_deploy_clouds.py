"""Functions, web frameworks and managed services: what answers does so as the model does, and files hold together."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from deployment import DEPLOY, check_words, instructions_of
from made import made_bundle

import churnlib
from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported

ROW: dict[str, Any] = {
    "customer": "7590-VHVEG", "tenure": 3, "charges": 70.35, "plan": "monthly", "paperless": "Yes",
    "joined": "2020-06-15", "region": "region 3",
}  # fmt: skip
BODY = json.dumps(ROW).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a bundle in the places where the examples look for one."""
    made = made_bundle()
    path = tmp_path_factory.mktemp("here")
    write_bundle(replace(made, onnx=exported(made)), path / "bundle")
    (path / "outputs" / "latest").mkdir(parents=True)
    (path / "outputs" / "latest" / "bundle").symlink_to(path / "bundle")
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> float:
    return churnlib.load(folder / "bundle").predict([ROW])["churn_probability"][0]


@pytest.fixture
def example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of deploy/ as its platform does: its folder on the path, beside the bundle."""
    monkeypatch.chdir(folder)
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str((DEPLOY / name).parent))
        return importlib.import_module(Path(name).name)

    yield load
    for name in set(sys.modules) - before:
        if name in ("bridge", "aws_lambda", "main", "function_app", "asgi_example", "django_views"):
            del sys.modules[name]


# --- functions ------------------------------------------------------------------------------------------------------


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application that tells what it was asked."""
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise AssertionError("nobody ends it")
    body = (await receive())["body"]
    told = {**{name: scope[name] for name in ("method", "path")}, "query": scope["query_string"].decode()}
    told |= {"body": body.decode(), "headers": {k.decode(): v.decode() for k, v in scope["headers"]}}
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]})
    content = json.dumps(told).encode()
    await send({"type": "http.response.body", "body": content[:5], "more_body": True})
    await send({"type": "http.response.body", "body": content[5:]})


async def broken(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no model"})


async def raising(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise ValueError("no bundle")


def test_the_bridge_hands_over_all_of_a_request(example):
    application = example("serverless/bridge").Application(echo)
    status, headers, body = application.ask("POST", "/predict", "reasons=3", [("X-Key", "a")], b"{}")
    told = {"method": "POST", "path": "/predict", "query": "reasons=3", "body": "{}", "headers": {"x-key": "a"}}
    assert (status, headers, json.loads(body)) == (201, {"x-a": "b"}, told)


def test_the_bridge_does_not_hide_why_there_is_no_start(example):
    bridge = example("serverless/bridge")
    with pytest.raises(RuntimeError, match="cannot start: no model"):
        bridge.Application(broken)
    with pytest.raises(ValueError, match="no bundle"):
        bridge.Application(raising)


def lambda_event(path: str, body: str = "", *, encoded: bool = False, stage: str = "$default") -> dict[str, Any]:
    """What a function URL and an HTTP API send (payload format 2.0)."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"stage": stage, "http": {"method": "POST" if body else "GET", "path": path}},
        "isBase64Encoded": encoded,
        **({"body": body} if body else {}),
    }


def test_lambda_answers_a_customer(example, expected):
    handler = example("serverless/aws_lambda").handler
    coded = base64.b64encode(BODY).decode()
    for event in (
        lambda_event("/predict", BODY.decode()),
        lambda_event("/predict", coded, encoded=True),
        lambda_event("/live/predict", BODY.decode(), stage="live"),
    ):
        answer = handler(event, None)
        assert answer["statusCode"] == 200 and answer["headers"]["content-type"] == "application/json"
        assert json.loads(answer["body"])["churn_probability"] == pytest.approx(expected, abs=1e-6)
    assert handler(lambda_event("/health"), None)["statusCode"] == 200
    refused = handler(lambda_event("/predict", "{"), None)
    assert refused["statusCode"] == 400 and json.loads(refused["body"])["error"]["code"] == "malformed_json"


def test_googles_function_answers_a_customer(example, expected):
    from flask import Flask, make_response, request

    answer = example("serverless/main").answer
    with Flask("test").test_request_context("/predict", method="POST", data=BODY, content_type="application/json"):
        response = make_response(answer(request._get_current_object()))
    assert response.status_code == 200 and response.content_type == "application/json"
    assert response.get_json()["churn_probability"] == pytest.approx(expected, abs=1e-6)


def test_azures_function_answers_a_customer(example, expected):
    import azure.functions as func

    (function,) = example("serverless/function_app").app.get_functions()
    headers = {"content-type": "application/json"}
    asked = func.HttpRequest(method="POST", url="https://churn.example/predict", headers=headers, body=BODY)
    response = asyncio.run(function.get_user_function()(asked, None))
    assert response.status_code == 200
    assert json.loads(response.get_body())["churn_probability"] == pytest.approx(expected, abs=1e-6)
    assert json.loads((DEPLOY / "serverless" / "host.json").read_text())["extensions"]["http"]["routePrefix"] == ""


def test_the_server_is_an_asgi_application_in_two_lines(example, expected):
    app = example("asgi_example").app
    status, _, body = (
        example("serverless/bridge")
        .Application(app)
        .ask("POST", "/predict", headers=[("content-type", "application/json")], body=BODY)
    )
    assert status == 200 and json.loads(body)["churn_probability"] == pytest.approx(expected, abs=1e-6)


# --- frameworks -----------------------------------------------------------------------------------------------------


def test_flask_answers_a_customer(example, expected):
    client = example("frameworks/flask_app").app.test_client()
    assert client.post("/predict", json=ROW).get_json()["churn_probability"] == expected


def test_fastapi_answers_a_customer(example, expected):
    asked = example("serverless/bridge").Application(example("frameworks/fastapi_app").app)
    status, _, body = asked.ask("POST", "/predict", headers=[("content-type", "application/json")], body=BODY)
    assert status == 200 and json.loads(body)["churn_probability"] == expected


def test_django_answers_a_customer(example, expected):
    import django
    from django.conf import settings
    from django.test import RequestFactory

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["testserver"])
        django.setup(set_prefix=False)
    views = example("frameworks/django_views")
    asked = RequestFactory()
    answer = views.predict(asked.post("/predict", BODY, content_type="application/json"))
    assert json.loads(answer.content)["churn_probability"] == expected
    assert views.predict(asked.get("/predict")).status_code == 405


# --- managed services -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "name"),
    [
        ("sagemaker", "CreateModel", "sagemaker/model.json"),
        ("sagemaker", "CreateEndpointConfig", "sagemaker/endpoint-config.json"),
        ("sagemaker", "UpdateEndpoint", "sagemaker/update.json"),
        ("lambda", "CreateFunction", "serverless/lambda.json"),
    ],
)
def test_aws_would_take_the_request(service, operation, name):
    """Against the models of its services that botocore carries."""
    import botocore.session
    from botocore.validate import ParamValidator

    shape = botocore.session.Session().get_service_model(service).operation_model(operation).input_shape
    given = json.loads((DEPLOY / name).read_text())
    assert not ParamValidator().validate(given, shape).has_errors()
    slip = {**given, "Nmae": 1}
    assert ParamValidator().validate(slip, shape).has_errors()


def test_sagemakers_files_mean_each_other():
    folder = DEPLOY / "sagemaker"
    model, endpoint = (json.loads((folder / name).read_text()) for name in ("model.json", "endpoint-config.json"))
    assert {variant["ModelName"] for variant in endpoint["ProductionVariants"]} == {model["ModelName"]}


def test_azure_ml_asks_the_servers_routes():
    folder = DEPLOY / "azureml"
    endpoint = yaml.safe_load((folder / "endpoint.yaml").read_text())
    deployment = yaml.safe_load((folder / "deployment.yaml").read_text())
    routes = deployment["environment"]["inference_config"]
    assert {name: route["path"] for name, route in routes.items()} == {
        "liveness_route": "/livez", "readiness_route": "/readyz", "scoring_route": "/predict",
    }  # fmt: skip
    exposed = dict(instructions_of("docker/Dockerfile"))["EXPOSE"]
    assert {str(route["port"]) for route in routes.values()} == {exposed}
    assert deployment["endpoint_name"] == endpoint["name"]


def test_cloud_run_and_container_apps_start_the_server():
    run = yaml.safe_load((DEPLOY / "serverless" / "cloud_run.yaml").read_text())["spec"]["template"]["spec"]
    app = yaml.safe_load((DEPLOY / "serverless" / "container_app.yaml").read_text())["properties"]
    ports = [run["containers"][0]["ports"][0]["containerPort"], app["configuration"]["ingress"]["targetPort"]]
    containers = [run["containers"][0], app["template"]["containers"][0]]
    for port, container in zip(ports, containers, strict=True):
        check_words(container["args"])
        assert {f"port={port}", "host=0.0.0.0", "keys=/etc/churnlib/keys"} <= set(container["args"])
        probes = [*container.get("probes", ()), *(container[name] for name in container if name.endswith("Probe"))]
        asked = [probe["httpGet"] for probe in probes]
        assert {probe["port"] for probe in asked} == {port}
        assert {probe["path"] for probe in asked} <= {"/livez", "/readyz"}
