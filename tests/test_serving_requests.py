"""Everything of the server that needs no model: strict JSON, the layer in front of LitServe, options."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

import churnlib.serving
from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.answers import MOST_NAMED, named_warnings
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.batching import GatherLoop
from churnlib.serving.front import Front
from churnlib.serving.options import parse_options, usage
from churnlib.serving.problems import RequestError, shown
from churnlib.serving.requests import LIMITS, check_content, parse_row, request_id
from churnlib.serving.server import curl

METADATA = {"model": "mlp", "model_version": "abc"}
MAX_DEPTH = LIMITS.depth

# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "row"),
    [
        (b'{"tenure": 12, "plan": "a"}', {"tenure": 12, "plan": "a"}),
        (b'  {"tenure": 1.5e3}\r\n', {"tenure": 1500.0}),
        (b"{}", {}),
        ('{"plan": "Zürich 🌍"}'.encode(), {"plan": "Zürich 🌍"}),
        (rb'{"plan": "\ud83c\udf0d"}', {"plan": "🌍"}),
        (rb'{"plan": "a\u0000b"}', {"plan": "a\0b"}),
        (b'{"tenure": -0, "charges": null, "senior": true}', {"tenure": 0, "charges": None, "senior": True}),
        (b'{"customer_id": 12345678901234567890123}', {"customer_id": 12345678901234567890123}),
        (b'{"extra": {"list": [1, 2, {"a": "b"}]}}', {"extra": {"list": [1, 2, {"a": "b"}]}}),
    ],
)
def test_json_objects_are_read(body: bytes, row: dict[str, Any]) -> None:
    assert parse_row(body) == row


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "malformed_json"),
    "blank": (b" \n", 400, "malformed_json"),
    "cut off": (b'{"tenure":', 400, "malformed_json"),
    "trailing comma": (b'{"tenure": 1,}', 400, "malformed_json"),
    "single quotes": (b"{'tenure': 1}", 400, "malformed_json"),
    "comment": (b'{"tenure": 1} // x', 400, "malformed_json"),
    "two objects": (b"{}{}", 400, "malformed_json"),
    "form": (b"tenure=1&plan=a", 400, "malformed_json"),
    "NaN": (b'{"tenure": NaN}', 400, "malformed_json"),
    "Infinity": (b'{"tenure": -Infinity}', 400, "malformed_json"),
    "raw control character": (b'{"plan": "a\nb"}', 400, "malformed_json"),
    "bad escape": (rb'{"plan": "\x41"}', 400, "malformed_json"),
    "bad UTF-8": (b'{"plan": "\xff\xfe"}', 400, "malformed_json"),
    "UTF-16": ('{"tenure": 1}'.encode("utf-16"), 400, "malformed_json"),
    "byte order mark": ('\ufeff{"tenure": 1}'.encode(), 400, "malformed_json"),
    "lone surrogate in a value": (rb'{"plan": "\ud800"}', 400, "malformed_json"),
    "lone surrogate in a name": (rb'{"\udc00": 1}', 400, "malformed_json"),
    "lone surrogate in a list": (rb'{"x": [{"a": ["\ud800"]}]}', 400, "malformed_json"),
    "key twice": (b'{"tenure": 1, "plan": "a", "tenure": 2}', 400, "duplicate_field"),
    "key twice inside": (b'{"x": {"a": 1, "a": 2}}', 400, "duplicate_field"),
    "5,000 digits": (b'{"tenure": ' + b"9" * 5000 + b"}", 400, "number_out_of_range"),
    "400 digits": (b'{"tenure": -' + b"9" * 400 + b"}", 400, "number_out_of_range"),
    "1e400": (b'{"tenure": 1e400}', 400, "number_out_of_range"),
    "1e400 in a list": (b'{"x": [1e400]}', 400, "number_out_of_range"),
    "100,000 levels": (DEEP, 400, "nested_too_deep"),
    "9 levels": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), 400, "nested_too_deep"),
    "list": (b'[{"tenure": 1}]', 422, "not_an_object"),
    "null": (b"null", 422, "not_an_object"),
    "text": (b'"tenure"', 422, "not_an_object"),
    "number": (b"3", 422, "not_an_object"),
    "true": (b"true", 422, "not_an_object"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_anything_else_is_refused(case: str) -> None:
    body, status, code = BAD_BODIES[case]
    with pytest.raises(RequestError) as caught:
        parse_row(body)
    assert (caught.value.problem.status, caught.value.problem.code) == (status, code)


def test_exactly_the_deepest_nesting_is_read() -> None:
    row: Any = parse_row(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH)
    for _ in range(MAX_DEPTH):
        row = row["a"]
    assert row == 1


def test_a_duplicate_field_is_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse_row(b'{"plan": "a", "plan": "secret"}')
    assert caught.value.problem.field == "plan"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({}, True),
        ({"content-type": "application/json"}, True),
        ({"content-type": "Application/JSON; charset=UTF-8"}, True),
        ({"content-type": 'application/json; charset="utf-8"', "content-encoding": "identity"}, True),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/x-www-form-urlencoded"}, False),
        ({"content-type": "application/json-patch+json"}, False),
        ({"content-type": "application/json; charset=latin-1"}, False),
        ({"content-type": "application/json", "content-encoding": "gzip"}, False),
        ({"content-encoding": "br"}, False),
    ],
)
def test_only_plain_json_is_accepted(headers: Mapping[str, str], accepted: bool) -> None:
    if accepted:
        check_content(headers)
        return
    with pytest.raises(RequestError) as caught:
        check_content(headers)
    assert caught.value.problem.status == 415


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abc-DEF_123", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_only_harmless_request_ids_are_taken_over(sent: str, kept: bool) -> None:
    used = request_id({"x-request-id": sent})
    assert (used == sent) is kept
    assert len(used) == 32 or kept


def test_client_names_are_shortened_and_made_printable() -> None:
    assert shown("a\x1b[31m\u202eb") == "a?[31m?b"
    assert shown("x" * 65) == "x" * 64 + "..."


def test_a_book_of_warnings_is_cut_and_counted() -> None:
    named = named_warnings([(f"field {i}", "is odd") for i in range(MOST_NAMED + 5)])
    assert len(named) == MOST_NAMED + 1
    assert named[-1] == {"field": None, "message": "5 more warnings"}


# --- the layer in front of LitServe -------------------------------------------------------------------------------


class Inner:
    """Stands for LitServe: remembers the bodies it was given and answers as told."""

    def __init__(
        self, status: int = 200, body: bytes = b'{"ok":true}', delay: float = 0.0, fails: bool = False
    ) -> None:
        self.status, self.body, self.delay, self.fails = status, body, delay, fails
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        if self.fails:
            raise RuntimeError("secret value")
        await asyncio.sleep(self.delay)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": self.body[5:]})


def ask(
    inner: Inner, method: str = "POST", path: str = "/predict", *, front: Any = None, **kwargs: Any
) -> httpx.Response:
    """Send one request through a front."""
    front = front or Front(inner, metadata=METADATA, timeout=5.0, max_body_bytes=1000)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **kwargs)

    return asyncio.run(send())


def error(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response that has exactly the contract's shape."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message", "field", "request_id"}
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return body["error"]


def test_a_good_request_reaches_the_model_as_it_came() -> None:
    inner = Inner()
    response = ask(inner, content=b' {"tenure": 1.50}', headers={"x-request-id": "mine"})
    assert (response.status_code, response.content) == (200, b'{"ok":true}')
    assert response.headers["x-request-id"] == "mine"
    assert inner.bodies == [b' {"tenure": 1.50}']


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_never_reaches_the_model(case: str) -> None:
    inner = Inner()
    front = Front(inner, metadata=METADATA)
    body, status, code = BAD_BODIES[case]
    response = ask(inner, front=front, content=body)
    assert (response.status_code, error(response)["code"]) == (status, code)
    assert inner.bodies == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/info", 404),
        ("POST", "/predict/", 404),
        ("POST", "/PREDICT", 404),
        ("GET", "/predict", 405),
        ("OPTIONS", "/predict", 405),
        ("POST", "/health", 405),
        ("DELETE", "/metadata", 405),
    ],
)
def test_other_addresses_and_methods_are_refused(method: str, path: str, status: int) -> None:
    inner = Inner()
    response = ask(inner, method, path)
    assert response.status_code == status
    assert error(response)["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert ("allow" in response.headers) is (status == 405)
    assert inner.bodies == []


def test_an_announced_length_above_the_limit_is_refused_unread() -> None:
    inner = Inner()
    response = ask(inner, content=b'{"plan": "' + b"x" * 1000 + b'"}')
    assert response.status_code == 413
    assert error(response)["code"] == "body_too_large"
    assert response.headers["connection"] == "close"


def test_a_body_without_a_length_is_counted_while_it_comes() -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 100

    response = ask(Inner(), content=chunks())
    assert response.status_code == 413


def test_a_late_model_is_a_504_and_its_request_is_not_cancelled() -> None:
    inner = Inner(delay=0.2)
    front = Front(inner, metadata=METADATA, timeout=0.05)

    async def both() -> tuple[httpx.Response, set]:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.post("/predict", content=b"{}")
        left = set(front._waiting)
        await asyncio.sleep(0.4)
        return response, left

    response, left = asyncio.run(both())
    assert response.status_code == 504
    assert error(response)["code"] == "deadline_exceeded"
    assert len(left) == 1
    assert [task.result().status for task in left] == [200]
    assert front._waiting == set()


def test_a_body_that_does_not_arrive_is_a_408() -> None:
    front = Front(Inner(), metadata=METADATA, timeout=0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    response = ask(Inner(), front=front, content=slow())
    assert response.status_code == 408
    assert error(response)["code"] == "request_timeout"


def test_more_requests_than_may_wait_are_told_to_come_back() -> None:
    front = Front(Inner(delay=0.3), metadata=METADATA, max_waiting=2)

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return list(await asyncio.gather(*(client.post("/predict", content=b"{}") for _ in range(5))))

    responses = asyncio.run(crowd())
    assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503]
    full = next(response for response in responses if response.status_code == 503)
    assert error(full)["code"] == "overloaded"
    assert full.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("inner", "status", "code"),
    [
        (Inner(500, b"Internal Server Error: Traceback (most recent call last) secret"), 500, "internal_error"),
        (Inner(500, b'{"detail": "secret"}'), 500, "internal_error"),
        (Inner(403, b'{"detail": "secret"}'), 500, "internal_error"),
        (Inner(504, b'{"detail": "Request timed out"}'), 504, "deadline_exceeded"),
        (Inner(fails=True), 500, "internal_error"),
    ],
)
def test_failures_behind_the_front_leave_in_the_envelope(inner: Inner, status: int, code: str) -> None:
    response = ask(inner, content=b"{}")
    assert response.status_code == status
    assert error(response)["code"] == code
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_the_models_own_errors_get_the_request_id() -> None:
    body = b'{"error":{"code":"invalid_field","message":"tenure is wrong","field":"tenure","request_id":null}}'
    response = ask(Inner(422, body), content=b"{}", headers={"x-request-id": "r1"})
    assert response.status_code == 422
    assert error(response) == {
        "code": "invalid_field", "message": "tenure is wrong", "field": "tenure", "request_id": "r1",
    }  # fmt: skip


def test_health_asks_the_model() -> None:
    inner = Inner()
    response = ask(inner, "GET", "/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "model": "mlp", "model_version": "abc"}
    assert inner.bodies == [b"null"]


@pytest.mark.parametrize("inner", [Inner(500, b"x"), Inner(fails=True)])
def test_health_is_503_if_the_model_fails(inner: Inner) -> None:
    response = ask(inner, "GET", "/health")
    assert response.status_code == 503
    assert error(response)["code"] == "not_ready"


def test_health_is_503_if_the_model_does_not_answer() -> None:
    front = Front(Inner(delay=0.3), metadata=METADATA, probe_seconds=0.05)
    response = ask(Inner(), "GET", "/health", front=front)
    assert response.status_code == 503
    assert error(response)["code"] == "not_ready"


def test_a_fresh_answer_spares_the_model_the_health_probe() -> None:
    inner = Inner()
    front = Front(inner, metadata=METADATA)

    async def both() -> httpx.Response:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/predict", content=b"{}")
            return await client.get("/health")

    assert asyncio.run(both()).status_code == 200
    assert inner.bodies == [b"{}"]


def test_a_client_that_leaves_early_is_not_answered() -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    inner = Inner()
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    asyncio.run(Front(inner, metadata=METADATA)(scope, receive, send))
    assert sent == []
    assert inner.bodies == []


# --- batching -----------------------------------------------------------------------------------------------------


def gather(api: ChurnLitAPI, waiting: list[tuple[str, float]]) -> tuple[list[str], list[str]]:
    """Let the loop take one batch from a queue of ``(uid, age in seconds)``; return the uids taken and expired."""
    requests: queue.Queue[Any] = queue.Queue()
    for uid, age in waiting:
        requests.put((0, uid, time.monotonic() - age, {}))
    taken, expired = GatherLoop().get_batch_requests(api, requests, None)
    return [uid for _, uid, _ in taken], [uid for _, uid in expired]


@pytest.mark.parametrize("batch_timeout", [0.0, 0.05])
def test_a_batch_takes_what_waits_up_to_its_size(batch_timeout: float) -> None:
    api = ChurnLitAPI("none", max_batch_size=3, batch_timeout=batch_timeout)
    api.request_timeout = 10.0
    assert gather(api, [("a", 0), ("b", 0)]) == (["a", "b"], [])
    assert gather(api, [("a", 0), ("b", 0), ("c", 0), ("d", 0)]) == (["a", "b", "c"], [])
    assert gather(api, [("late", 11), ("b", 0)]) == (["b"], ["late"])


def test_without_requests_there_is_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churnlib.serving.batching._IDLE_SECONDS", 0.01)
    assert gather(ChurnLitAPI("none"), []) == ([], [])


def test_the_package_offers_its_names_lazily() -> None:
    assert churnlib.serving.ChurnLitAPI is ChurnLitAPI
    assert all(callable(getattr(churnlib.serving, name)) for name in churnlib.serving.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Churn'"):
        _ = churnlib.serving.Churn


# --- options ------------------------------------------------------------------------------------------------------


def test_words_become_options() -> None:
    options = parse_options(
        ["bundle='my run/bundle'", "port=9000", "batch_timeout=0.005", "trust=[a.b, c]", "port=9001"]
    )
    assert (options.bundle, options.port, options.batch_timeout) == ("my run/bundle", 9001, 0.005)
    assert options.trust == ("a.b", "c")
    assert options.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("prot=9000", "did you mean port?"),
        ("9000", "expected key=value"),
        ("port=80", "port must be in [1024, 65535], got 80"),
        ("port=x", "port must be a whole number, got 'x'"),
        ("timeout=nan", "timeout must be in"),
        ("host=localhost", "host must be one of 127.0.0.1, 0.0.0.0, ::"),
        ("bundle=", "bundle is empty"),
        ("batch_timeout=10", "batch_timeout must be below timeout"),
    ],
)
def test_wrong_words_are_explained(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options([word])
    assert said in str(caught.value)
    assert isinstance(caught.value, ChurnlibError)


def test_the_help_names_every_option() -> None:
    assert all(f"  {name} " in usage() for name in ("bundle", "port", "host", "max_batch_size", "workers", "trust"))


def test_the_example_command_survives_the_shell() -> None:
    import shlex

    row = {"customer_id": "C-1", "plan": 'it\'s "big" $HOME `x`', "city": "Zürich"}
    words = shlex.split(curl("http://127.0.0.1:8000", row))
    assert json.loads(words[words.index("-d") + 1]) == row
