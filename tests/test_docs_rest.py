"""Every example in docs/rest.md is asked, and answered in the shape that the page shows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from made_served import MadeServed, made_served

from churnlib.serving.answering.bulk_answers import predict_batch
from churnlib.serving.answering.feedback import feedback
from churnlib.serving.answering.reasons import explain
from churnlib.serving.answers import Answer
from churnlib.serving.doors.inference_protocol import infer
from churnlib.serving.doors.openapi import openapi
from churnlib.serving.doors.platforms import CONTENT_TYPE, invocations

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```http\n(.*?)```\n```(json|csv)\n(.*?)```", PAGE, re.DOTALL)
SAID_BY_THE_MODEL = ("churn_prediction", "data", "effect", "feature", "value", "direction", "text", "code", "method")
"""Fields whose values are the model's, of which only the types are compared."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> MadeServed:
    return made_served(tmp_path_factory.mktemp("served"))


def predict(served: MadeServed, body: bytes, query: dict[str, str]) -> Answer:
    return explain(served, body, query) if "reasons" in query else invocations(served, body, {})


DOORS: dict[str, Callable[..., Answer]] = {
    "/predict": predict,
    "/predict/batch": predict_batch,
    "/explain": explain,
    "/feedback": lambda served, body, query: feedback(served, body, query, sink=lambda given: None),
    "/v2/models/churn/infer": infer,
    "/invocations": invocations,
}


def asked(served: MadeServed, request: str) -> Answer:
    head, _, body = request.partition("\n\n")
    first, *headers = head.splitlines()
    method, address = first.split()
    assert method == "POST"
    query = dict(parse_qsl(urlsplit(address).query))
    media = [line.removeprefix("Content-Type: ") for line in headers]
    return DOORS[urlsplit(address).path](served, body.encode(), query | {CONTENT_TYPE: "".join(media)})


def alike(found: Any, shown: Any, name: str = "") -> bool:
    """Whether two JSON values have one shape, and the same texts where they are not the model's own."""
    if isinstance(shown, dict):
        same = isinstance(found, dict) and list(found) == list(shown)
        own = SAID_BY_THE_MODEL if "effect" in shown or "shape" in shown else ("churn_prediction", "method")
        return same and all(alike(found[key], shown[key], key if key in own else "") for key in shown)
    if isinstance(shown, list):
        same = isinstance(found, list) and len(found) == len(shown)
        return same and all(alike(a, b, name) for a, b in zip(found, shown, strict=True))
    if isinstance(shown, float) or name in SAID_BY_THE_MODEL:
        return type(found) is type(shown)
    return re.fullmatch("[0-9a-f]{12}", str(shown)) is not None or found == shown


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_the_example_is_answered_in_the_shape_that_is_shown(served: MadeServed, place: int) -> None:
    request, kind, shown = EXAMPLES[place]
    answer = asked(served, request).encode().decode()
    if kind == "json":
        found = json.loads(answer)
        assert alike(found, json.loads(shown)), json.dumps(found, ensure_ascii=False)
        return
    found, expected = ([*csv.DictReader(io.StringIO(text))] for text in (answer, shown))
    assert [list(row) for row in found] == [list(row) for row in expected]
    for row, example in zip(found, expected, strict=True):
        assert {k for k, v in row.items() if v} == {k for k, v in example.items() if v}
        assert row["error"] == example["error"]


def test_the_page_has_examples_and_names_every_address(served: MadeServed) -> None:
    assert len(EXAMPLES) == 9
    for path in openapi(served.predictor)["paths"]:
        assert path in PAGE or path.startswith("/v2/models/churn/versions/")
