"""Customers per second of ``POST /predict/batch``, and what a bulk client costs those who ask for one customer.

    python scripts/bench_serving_bulk.py bundle=DIR [rows=10000] [rounds=10] [seconds=4] [engine=inline] [cores=]

One client sends ``rows`` made-up customers again and again, in columns and in rows; the figures are medians over
requests, and the processor time is that of all the server's processes. Then ``wrk`` asks for one customer at a time
over eight connections, in turn without and with a bulk client beside it. ``cores=1`` keeps the server on one processor
(``taskset``).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_serving import customers, descendants, load, memory_of, processor_seconds, running
from scripts.standstill import standstills
from scripts.words import options_of

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "rows": "10000",
    "rounds": "10",
    "seconds": "4",
    "engine": "inline",
    "cores": "",
}
TURNS = 3


def main(words: list[str]) -> int:
    """Measure and print."""
    options = options_of(words, DEFAULTS, __doc__)
    made = customers(options["bundle"])
    many = [{**made[place % len(made)], "customer_id": f"B-{place}"} for place in range(int(options["rows"]))]
    names = dict.fromkeys(name for row in many for name in row)
    bodies = {
        "columns": json.dumps({"columns": {name: [row.get(name) for row in many] for name in names}}).encode(),
        "rows": json.dumps({"instances": many}).encode(),
    }
    served = f"max_bulk_bytes={100 + max(map(len, bodies.values()))} max_bulk_rows={len(many)}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "bodies").write_text("\n".join(map(json.dumps, made)))
        with running(options["engine"], options["bundle"], folder, "", served) as (url, process, _):
            if options["cores"]:
                for pid in (process.pid, *descendants(process.pid)):
                    subprocess.run(["taskset", "-acp", "0", str(pid)], check=True, capture_output=True)
            Console().print(f"Before anything ran, {standstills()}.")
            table = Table(title=f"POST /predict/batch, {len(many):,} customers a request")
            for header in ("", "customers/s", "ms", "processor us a customer", "MB sent"):
                table.add_column(header, justify="left" if not header else "right")
            for name, body in bodies.items():
                seconds, processor = bulk(url, body, int(options["rounds"]), process.pid)
                table.add_row(
                    name,
                    f"{len(many) / seconds:,.0f}",
                    f"{seconds * 1e3:.0f}",
                    f"{processor / len(many) * 1e6:.1f}",
                    f"{len(body) / 1e6:.1f}",
                )
            Console().print(table)
            beside(url, folder, bodies["columns"], float(options["seconds"]), process.pid)
            whole, largest = memory_of(process.pid)
            Console().print(f"memory afterwards: {whole:.0f} MB, the largest process {largest:.0f} MB")
    return 0


def post(url: str, body: bytes) -> dict[str, Any]:
    """Send a bulk request and read its answer."""
    request = urllib.request.Request(f"{url}/predict/batch", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def bulk(url: str, body: bytes, rounds: int, pid: int) -> tuple[float, float]:
    """Return the median seconds of a request, and the processor's seconds of one."""
    post(url, body)
    times, before = [], processor_seconds(pid)
    for _ in range(rounds):
        request = urllib.request.Request(f"{url}/predict/batch", body, {"Content-Type": "application/json"})
        begun = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), (processor_seconds(pid) - before) / rounds


def beside(url: str, folder: Path, body: bytes, seconds: float, pid: int) -> None:
    """Ask for one customer at a time, in turn without and with a bulk client."""
    table = Table(title="one customer a request, 8 connections")
    for header in ("", "req/s", "p50 ms", "p99 ms"):
        table.add_column(header, justify="left" if not header else "right")
    found: dict[str, list[Any]] = {"alone": [], "beside a bulk client": []}
    for _ in range(TURNS):
        for name, figures in found.items():
            is_over = threading.Event()

            def keep_sending(is_over: threading.Event = is_over) -> None:
                while not is_over.is_set():
                    post(url, body)

            sender = threading.Thread(target=keep_sending) if name != "alone" else None
            if sender is not None:
                sender.start()
            figures.append(load(folder, url, "", 8, seconds, pid))
            is_over.set()
            if sender is not None:
                sender.join()
    for name, figures in found.items():
        rate, p50, p99 = (statistics.median(getattr(f, field) for f in figures) for field in ("rate", "p50", "p99"))
        table.add_row(name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
