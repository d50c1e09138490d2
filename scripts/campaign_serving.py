"""Campaigns against a real server: it is ended, killed, reloaded and overloaded, and nobody may lose an answer by it.

    python scripts/campaign_serving.py bundle=DIR
        [what=term,group,pid1,kill_http,kill_worker,reload,rollback,overload,soak,fuzz,wire]
        [engine=inline,worker] [times=100] [seconds=60] [minutes=30] [words="processes=2"]

``term`` and ``group`` send SIGTERM to the server and to its whole process group under load, ``pid1`` to a server that
is the first process of a PID namespace (needs root). ``kill_http`` and ``kill_worker`` kill -9 children of one server.
``reload`` changes the model by SIGHUP and by ``POST /admin/reload`` under load; ``rollback`` goes back, and offers bad
bundles. ``overload`` offers ten times the capacity for ``seconds``; ``soak`` half of it for ``minutes``. ``fuzz`` has
schemathesis make ``requests=10000`` from the server's own OpenAPI document; ``wire`` damages ``mutations=5000`` raw
requests (``fuzz_http.py``). Each prints a table; the exit status is 1 if any promise was broken. The clients run on the
same machine, so that latencies are upper bounds.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.bench_serving import answers, customers, descendants
from scripts.serving_load import Arrivals, Clients, Outcome, during, percentile

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "what": "term,group,pid1,kill_http,kill_worker,reload,rollback,overload,soak,fuzz,wire",
    "engine": "inline,worker",
    "times": "100",
    "seconds": "60",
    "minutes": "30",
    "requests": "10000",
    "mutations": "5000",
    "words": "",
    "json": "",
}
BACK_SECONDS = 2.0
"""Within this a server answers again after a child was killed, or after an overload."""

SLOW_SECONDS = 0.01
SLOW_MODULE = f"""
import time
from churnlib.models.mlp import {{name}}

class Slow({{name}}):
    def forward(self, *args, **kwargs):
        time.sleep({SLOW_SECONDS})
        return super().forward(*args, **kwargs)
"""
"""A network that takes its time and not the processor's, so that ten times its capacity can honestly be offered."""


@dataclass
class Result:
    """What one campaign found.

    Attributes:
        title: Of its table.
        figures: Its lines.
        broken: Promises that were broken, a sentence each.
        skipped: Why it did not run.
    """

    title: str
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str = ""

    def hold(self, promise: bool, otherwise: str) -> None:
        """Note a broken promise."""
        if not promise:
            self.broken.append(otherwise)

    def add(self, outcome: Outcome) -> None:
        """Write down what became of the requests."""
        self.figures |= {
            "answers": ", ".join(f"{status}: {count:,}" for status, count in sorted(outcome.statuses.items())),
            "refusals by code": ", ".join(f"{code}: {count:,}" for code, count in sorted(outcome.codes.items())),
            "lost": outcome.lost,
            "hung": outcome.hung,
            "connections refused by the kernel": outcome.refused,
            "wrong customer": outcome.wrong,
        }

    def hold_answers(self, outcome: Outcome, *, allowed: Sequence[int] = (200,), lost: int = 0) -> None:
        """Hold what every campaign promises: nothing lost, nothing hanging, no answer for another customer."""
        self.hold(outcome.lost <= lost, f"{outcome.lost} requests were lost")
        self.hold(outcome.hung == 0, f"{outcome.hung} requests hung")
        self.hold(outcome.wrong == 0, f"{outcome.wrong} answers were for another customer")
        self.hold(outcome.mixed == 0, f"{outcome.mixed} answers were of two versions")
        strange = set(outcome.statuses) - set(allowed)
        self.hold(not strange, f"there were answers with status {sorted(strange)}")
        self.hold(bool(outcome.seconds), "nobody was answered")


@dataclass
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]
    output: Path
    main_pid: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def children(self, role: str) -> list[int]:
        """Return the living processes that serve in a role, http or worker; spares do not."""
        return [pid for pid in descendants(self.main_pid) if _name(pid) == f"churn {role}"]

    def wait_until_ready(self, patience: float = 120.0) -> None:
        """Wait until all HTTP processes have the model, which the server says itself."""
        until = time.monotonic() + patience
        while not (answers(f"{self.url}/health") and "Serving" in self.output.read_text()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the server does not start:\n{self.output.read_text()}")
            time.sleep(0.02)

    def wait_until_whole(self, roles: dict[str, int], patience: float = 60.0) -> None:
        """Wait until all processes are there and customers are answered."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if all(len(self.children(role)) == number for role, number in roles.items()):
                return
            time.sleep(0.02)
        raise SystemExit(f"the server lacks processes:\n{self.output.read_text()}")


@contextmanager
def server(bundle: str | Path, folder: Path, *words: str, prefix: Sequence[str] = ()) -> Iterator[Server]:
    """Start a server in a process group of its own; yields it at once, and leaves nothing of it."""
    port = _free_port()
    output = folder / f"server-{port}.out"
    command = [
        *prefix,
        sys.executable,
        str(ROOT / "scripts" / "serve.py"),
        f"bundle={bundle}",
        f"port={port}",
        "log=off",
    ]
    path = os.pathsep.join([str(ROOT), str(folder)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": path}
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*command, *words], stdout=out, stderr=out, env=environment, start_new_session=True, cwd=folder
        )
    found = Server(port, process, output, process.pid)
    family = {process.pid}
    try:
        if prefix:
            while not (below := descendants(process.pid)) and process.poll() is None:
                time.sleep(0.01)
            found.main_pid = below[-1] if below else process.pid
        yield found
    finally:
        family |= set(descendants(process.pid))
        for pid in family if process.poll() is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


# --- the end ----------------------------------------------------------------------------------------------------------


def end_under_load(
    bundle: str | Path,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *words: str,
    how: str = "term",
    times: int = 1,
    connections: int = 16,
) -> Result:
    """Send SIGTERM to servers under load: to the first process, the whole group, or as PID 1 of a namespace."""
    result = Result(f"SIGTERM, {how}, {' '.join(words)}")
    prefix: Sequence[str] = ()
    if how == "pid1":
        prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
            result.skipped = "a PID namespace is not permitted here (needs unshare and root)"
            return result
    total, seconds = Outcome(), []
    for turn in range(times):
        _progress(result.title, turn, times)
        with server(bundle, folder, *words, prefix=prefix) as running:
            running.wait_until_ready()
            family = {running.main_pid, *descendants(running.main_pid)}
            ended: list[float] = []

            def act(running: Server = running, ended: list[float] = ended) -> None:
                begun = time.monotonic()
                if how == "group":
                    os.killpg(running.process.pid, signal.SIGTERM)
                else:
                    os.kill(running.main_pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    running.process.wait(40)
                ended.append(time.monotonic() - begun)

            clients = Clients(running.port, rows, connections=connections)
            outcome = asyncio.run(during(clients, act, before=0.1 + 0.3 * (turn % 10) / 10, after=0.02))
            status = running.process.poll()
            result.hold(status == 0, f"turn {turn}: exit status {status}: {running.output.read_text()[-300:]}")
            left = [pid for pid in family if _is_alive(pid)]
            result.hold(not left, f"turn {turn}: processes {left} are left")
            result.hold(outcome.lost == outcome.hung == 0, f"turn {turn}: lost {outcome.lost}, hung {outcome.hung}")
            seconds += ended
            _join(total, outcome)
    result.hold_answers(total, allowed=(200, 503))
    result.figures = {"servers ended": times, "connections": connections}
    result.add(total)
    result.figures["seconds to the end, median and longest"] = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
    return result


# --- deaths -----------------------------------------------------------------------------------------------------------


def kill_under_load(
    bundle: str | Path,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *words: str,
    role: str = "http",
    times: int = 1,
    connections: int = 16,
    back_seconds: float = BACK_SECONDS,
) -> Result:
    """Kill children of one server again and again, while customers are asking.

    An HTTP process takes its open connections with it: their requests are lost, and no others. A worker's questions get
    503 from the HTTP process.
    """
    result = Result(f"kill -9 of {role} processes, {' '.join(words)}")
    numbers = dict(word.split("=") for word in words if word.startswith(("processes=", "workers=")))
    roles = {"http": int(numbers.get("processes", 1)), "worker": int(numbers.get("workers", 1))}
    back: list[float] = []
    most = 0
    begun_at = time.monotonic()
    with server(bundle, folder, *words) as running:
        running.wait_until_ready()
        to_start = time.monotonic() - begun_at
        clients = Clients(running.port, rows, connections=connections)

        async def campaign() -> Outcome:
            asking = asyncio.create_task(clients.run())
            outcome = clients.outcome
            nonlocal most
            for turn in range(times):
                _progress(result.title, turn, times)
                await asyncio.to_thread(running.wait_until_whole, roles)
                if turn and roles[role] > 1:  # the one before is there, but it may still be loading
                    await asyncio.sleep(to_start)
                before = len(outcome.seconds)
                await _until(lambda before=before: len(outcome.seconds) > before + 50, 30.0)
                failed, begun = outcome.lost + outcome.codes["worker_lost"], time.monotonic()
                os.kill(running.children(role)[turn % roles[role]], signal.SIGKILL)
                known = len(outcome.seconds)

                def is_back(begun: float = begun, known: int = known) -> bool:
                    return any(came - took > begun for came, took in outcome.seconds[known:])

                if not await _until(is_back, 30.0):
                    result.broken.append(f"turn {turn}: nobody is answered any more")
                    break
                back.append(next(came for came, took in outcome.seconds[known:] if came - took > begun) - begun)
                await asyncio.sleep(0.3)
                most = max(most, outcome.lost + outcome.codes["worker_lost"] - failed)
            clients.stop()
            return await asking

        outcome = asyncio.run(campaign())
        time.sleep(1.5)  # a process writes its numbers once a second
        counted, restarts = _metrics(running.url, role)
        result.hold(running.process.poll() is None, "the server has ended")
    result.hold_answers(
        outcome, allowed=(200, 503) if role == "worker" else (200,), lost=connections * times if role == "http" else 0
    )
    strange_codes = set(outcome.codes) - {"worker_lost"}
    result.hold(not strange_codes, f"there were refusals with {sorted(strange_codes)}")
    result.hold(most <= connections, f"one death failed {most} requests of {connections} connections")
    result.hold(max(back, default=math.inf) <= back_seconds, f"back only after {max(back, default=math.inf):.2f} s")
    result.hold(restarts == len(back), f"/metrics counts {restarts} restarts")
    result.hold(counted <= outcome.answered, f"/metrics counts {counted} answers, clients {outcome.answered}")
    if role == "worker":
        result.hold(counted == outcome.answered, f"/metrics counts {counted} answers, clients {outcome.answered}")
    result.figures = {"killed": len(back), "connections": connections}
    result.add(outcome)
    result.figures |= {
        "most requests failed by one death": most,
        "seconds to the next answer, median": f"{statistics.median(back or [math.nan]):.3f}",
        "seconds to the next answer, longest": f"{max(back, default=math.nan):.3f}",
        "answers counted by /metrics": f"{counted:,} of {outcome.answered:,}",
        "restarts counted by /metrics": restarts,
    }
    return result


# --- models -----------------------------------------------------------------------------------------------------------


def other_bundle(bundle: str | Path, folder: Path) -> Path:
    """Write the same model with another threshold, which makes another version."""
    from churnlib.bundle import read_bundle, write_bundle

    path = Path(tempfile.mkdtemp(dir=folder)) / "other"
    read = read_bundle(bundle)
    write_bundle(replace(read, threshold=0.5 if read.threshold is None else read.threshold * 0.9), path)
    return path


def reload_under_load(
    bundle: str | Path,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *words: str,
    times: int = 1,
    rollback: bool = False,
    connections: int = 16,
) -> Result:
    """Change the model under load, by SIGHUP and by the admin address in turn; or back, with bad bundles between."""
    result = Result(f"{'rollback and bad bundles' if rollback else 'reload'}, {' '.join(words)}")
    key, file = _admin_key(folder)
    bundles = [Path(bundle).resolve(), other_bundle(bundle, folder)]
    damaged = Path(tempfile.mkdtemp(dir=folder)) / "damaged"
    shutil.copytree(bundles[1], damaged)
    schema = damaged / "schema.json"
    schema.write_bytes(schema.read_bytes() + b" ")
    link = folder / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(bundles[0])
    seconds: list[float] = []
    with server(link, folder, *words, f"keys={file}", "admin=true") as running:
        running.wait_until_ready()
        versions = [_version(running.url)]

        def order(word: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
            data = b"" if body is None else json.dumps(body).encode()
            return _post(f"{running.url}/admin/{word}", data, key)

        def change(turn: int) -> None:
            target = bundles[(turn + 1) % 2]
            begun, before = time.monotonic(), _version(running.url)
            if turn % 3 == 2:
                status, said = order("reload", {"bundle": str(target)})
                result.hold(status == 200, f"turn {turn}: {status} {said}")
            else:
                replaced = folder / "next"
                replaced.symlink_to(target)
                replaced.replace(link)
                if turn % 3:
                    status, said = order("reload")
                    result.hold(status == 200, f"turn {turn}: {status} {said}")
                else:
                    os.kill(running.main_pid, signal.SIGHUP)
                    until = time.monotonic() + 30
                    while _version(running.url) == before and time.monotonic() < until:
                        time.sleep(0.01)
            seconds.append(time.monotonic() - begun)
            versions.append(_version(running.url))
            result.hold(versions[-1] != versions[-2], f"turn {turn}: the version has not changed")

        def back(turn: int) -> None:
            status, said = order("reload", {"bundle": str(bundles[1])})
            result.hold(status == 200, f"turn {turn}: reload: {status} {said}")
            for bad in (damaged, folder / "missing"):
                status, said = order("reload", {"bundle": str(bad)})
                message = said.get("error", {}).get("message", "")
                is_said = status == 409 and re.search(r"nothing has changed: .*(is damaged|no folder)", message)
                result.hold(bool(is_said), f"turn {turn}: {bad.name}: {status} {said}")
                result.figures.setdefault(f"said of a {bad.name} bundle", message.replace(str(folder), "..."))
            middle = _version(running.url)
            begun = time.monotonic()
            status, said = order("rollback")
            seconds.append(time.monotonic() - begun)
            result.hold(status == 200, f"turn {turn}: rollback: {status} {said}")
            versions.append(_version(running.url))
            result.hold(versions[-1] == versions[0] != middle, f"turn {turn}: {versions[0]}, {middle}, {versions[-1]}")

        def act() -> None:
            for turn in range(times):
                _progress(result.title, turn, times)
                (back if rollback else change)(turn)

        clients = Clients(
            running.port, rows, connections=connections, headers=f"Authorization: Bearer {key}\r\n", pause=0.002
        )
        outcome = asyncio.run(during(clients, act))
    result.hold_answers(outcome)
    result.hold(len(outcome.versions) == 2, f"versions {dict(outcome.versions)}")
    result.figures = {"changes": times, "connections": connections, **result.figures}
    result.add(outcome)
    result.figures["answers by version"] = ", ".join(f"{v}: {n:,}" for v, n in outcome.versions.items())
    result.figures["seconds of a change, median and longest"] = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
    return result


# --- too much, and for long -------------------------------------------------------------------------------------------


def slow_bundle(bundle: str | Path, folder: Path) -> Path:
    """Write a bundle whose network takes 10 ms and hardly any processor time; serve it with ``trust=slow_network``."""
    from churnlib.bundle import read_bundle, write_bundle
    from churnlib.models.network import build_network
    from churnlib.models.network_model import NetworkModel

    read = read_bundle(bundle)
    model: Any = read.model
    name = str(model.spec["_target_"]).rsplit(".", 1)[1]
    (folder / "slow_network.py").write_text(SLOW_MODULE.format(name=name))
    sys.path.insert(0, str(folder))
    spec = {**model.spec, "_target_": "slow_network.Slow"}
    network = build_network(spec, model.input_spec, n_classes=len(read.schema.classes), trust=("slow_network",))
    network.load_state_dict(model.network.state_dict())
    path = Path(tempfile.mkdtemp(dir=folder)) / "slow"
    write_bundle(replace(read, model=NetworkModel(network, spec, model.input_spec)), path)
    return path


def overload(
    bundle: str | Path,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *words: str,
    seconds: float = 60.0,
    times: float = 10.0,
    connections: int = 32,
    back_seconds: float = BACK_SECONDS,
) -> Result:
    """Offer ten times the capacity, by the clock: a request's time runs from when it was due."""
    result = Result(f"overload, {' '.join(words)}")

    async def ask(clients: Clients, during_seconds: float) -> tuple[Outcome, float]:
        task = asyncio.create_task(clients.run())
        begun = time.monotonic()
        await asyncio.sleep(during_seconds)
        clients.stop()
        lag = clients.behind if isinstance(clients, Arrivals) else 0.0
        return await task, lag / (time.monotonic() - begun)

    with server(bundle, folder, *words) as running:
        running.wait_until_ready()
        port = running.port
        _, _ = asyncio.run(ask(Clients(port, rows, connections=4), 1.0))
        span = max(2.0, seconds / 10)
        full, _ = asyncio.run(ask(Clients(port, rows, connections=4), span))
        capacity = full.statuses[200] / span
        normal, _ = asyncio.run(ask(Arrivals(port, rows, rate=capacity * 0.8, connections=connections), span))
        rate = capacity * times
        much = Arrivals(port, rows, rate=rate, connections=max(64, min(1000, int(rate * 0.4))))
        memory = _resident(running.main_pid)
        outcome, lag = asyncio.run(ask(much, seconds))
        grown = _resident(running.main_pid) - memory
        ended, back = time.monotonic(), math.inf
        while back == math.inf and time.monotonic() < ended + 10:
            after, _ = asyncio.run(ask(Clients(port, rows, connections=2), 0.1))
            if not after.refusals and after.seconds:
                back = time.monotonic() - ended
    usual = percentile([took for _, took in normal.seconds], 0.99)
    accepted = [took for _, took in outcome.seconds]
    p99 = percentile(accepted, 0.99)
    offered = (outcome.answered + outcome.hung + outcome.lost) / seconds
    result.hold_answers(outcome, allowed=(200, 503))
    result.hold(max(accepted, default=math.inf) <= 2.0 + 0.1, f"an answer took {max(accepted, default=math.inf):.2f} s")
    result.hold(bool(outcome.refusals), "nobody was refused: this was no overload")
    result.hold(p99 <= 3 * usual, f"p99 of the accepted is {p99 * 1e3:.1f} ms, {p99 / usual:.1f} times the usual")
    result.hold(back <= back_seconds, f"recovered only after {back:.2f} s")
    result.figures = {
        "capacity, requests/s": f"{capacity:,.0f}",
        "offered, requests/s": f"{offered:,.0f} ({offered / capacity:.1f} times)",
        "connections": much.connections,
        "clients behind their plan, share of the time": f"{max(0.0, lag):.1%}",
    }
    result.add(outcome)
    refused = outcome.refusals
    result.figures |= {
        "answered, requests/s": f"{len(accepted) / seconds:,.0f}",
        "p50, p99 usual, ms": _milliseconds([took for _, took in normal.seconds]),
        "p50, p99 of the accepted, ms": f"{_milliseconds(accepted)} ({p99 / usual:.1f} times)",
        "slowest accepted, ms": f"{max(accepted, default=math.nan) * 1e3:.0f}",
        "p50, p99 of the refused, ms": _milliseconds(refused),
        "seconds until all are answered again": f"{back:.2f}",
        "memory grew by, MB": f"{grown / 1e6:.1f}",
    }
    return result


def soak(
    bundle: str | Path,
    rows: Sequence[dict[str, Any]],
    folder: Path,
    *words: str,
    minutes: float = 30.0,
    every: float = 1.0,
    connections: int = 8,
) -> Result:
    """Half the capacity for long: memory and descriptors of each process must stay where they were."""
    result = Result(f"soak, {minutes:g} minutes, {' '.join(words)}")
    with server(bundle, folder, *words) as running:
        running.wait_until_ready()
        running.wait_until_whole({"http": 1})
        full = asyncio.run(during(Clients(running.port, rows, connections=connections), lambda: time.sleep(2.4)))
        rate = full.statuses[200] / 3.0 / 2
        samples: dict[int, list[tuple[float, float, int]]] = {}

        def watch() -> None:
            begun = time.monotonic()
            while (now := time.monotonic() - begun) < minutes * 60:
                for pid in (running.main_pid, *descendants(running.main_pid)):
                    with suppress(OSError):
                        open_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                        samples.setdefault(pid, []).append((now, _resident_of(pid), open_files))
                time.sleep(every)

        roles = {pid: role for role in ("http", "worker") for pid in running.children(role)} | {
            running.main_pid: "main"
        }
        clients = Arrivals(running.port, rows, rate=rate, connections=4 * connections)
        outcome = asyncio.run(during(clients, watch))
        result.hold(running.process.poll() is None, "the server has ended")
    result.hold_answers(outcome)
    result.figures = {"requests/s": f"{rate:,.0f}"}
    result.add(outcome)
    for pid, found in samples.items():
        kept = found[len(found) // 5 :]  # caches and arenas fill first
        slope, error = _slope([now / 3600 for now, _, _ in kept], [resident / 1e6 for _, resident, _ in kept])
        grown = statistics.median(r for _, r, _ in kept[-5:]) - statistics.median(r for _, r, _ in kept[:5])
        files = [number for _, _, number in kept]
        role = roles.get(pid, "restarted")
        result.figures[f"memory of {role}, MB"] = f"{kept[0][1] / 1e6:.1f} to {kept[-1][1] / 1e6:.1f}"
        result.figures[f"slope of {role}, MB/hour"] = f"{slope:+.2f} ± {error:.2f}"
        result.figures[f"descriptors of {role}"] = f"{min(files)} to {max(files)}"
        leaks = slope - error > 0 and grown > max(1e6, 0.01 * kept[0][1])
        result.hold(not leaks, f"the memory of {role} grows by {slope:.1f} ± {error:.1f} MB/hour")
        result.hold(files[-1] <= files[0] + 2, f"the descriptors of {role} grew from {files[0]} to {files[-1]}")
        result.hold(role != "restarted", "a process was restarted")
    return result


# --- strange requests -------------------------------------------------------------------------------------------------


def fuzz(bundle: str | Path, folder: Path, *words: str, requests: int = 10_000) -> Result:
    """Have schemathesis make requests, good and bad, from the server's own document."""
    result = Result(f"schemathesis, {' '.join(words)}")
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        result.skipped = "schemathesis is not installed (pip install schemathesis)"
        return result
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with server(bundle, folder, *words) as running:
        running.wait_until_ready()
        with urllib.request.urlopen(f"{running.url}/openapi.json", timeout=30) as response:
            document = json.load(response)
        operations = sum(len(methods) for methods in document["paths"].values())
        memory, before = _resident(running.main_pid), _statuses(running.url)
        done = subprocess.run(
            [
                str(program), "run", f"{running.url}/openapi.json", "--checks", checks, "--phases", "fuzzing",
                "--max-examples", str(math.ceil(1.4 * requests / operations)), "--continue-on-failure",
                "--request-timeout", "15", "--generation-deterministic", "--no-color", "--mode", "all",
                "--suppress-health-check", "all",
            ],
            capture_output=True, text=True, cwd=folder, check=False,
        )  # fmt: skip
        codes = {code: count - before.get(code, 0) for code, count in _statuses(running.url).items()}
        grown = _resident(running.main_pid) - memory
    report = done.stdout + done.stderr
    sent = re.search(r"([\d,]+) generated", report)
    result.hold(done.returncode == 0, report[-6000:])
    bad = {code for code, count in codes.items() if code >= 500 and code != 503 and count}
    result.hold(not bad, f"the server has answered {sorted(bad)}")
    result.figures = {
        "operations": operations,
        "requests generated": sent[1] if sent else "?",
        "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(codes.items())),
        "memory grew by, MB": f"{grown / 1e6:.1f}",
    }
    return result


def wire(
    bundle: str | Path, rows: Sequence[dict[str, Any]], folder: Path, *words: str, mutations: int = 5000, seed: int = 1
) -> Result:
    """Damage raw requests."""
    from scripts.fuzz_http import Target, attack

    result = Result(f"raw HTTP, {' '.join(words)}")
    with server(bundle, folder, *words) as running:
        running.wait_until_ready()
        target = Target(running.port, "/predict", json.dumps(rows[0]).encode())
        found = attack(target, count=mutations, seed=seed, memory=lambda: _resident(running.main_pid))
    result.broken += found.wrong[:20]
    result.figures = {
        "damaged requests": f"{found.sent:,}",
        "without an answer": f"{found.silent:,}",
        "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(found.answers.items())),
        "memory grew by, MB": f"{found.grown / 1e6:.1f}",
    }
    return result


# --- all of them ------------------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    """Run the campaigns that the words name; 1 if any promise was broken."""
    options = DEFAULTS | dict(word.split("=", 1) for word in words)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        folder = Path(scratch)
        rows = customers(options["bundle"])
        for engine in options["engine"].split(","):
            for what in options["what"].split(","):
                found = campaign(what, engine, options, rows, folder)
                if found is not None:
                    results.append(found)
                    show(found)
    if options["json"]:
        Path(options["json"]).write_text(json.dumps([vars(result) for result in results], indent=1))
    return 1 if any(result.broken for result in results) else 0


def campaign(
    what: str, engine: str, options: dict[str, str], rows: Sequence[dict[str, Any]], folder: Path
) -> Result | None:
    """Run one campaign; None where it is none for an engine."""
    bundle, times, extra = options["bundle"], int(options["times"]), options["words"].split()
    bundle = str(Path(bundle).resolve())
    words = [f"engine={engine}", *extra]
    seconds = float(options["seconds"])
    match what:
        case "term" | "group" | "pid1":
            return end_under_load(bundle, rows, folder, *words, how=what, times=times)
        case "kill_http" | "kill_worker":
            patient = [*words, "timeout=10"]  # who did not ask the dead process waits for the next
            return kill_under_load(bundle, rows, folder, *patient, role=what.removeprefix("kill_"), times=times)
        case "reload" | "rollback":
            return reload_under_load(bundle, rows, folder, *words, times=times, rollback=what == "rollback")
        case "overload":
            slow = slow_bundle(bundle, folder)
            words[0] = "engine=thread" if engine == "inline" else words[0]  # as auto decides for a slow network
            one = ["trust=slow_network", "backend=torch", "max_batch_size=1", "max_wait=0.03"]
            return overload(slow, rows, folder, *words, *one, seconds=seconds)
        case "soak":
            return soak(bundle, rows, folder, *words, minutes=float(options["minutes"]))
        case "fuzz":
            records = Path(tempfile.mkdtemp(dir=folder))  # without, feedback is answered 501
            return fuzz(bundle, folder, *words, f"record={records}", requests=int(options["requests"]))
        case "wire":
            return wire(bundle, rows, folder, *words, mutations=int(options["mutations"]))
        case _:
            raise SystemExit(f"there is no campaign {what!r}; there are {DEFAULTS['what']}")


def show(result: Result) -> None:
    """Print one table."""
    table = Table(title=result.title, title_justify="left", show_header=False)
    if result.skipped:
        table.add_row("skipped", result.skipped)
    for name, value in result.figures.items():
        table.add_row(name, str(value))
    for sentence in result.broken[:20]:
        table.add_row("[red]broken[/]", sentence.replace("[", r"\["))
    if not result.broken and not result.skipped:
        table.add_row("[green]held[/]", "every promise")
    Console(width=150, highlight=False).print(table)


def _progress(title: str, turn: int, times: int) -> None:
    if sys.stderr.isatty():
        print(f"{title}: {turn + 1} of {times}", end="\r", file=sys.stderr)


def _join(total: Outcome, one: Outcome) -> None:
    for name in ("statuses", "versions", "codes"):
        getattr(total, name).update(getattr(one, name))
    for name in ("lost", "hung", "refused", "wrong", "mixed"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.seconds += one.seconds
    total.refusals += one.refusals


async def _until(is_so: Callable[[], bool], patience: float) -> bool:
    until = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.01)
    return True


def _metrics(url: str, role: str) -> tuple[int, int]:
    """Return the answers of /predict and the restarts that the server has counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    counted = restarts = 0.0
    for line in lines:
        if re.match(r"churn\w*_requests_total\{", line) and 'route="predict"' in line:
            counted += float(line.rsplit(" ", 1)[1])
        elif re.match(r"churn\w*_restarts_total\{", line) and f'"{role}"' in line:
            restarts += float(line.rsplit(" ", 1)[1])
    return int(counted), int(restarts)


def _statuses(url: str) -> dict[int, int]:
    """Return the answers that the server has counted, by status."""
    found: dict[int, int] = {}
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        for line in response.read().decode().splitlines():
            if re.match(r"churn\w*_requests_total\{", line):
                code = int(re.findall(r'"(\d{3})"', line)[0])
                found[code] = found.get(code, 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def _admin_key(folder: Path) -> tuple[str, Path]:
    file = folder / "keys"
    file.unlink(missing_ok=True)
    words = ["key", "name=campaign", "scopes=predict,metrics,admin", f"file={file}"]
    done = subprocess.run(
        [sys.executable, "-c", "from churnlib.cli import main; main()", *words],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return re.findall(r"churn_\S+", done.stdout)[0], file


def _version(url: str) -> str:
    with urllib.request.urlopen(f"{url}/health", timeout=30) as response:
        return json.load(response)["model_version"]


def _post(url: str, body: bytes, key: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def _slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the slope of a straight line and half its 95 % interval.

    Neighbouring measurements are alike, which would make the interval too narrow: the line is laid through the means of
    twenty stretches.
    """
    size = max(1, len(x) // 20)
    xs = [statistics.fmean(x[start : start + size]) for start in range(0, len(x) - size + 1, size)]
    ys = [statistics.fmean(y[start : start + size]) for start in range(0, len(y) - size + 1, size)]
    line = statistics.linear_regression(xs, ys)
    spread = sum((each - statistics.fmean(xs)) ** 2 for each in xs)
    rest = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(xs, ys, strict=True)) / max(1, len(xs) - 2)
    return line.slope, 2.1 * math.sqrt(rest / spread)


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{percentile(seconds, 0.5) * 1e3:.1f}, {percentile(seconds, 0.99) * 1e3:.1f}"


def _resident(pid: int) -> int:
    return sum(_resident_of(each) for each in (pid, *descendants(pid)))


def _resident_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
