"""The processes that the supervisor has: each is started, watched, and started again when it dies.

Beside those that serve there are spares, of each role as many as the options say: processes that have imported what
they will need and wait (:mod:`churnlib.serving.processes.standby`). Who dies is followed by a spare where there is one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnlib.errors import ChurnlibError
from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.lifecycle import Channel

ROLES = ("http", "worker")

_SETUP_SECONDS = 300.0
"""Time that a process has to load the bundle."""

_MOST_FAILURES = 5
"""Deaths on end before a process was ready, after which it is not started again."""

_LONGEST_PAUSE = 60.0
"""Seconds between two starts of a spare that keeps dying: the server does without it."""

_log = logging.getLogger(__name__)


class ServerError(ChurnlibError):
    """The server cannot start, or cannot go on."""


@dataclass(slots=True, eq=False)
class Spare:
    """A process that has no place yet.

    Attributes:
        process: As it runs.
        channel: To it.
    """

    process: subprocess.Popen[bytes]
    channel: Channel


@dataclass(slots=True, eq=False)
class Child:
    """A place of the server, and the process that has it.

    Attributes:
        role: http or worker.
        number: Among those of its role.
        process: As it runs now; None while it waits to be started again.
        channel: To it.
        is_ready: Whether it has said so.
        serves: Whether it was told to answer customers.
        was_ready: Whether one before it, or itself, was.
        failures: Deaths on end before it was ready.
        started: When, on the monotonic clock.
        due: When it is to be started again.
        bundle: Folder of the model that it serves.
    """

    role: str
    number: int
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    is_ready: bool = False
    serves: bool = False
    was_ready: bool = False
    failures: int = 0
    started: float = 0.0
    due: float = 0.0
    bundle: str = ""

    def tell(self, **message: Any) -> None:
        """Send it a message; nothing happens where it is gone."""
        if self.channel is not None:
            self.channel.tell(**message)

    def kill(self) -> None:
        """End it at once; its successor starts anew."""
        if self.process is not None:
            self.process.kill()


class Children:
    """All processes but the first.

    Args:
        options: Of the server.
        folder: Where the workers listen.
        listening: The port's socket.
        selector: Is given the channels, with the child as their data.

    Attributes:
        all: Every place of the server.
        backend: What answers, once a process has said it.
    """

    def __init__(
        self, options: ServeOptions, folder: Path, listening: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        self._options, self._folder, self._listening, self._selector = options, folder, listening, selector
        amounts = {"http": options.processes, "worker": options.workers}
        self.all = [Child(role, number) for role in ROLES for number in range(amounts[role])]
        self._spares: dict[str, list[Spare]] = {role: [] for role in ROLES if amounts[role]}
        self._spare_failures, self._spare_due = 0, 0.0
        self.backend = ""

    def of(self, role: str) -> list[Child]:
        """Return those of a role."""
        return [child for child in self.all if child.role == role]

    @property
    def ready(self) -> list[Child]:
        """Those that have loaded a model."""
        return [child for child in self.all if child.is_ready]

    def start_due(self, bundle: Callable[[], str]) -> None:
        """Start who is to be started now, and end whom loading takes too long.

        Args:
            bundle: Returns the folder of the model that is served.
        """
        now = time.monotonic()
        for child in self.all:
            if child.process is None and child.due <= now:
                self._start(child, bundle())
            elif child.process is not None and not child.is_ready and now - child.started > _SETUP_SECONDS:
                child.process.kill()

    def start_spares(self) -> None:
        """Have spares ready, once all have begun to serve: until then they would only take the processor from them."""
        if not all(child.was_ready for child in self.all) or time.monotonic() < self._spare_due:
            return
        for role, waiting in self._spares.items():
            while len(waiting) < self._options.spares:
                waiting.append(self._new(role))

    def pause(self, most: float) -> float:
        """Return the seconds until somebody is to be started, at most so many."""
        now = time.monotonic()
        due = [child.due - now for child in self.all if child.process is None]
        return max(0.0, min([most, *due]))

    def heard(self, child: Child) -> Iterator[dict[str, Any]]:
        """Yield what a child says; nothing once it has ended."""
        if child.channel is None:
            return
        try:
            yield from child.channel.heard()
        except EOFError:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)

    def dead(self) -> Iterator[tuple[Child, int, int]]:
        """Yield who has died, its process id and its status; each is due to be started again."""
        self._look_at_spares()
        for child in list(self.all):
            if child.process is None or child.process.poll() is None:
                continue
            code, pid = child.process.returncode, child.process.pid
            self._leave(child)
            child.failures = 0 if child.is_ready else child.failures + 1
            quick = time.monotonic() - child.started < 1.0
            child.due = time.monotonic() + (0.1 * 2**child.failures if quick or child.failures else 0.0)
            child.is_ready = False
            yield child, pid, code

    def check(self, child: Child, code: int) -> None:
        """Refuse to start a child again that keeps dying.

        Raises:
            ServerError: If it does.
        """
        if child.failures >= _MOST_FAILURES:
            raise ServerError(f"the {child.role} process keeps ending before it is ready (status {code})")

    def end_spares(self) -> None:
        """Leave no spare; those of HTTP have the port's socket."""
        spares = [spare for waiting in self._spares.values() for spare in waiting]
        self._spares = {}
        for spare in spares:
            spare.process.kill()
        for spare in spares:
            spare.process.wait()
            spare.channel.close()

    def end_all(self, seconds: float) -> None:
        """Leave no process behind; workers have some time to write what they have recorded."""
        self.end_spares()
        for child in self.all:
            if child.channel is not None:
                child.channel.close()  # a worker ends by that
        until = time.monotonic() + seconds
        for child in self.all:
            if child.process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()) if child.role == "worker" else 0)
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()

    def _start(self, child: Child, bundle: str) -> None:
        """Let a process take a place: a spare, or a new one that finds its orders when it has begun."""
        waiting = self._spares.get(child.role)
        taken = waiting.pop(0) if waiting else self._new(child.role)
        child.process, child.channel = taken.process, taken.channel
        child.is_ready = child.serves = False
        child.started, child.bundle = time.monotonic(), bundle
        child.tell(
            bundle=bundle,
            number=child.number,
            restarted=child.was_ready,
            socket=self._socket(child.number),
            sockets=[self._socket(number) for number in range(self._options.workers)],
        )
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _socket(self, number: int) -> str:
        return str(self._folder / f"worker-{number}.sock")

    def _new(self, role: str) -> Spare:
        """Start a process, which waits for its orders."""
        mine, its = socket.socketpair()
        told = {
            "options": dataclasses.asdict(self._options),
            "parent": os.getpid(),
            "control": its.fileno(),
            "backend": self.backend,
        }
        kept: Sequence[int] = [its.fileno()]
        if role == "http":
            kept, told["listening"] = [*kept, self._listening.fileno()], self._listening.fileno()
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-P", "-m", f"churnlib.serving.processes.{role}_process", json.dumps(told)]
        process = subprocess.Popen(
            command, pass_fds=kept, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
        )
        its.close()
        return Spare(process, Channel(mine))

    def _leave(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)
            child.channel.close()
        child.channel = child.process = None

    def _look_at_spares(self) -> None:
        for role, waiting in self._spares.items():
            for spare in [spare for spare in waiting if spare.process.poll() is not None]:
                waiting.remove(spare)
                spare.channel.close()
                self._spare_failures += 1
                pause = min(_LONGEST_PAUSE, 2.0**self._spare_failures)
                self._spare_due = time.monotonic() + pause
                status = spare.process.returncode
                _log.warning("a waiting %s process ended (status %d); another begins in %.0f s", role, status, pause)


__all__ = ["Child", "Children", "ServerError"]
