"""Requests per second, latency and processor time of servers over one bundle, in interleaved rounds.

    python scripts/bench_serving.py bundle=DIR [servers=empty,inline,thread,worker,fastapi_onnx,litserve]
        [connections=32,1] [rounds=3] [seconds=4] [keys=true] [json=FILE]

Ours run as their users would start them, with keys, metrics and the log on (``keys=false`` without). The client is
``wrk`` (Debian: ``apt-get install wrk``) on the same machine, with 500 made-up customers in turn; in each round every
server has its turn, so that neighbours on the machine disturb all alike. The figures are medians over the rounds;
compare servers within one run, since absolute figures say little about another machine. ``processor us`` is the time of
all processes of the server per request, ``memory`` their proportional share (PSS), the largest process beside it.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.serving_peers import TITLES

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "servers": "empty,inline,thread,worker,fastapi_onnx,litserve",
    "connections": "32,1",
    "rounds": "3",
    "seconds": "4",
    "keys": "true",
    "json": "",
    "words": "",
}
OURS = ("inline", "thread", "worker", "auto")
CUSTOMERS = 500
HEADERS = (
    "", "req/s", "lowest to highest", "p50 ms", "p99 ms", "processor us", "memory MB", "ready s", "failed", "x empty",
    "x litserve",
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


def main(words: list[str]) -> int:
    """Measure, print a table for each number of connections, and return 1 if any answer was not a 200."""
    options = DEFAULTS | dict(word.split("=", 1) for word in words)
    if shutil.which("wrk") is None:
        print("bench_serving.py needs wrk (Debian: apt-get install wrk)", file=sys.stderr)
        return 1
    names = options["servers"].split(",")
    connections = [int(number) for number in options["connections"].split(",")]
    found: dict[int, dict[str, list[Figures]]] = {number: {name: [] for name in names} for number in connections}
    start: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        key = make_key(folder) if options["keys"] == "true" else ""
        (folder / "bodies").write_text("\n".join(map(json.dumps, customers(options["bundle"]))))
        for turn in range(int(options["rounds"])):
            for name in names:
                print(f"round {turn + 1}: {name}", end="\r", file=sys.stderr)
                with running(name, options["bundle"], folder, key, options["words"]) as (url, process, seconds):
                    start[name].append(seconds)
                    load(folder, url, key, connections[0], 1.0, process.pid)
                    for number in connections:
                        figures = load(folder, url, key, number, float(options["seconds"]), process.pid)
                        found[number][name].append(figures)
                    memory[name] = memory_of(process.pid)
    result = {number: summary(figures) for number, figures in found.items()}
    for number in connections:
        show(number, result[number], start, memory)
    if options["json"]:
        Path(options["json"]).write_text(json.dumps({"result": result, "start": start, "memory": memory}, indent=1))
    return 1 if any(row["failed"] for rows in result.values() for row in rows.values()) else 0


def customers(bundle: str) -> list[dict[str, Any]]:
    """Return made-up customers that the model reads, drawn from what it knows of its training columns."""
    from churnlib.data.profile import draw_rows
    from churnlib.predictor import load

    predictor = load(bundle)
    rows = draw_rows(dict(predictor.bundle.profile), predictor.schema, CUSTOMERS)
    kept = (~predictor.read(rows).bad).nonzero()[0].tolist()
    return [
        {"customer_id": f"C-{place:06d}", **{name: cell for name, cell in rows[place].items() if cell is not None}}
        for place in kept
    ]


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
    name: str, bundle: str, folder: Path, key: str, words: str = ""
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
        command = [sys.executable, str(ROOT / "scripts" / "serving_peers.py"), name, str(port), bundle]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    begun = time.monotonic()
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{url}/health"):
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
    rows: Mapping[str, Mapping[str, float]],
    start: Mapping[str, list[float]],
    memory: Mapping[str, Any],
) -> None:
    """Print one table."""
    table = Table(title=f"one customer per request, {connections} connections")
    for header in HEADERS:
        table.add_column(header, justify="left" if not header else "right")
    for name, row in rows.items():
        ratios = [f"{row['rate'] / rows[peer]['rate']:.2f}" if peer in rows else "" for peer in ("empty", "litserve")]
        table.add_row(
            TITLES.get(name, f"churnlib, {name}"),
            f"{row['rate']:,.0f}",
            f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['processor']:.0f}",
            f"{memory[name][0]:.0f} ({memory[name][1]:.0f})",
            f"{statistics.median(start[name]):.2f}",
            f"{row['failed']:.0f}",
            *ratios,
        )
    Console(width=160).print(table)


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            found += [*descendants(child), child]
    return found


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
