"""Orders to the supervisor, and the processes that wait for others to die."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made import TINY_MLP, made_bundle

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported
from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.changes import Changes
from churnlib.serving.processes.children import Child, Children, ServerError
from churnlib.serving.processes.lifecycle import Channel
from churnlib.serving.processes.orders import outcome
from scripts.campaigns.servers import ROOT, server

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")

# --- orders -------------------------------------------------------------------------------------------------------


class Line:
    """Stands for the channel to a process: what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def tell(self, **message: Any) -> None:
        self.told.append(message)


class Server:
    """Changes over an HTTP process and a worker that answer when a test says so."""

    def __init__(self, folder: Path) -> None:
        for name in "abc":
            (folder / name).mkdir()
        self.folder, self.bundle = folder, folder / "bundle"
        self.point_to("a")
        options = ServeOptions(bundle=str(self.bundle))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.children = Children(options, folder, listening, selectors.DefaultSelector())
        self.http, self.worker = self.children.all
        self.changes = Changes(options, self.children, lambda add: None)

    def point_to(self, name: str) -> None:
        self.bundle.unlink(missing_ok=True)
        self.bundle.symlink_to(self.folder / name)

    def come(self, *children: Child) -> None:
        for child in children:
            child.channel, child.is_ready, child.bundle = Line(), True, self.changes.bundle()  # type: ignore[assignment]
        self.changes.go_on()

    def order(self, number: int, *, word: str = "reload", bundle: str = "", seconds: float = 30.0) -> None:
        named = str(self.folder / bundle) if bundle else None
        message = {"word": word, "number": number, "bundle": named, "until": time.monotonic() + seconds}
        self.changes.order(self.http, message)

    def told(self, child: Child, word: str) -> list[dict[str, Any]]:
        return [message for message in child.channel.told if message["do"] == word]  # type: ignore[union-attr]

    def follow(self, *children: Child, word: str = "prepare", ok: bool = True) -> None:
        """Let processes do the last that they were told."""
        for child in children:
            number = self.told(child, word)[-1]["change"]
            self.changes.done(child, {"word": word, "change": number, "ok": ok, "version": "v2", "message": "bad"})

    def change(self) -> None:
        """Let all processes make the change that is under way."""
        self.follow(*self.children.ready)
        self.follow(*self.children.ready, word="commit")

    def outcomes(self) -> list[tuple[int, int]]:
        """Numbers and HTTP statuses of the orders that were answered."""
        return [(message["number"], outcome(message).status) for message in self.told(self.http, "done")]


@pytest.fixture
def made(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_an_order_during_the_start_waits_for_its_end(made: Server) -> None:
    made.come(made.worker)
    made.changes.hang_up()
    made.http.channel = Line()  # type: ignore[assignment]
    made.order(1, bundle="b")
    assert made.told(made.worker, "prepare") == [] and made.outcomes() == []
    made.come(made.http)
    made.changes.open()
    made.change()  # SIGHUP was first
    made.change()
    assert made.outcomes() == [(1, 200)]
    assert made.changes.bundle() == str(made.folder / "b") == made.http.bundle == made.worker.bundle


def test_an_order_waits_for_a_process_that_catches_up(made: Server) -> None:
    made.come(made.http)
    made.changes.open()
    made.worker.bundle = str(made.folder / "a")  # as it was started
    made.order(1, bundle="b")
    made.change()
    made.worker.channel, made.worker.is_ready = Line(), True  # type: ignore[assignment]
    made.changes.go_on()
    made.order(2, bundle="c")
    assert made.outcomes() == [(1, 200)] and [m["bundle"][-1] for m in made.told(made.worker, "prepare")] == ["b"]
    made.follow(made.worker)
    assert made.told(made.worker, "serve") == [], "it has the model that was served before the first order"
    made.follow(made.worker, word="commit")
    assert len(made.told(made.worker, "serve")) == 1
    made.change()
    assert made.outcomes() == [(1, 200), (2, 200)] and made.changes.bundle()[-1] == "c"
    made.order(3, word="rollback")
    assert made.told(made.http, "prepare_rollback")[-1]["bundle"][-1] == "b"


@pytest.mark.parametrize("ok", [True, False])
def test_who_becomes_ready_during_a_change_serves_once_it_is_known_what(made: Server, ok: bool) -> None:
    made.come(made.http)
    made.changes.open()
    assert len(made.told(made.http, "serve")) == 1
    made.order(1, bundle="b")
    made.worker.bundle = str(made.folder / "a")  # as it was started
    made.worker.channel, made.worker.is_ready = Line(), True  # type: ignore[assignment]
    made.changes.go_on()
    assert made.told(made.worker, "serve") == []
    made.follow(made.http, ok=ok)
    if ok:
        made.follow(made.http, word="commit")
        assert made.told(made.worker, "serve") == [] and made.told(made.worker, "prepare")[-1]["bundle"][-1] == "b"
    else:
        assert len(made.told(made.worker, "serve")) == 1


def test_a_signal_during_a_change_is_heeded_once_after_it(made: Server) -> None:
    made.come(made.http, made.worker)
    made.changes.open()
    made.changes.hang_up()
    made.point_to("b")
    for _ in range(3):
        made.changes.hang_up()
    made.change()
    assert made.changes.bundle()[-1] == "a"
    made.change()
    assert made.changes.bundle()[-1] == "b" and len(made.told(made.http, "prepare")) == 2


def test_who_cannot_be_served_in_time_is_told_that_nothing_was_done(made: Server) -> None:
    made.come(made.http, made.worker)
    made.changes.open()
    made.order(1)
    made.order(2, seconds=0.0)
    made.order(3)
    made.changes.go_on()
    busy = outcome(made.told(made.http, "done")[0])
    assert (busy.status, busy.headers) == (503, (("Retry-After", "1"),)) and busy.problem is not None
    assert busy.problem.message == "another change of the model is under way; nothing of this order was done"
    made.changes.close()
    made.order(4)
    made.follow(made.http, made.worker, ok=False)
    assert made.outcomes() == [(2, 503), (3, 503), (4, 503), (1, 409)]


def test_too_many_orders_are_refused_and_those_of_a_dead_process_forgotten(made: Server) -> None:
    made.come(made.http, made.worker)
    made.changes.open()
    for number in range(19):
        made.order(number)
    assert made.outcomes() == [(17, 503), (18, 503)]
    made.http.is_ready = False
    made.changes.gone(made.http)
    made.follow(made.worker)
    assert made.told(made.worker, "abort") and len(made.told(made.worker, "prepare")) == 1


# --- spares -------------------------------------------------------------------------------------------------------

SHOWN = """
import json, sys
from churnlib.serving.processes.lifecycle import become_child
from churnlib.serving.processes.standby import needed
import os
become_child(os.getppid(), 1)
for name in needed(sys.argv[1], "inline", "onnx"):
    __import__(name)
before = set(sys.modules)
from churnlib.serving.processes import building
from churnlib.serving.answering.timing import Timing
from churnlib.serving.options import ServeOptions
options = ServeOptions(bundle=sys.argv[2])
if sys.argv[1] == "http":
    building.front_of(options)
    models = building.models_of(options)
    models.load()
else:
    from churnlib.serving.processes.worker_api import WorkerAPI
    api = WorkerAPI(options, None, loop="auto")
    api.setup()
    models = api.models
Timing.of(models.champion)
models.introduction()
print(json.dumps(sorted(set(sys.modules) - before)))
os._exit(sys.stdout.flush() or 0)
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spares") / "bundle"
    made = made_bundle(network={**TINY_MLP, "_target_": "churnlib.models.mlp.PlainMLP"})
    write_bundle(dataclasses.replace(made, onnx=exported(made)), path)
    return path


@pytest.mark.parametrize("role", ["http", "worker"])
def test_a_spare_has_imported_all_that_serving_needs(role: str, bundle: Path) -> None:
    command = [sys.executable, "-c", SHOWN, role, str(bundle)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == []


@linux
def test_a_spare_takes_the_place_of_a_dead_process(bundle: Path, tmp_path: Path) -> None:
    with server(bundle, tmp_path, "workers=0") as running:
        running.wait_until_ready()
        [old] = running.children("http")
        [spare] = until(lambda: running.waiting("http"))
        os.kill(old, signal.SIGKILL)
        assert until(lambda: [pid for pid in running.children("http") if pid != old]) == [spare]
        [successor] = until(lambda: [pid for pid in running.waiting("http") if pid != spare])
        os.kill(successor, signal.SIGKILL)
        assert until(lambda: "a waiting http process ended (status -9)" in running.output.read_text())
        running.process.terminate()
        assert running.process.wait(30) == 0
        said = running.output.read_text()
    assert f"the http process {old} ended (status -9) and is started again" in said


def until(look: Any) -> Any:
    """Return what is found, as soon as there is something."""
    end = time.monotonic() + 30
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def test_a_process_that_keeps_dying_ends_the_server(made: Server) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for number in range(1, 6):
        made.http.process, made.http.channel = ended, None
        [(child, pid, code)] = made.children.dead()
        assert (child, pid, code, child.failures) == (made.http, ended.pid, 0, number)
        if number < 5:
            made.children.check(child, code)
    with pytest.raises(ServerError, match="the http process keeps ending before it is ready"):
        made.children.check(child, code)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    mine, its = map(Channel, socket.socketpair())
    yield mine, its
    mine.close()
    its.close()


def test_what_stands_behind_the_first_message_is_heard_later(ends: tuple[Channel, Channel]) -> None:
    mine, its = ends
    mine.tell(number=1)
    mine.tell(do="drain")
    assert its.next() == {"number": 1} and list(its.heard()) == [{"do": "drain"}]
    mine.close()
    with pytest.raises(EOFError):
        its.next()
