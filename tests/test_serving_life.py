"""A server's life: it starts, is ended, loses processes, changes its model, and its clients notice little of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from made import TINY_MLP, made_bundle, made_customers
from raw_http import Client, serving, statuses

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported
from churnlib.serving.answers import Answer
from churnlib.serving.http.admission import Admission
from churnlib.serving.http.at_once import guarded
from churnlib.serving.http.front import Front
from churnlib.serving.http.intake import Intake
from churnlib.serving.http.protocol import Guards
from churnlib.serving.problems import RequestError
from scripts.campaigns.ending import end_under_load
from scripts.campaigns.killing import kill_under_load
from scripts.campaigns.reloading import reload_under_load
from scripts.campaigns.servers import ROOT, Server, Setting, free_port, server

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
BODY = b'{"tenure": 1}'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("life") / "bundle"
    made = made_bundle(network=TINY_MLP)
    write_bundle(replace(made, onnx=exported(made)), path)  # starts in a third of the time that torch needs
    return path


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    read = made_customers(40).drop("churn", "customer").to_dicts()
    return [{**row, "joined": row["joined"].isoformat()} for row in read]


# --- the campaigns, once each -------------------------------------------------------------------------------------


@linux
def test_sigterm_under_load_loses_nothing(bundle: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    result = end_under_load(Setting(bundle, rows, tmp_path, ("engine=inline", "spares=0")), how="group")
    assert result.broken == []


@linux
def test_a_killed_worker_fails_what_it_was_asked_and_nothing_else(
    bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    # On a busy machine a whole start takes many seconds, for which those who ask meanwhile must be ready to wait.
    setting = Setting(bundle, rows, tmp_path, ("engine=worker", "spares=0", "timeout=30"))
    result = kill_under_load(setting, role="worker", back_seconds=30.0)
    assert result.broken == []


@linux
def test_a_model_is_changed_under_load(bundle: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    result = reload_under_load(Setting(bundle, rows, tmp_path, ("engine=inline", "workers=0", "spares=0")), times=3)
    assert result.broken == []


# --- the start ----------------------------------------------------------------------------------------------------


def started(bundle: Path, *words: str) -> tuple[int, str, float]:
    """Run the command to its end: the exit status, what it said, and the seconds."""
    begun = time.monotonic()
    port = free_port()
    code = "import sys; from churnlib.serving.server import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        f"bundle={bundle}",
        f"port={port}",
        "workers=0",
        "spares=0",
        "log=off",
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr, time.monotonic() - begun


@linux
def test_a_port_in_use_ends_the_start_with_one_sentence(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said, _ = started(bundle, f"port={port}")
    assert (status, said) == (1, f"Error: port {port} is in use; choose another with port=...\n")


@pytest.fixture
def slow_start(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH in which no HTTP process has loaded its model before there is a file ``go``."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nfrom pathlib import Path\nif any('http_process' in word for word in sys.orig_argv):\n"
        "    import churnlib.serving.answering.models as models\n    read = models.Models.load\n"
        "    def load(self):\n        while not Path(__file__).with_name('go').exists():\n"
        "            time.sleep(0.01)\n        read(self)\n    models.Models.load = load\n"
    )
    return tmp_path


@linux
def test_a_slow_start_is_alive_and_not_ready_and_a_signal_ends_it(bundle: Path, slow_start: Path) -> None:
    with server(bundle, slow_start, "spares=0", "workers=0") as running:
        alive = waited_for(running, "/livez")
        early = httpx.get(f"{running.url}/readyz"), httpx.post(f"{running.url}/predict", json={})
        (slow_start / "go").touch()
        running.wait_until_ready()
        assert alive == 200
        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in early] == [(503, "not_ready")] * 2
        assert all(answer.headers["retry-after"] == "1" for answer in early)
    (slow_start / "go").unlink()
    with server(bundle, slow_start, "spares=0", "workers=0") as running:
        waited_for(running, "/livez")
        running.process.terminate()
        assert running.process.wait(15) == 0, "the end waits for a model that is never read"


def waited_for(running: Server, path: str) -> int:
    for _ in range(600):
        try:
            return httpx.get(f"{running.url}{path}").status_code
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(running.output.read_text())


@linux
def test_a_process_that_cannot_load_ends_the_start_with_one_sentence(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif any('worker_process' in word for word in sys.orig_argv):\n"
        "    from churnlib.errors import BundleError\n    import churnlib.serving.answering.models as models\n"
        "    def load(self):\n        raise BundleError('the worker cannot read it')\n    models.Models.load = load\n"
    )
    with server(bundle, tmp_path, "spares=0", "engine=worker") as running:
        assert running.process.wait(60) == 1
        assert running.output.read_text() == "Error: the worker cannot read it\n"


@linux
@pytest.mark.slow
def test_a_worker_that_dies_in_its_setup_is_started_again(bundle: Path, tmp_path: Path) -> None:
    with server(bundle, tmp_path, "spares=0", "engine=worker") as running:
        until = time.monotonic() + 30
        while not (loading := running.called("load worker")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(loading[0], signal.SIGKILL)
        running.wait_until_ready()
        assert re.search(r"the worker process \d+ ended \(status -9\) and is started again", running.output.read_text())


# --- who may wait -------------------------------------------------------------------------------------------------


def test_the_wait_is_the_pace_of_the_answers_times_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("churnlib.serving.http.admission.time.monotonic", lambda: now)
    admission = Admission(100, 0.5)
    for _ in range(300):  # one customer takes 20 ms
        number = admission.enter()
        now += 0.02
        admission.leave(number, answered=True)
    assert admission.seconds_per_customer == pytest.approx(0.02)
    for _ in range(25):
        admission.check(2.0)
        admission.enter()
    admission.enter()
    with pytest.raises(RequestError) as refused:  # 26 before it: 0.52 s
        admission.check(2.0)
    assert (refused.value.problem.status, refused.value.problem.headers) == (503, (("Retry-After", "1"),))
    with pytest.raises(RequestError):  # a client with less time is refused sooner
        Admission.check(admission, 0.01)


class Turn:
    """Stands for the customers of one turn of the loop."""

    waiting, since = 0, 0.0


def test_an_outage_is_no_pace_and_a_full_house_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("churnlib.serving.http.admission.time.monotonic", lambda: now)
    admission = Admission(2, 0.5)
    number = admission.enter()
    now += 60.0
    admission.leave(number, answered=True)
    assert admission.seconds_per_customer <= 0.5
    failed = admission.enter()
    admission.leave(failed, answered=False)
    turn = Turn()
    in_loop = Admission(2, 0.5)
    in_loop.turn = turn
    in_loop.check(2.0)
    turn.waiting, turn.since = 1, now
    in_loop.check(2.0)
    now += 0.6
    with pytest.raises(RequestError):  # the turn of the loop takes too long already
        in_loop.check(2.0)
    turn.waiting, turn.since = 2, now
    with pytest.raises(RequestError):
        in_loop.check(2.0)


# --- clients who leave, are slow, or have no time -----------------------------------------------------------------


class Model:
    """Stands for an engine with a queue: one customer at a time, who takes as long as a test lets it."""

    name, is_ready, waiting = "made", True, 0

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.asked = 0
        self.gone = 0

    async def run(self, job: str, body: bytes, query: Any, deadline: float, request_id: str) -> Answer:
        return Answer(200, b"{}")

    async def predict(self, body: bytes, deadline: float, request_id: str, is_gone: Any) -> Answer:
        async with self.turn:
            if is_gone():
                self.gone += 1
                return Answer(200, b"{}")
            if deadline <= time.monotonic():
                return Answer(504, b"{}")
            self.asked += 1
            await asyncio.sleep(0.4)
            return Answer(200, b"{}")


def request(*headers: str, body: bytes = BODY) -> bytes:
    lines = ["POST /predict HTTP/1.1", "host: a", "content-type: application/json", f"content-length: {len(BODY)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


@pytest.fixture
def model() -> Iterator[tuple[Model, int]]:
    made, front = Model(), Front(Intake(timeout=3.0))
    front.engine, front.state, front.identity = made, "ready", lambda: {"model": "m", "model_version": "v"}
    guards = Guards(head_seconds=0.5, body_seconds=0.6, write_seconds=0.6)
    with serving(guarded(guards), front) as (_, port):
        yield made, port


def test_uvicorns_own_object_tells_who_has_left(model: tuple[Model, int]) -> None:
    """The contract with uvicorn: ``receive`` is a method of an object with ``disconnected``, with our protocol, too."""
    made, port = model
    with Client(port) as first, Client(port) as leaving, Client(port) as last:
        first.send(request("connection: close"))
        time.sleep(0.1)
        leaving.send(request())
        time.sleep(0.1)
        last.send(request("connection: close"))
        leaving.socket.close()
        assert statuses(first.rest()) == statuses(last.rest()) == [200]
    assert (made.asked, made.gone) == (2, 1)


def test_half_a_body_never_reaches_the_model(model: tuple[Model, int]) -> None:
    made, port = model
    with Client(port) as client:
        assert statuses(client.send(request(body=BODY[:4])).rest()) == [408]
    with Client(port) as client:
        client.send(request(body=BODY[:4]))
    with Client(port) as client:
        assert statuses(client.send(request("connection: close")).rest()) == [200]
    assert made.asked == 1


def test_a_slow_reader_keeps_nobody_waiting(model: tuple[Model, int]) -> None:
    _, port = model
    with Client(port) as slow, Client(port) as quick:
        slow.send(request())  # and does not read
        assert statuses(quick.send(request("connection: close")).rest()) == [200]


@linux
def test_a_deadline_of_a_millisecond_is_a_504_and_no_model_is_asked(
    bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with server(bundle, tmp_path, "spares=0", "engine=thread", "workers=0") as running, httpx.Client() as client:
        running.wait_until_ready()
        ask = f"{running.url}/predict"
        late = {"x-request-timeout-ms": "1"}
        body = json.dumps(rows[0])
        padded = b" " * 900_000 + body.encode()  # which takes longer than that to be read
        json_type = {"content-type": "application/json"}
        assert client.post(ask, content=padded, headers=json_type).status_code == 200
        answers = [client.post(ask, content=padded, headers={**json_type, **late}) for _ in range(5)]
        batches = counted(client, running.url)
    assert {answer.status_code for answer in answers} <= {408, 504, 503}
    assert batches == 1


def counted(client: httpx.Client, url: str) -> int:
    """Return how many batches the model was asked for."""
    text = client.get(f"{url}/metrics").text
    return int(float(re.findall(r"^churn\w*_batch_rows_count (\S+)", text, re.MULTILINE)[0]))
