"""Requests per second, latency and processor time of servers over one bundle or several, in interleaved rounds.

    python scripts/bench_serving.py bundle=DIR [servers=empty,inline,thread,worker,fastapi_onnx,litserve]
        [connections=32,1] [rounds=3] [seconds=4] [keys=true] [json=FILE]
    python scripts/bench_serving.py bundles=mlp_plain=DIR,mlp=DIR,tabnet=DIR servers=empty,auto
    python scripts/bench_serving.py bundle=DIR servers=empty,inline,bentoml,mlserver
        bentoml_python=PATH mlserver_python=PATH      the Pythons of environments that have them

With ``bundles=`` every server (but the empty one) is run over each of them; ``kFLOPs`` are the operations that one
customer's answer takes (:mod:`churnlib.models.onnx.work`). Before anything is measured each server's answers are
compared with the bundle's own.

Ours run as their users would start them, with keys, metrics and the log on (``keys=false`` without). The client is
``wrk`` (Debian: ``apt-get install wrk``) on the same machine, with 500 made-up customers in turn; in each round every
server has its turn, so that neighbours on the machine disturb all alike. The figures are medians over the rounds;
compare servers within one run, since absolute figures say little about another machine. ``processor us`` is the time of
all processes of the server per request, ``memory`` their proportional share (PSS), the largest process beside it.
Below the tables stands how often the machine's processors stood still (:mod:`scripts.standstill`), by which the p99 of
every server under load is longer than its own work.
"""

from __future__ import annotations

import json
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
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.serving_peers import HEALTH, TITLES
from scripts.standstill import Standstills, standstills
from scripts.words import options_of

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "bundles": "",
    "servers": "empty,inline,thread,worker,fastapi_onnx,litserve",
    "connections": "32,1",
    "rounds": "3",
    "seconds": "4",
    "keys": "true",
    "json": "",
    "words": "",
    "bentoml_python": sys.executable,
    "mlserver_python": sys.executable,
}
OURS = ("inline", "thread", "worker", "auto")
EMPTY = ("empty", "bare")
"""Servers that answer without a model."""
CUSTOMERS = 500
COMPARED, TOLERANCE = 20, 1e-6
"""Customers whose answers are compared with the bundle's own, and by how much these may differ."""
HEADERS = (
    "", "kFLOPs", "req/s", "lowest to highest", "p50 ms", "p99 ms", "processor us", "memory MB", "ready s", "failed",
    "x empty", "x litserve",
)  # fmt: skip
LUA = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local n = math.random(#bodies)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
%s
request = function()
  n = n %% #bodies + 1
  return wrk.format(nil, "/predict", nil, bodies[n])
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %%d %%d %%d %%f %%f %%f %%d\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
"""


@dataclass(frozen=True)
class Figures:
    """One server's turn: latencies in ms, processor time in us per request."""

    rate: float
    p50: float
    p99: float
    failed: int
    processor: float


@dataclass(frozen=True)
class Served:
    """A bundle behind servers.

    Attributes:
        label: What to call it; empty where there is only one.
        path: Its folder.
        customers: Made up, to ask about.
        answers: The probability of each.
        flops: Operations that one customer takes; None without a ``model.onnx``.
    """

    label: str
    path: str
    customers: list[dict[str, Any]]
    answers: list[float]
    flops: int | None


@dataclass(frozen=True)
class Case:
    """A server over a bundle: a row of the table."""

    server: str
    served: Served

    @property
    def name(self) -> str:
        """The server's name, and the bundle's where there are several."""
        return f"{self.server} {self.served.label}".strip() if self.server not in EMPTY else self.server

    @property
    def title(self) -> str:
        """The name for the table."""
        said = TITLES.get(self.server, f"churnlib, {self.server}")
        return said if self.name == self.server else f"{said}, {self.served.label}"


def main(words: list[str]) -> int:
    """Measure, print a table for each number of connections, and return 1 if any answer was not a 200."""
    options = options_of(words, DEFAULTS, __doc__)
    if shutil.which("wrk") is None:
        print("bench_serving.py needs wrk (Debian: apt-get install wrk)", file=sys.stderr)
        return 1
    every = [Case(name, served) for served in bundles(options) for name in options["servers"].split(",")]
    cases = list({case.name: case for case in every}.values())  # the empty server once
    connections = [int(number) for number in options["connections"].split(",")]
    found: dict[int, dict[str, list[Figures]]] = {number: {one.name: [] for one in cases} for number in connections}
    start: dict[str, list[float]] = {case.name: [] for case in cases}
    memory: dict[str, tuple[float, float]] = {}
    stood: list[Standstills] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        key = make_key(folder) if options["keys"] == "true" else ""
        for turn in range(int(options["rounds"])):
            stood.append(standstills())
            for case in cases:
                print(f"round {turn + 1}: {case.name:30}", end="\r", file=sys.stderr)
                (folder / "bodies").write_text("\n".join(map(json.dumps, case.served.customers)))
                python = options.get(f"{case.server}_python", sys.executable)
                server = running(case.server, case.served.path, folder, key, options["words"], python=python)
                with server as (url, process, seconds):
                    start[case.name].append(seconds)
                    if case.server not in EMPTY:
                        compare(url, key, case)
                    load(folder, url, key, connections[0], 1.0, process.pid)
                    for number in connections:
                        figures = load(folder, url, key, number, float(options["seconds"]), process.pid)
                        found[number][case.name].append(figures)
                    memory[case.name] = memory_of(process.pid)
    result = {number: summary(figures) for number, figures in found.items()}
    for number in connections:
        show(number, cases, result[number], start, memory)
    Console().print(f"In between, {max(stood, key=lambda one: one.per_second)}.")
    if options["json"]:
        flops = {case.name: case.served.flops for case in cases if case.server not in EMPTY}
        Path(options["json"]).write_text(
            json.dumps(
                {
                    "result": result,
                    "start": start,
                    "memory": memory,
                    "flops": flops,
                    "stood": [vars(one) for one in stood],
                },
                indent=1,
            )
        )
    return 1 if any(row["failed"] for rows in result.values() for row in rows.values()) else 0


def bundles(options: Mapping[str, str]) -> list[Served]:
    """Return the bundles to serve, each with made-up customers that it reads, drawn from its training columns."""
    given = options["bundles"].split(",") if options["bundles"] else [f"={options['bundle']}"]
    return [served(*word.split("=", 1)) for word in given]


def served(label: str, path: str) -> Served:
    """Read a bundle and ask it about the customers that the servers will be asked about."""
    from churnlib.data.profile import draw_rows
    from churnlib.errors import ChurnlibError
    from churnlib.predictor import load

    try:
        predictor = load(path)
    except ChurnlibError as error:
        raise SystemExit(str(error)) from None
    rows = draw_rows(dict(predictor.bundle.profile), predictor.schema, CUSTOMERS)
    reading = predictor.read(rows)
    probability = predictor.probabilities(reading).tolist()
    kept = (~reading.bad).nonzero()[0].tolist()
    sent = [
        {"customer_id": f"C-{place:06d}", **{name: cell for name, cell in rows[place].items() if cell is not None}}
        for place in kept
    ]
    return Served(label, path, sent, [probability[place] for place in kept], predictor.flops)


def customers(bundle: str) -> list[dict[str, Any]]:
    """Return made-up customers that a bundle's model reads."""
    return served("", bundle).customers


def compare(url: str, key: str, case: Case) -> None:
    """Ask about a few customers and end the run where a server says otherwise than the bundle."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    for row, wanted in list(zip(case.served.customers, case.served.answers, strict=True))[:COMPARED]:
        request = urllib.request.Request(f"{url}/predict", json.dumps(row).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)["churn_probability"]
        if abs(found - wanted) > TOLERANCE:
            raise SystemExit(f"{case.name} answers {found} for {row['customer_id']}, and the bundle {wanted}")


def make_key(folder: Path) -> str:
    """Return a key and write the file that a server knows it by."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from churnlib.cli import main; main()",
            "key",
            "name=bench",
            "scopes=predict,metrics",
            f"file={folder / 'keys'}",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return re.findall(r"churn_\S+", done.stdout)[0]


@contextmanager
def running(
    name: str, bundle: str, folder: Path, key: str, words: str = "", *, python: str = sys.executable
) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Run a server; yields its address, its process and the seconds until it was ready."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    if name in OURS:
        command = [sys.executable, str(ROOT / "scripts" / "serve.py"), f"bundle={bundle}", f"port={port}"]
        command += [f"engine={name}", f"log_file={folder / 'log'}", *words.split()]
        command += [f"keys={folder / 'keys'}"] if key else []
    else:
        command = [python, str(ROOT / "scripts" / "serving_peers.py"), name, str(port), bundle]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    begun = time.monotonic()
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{url}{HEALTH.get(name, '/health')}"):
            if process.poll() is not None or time.monotonic() - begun > 60:
                raise SystemExit(f"{name} does not start:\n{(folder / f'{name}.out').read_text()}")
            time.sleep(0.01)
        yield url, process, time.monotonic() - begun
    finally:
        for pid in [*descendants(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether an address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def load(folder: Path, url: str, key: str, connections: int, seconds: float, pid: int) -> Figures:
    """Let wrk ask over so many connections."""
    header = f'wrk.headers["Authorization"] = "Bearer {key}"' if key else ""
    script = folder / "wrk.lua"
    script.write_text(LUA % (folder / "bodies", header))
    before = processor_seconds(pid)
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "-s",
        str(script),
        "--timeout",
        "10s",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = processor_seconds(pid)
    line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES"))
    requests, microseconds, failed, p50, p99, _, _ = map(float, line.split()[1:])
    return Figures(
        requests / microseconds * 1e6, p50 / 1e3, p99 / 1e3, int(failed), (after - before) / max(requests, 1) * 1e6
    )


def summary(found: Mapping[str, list[Figures]]) -> dict[str, dict[str, float]]:
    """Return the medians over the rounds."""
    return {
        name: {
            "rate": statistics.median(f.rate for f in figures),
            "lowest": min(f.rate for f in figures),
            "highest": max(f.rate for f in figures),
            "p50": statistics.median(f.p50 for f in figures),
            "p99": statistics.median(f.p99 for f in figures),
            "processor": statistics.median(f.processor for f in figures),
            "failed": sum(f.failed for f in figures),
        }
        for name, figures in found.items()
    }


def show(
    connections: int,
    cases: Sequence[Case],
    rows: Mapping[str, Mapping[str, float]],
    start: Mapping[str, list[float]],
    memory: Mapping[str, Any],
) -> None:
    """Print one table."""
    table = Table(title=f"one customer per request, {connections} connection{'s' * (connections > 1)}")
    for header in HEADERS:
        table.add_column(header, justify="left" if not header else "right")
    for case in cases:
        name, flops = case.name, None if case.server in EMPTY else case.served.flops
        row, peers = rows[name], ("empty", f"litserve {case.served.label}".strip())
        table.add_row(
            case.title,
            "" if flops is None else f"{flops / 1e3:,.0f}",
            f"{row['rate']:,.0f}",
            f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['processor']:.0f}",
            f"{memory[name][0]:.0f} ({memory[name][1]:.0f})",
            f"{statistics.median(start[name]):.2f}",
            f"{row['failed']:.0f}",
            *(f"{row['rate'] / rows[peer]['rate']:.2f}" if peer in rows else "" for peer in peers),
        )
    Console(width=170).print(table)


def descendants(pid: int) -> list[int]:
    """Return the processes below one, each after those below itself."""
    below: dict[int, list[int]] = {}
    for name in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
        with suppress(OSError):
            parent = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
            below.setdefault(parent, []).append(int(name))

    def walk(one: int) -> Iterator[int]:
        for child in below.get(one, ()):
            yield from walk(child)
            yield child

    return list(walk(pid))


def processor_seconds(pid: int) -> float:
    """Return what a process and all below it have used so far."""
    ticks = 0
    for each in [pid, *descendants(pid)]:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> tuple[float, float]:
    """Return the proportional memory of a server and of its largest process, in MB."""
    shares = []
    for each in [pid, *descendants(pid)]:
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        shares.append(int(re.findall(r"Pss:\s+(\d+)", text)[0]) / 1000)
    return sum(shares), max(shares, default=0.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
