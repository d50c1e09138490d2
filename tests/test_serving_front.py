"""The face of the server over an engine that stands for the model: what passes, what is refused, and in which words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from churnlib.serving.answers import Answer
from churnlib.serving.http.front import Front
from churnlib.serving.http.intake import Intake
from churnlib.serving.problems import Problem, RequestError
from churnlib.serving.seeing.watching import Unwatched

IDENTITY = {"model": "mlp", "model_version": "abc"}


class Engine:
    """Stands for the model: remembers the bodies it was given and answers as told."""

    name = "made"

    def __init__(self, answer: Answer | None = None, *, delay: float = 0.0, fails: bool = False) -> None:
        self.answer = answer or Answer(200, b'{"ok":true}', version="abc")
        self.delay, self.fails = delay, fails
        self.bodies: list[bytes] = []
        self.jobs: list[tuple[str, bytes, dict[str, str]]] = []
        self.deadlines: list[float] = []
        self.waiting = 0
        self.is_ready = True

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Callable[[], bool]) -> Answer:
        self.bodies.append(body)
        self.deadlines.append(deadline)
        self.waiting += 1
        try:
            if self.fails:
                raise RuntimeError("secret value")
            await asyncio.sleep(self.delay)
        finally:
            self.waiting -= 1
        return self.answer

    async def run(self, job: str, body: bytes, query: Mapping[str, str], deadline: float, request_id: str) -> Answer:
        self.jobs.append((job, body, dict(query)))
        return await self.predict(body, deadline, request_id, lambda: False)


def made_front(engine: Engine, state: str = "ready", **parts: Any) -> Front:
    """A front with an engine behind it."""
    limits = parts.pop("limits", Intake(timeout=5.0, max_body_bytes=1000, max_bulk_bytes=5000))
    front = Front(limits, **parts)
    front.engine, front.state, front.identity = engine, state, lambda: IDENTITY
    return front


def ask(front: Front, method: str = "POST", path: str = "/predict", **kwargs: Any) -> httpx.Response:
    """Send one request."""
    [response] = ask_all(front, [(method, path, kwargs)])
    return response


def ask_all(front: Front, asked: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """Send requests at the same time."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            requests = (client.request(method, path, **kwargs) for method, path, kwargs in asked)
            return list(await asyncio.gather(*requests))

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
    engine = Engine()
    response = ask(made_front(engine), content=b' {"tenure": 1.50}', headers={"x-request-id": "mine"})
    assert (response.status_code, response.content) == (200, b'{"ok":true}')
    assert response.headers["x-request-id"] == "mine"
    assert response.headers["x-model-version"] == "abc"
    assert engine.bodies == [b' {"tenure": 1.50}']


def test_ids_of_our_own_differ_and_strange_ones_are_not_taken_over() -> None:
    strange = {"headers": {"x-request-id": "a b"}, "content": b"{}"}
    responses = ask_all(made_front(Engine()), [("POST", "/predict", strange)] * 3)
    ids = {response.headers["x-request-id"] for response in responses}
    assert len(ids) == 3 and "a b" not in ids


@pytest.mark.parametrize(
    ("path", "job"),
    [
        ("/predict?reasons=3", ("explain", b"{}", {"reasons": "3"})),
        ("/explain", ("explain", b"{}", {})),
        ("/predict/batch", ("batch", b"{}", {})),
    ],
)
def test_what_takes_long_is_a_job(path: str, job: tuple[str, bytes, dict[str, str]]) -> None:
    engine = Engine()
    assert ask(made_front(engine), path=path, content=b"{}").status_code == 200
    [(name, body, query)] = engine.jobs
    assert (name, body, {k: v for k, v in query.items() if not k.startswith(":")}) == job


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/info", 404),
        ("POST", "/predict/", 404),
        ("POST", "/PREDICT", 404),
        ("POST", "/admin/reload", 404),
        ("GET", "/predict", 405),
        ("OPTIONS", "/predict", 405),
        ("POST", "/health", 405),
        ("DELETE", "/metadata", 405),
    ],
)
def test_other_addresses_and_methods_are_refused(method: str, path: str, status: int) -> None:
    engine = Engine()
    response = ask(made_front(engine), method, path)
    assert response.status_code == status
    assert error(response)["code"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert ("allow" in response.headers) is (status == 405)
    assert engine.bodies == []


@pytest.mark.parametrize(("path", "limit"), [("/predict", 1000), ("/predict/batch", 5000)])
def test_an_announced_length_above_the_limit_is_refused_unread(path: str, limit: int) -> None:
    response = ask(made_front(Engine()), path=path, content=b'{"plan": "' + b"x" * limit + b'"}')
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

    assert ask(made_front(Engine()), content=chunks()).status_code == 413


def test_a_body_that_does_not_arrive_is_a_408() -> None:
    front = made_front(Engine(), limits=Intake(timeout=0.05))

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    response = ask(front, content=slow())
    assert response.status_code == 408
    assert error(response)["code"] == "request_timeout"


@pytest.mark.parametrize(
    ("header", "status", "seconds"), [("200", 200, 0.2), ("999999", 200, 5.0), ("soon", 400, 0), ("-1", 400, 0)]
)
def test_a_client_may_shorten_the_deadline_and_not_lengthen_it(header: str, status: int, seconds: float) -> None:
    import time

    engine, now = Engine(), time.monotonic()
    response = ask(made_front(engine), content=b"{}", headers={"x-request-timeout-ms": header})
    assert response.status_code == status
    if status == 200:
        assert engine.deadlines[0] - now == pytest.approx(seconds, abs=0.2)
    else:
        assert error(response)["code"] == "invalid_header"


def test_more_requests_than_may_wait_are_told_to_come_back() -> None:
    front = made_front(Engine(delay=0.3), limits=Intake(max_waiting=2))
    responses = ask_all(front, [("POST", "/predict", {"content": b"{}"})] * 5)
    assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503]
    full = next(response for response in responses if response.status_code == 503)
    assert error(full)["code"] == "overloaded"
    assert full.headers["retry-after"] == "1"


def test_more_bulk_requests_than_may_wait_are_told_to_come_back() -> None:
    responses = ask_all(made_front(Engine(delay=0.3)), [("POST", "/predict/batch", {"content": b"{}"})] * 6)
    assert sorted(response.status_code for response in responses) == [200] * 4 + [503] * 2


@pytest.mark.parametrize(
    "engine", [Engine(fails=True), Engine(Answer(200, {"p": float("nan")})), Engine(Answer(200, {"id": "\ud800"}))]
)
def test_failures_behind_the_front_leave_in_the_envelope(engine: Engine) -> None:
    response = ask(made_front(engine), content=b"{}")
    assert response.status_code == 500
    assert error(response)["code"] == "internal_error"
    assert "secret" not in response.text and "Traceback" not in response.text


def test_a_refusal_gets_the_request_id() -> None:
    problem = Problem(422, "invalid_field", "tenure is wrong", "tenure")
    response = ask(made_front(Engine(Answer.refusal(problem))), content=b"{}", headers={"x-request-id": "r1"})
    assert response.status_code == 422
    assert error(response) == {
        "code": "invalid_field", "message": "tenure is wrong", "field": "tenure", "request_id": "r1",
    }  # fmt: skip


def test_health_says_what_is_served() -> None:
    for path in ("/health", "/readyz"):
        response = ask(made_front(Engine()), "GET", path)
        assert (response.status_code, response.json()) == (200, {"status": "ready", **IDENTITY})


def test_health_in_the_words_of_the_open_inference_protocol() -> None:
    for word in ("live", "ready"):
        response = ask(made_front(Engine()), "GET", f"/v2/health/{word}")
        assert (response.status_code, response.json()) == (200, {word: True})
    assert ask(made_front(Engine(), "starting"), "GET", "/v2/health/ready").status_code == 503


def unready(engine: Engine) -> Engine:
    engine.is_ready = False
    return engine


@pytest.mark.parametrize(
    ("state", "engine", "code"),
    [
        ("starting", Engine(), "not_ready"),
        ("draining", Engine(), "draining"),
        ("ready", unready(Engine()), "not_ready"),
    ],
)
def test_who_is_not_ready_lives_all_the_same(state: str, engine: Engine, code: str) -> None:
    front = made_front(engine, state)
    response = ask(front, "GET", "/health")
    assert (response.status_code, error(response)["code"]) == (503, code)
    assert ask(front, "GET", "/livez").status_code == 200


def test_the_last_answers_of_a_server_say_that_they_are() -> None:
    response = ask(made_front(Engine(), "draining"), content=b"{}")
    assert (response.status_code, response.headers["connection"]) == (200, "close")


def test_before_there_is_a_model_customers_are_told_so() -> None:
    response = ask(Front(), content=b"{}")
    assert (response.status_code, error(response)["code"]) == (503, "not_ready")


def test_a_client_that_leaves_early_is_not_answered() -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    engine = Engine()
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    asyncio.run(made_front(engine)(scope, receive, send))
    assert sent == []
    assert engine.bodies == []


def test_keys_guard_everything_but_the_probes() -> None:
    asked: list[str] = []

    def holder(headers: Mapping[bytes, bytes], scope: str) -> str:
        asked.append(scope)
        if headers.get(b"authorization") != b"Bearer right":
            raise RequestError(Problem(401, "missing_key", "a key is required"))
        return "crm"

    async def admin(word: str, body: bytes) -> Answer:
        return Answer(200, {"word": word})

    front = made_front(Engine(), holder=holder, admin=admin)
    paths = {path: next(iter(route.handlers)) for path, route in front.routes.table.items()}
    closed = {path for path, method in paths.items() if ask(front, method, path, content=b"{}").status_code == 401}
    assert set(paths) - closed == {"/health", "/readyz", "/livez", "/v2", "/v2/health/live", "/v2/health/ready"}
    assert set(asked) == {"predict", "metrics", "admin"}
    right = {"authorization": "Bearer right"}
    assert ask(front, content=b"{}", headers=right).status_code == 200
    assert ask(front, path="/admin/reload", headers=right).json() == {"word": "reload"}


def test_an_application_starts_and_ends_with_its_server() -> None:
    started: list[bool] = []
    front = Front()

    async def start() -> None:
        started.append(True)

    front.on_startup = start
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(front({"type": "lifespan"}, receive, send))
    assert started == [True]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert front.state == "draining"
    assert json.dumps(sent)


# --- names of addresses, as others write them -----------------------------------------------------------------------


def test_queries_and_pages_name_addresses_as_the_server_does(checkout):
    """An alert about a route that does not exist never fires."""
    seen: set[str] = set()

    class Seeing(Unwatched):
        def answered(self, request: Any, answer: Any) -> None:
            seen.add(request.route)

    front = made_front(Engine(), admin=lambda *_: None, watching=Seeing())
    for path in (
        *(
            "/predict",
            "/predict/batch",
            "/explain",
            "/feedback",
            "/health",
            "/readyz",
            "/livez",
            "/metadata",
            "/metrics",
        ),
        *("/openapi.json", "/docs", "/admin/reload", "/v2/models/churn", "/v2/models/churn/infer", "/nowhere"),
    ):
        assert ask(front, "PUT", path).status_code in (404, 405)  # by then the address is known
    known = seen | {"invocations"}  # which a platform adds
    files = [
        *(checkout / "docs").glob("*.md"),
        *(checkout / "deploy").rglob("*.y*ml"),
        *(checkout / "deploy").rglob("*.json"),
    ]
    named = {
        (path.name, name)
        for path in files
        for name in re.findall(r"""\\?"?route\\?"?[=:]~?\\?"([^"\\]*)""", path.read_text(encoding="utf-8"))
    }
    assert {"serving_monitoring.md", "alerts.yml", "churnlib.json", "prometheusrule.yaml"} <= {
        name for name, _ in named
    }
    assert not {each for each in named if each[1] not in known}
    page = (checkout / "docs" / "serving_monitoring.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| `route` |")]
    assert known == set(re.findall(r"`(\w+)`", row)) - {"route"}
