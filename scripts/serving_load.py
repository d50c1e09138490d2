"""Clients that keep a server busy and remember what became of each request."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 15.0
"""Seconds after which a client takes a server for hanging."""


@dataclass
class Outcome:
    """What became of all requests.

    Attributes:
        statuses: Answers by HTTP status.
        lost: Requests that were sent over an open connection and got no answer: reset, or closed without a word.
        hung: Requests without an answer after :data:`PATIENCE` seconds.
        refused: Connections that the kernel refused, so that nothing was accepted.
        wrong: Answers for another customer than the one who was asked for.
        mixed: Answers whose header and body name different versions.
        versions: Answers by ``x-model-version``.
        codes: Refusals by the code in their envelope.
        seconds: Latencies of answers with status 200, in order of their arrival, with the time they came.
        refusals: Latencies of all other answers.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    hung: int = 0
    refused: int = 0
    wrong: int = 0
    mixed: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests with an answer of any status."""
        return self.statuses.total()


class Clients:
    """So many connections, each asking again as soon as it is answered, until :meth:`stop`.

    Args:
        port: Of the server on this machine.
        rows: Customers, asked for in turn under names of their own.
        connections: Number of clients.
        headers: Further request headers.
        pause: Seconds between two requests of one client.
    """

    def __init__(
        self, port: int, rows: Sequence[dict[str, Any]], *, connections: int = 16, headers: str = "", pause: float = 0.0
    ) -> None:
        self.port, self.rows, self.connections, self.headers, self.pause = port, rows, connections, headers, pause
        self.outcome = Outcome()
        self._running = True
        self._number = 0

    def stop(self) -> None:
        """Let each client finish the request that it is at."""
        self._running = False

    async def run(self) -> Outcome:
        """Ask until stopped."""
        await asyncio.gather(*(self._client() for _ in range(self.connections)))
        return self.outcome

    async def _turn(self) -> float:
        """Wait until this client may ask; returns since when its request is due, for the latency."""
        if self.pause:
            await asyncio.sleep(self.pause)
        return time.monotonic()

    async def _client(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while self._running:
            if streams is None:
                try:
                    streams = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    self.outcome.refused += 1
                    await asyncio.sleep(0.02)
                    continue
            due = await self._turn()
            if not self._running:
                break
            await asyncio.sleep(0)
            if streams[0].at_eof():  # closed while nobody asked: HTTP clients look before they send
                streams[1].close()
                streams = None
                continue
            try:
                async with asyncio.timeout(PATIENCE):
                    keep = await self._ask(*streams, due)
            except TimeoutError:
                self.outcome.hung += 1
                keep = False
            except (OSError, asyncio.IncompleteReadError):
                self.outcome.lost += 1
                keep = False
            if not keep:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: float) -> bool:
        """Send one customer; returns whether the connection may be used again."""
        self._number += 1
        name = f"L-{self._number}"
        body = json.dumps({**self.rows[self._number % len(self.rows)], "customer_id": name}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{self.headers}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        content = json.loads(await reader.readexactly(length))
        now = time.monotonic()
        status = int(answer.split()[1])
        self.outcome.statuses[status] += 1
        if status == 200:
            self.outcome.seconds.append((now, now - begun))
            self.outcome.wrong += content["customer_id"] != name
            version = answer.split(b"x-model-version:")[1].split(b"\r\n")[0].strip().decode()
            self.outcome.versions[version] += 1
            self.outcome.mixed += content["model_version"] != version
        else:
            self.outcome.refusals.append(now - begun)
            self.outcome.codes[content["error"]["code"]] += 1
        return b"connection: close" not in answer


class Arrivals(Clients):
    """So many requests per second, whatever the server makes of them; each one's time runs from when it was due.

    Args:
        rate: Requests per second.
    """

    def __init__(self, port: int, rows: Sequence[dict[str, Any]], *, rate: float, **options: Any) -> None:
        super().__init__(port, rows, **options)
        self.rate = rate
        self._started = time.monotonic()
        self._sent = 0

    @property
    def behind(self) -> float:
        """Seconds by which the clients lag behind the plan, for want of connections or processor time."""
        return time.monotonic() - self._started - self._sent / self.rate

    async def run(self) -> Outcome:
        """Ask until stopped."""
        self._started = time.monotonic()
        return await super().run()

    async def _turn(self) -> float:
        due = self._started + self._sent / self.rate
        self._sent += 1
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return due


async def during(clients: Clients, act: Callable[[], Any], *, before: float = 0.3, after: float = 0.3) -> Outcome:
    """Let clients ask, act in the middle on a thread, and return what became of the requests."""
    asking = asyncio.create_task(clients.run())
    await asyncio.sleep(before)
    await asyncio.to_thread(act)
    await asyncio.sleep(after)
    clients.stop()
    return await asking


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the latency that this share of requests stays below."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
