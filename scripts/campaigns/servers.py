"""A real server, started for a campaign, and what it says of itself."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.bench_serving import answers
from scripts.campaigns.processes import descendants, name_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Setting:
    """What a campaign has.

    Attributes:
        bundle: Of the model.
        rows: Customers to ask about.
        folder: For what it writes.
        words: Options of the server.
    """

    bundle: str | Path
    rows: Sequence[dict[str, Any]]
    folder: Path
    words: tuple[str, ...] = ()

    def and_words(self, *words: str) -> Setting:
        """Return the same with more options."""
        return replace(self, words=(*self.words, *words))

    @contextmanager
    def server(self, *words: str, bundle: str | Path | None = None, prefix: Sequence[str] = ()) -> Iterator[Server]:
        """Run a server of the bundle, or another, with the options and more; leaves nothing of it."""
        with server(bundle or self.bundle, self.folder, *self.words, *words, prefix=prefix) as running:
            yield running


@dataclass
class Server:
    """A running server.

    Attributes:
        port: Of this machine.
        process: That was started; the first of the server, or what that runs in.
        output: File of what it prints.
        main_pid: Of its first process.
        roles: How many processes of each role it should have.
        spares: How many of each role should wait.
    """

    port: int
    process: subprocess.Popen[bytes]
    output: Path
    main_pid: int
    roles: dict[str, int]
    spares: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def children(self, role: str) -> list[int]:
        """Return the living processes that serve in a role, http or worker; spares do not, nor who still loads."""
        return self.called(f"churn {role}")

    def called(self, name: str) -> list[int]:
        """Return the processes that call themselves so."""
        return [pid for pid in descendants(self.main_pid) if name_of(pid) == name]

    def wait_until_ready(self, patience: float = 120.0) -> None:
        """Wait until all HTTP processes have the model, which the server says itself."""
        until = time.monotonic() + patience
        while not (answers(f"{self.url}/health") and "Serving" in self.output.read_text()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the server does not start:\n{self.output.read_text()}")
            time.sleep(0.02)

    def waiting(self, role: str) -> list[int]:
        """Return the processes that have imported everything and wait for one of a role to die."""
        return self.called(f"spare {role}")

    def wait_until_whole(self, *, spares: bool = True, patience: float = 120.0) -> None:
        """Wait until all processes serve, and the spares if they are wanted."""
        wanted = self.spares if spares else 0
        until = time.monotonic() + patience
        while time.monotonic() < until:
            names = Counter(map(name_of, descendants(self.main_pid)))
            if all(
                names[f"churn {role}"] == number and names[f"spare {role}"] >= wanted * (number > 0)
                for role, number in self.roles.items()
            ):
                return
            time.sleep(0.05)
        raise SystemExit(f"the server lacks processes:\n{self.output.read_text()}")


@contextmanager
def server(bundle: str | Path, folder: Path, *words: str, prefix: Sequence[str] = ()) -> Iterator[Server]:
    """Start a server in a process group of its own; yields it at once, and leaves nothing of it."""
    port = free_port()
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
    told = dict(word.split("=", 1) for word in words)
    roles = {"http": int(told.get("processes", 1)), "worker": int(told.get("workers", 1))}
    found = Server(port, process, output, process.pid, roles, int(told.get("spares", 1)))
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


def answers_and_restarts(url: str, role: str) -> tuple[int, int]:
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


def statuses(url: str) -> dict[int, int]:
    """Return the answers that the server has counted, by status."""
    found: dict[int, int] = {}
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        for line in response.read().decode().splitlines():
            if re.match(r"churn\w*_requests_total\{", line):
                code = int(re.findall(r'"(\d{3})"', line)[0])
                found[code] = found.get(code, 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
