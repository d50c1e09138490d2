"""What the server says of itself is true: each shape in its document is that of what it really takes and gives."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import browser
from jsonschema import Draft202012Validator
from made_served import ROW, MadeServed, made_served
from openapi_spec_validator import validate

from churnlib.data.profile import draw_rows
from churnlib.serving.answering.bulk_answers import predict_batch
from churnlib.serving.answering.feedback import feedback
from churnlib.serving.answering.metadata import describe
from churnlib.serving.answering.reasons import explain
from churnlib.serving.doors.docs_page import docs_page
from churnlib.serving.doors.inference_protocol import infer, protocol_routes
from churnlib.serving.doors.openapi import openapi
from churnlib.serving.problems import DEADLINE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module", params=[2, 3])
def served(request: pytest.FixtureRequest, folder: Path) -> MadeServed:
    return made_served(folder, classes=request.param)


@pytest.fixture(scope="module")
def document(served: MadeServed) -> dict[str, Any]:
    return openapi(served.predictor)


def check(document: dict[str, Any], shape: str, value: Any) -> None:
    """Fail unless a value has the shape; an object with fields that the shape does not know fails too."""
    Draft202012Validator({**document, "$ref": f"#/components/schemas/{shape}"}).validate(value)
    known = document["components"]["schemas"][shape].get("properties")
    assert known is None or set(value) <= set(known)


@pytest.mark.parametrize("options", [{}, {"keys": True, "admin": True, "unknown": "refuse"}])
def test_the_document_is_openapi(served: MadeServed, options: dict[str, Any]) -> None:
    document = openapi(served.predictor, **options)
    validate(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


def test_with_keys_all_but_probes_ask_for_one(served: MadeServed) -> None:
    document = openapi(served.predictor, keys=True)
    assert document["security"] == [{"key": []}]
    free = {path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []}
    assert {"/health", "/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"} <= free
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("401" in operation["responses"]) is (path not in free)


def test_the_examples_are_answered_as_they_say(served: MadeServed, document: dict[str, Any]) -> None:
    posted = document["paths"]["/predict/batch"]["post"]
    example = posted["requestBody"]["content"]["application/json"]["example"]
    told = posted["responses"]["200"]["content"]["application/json"]["example"]
    found = json.loads(predict_batch(served, json.dumps(example).encode(), {}).encode())
    for answer in found["predictions"]:
        answer.pop("human_review", None), answer.pop("warnings", None)
    for name, value in told["predictions"][0].items():
        assert found["predictions"][0][name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)
    alone = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    check(document, "Customer", alone)


def test_answers_have_the_shapes_they_are_said_to_have(served: MadeServed, document: dict[str, Any]) -> None:
    rows = [ROW, {**ROW, "plan": "Mars", "x": 1}, {**ROW, "tenure": "x"}, 7]
    for request in ({"instances": rows}, {"columns": {k: [row.get(k) for row in rows[:3]] for k in ROW}}):
        answer = json.loads(predict_batch(served, json.dumps(request).encode(), {}).encode())
        check(document, "BatchAnswer", answer)
    for row in rows[:2]:
        answer = json.loads(explain(served, json.dumps(row).encode(), {}).encode())
        check(document, "Explained", answer)
        alone = {
            name: value
            for name, value in answer.items()
            if name in document["components"]["schemas"]["Answer"]["properties"]
        }
        check(document, "Answer", alone)
    check(document, "Error", json.loads(explain(served, b"{", {}).encode()))
    check(document, "Error", DEADLINE.envelope("r-1"))
    label = served.predictor.classes[1]
    answer = feedback(served, json.dumps({"customer_id": "C-1", "label": label}).encode(), {}, sink=lambda given: None)
    check(document, "Feedback", json.loads(answer.encode()))


def test_tensors_have_their_shape_too(served: MadeServed, document: dict[str, Any]) -> None:
    datatypes = {name: "FP64" if isinstance(cell, int | float) else "BYTES" for name, cell in ROW.items()}
    inputs = [{"name": n, "shape": [1], "datatype": datatypes[n], "data": [ROW[n]]} for n in ROW]
    request = {"inputs": inputs, "id": "1", "outputs": [{"name": "human_review"}]}
    check(document, "Tensors", request)
    check(document, "TensorsAnswer", json.loads(infer(served, json.dumps(request).encode(), {}).encode()))
    check(document, "ProtocolError", json.loads(infer(served, b"{}", {}).encode()))
    routes = protocol_routes(describe(served.predictor))
    named = {path for path in document["paths"] if path.startswith("/v2")}
    assert named <= {*routes.documents, *routes.live, *routes.ready, *routes.infer}


def test_what_the_document_allows_is_served_and_what_lacks_is_not(served: MadeServed, document: dict[str, Any]) -> None:
    schema = {**document, "$ref": "#/components/schemas/Customer"}
    drawn = draw_rows(dict(served.predictor.bundle.profile), served.predictor.schema, 30, seed=5)
    rows = [{**ROW, **{k: v for k, v in row.items() if v is not None}} for row in drawn]
    changes: list[dict[str, Any]] = [
        {"tenure": 0}, {"tenure": 600}, {"tenure": 601}, {"tenure": -1}, {"tenure": None}, {"tenure": []},
        {"plan": "Mars"}, {"plan": ""}, {"plan": " \t"}, {"plan": None}, {"plan": {}}, {"plan": 3}, {"plan": True},
        {"charges": None}, {"tariff": None}, {"tariff": "9"}, {"tariff": "zebra"}, {"joined": "2021-02-28"},
        {"joined": None}, {"joined": "yesterday"}, {"joined": 20210228}, {"paperless": True}, {"paperless": "no"},
        {"customer_id": [1]}, {"customer_id": None}, {"more": {"any": ["thing"]}},
    ]  # fmt: skip
    rows += [{**ROW, **change} for change in changes] + [{k: v for k, v in ROW.items() if k != gone} for gone in ROW]
    body = json.loads(predict_batch(served, json.dumps({"instances": rows}).encode(), {}).encode())
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for row, answer in zip(rows, body["predictions"], strict=True):
        assert validator.is_valid(row) is ("error" not in answer), (row, answer)


def test_unknown_fields_are_refused_in_the_document_where_they_are(folder: Path) -> None:
    served = made_served(folder)
    strict = openapi(served.predictor, unknown="refuse")
    validator = Draft202012Validator({**strict, "$ref": "#/components/schemas/Customer"})
    assert validator.is_valid(ROW) and not validator.is_valid({**ROW, "more": 1})


# --- the page ---------------------------------------------------------------------------------------------------------

HOSTILE = "</code><script>alert(1)</script>"


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile(document: dict[str, Any]) -> dict[str, Any]:
    customer = document["components"]["schemas"]["Customer"]
    customer["properties"][HOSTILE] = {"type": "string", "description": HOSTILE, "examples": [HOSTILE]}
    return document


def test_the_page_holds_all_of_it_and_nothing_from_elsewhere(document: dict[str, Any]) -> None:
    reader = Reader()
    reader.feed(docs_page(hostile(json.loads(json.dumps(document)))))
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in reader.tags}
    assert {attrs["href"][:1] for tag, attrs in reader.tags if tag == "a" and attrs["href"]} == {"#", "o"}
    text = " ".join(reader.texts)
    assert all(path in text for path in document["paths"])
    assert all(name in text for name in ("tenure", "charges", "must be at most 600 months", HOSTILE))


def test_the_commands_on_the_page_can_be_pasted(document: dict[str, Any]) -> None:
    reader = Reader()
    reader.feed(docs_page(document))
    commands = [text for text in reader.texts if text.startswith("curl")]
    assert len(commands) > 10
    for command in commands:
        words = shlex.split(command)
        assert words[:2] == ["curl", "-s"] and words[2].startswith("http://127.0.0.1:8000/")
        if "-d" in words:
            json.loads(words[words.index("-d") + 1])


def test_with_keys_the_commands_have_one(folder: Path) -> None:
    page = docs_page(openapi(made_served(folder).predictor, keys=True))
    assert "Bearer $CHURNLIB_KEY" in page
    commands = [each.split("</code>")[0] for each in page.split("curl -s ")[1:]]
    without = {each.split("8000")[1].split()[0] for each in commands if "Bearer" not in each}
    assert without >= {"/health", "/livez", "/readyz", "/ping"}
    assert not without & {"/predict", "/predict/batch", "/metadata", "/metrics", "/v2"}


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_every_screen(folder: Path, tmp_path: Path, dark: bool) -> None:
    file = tmp_path / "docs.html"
    file.write_text(docs_page(openapi(made_served(folder).predictor, keys=True)), encoding="utf-8")
    with browser(tmp_path) as page:
        for width in (360, 800, 1400):
            page.show(file, width=width, dark=dark)
            assert page.run("document.documentElement.scrollWidth") == width, "something is wider than the screen"
            page.picture(f"docs-{width}-{'dark' if dark else 'light'}")
        assert not page.complaints and not page.requests


LIGHT = """
import sys
import churnlib.serving.answering.bulk_answers, churnlib.serving.answering.jobs
import churnlib.serving.doors.docs_page, churnlib.serving.doors.openapi
heavy = {"torch", "litserve", "fastapi", "pydantic", "starlette", "jinja2", "lightning", "hydra"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_the_doors_import_nothing_heavy(checkout: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, cwd=checkout, check=True)
    assert done.stdout.strip() == ""
