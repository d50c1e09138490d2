"""All engines answer alike: in the event loop, on a thread, in a worker behind a socket, and as LitServe's hooks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from made import made_customers, made_prepared
from made_served import ROW, served_bundle
from servers import free_port

from churnlib.bundle import read_bundle, write_bundle
from churnlib.compose import compose
from churnlib.errors import ConfigError
from churnlib.models.network_model import NetworkModel
from churnlib.predictor import load
from churnlib.serving.answering import pool as pool_module
from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answering.engines import Engine, Inline, Threaded
from churnlib.serving.answering.frames import Frames
from churnlib.serving.answering.job_thread import JobThread
from churnlib.serving.answering.models import Models
from churnlib.serving.answering.pool import Pool
from churnlib.serving.answering.timing import Timing
from churnlib.serving.answers import Answer
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.problems import Disconnected, Problem, RequestError
from churnlib.serving.processes import worker_process as process
from churnlib.serving.processes.lifecycle import Channel
from churnlib.serving.processes.worker_loop import SocketLoop
from churnlib.training.packing import pack
from churnlib.training.train import fit_model

NEVER = 1e12
"""A deadline on the monotonic clock that no test reaches."""

ASKED: list[Any] = [
    ROW,
    {**ROW, "tenure": "12"},
    {**ROW, "plan": "Ten years"},
    {**ROW, "planet": "Mars"},
    {**ROW, "tenure": "sekret"},
    {**ROW, "tenure": 601},
    {k: v for k, v in ROW.items() if k != "tariff"},
    {k: v for k, v in ROW.items() if k != "plan"},
    {**ROW, "customer_id": "Zürich 🌍"},
    {"customer_id": 7},
    [1],
]


def encoded(answer: Answer) -> tuple[int, bytes]:
    """Status and body as a client gets them."""
    return answer.status, answer.encode("r")


def by_hooks(bundle: Path, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """Take bodies through the hooks as LitServe's loop does, which parses them before."""
    api = ChurnLitAPI(str(bundle))
    api.setup("cpu")
    outputs = [api.predict(api.decode_request(json.loads(body))) for body in bodies]
    return [encoded(output) for output in outputs]


def made_models(bundle: Path, **options: Any) -> Models:
    """Loaded models."""
    models = Models(options.pop("make", Endpoint), str(bundle), **options)
    models.load()
    return models


def by_engine(make: Any, bodies: list[bytes]) -> list[tuple[int, bytes]]:
    """Ask an engine about all bodies at once, and then about each alone; the answers must be the same."""

    async def ask() -> list[tuple[int, bytes]]:
        engine: Engine = await make()
        asked = [engine.predict(body, NEVER, "r", lambda: False) for body in bodies]
        together = [encoded(answer) for answer in await asyncio.gather(*asked)]
        alone = [encoded(await engine.predict(body, NEVER, "r", lambda: False)) for body in bodies]
        assert together == alone
        job = await engine.run("batch", json.dumps({"instances": [ROW]}).encode(), {}, NEVER, "r")
        assert job.status == 200
        if isinstance(engine, Pool):
            await engine.close()
        return together

    return asyncio.run(ask())


class Control:
    """Stands for the supervisor: a socket whose end ends the worker."""

    def __init__(self) -> None:
        self.mine, self._its = socket.socketpair()
        self.is_ready = threading.Event()

    def fileno(self) -> int:
        return self.mine.fileno()

    def ready(self, models: Models) -> bool:
        self.is_ready.set()
        return True

    def handle(self, changed: Callable[[], None]) -> bool:
        return bool(self.mine.recv(1) == b"c")

    def end(self) -> None:
        self._its.close()

    def close(self) -> None:
        self.mine.close()


class Worker:
    """The real loop of a worker, on a thread of the test."""

    def __init__(self, models: Models, folder: Path, max_rows: int = 8, control: Any = None) -> None:
        self.models = models
        self.path = str(folder / "w.sock")
        self.control = control or Control()
        loop = SocketLoop(self.path, self.control, max_rows=max_rows)
        self._thread = threading.Thread(target=loop, args=[self], daemon=True)
        self._thread.start()
        assert self.control.is_ready.wait(10)

    def end(self) -> None:
        self.control.end()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.control.close()


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose name leaves room for a Unix socket's."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="c"))
    yield folder
    shutil.rmtree(folder)


def unobserved(queue_seconds: Any, model_seconds: float) -> None:
    """Nobody is told."""


def all_engines(bundle: Path, short: Path, asked: list[Any]) -> list[tuple[int, bytes]]:
    """Ask all engines, check that they agree byte for byte, and return what they say."""
    bodies = [json.dumps(row).encode() for row in asked]
    models = made_models(bundle)
    worker = Worker(models, short)

    async def inline() -> Engine:
        return Inline(models, max_rows=4, jobs=JobThread(models), observed=unobserved)

    async def thread() -> Engine:
        return Threaded(models, max_rows=4, jobs=JobThread(models), observed=unobserved)

    async def behind_socket() -> Engine:
        pool = Pool([worker.path])
        assert await pool.wait_until_there(10)
        return pool

    found = {make.__name__: by_engine(make, bodies) for make in (inline, thread, behind_socket)}
    worker.end()
    found["hooks"] = by_hooks(bundle, bodies)
    first = found["inline"]
    for name, answers in found.items():
        assert answers == first, name
    return first


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines") / "bundle"
    write_bundle(served_bundle(), path)
    return path


def test_all_engines_answer_with_the_same_bytes(bundle: Path, short: Path) -> None:
    answers = all_engines(bundle, short, ASKED)
    assert [status for status, _ in answers] == [200, 200, 200, 200, 422, 422, 200, 422, 200, 422, 422]
    bodies = [json.loads(body) for _, body in answers]
    [expected] = load(bundle).predict([ROW]).to_dicts()
    assert bodies[0]["churn_probability"] == expected["churn_probability"]
    assert bodies[8]["customer_id"] == "Zürich 🌍"
    assert b"sekret" not in answers[4][1]


STOCK = """
import sys
from litserve import LitServer
from churnlib.serving import ChurnLitAPI

if __name__ == "__main__":
    server = LitServer(ChurnLitAPI(sys.argv[1]), accelerator="cpu", timeout=30)
    server.run(port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="warning")
"""


@pytest.mark.slow
def test_a_stock_litserver_answers_with_the_same_bytes(bundle: Path, short: Path, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "stock.py").write_text(STOCK)
    command = [sys.executable, str(tmp_path / "stock.py"), str(bundle), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    expected = all_engines(bundle, short, ASKED)
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                for _ in range(600):
                    try:
                        if client.get("/health").status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    time.sleep(0.1)
                said = [client.post("/predict", json=row) for row in ASKED]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    without_id = [(status, body.replace(b'"request_id":"r"', b'"request_id":null')) for status, body in expected]
    assert [(response.status_code, response.content) for response in said] == without_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("mlp", []),
        ("tabnet", []),
        ("ft_transformer", []),
        ("logistic", []),
        ("rbf_svm", []),
        ("random_forest", ["model.n_estimators=10"]),
        ("hist_gradient_boosting", ["model.n_estimators=10"]),
        ("lightgbm", ["model.n_estimators=10"]),
        ("xgboost", ["model.n_estimators=10"]),
        ("catboost", ["model.n_estimators=10"]),
    ],
)
def test_all_engines_answer_alike_for_every_family(model: str, words: list[str], tmp_path: Path, short: Path) -> None:
    customers = made_prepared()
    config = compose([f"model={model}", "trainer.max_epochs=1", *words])
    pack(config, fit_model(config, customers, tmp_path), tmp_path / "bundle")
    rows = made_customers(40).drop("churn").to_dicts()
    asked = [{**row, "joined": row["joined"].isoformat()} for row in rows]
    answers = all_engines(tmp_path / "bundle", short, asked)
    expected = load(tmp_path / "bundle").predict(asked, on_error="null")["churn_probability"].to_list()
    said = [json.loads(body).get("churn_probability") for _, body in answers]
    assert said == pytest.approx(expected, abs=1e-6)
    assert sum(one is not None for one in said) > 30


# --- who waits, and for how long ----------------------------------------------------------------------------------


class Slow(Endpoint):
    """A model that takes its time."""

    seconds = 0.3

    def predict(self, x: Any, **kwargs: Any) -> Any:
        time.sleep(self.seconds)
        return super().predict(x)


def slow_engine(bundle: Path, kind: type[Any]) -> Any:
    models = Models(Slow, str(bundle))
    models.load()
    return kind(models, max_rows=2, jobs=JobThread(models), observed=unobserved)


def test_a_thread_leaves_the_loop_free_and_late_requests_are_told(bundle: Path) -> None:
    async def ask() -> None:
        engine = slow_engine(bundle, Threaded)
        body, now = json.dumps(ROW).encode(), time.monotonic()
        asked = [asyncio.create_task(engine.predict(body, now + 0.15, "r", lambda: False)) for _ in range(3)]
        ticks = 0
        while not all(task.done() for task in asked):
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 5, "the loop was kept from turning"
        assert {task.result().status for task in asked} == {504}
        assert time.monotonic() - now < 0.35

    asyncio.run(ask())


def test_who_is_late_or_gone_costs_the_model_nothing(bundle: Path) -> None:
    async def ask() -> None:
        models = made_models(bundle)
        seen: list[int] = []
        engine = Inline(
            models, max_rows=8, jobs=JobThread(models), observed=lambda queue, model: seen.append(len(queue))
        )
        body = json.dumps(ROW).encode()
        late = engine.predict(body, time.monotonic() - 1, "r", lambda: False)
        gone = asyncio.create_task(engine.predict(body, NEVER, "r", lambda: True))
        there = engine.predict(body, NEVER, "r", lambda: False)
        answers = await asyncio.gather(late, there)
        assert [answer.status for answer in answers] == [504, 200]
        assert seen == [1]
        with pytest.raises(Disconnected):
            await gone

    asyncio.run(ask())


def test_a_dead_worker_is_told_at_once_and_its_successor_asked(bundle: Path, short: Path) -> None:
    async def ask() -> None:
        first = Worker(made_models(bundle), short)
        pool = Pool([first.path])
        assert await pool.wait_until_there(10)
        predict = first.models.champion.predict
        first.models.champion.predict = lambda x, **kwargs: time.sleep(0.2) or predict(x)  # type: ignore[method-assign]
        asked = asyncio.create_task(pool.predict(json.dumps(ROW).encode(), NEVER, "r", lambda: False))
        await asyncio.sleep(0.05)
        for link in pool._links:
            link.close()  # as the kernel does when a process dies
        answer = await asked
        assert (answer.status, answer.problem and answer.problem.code) == (503, "worker_lost")
        first.end()
        second = Worker(made_models(bundle), short)
        assert (await pool.predict(json.dumps(ROW).encode(), time.monotonic() + 10, "r", lambda: False)).status == 200
        await pool.close()
        second.end()

    asyncio.run(ask())


class SlowChannel(Channel):
    """Its reader goes on before its writer does."""

    def tell(self, **message: Any) -> None:
        super().tell(**message)
        time.sleep(0.1)


class RealControl(process.Control):
    """A worker's end of the supervisor's channel, and the other end in the test's hands."""

    def __init__(self) -> None:
        its, mine = socket.socketpair()
        self.its = Channel(its)
        super().__init__(SlowChannel(mine))
        self.is_ready = threading.Event()

    def ready(self, models: Models) -> bool:
        self.is_ready.set()
        return super().ready(models)

    def end(self) -> None:
        self.its.close()

    def close(self) -> None:
        self._channel.close()


def test_who_hears_that_a_change_is_done_finds_it_done_everywhere(bundle: Path, short: Path) -> None:
    other = short / "other"
    write_bundle(replace(read_bundle(bundle), threshold=0.123), other)
    control = RealControl()
    worker = Worker(made_models(bundle), short, control=control)
    version, frames = worker.models.champion.version, Frames.of_answers()
    with socket.socket(socket.AF_UNIX) as http:
        http.settimeout(10)
        http.connect(worker.path)
        assert control.its.next()["event"] == "ready"
        control.its.tell(do="serve")
        assert [told.version for told in frames.feed(http.recv(4096))] == [version]
        http.setblocking(False)  # from here on only what is there already counts
        for order in (
            {"do": "prepare", "bundle": str(other)},
            {"do": "commit"},
            {"do": "prepare_rollback", "bundle": ""},
        ):
            control.its.tell(**order, change=1)
            done = control.its.next()
            assert done["ok"], done
            if order["do"] == "commit":
                assert [told.version for told in frames.feed(http.recv(4096))] == [done["version"]] != [version]
            else:
                with pytest.raises(BlockingIOError):
                    http.recv(4096)
    worker.end()


def test_a_worker_that_comes_late_greets_nobody_before_it_has_caught_up(bundle: Path, short: Path) -> None:
    other = short / "other"
    write_bundle(replace(read_bundle(bundle), threshold=0.123), other)
    control = RealControl()
    worker = Worker(made_models(bundle), short, control=control)
    with socket.socket(socket.AF_UNIX) as http:
        http.connect(worker.path)
        http.setblocking(False)
        assert control.its.next()["event"] == "ready"
        for order in ({"do": "prepare", "bundle": str(other)}, {"do": "commit"}):
            control.its.tell(**order, change=1)
            done = control.its.next()
        with pytest.raises(BlockingIOError):
            http.recv(4096)
        control.its.tell(do="serve")
        http.settimeout(10)
        assert [told.version for told in Frames.of_answers().feed(http.recv(4096))] == [done["version"]]
    worker.end()


def test_a_worker_that_may_answer_nobody_makes_the_server_unready(
    bundle: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_WATCH_SECONDS", 0.02)
    listed = short / "objections.csv"
    listed.write_text("customer\n1\n")

    async def ask() -> None:
        worker = Worker(made_models(bundle, make=partial(Endpoint, opt_out=str(listed))), short)
        pool = Pool([worker.path])
        assert await pool.wait_until_there(10)
        assert pool.identity() == worker.models.champion.identity()
        listed.rename(short / "away")
        refused = await until_it_is(pool, ready=False)
        assert (refused.status, refused.code) == (503, "not_ready") and "list of customers" in refused.message
        assert pool.is_ready  # a worker is there, and says so itself to whoever asks
        (short / "away").rename(listed)
        assert await until_it_is(pool, ready=True) is None
        await pool.close()
        worker.end()

    async def until_it_is(pool: Pool, *, ready: bool) -> Problem | None:
        for _ in range(500):
            refused = None
            try:
                pool.identity()
            except RequestError as error:
                refused = error.problem
            if (refused is None) is ready:
                return refused
            await asyncio.sleep(0.01)
        return refused

    asyncio.run(ask())


def test_without_a_worker_requests_wait_no_longer_than_they_may(tmp_path: Path) -> None:
    async def ask() -> None:
        pool = Pool([str(tmp_path / "none.sock")])
        answer = await pool.predict(b"{}", time.monotonic() + 0.1, "r", lambda: False)
        assert (answer.status, answer.problem and answer.problem.code) == (503, "not_ready")
        assert not pool.is_ready
        await pool.close()

    asyncio.run(ask())


def test_the_model_is_timed(bundle: Path) -> None:
    timing = Timing.of(made_models(bundle).champion)
    assert 0 < timing.seconds < 1


# --- several models -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("other") / "bundle"
    bundle = served_bundle(seed=5)
    write_bundle(bundle, path)
    return path


def test_a_prepared_model_takes_over_and_goes_back(bundle: Path, other: Path) -> None:
    models = made_models(bundle)
    first = models.champion
    assert models.prepare(str(other)) != first.version
    assert models.champion is first, "nothing changes before the commit"
    assert models.commit() == load(other).version == models.champion.version
    assert models.prepare_rollback() == first.version
    models.commit()
    assert models.champion is first
    with pytest.raises(RuntimeError, match="nothing was prepared"):
        models.commit()


def test_a_bad_bundle_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    models = made_models(bundle)
    first = models.champion
    with pytest.raises(Exception, match="none"):
        models.prepare(str(tmp_path / "none"))
    assert models.champion is first
    three = tmp_path / "three"
    write_bundle(served_bundle(classes=3), three)
    with pytest.raises(Exception, match="other classes"):
        models.prepare(str(three))
    with pytest.raises(Exception, match="nothing to go back to"):
        models.prepare_rollback()


def test_the_challenger_answers_its_share_and_always_the_same_customers(bundle: Path, other: Path) -> None:
    models = made_models(bundle, challenger_bundle=str(other), canary=0.3)

    async def ask() -> list[dict[str, Any]]:
        engine = Inline(models, max_rows=16, jobs=JobThread(models), observed=unobserved)
        bodies = [json.dumps({**ROW, "customer_id": f"C-{n % 200}"}).encode() for n in range(400)]
        answers = await asyncio.gather(*(engine.predict(body, NEVER, "r", lambda: False) for body in bodies))
        return [json.loads(answer.encode()) for answer in answers]

    said = asyncio.run(ask())
    by_customer: dict[str, set[str]] = {}
    for answer in said:
        by_customer.setdefault(answer["customer_id"], set()).add(answer["model_version"])
    assert all(len(versions) == 1 for versions in by_customer.values())
    share = sum(models.challenger is not None and {models.challenger.version} == v for v in by_customer.values()) / 200
    assert 0.2 < share < 0.4


def test_the_shadow_is_scored_and_changes_no_answer(bundle: Path, other: Path) -> None:
    models = made_models(bundle, challenger_bundle=str(other))
    scored: list[int] = []
    challenger = models.challenger
    assert challenger is not None
    predict = challenger.predict
    challenger.predict = lambda x, **kwargs: scored.append(len(x)) or predict(x)  # type: ignore[method-assign]

    async def ask() -> Answer:
        engine = Inline(models, max_rows=16, jobs=JobThread(models), observed=unobserved, shadow=True)
        answer = await engine.predict(json.dumps(ROW).encode(), NEVER, "r", lambda: False)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if scored:
                break
        return answer

    answer = asyncio.run(ask())
    assert answer.version == models.champion.version
    assert scored == [1]


# --- where the model computes -------------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_one_sentence(bundle: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="torch cannot use device=cuda here"):
        Endpoint(str(bundle), backend="torch").setup("cuda")


def test_a_network_that_was_moved_answers_as_before(bundle: Path) -> None:
    """To the CPU and back: what a GPU makes of it has to be seen on one."""
    model = load(bundle, backend="torch").bundle.model
    assert isinstance(model, NetworkModel)
    row = load(bundle, backend="torch").predict([ROW])["churn_probability"][0]
    model.move("cpu")
    endpoint = Endpoint(str(bundle), backend="torch")
    endpoint.setup("cpu")
    assert json.loads(endpoint.run("predict", json.dumps(ROW).encode()).encode())["churn_probability"] == row
