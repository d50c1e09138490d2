"""Requests per second and latency of one-customer requests against a running server.

    python scripts/serve.py bundle=DIR port=8000                    # in one terminal
    python scripts/bench_serving.py url=http://127.0.0.1:8000       # in another

Words: ``url`` (default http://127.0.0.1:8000), ``connections`` (default 1,32), ``seconds`` per row (default 5). The
client shares the machine with the server, so figures compare servers on one machine; they say little about another.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

VALUES = {"numeric": 1, "boolean": True, "datetime": "2024-01-01"}
"""What is sent for a column whose values the server does not list."""


def main(words: list[str]) -> int:
    """Measure and print one row per number of connections; 1 if any answer was not a 200."""
    options = {"url": "http://127.0.0.1:8000", "connections": "1,32", "seconds": "5"}
    options |= dict(word.split("=", 1) for word in words)
    with urllib.request.urlopen(f"{options['url']}/metadata") as answer:
        metadata = json.load(answer)
    request = request_bytes(options["url"], example_row(metadata))
    table = Table(title=f"{metadata['model']} {metadata['model_version']}, one customer per request")
    for header in ("connections", "requests", "req/s", "p50 ms", "p99 ms", "failed"):
        table.add_column(header, justify="right")
    total_failed = 0
    for connections in map(int, options["connections"].split(",")):
        latencies, failed, seconds = asyncio.run(
            measure(options["url"], request, connections=connections, seconds=float(options["seconds"]))
        )
        total_failed += failed
        p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
        rate = len(latencies) / seconds
        table.add_row(
            f"{connections}", f"{len(latencies):,}", f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{failed:,}"
        )
    Console().print(table)
    return 1 if total_failed else 0


def example_row(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a customer that the model accepts, from its input schema."""
    columns = metadata["input_schema"]
    row = {c["name"]: c["values"][0] if c.get("values") else VALUES.get(c["kind"], "x") for c in columns}
    return {"customer_id": "bench", **row}


def request_bytes(url: str, row: Mapping[str, Any]) -> bytes:
    """Return the whole HTTP request."""
    body = json.dumps(row).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def measure(
    url: str, request: bytes, *, connections: int, seconds: float, warm_up: float = 1.0
) -> tuple[list[float], int, float]:
    """Send requests over so many connections, each as soon as the one before is answered.

    Returns:
        Latencies in seconds, the number of answers that were not 200, and the seconds it took; without the warm-up.
    """
    latencies: list[float] = []
    failed = 0
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        while (sent := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if sent >= begin:
                latencies.append(time.perf_counter() - sent)
                failed += not head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return latencies, failed, time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
