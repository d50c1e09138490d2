"""Raw HTTP, damaged in every way, against a running server: it must answer no 5xx, hang nowhere and not grow.

    python scripts/fuzz_http.py port=8000 pid=$(pgrep -f "churnlib serve" | head -1)
    python scripts/fuzz_http.py port=8000 count=5000 seed=1 path=/predict body='{"tenure": 1}' key=churn_...

Each damaged request has a connection of its own. What comes back within a moment is read; then the client says that it
has finished, and the server must close. Between them whole requests are sent, which must be answered. ``pid`` is the
process whose memory is looked at, with its children. Sixteen come at once; an address that takes few at a time and
tells the others to come back, which is a 503 as well, is tried with ``threads=1``.
"""

from __future__ import annotations

import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {"port": "", "pid": "0", "count": "5000", "seed": "0", "threads": "16", "path": "/", "body": "{}", "key": ""}

MOMENT = 0.15
"""Seconds without a byte after which a client takes the answer for complete, or for missing."""

PATIENCE = 10.0
"""Seconds after which a whole request without an answer, or a connection that does not close, is a hang."""

GROWTH = 32_000_000
"""Bytes by which memory may grow after the first fifth of the requests: caches and arenas fill."""

TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b",", b"\xff", b"\xc3\xa9", b"%", b"%00",
    b"%zz", b"?", b"#", b"..", b"//", b"GET ", b"POST ", b"CONNECT ", b"OPTIONS * ", b"HTTP/1.0", b"HTTP/1.1",
    b"HTTP/2.0", b"HTTP/0.9", b"PRI * HTTP/2.0", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", b"\x16\x03\x01\x02\x00\x01",
    b"content-length: 5\r\n", b"content-length: -1\r\n", b"content-length: 5, 5\r\n",
    b"content-length: 99999999999999999999\r\n", b"transfer-encoding: chunked\r\n", b"transfer-encoding: identity\r\n",
    b"transfer-encoding: gzip, chunked\r\n", b"expect: 100-continue\r\n", b"connection: close\r\n", b"upgrade: h2c\r\n",
    b"connection: keep-alive, upgrade\r\nupgrade: websocket\r\n", b"content-encoding: gzip\r\n",
    b"content-type: text/plain\r\n", b"host: \r\n", b" folded: line\r\n",
    b"0\r\n\r\n", b"5\r\nabcde\r\n", b"ffffffff\r\n", b"-1\r\n", b"0\r\nx: y\r\n\r\n", b"1;a=b\r\nx\r\n",
    b"A" * 300, b"a: b\r\n" * 120, b"x" * 70_000, b"[" * 2000, b'{"a":' * 50,
]  # fmt: skip


@dataclass
class Target:
    """The server, and what a whole request to it looks like."""

    port: int
    path: str = "/"
    body: bytes = b"{}"
    key: str = ""

    def whole(self, *, close: bool = True) -> bytes:
        """Return the request that must be answered whenever it comes."""
        return self._post(b"content-length: %d\r\n" % len(self.body), self.body, close=close)

    def requests(self) -> list[bytes]:
        """Return the requests that are damaged."""
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (self.body[:7], self.body[7:]) if part)
        chunked = self._post(b"transfer-encoding: chunked\r\n", chunks + b"0\r\n\r\n")
        expecting = self._post(b"expect: 100-continue\r\ncontent-length: %d\r\n" % len(self.body), self.body)
        get = f"GET {self.path}?a=b%20c HTTP/1.1\r\nhost: a\r\naccept: */*\r\n\r\n".encode()
        old = get.replace(b"HTTP/1.1", b"HTTP/1.0")
        kept = self.whole(close=False)
        return [self.whole(), kept, chunked, expecting, get, old, kept + kept, get * 3, chunked + get]

    def _post(self, framing: bytes, body: bytes, *, close: bool = False) -> bytes:
        key = f"authorization: Bearer {self.key}\r\n" if self.key else ""
        end = "connection: close\r\n" if close else ""
        head = f"POST {self.path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{key}{end}"
        return head.encode() + framing + b"\r\n" + body


@dataclass
class Found:
    """What came of it."""

    sent: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    wrong: list[str] = field(default_factory=list)
    grown: int = 0


def main(words: list[str]) -> int:
    """Attack the server that the words name; 1 if anything is wrong."""
    told = options_of(words, DEFAULTS, __doc__)
    if not told["port"]:
        raise SystemExit("name the server's port: port=8000")
    target = Target(int(told["port"]), told["path"], told["body"].encode(), told["key"])
    pid, count = int(told["pid"]), int(told["count"])
    started = time.monotonic()
    found = attack(
        target,
        count=count,
        seed=int(told["seed"]),
        threads=int(told["threads"]),
        memory=(lambda: resident(pid)) if pid else None,
    )
    codes = ", ".join(f"{code}: {count:,}" for code, count in sorted(found.answers.items()))
    print(f"{found.sent:,} damaged requests in {time.monotonic() - started:.0f} s, {found.silent:,} without an answer")
    print(f"answers {codes}")
    print(f"memory grew by {found.grown / 1e6:.1f} MB" if pid else "memory was not looked at (pid=...)")
    for wrong in found.wrong[:20]:
        print(f"wrong: {wrong}")
    return 1 if found.wrong else 0


def attack(
    target: Target, *, count: int, seed: int = 0, threads: int = 16, memory: Callable[[], int] | None = None
) -> Found:
    """Send damaged requests, with whole ones between them.

    Args:
        target: Where to.
        count: How many.
        seed: Of what is done to them.
        threads: How many at once.
        memory: Returns the bytes in use.
    """
    found, first = Found(), 0
    rounds = 20
    with ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            seeds = range(seed * 1_000_000 + found.sent, seed * 1_000_000 + (number + 1) * count // rounds)
            for request, received, closed in pool.map(lambda each: one(target, each), seeds):
                judge(found, request, received, closed)
            check_whole(target, found)
            if memory and number == rounds // 5:
                first = memory()
    if memory:
        found.grown = memory() - first
        if found.grown > GROWTH:
            found.wrong.append(f"memory grew by {found.grown / 1e6:.0f} MB")
    return found


def one(target: Target, seed: int) -> tuple[bytes, bytes, bool]:
    """Send one damaged request; return it, what came back, and whether the server has closed."""
    source = random.Random(seed)
    request = damaged(source, target.requests())
    received, closed = talk(target.port, pieces(source, request), moment=MOMENT)
    return request, received, closed


def damaged(source: random.Random, requests: list[bytes]) -> bytes:
    """Return one of the requests with one to five things done to it."""
    request = bytearray(source.choice(requests))
    for _ in range(source.choice([1, 1, 1, 2, 3, 5])):
        at = source.randrange(len(request) + 1)
        end = min(len(request), at + source.choice([1, 1, 2, 8, 40]))
        match source.randrange(7):
            case 0 if at < len(request):
                request[at] = source.randrange(256)
            case 1:
                del request[at:end]
            case 2:
                request[at:at] = request[at:end] * source.choice([1, 2, 50])
            case 3:
                del request[at:]
            case 4:
                request[at:at] = bytes(source.randrange(256) for _ in range(source.choice([1, 4, 64])))
            case 5:
                request[at:at] = source.choice(requests)[: source.choice([10, 60, 1000])]
            case _:
                request[at:at] = source.choice(TOKENS)
    return bytes(request)


def pieces(source: random.Random, request: bytes) -> list[bytes]:
    """Return the request as it is sent: mostly at once, sometimes in parts."""
    if source.random() < 0.7 or len(request) < 2:
        return [request]
    cuts = sorted(source.randrange(len(request)) for _ in range(source.choice([1, 2, 5])))
    return [request[start:end] for start, end in zip([0, *cuts], [*cuts, len(request)], strict=True)]


def talk(port: int, parts: list[bytes], *, moment: float) -> tuple[bytes, bool]:
    """Send parts, read until nothing comes for a moment, say goodbye; return what came and whether it was closed."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                connection.sendall(part)
            for patience in (moment, PATIENCE):
                connection.settimeout(patience)
                try:
                    while piece := connection.recv(65536):
                        received += piece
                    return received, True
                except TimeoutError:
                    connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError) as error:
            return received, not isinstance(error, TimeoutError)
    return received, False


def judge(found: Found, request: bytes, received: bytes, closed: bool) -> None:
    """Note what came back, and what must not."""
    codes = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
    found.sent += 1
    found.answers.update(codes)
    found.silent += not codes
    if received and not received.startswith(b"HTTP/1.1 "):
        found.wrong.append(f"no HTTP came back: {received[:80]!r} to {request[:300]!r}")
    if any(code >= 500 for code in codes):
        found.wrong.append(f"{codes} to {request[:300]!r}")
    if b"Traceback" in received:
        found.wrong.append(f"a traceback came back to {request[:300]!r}")
    if not closed:
        found.wrong.append(f"the connection stays open after {request[:300]!r}")


def check_whole(target: Target, found: Found) -> None:
    """Note it if a whole request is not answered as it should be."""
    received, _ = talk(target.port, [target.whole()], moment=PATIENCE)
    if not re.match(rb"HTTP/1\.1 [24]\d\d ", received):
        found.wrong.append(f"a whole request got {received[:80]!r} after {found.sent:,} damaged ones")


def resident(pid: int) -> int:
    """Return the bytes of memory of a process and its children."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
