"""The first process: it binds the port, starts the others, and sees to it that they live as long as they should.

It imports nothing that computes, so that it starts at once, stays small and cannot fail with a model. A child that dies
is started again; one that dies before it was ready, several times on end, ends the server. SIGTERM and SIGINT let the
HTTP processes answer what they have accepted and then end everything; SIGHUP has all processes read the bundle again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.errors import ChurnlibError
from churnlib.serving.lifecycle import BACKLOG, ENDING, Channel
from churnlib.serving.metric_folder import prepare_folder, remove_folder
from churnlib.serving.options import ServeOptions

if TYPE_CHECKING:
    from churnlib.serving.metrics import Metrics

_SETUP_SECONDS = 300.0
"""Time that a process has to load the bundle."""

_MOST_FAILURES = 5
"""Deaths on end before a process was ready, after which it is not started again."""

_MARGIN_SECONDS = 3.0
"""Time beyond the drain that a process has to end by itself, and a worker after that."""

_log = logging.getLogger(__name__)


class ServerError(ChurnlibError):
    """The server cannot start, or cannot go on."""


@dataclass(slots=True)
class Child:
    """One process.

    Attributes:
        role: http or worker.
        number: Among those of its role.
        process: As it runs now; None while it waits to be started again.
        channel: To it.
        is_ready: Whether it has said so.
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
    was_ready: bool = False
    failures: int = 0
    started: float = 0.0
    due: float = 0.0
    bundle: str = ""

    def __str__(self) -> str:
        return f"{self.role} {self.number}"


@dataclass(slots=True)
class Change:
    """A change of the model that all processes follow.

    Attributes:
        bundle: The folder that is read; None for the way back.
        asked_by: The HTTP process and number of the order; None for SIGHUP.
        children: Who follows it.
        waiting_for: Who of them has not answered yet.
        catches_up: Whether it is one that the other processes have made already, before these were there.
        number: Of all changes; answers name it.
        is_commit: Whether the answers are those to ``commit``.
        failed: What went wrong.
        version: Of the model.
    """

    bundle: str | None
    asked_by: tuple[Child, int] | None
    children: list[Child]
    waiting_for: list[Child]
    catches_up: bool = False
    number: int = 0
    is_commit: bool = False
    failed: str = ""
    version: str = ""


class Supervisor:
    """Runs a server.

    Args:
        options: Of the server.
        on_ready: Called once customers can be answered, with what is served.
    """

    def __init__(
        self,
        options: ServeOptions,
        *,
        on_ready: Callable[[dict[str, Any]], None] = lambda identity: None,
    ) -> None:
        self.options = options
        self._on_ready = on_ready
        self._bundle, self._previous = os.path.realpath(options.bundle), ""
        self._folder = Path()
        self._listening: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        http = [Child("http", number) for number in range(options.processes)]
        self._children = [*http, *(Child("worker", number) for number in range(options.workers))]
        self._served: dict[str, Any] = {}
        self._announced = self._is_draining = False
        self._kill_at = float("inf")
        self._numbers = Path()
        self._metrics: Metrics | None = None
        self._change: Change | None = None
        self._changes = 0
        self._signals: list[int] = []

    def run(self) -> int:
        """Serve until a signal ends it; returns the exit status.

        Raises:
            ServerError: If the port is taken, a bundle is bad, or a process keeps dying.
        """
        self._listening = listen(self.options.host, self.options.port)
        self._folder = Path(tempfile.mkdtemp(prefix="churnlib-"))  # mode 0700
        self._numbers = prepare_folder()
        try:
            with self._signals_heard():
                for child in self._children:
                    self._start(child)
                while self._children and not self._is_over():
                    self._turn()
        finally:
            self._end_all()
            shutil.rmtree(self._folder, ignore_errors=True)
            remove_folder(self._numbers)
        return 0

    # --- processes --------------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        mine, its = socket.socketpair()
        child.channel, child.is_ready = Channel(mine), False
        child.started = time.monotonic()
        if (
            self._announced and not Path(self._bundle).is_dir()
        ):  # the link led to another folder since, and this one went
            self._bundle = self._configured()
        child.bundle = self._bundle
        told = {
            "options": {**dataclasses.asdict(self.options), "bundle": self._bundle},
            "parent": os.getpid(),
            "control": its.fileno(),
            "number": child.number,
            "restarted": child.was_ready,
            "socket": str(self._folder / f"worker-{child.number}.sock"),
            "sockets": [str(self._folder / f"worker-{n}.sock") for n in range(self.options.workers)],
        }
        kept = [its.fileno()]
        if child.role == "http" and self._listening is not None:
            kept.append(self._listening.fileno())
            told["listening"] = self._listening.fileno()
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-P", "-m", f"churnlib.serving.{child.role}_process", json.dumps(told)]
        child.process = subprocess.Popen(
            command, pass_fds=kept, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
        )
        its.close()
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _reap(self) -> None:
        """Look who has died, and see to what follows."""
        for child in list(self._children):
            if child.process is None or child.process.poll() is None:
                continue
            code, pid = child.process.returncode, child.process.pid
            self._forget(child)
            if self._is_draining:
                self._children.remove(child)
                continue
            if self._change is not None and child in self._change.waiting_for:
                if not self._change.is_commit:  # else its successor reads the new model
                    self._change.failed = self._change.failed or f"the {child.role} process ended meanwhile"
                self._settle_change(child)
            if child.is_ready:
                child.failures = 0
            else:
                child.failures += 1
                if child.failures >= _MOST_FAILURES:
                    raise ServerError(f"the {child.role} process keeps ending before it is ready (status {code})")
            quick = time.monotonic() - child.started < 1.0
            child.due = time.monotonic() + (0.1 * 2**child.failures if quick or child.failures else 0.0)
            child.is_ready = False
            _log.error("the %s process %d ended (status %d) and is started again", child.role, pid, code)
            self._count_restart(child.role, pid)

    def _count_restart(self, role: str, pid: int) -> None:
        """Keep what the dead process has counted, and count its death."""
        from churnlib.serving.metric_files import mark_dead

        def add(metrics: Metrics) -> None:
            mark_dead(pid, self._numbers)
            metrics.restarted(role)

        self._count(add)

    def _count(self, add: Callable[[Metrics], None]) -> None:
        """Add to the numbers that are this process's own."""
        from churnlib.serving.metrics import Metrics

        try:
            if self._metrics is None:
                self._metrics = Metrics(folder=self._numbers)
            add(self._metrics)
            self._metrics.flush()
        except Exception as error:  # a full disk, say: no reason to let customers wait
            _log.error("numbers of the server are lost: %s", error)

    def _forget(self, child: Child) -> None:
        if child.channel is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)
            child.channel.close()
        child.channel = child.process = None

    def _turn(self) -> None:
        """Wait until something happens, and do what follows."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None and child.due <= now and not self._is_draining:
                self._start(child)
            elif child.process is not None and not child.is_ready and now - child.started > _SETUP_SECONDS:
                child.process.kill()
        due = [child.due - now for child in self._children if child.process is None]
        for key, _ in self._selector.select(max(0.0, min([1.0, *due]))):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            else:
                self._listen_to(key.data)
        self._reap()
        signals, self._signals = self._signals, []
        for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._begin_drain()
            elif number == signal.SIGHUP:
                self._begin_change(self._configured(), None)

    def _listen_to(self, child: Child) -> None:
        if child.channel is None:
            return
        try:
            for message in child.channel.heard():
                self._heard(child, message)
        except EOFError:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.channel)

    def _heard(self, child: Child, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            child.is_ready = child.was_ready = True
            child.failures = 0
            self._catch_up()
            self._served.update({key: value for key, value in message.items() if key != "event"})
            if not self._announced and all(one.is_ready for one in self._children if one.role == "http"):
                self._announced = True
                self._on_ready(self._served)
        elif event == "failed":
            if not self._announced:
                raise ServerError(message["message"])
            _log.error("the %s process cannot load the model: %s", child.role, message["message"])
        elif event == "order":
            self._order(child, message)
        elif event == "done" and self._is_awaited(child, message):
            assert self._change is not None
            if message["ok"]:
                self._change.version = message.get("version") or self._change.version
            elif self._change.is_commit and child.process is not None:
                child.process.kill()  # it cannot follow the others, but its successor reads the new model
            else:
                self._change.failed = self._change.failed or message["message"]
            self._settle_change(child)

    # --- changes of the model ---------------------------------------------------------------------------------------

    def _configured(self) -> str:
        """Return the folder that the option leads to now: links are followed once, for all processes."""
        return os.path.realpath(self.options.bundle)

    def _is_awaited(self, child: Child, message: dict[str, Any]) -> bool:
        """Whether an answer belongs to what is waited for, and not to the end of a change before it."""
        change = self._change
        if change is None or child not in change.waiting_for or message["change"] != change.number:
            return False
        return change.is_commit is (message["word"] == "commit")

    def _order(self, child: Child, message: dict[str, Any]) -> None:
        bundle = None if message["word"] == "rollback" else os.path.realpath(message["bundle"] or self.options.bundle)
        if self._change is not None:
            self._tell_outcome((child, message["number"]), ok=False, message="another change is under way")
        else:
            self._begin_change(bundle, (child, message["number"]))

    def _begin_change(self, bundle: str | None, asked_by: tuple[Child, int] | None) -> None:
        """Have all processes prepare a model; none serves it until all have it."""
        if self._change is not None or self._is_draining:
            return
        children = [child for child in self._children if child.is_ready]
        self._prepare(Change(bundle, asked_by, children, list(children)))

    def _catch_up(self) -> None:
        """Have processes that were starting while the others changed the model follow them."""
        late = [child for child in self._children if child.is_ready and child.bundle != self._bundle]
        if late and self._change is None and not self._is_draining:
            self._prepare(Change(self._bundle, None, late, list(late), catches_up=True))

    def _prepare(self, change: Change) -> None:
        self._changes += 1
        change.number = self._changes
        self._change = change
        word = "prepare_rollback" if change.bundle is None else "prepare"
        for child in change.children:
            assert child.channel is not None
            child.channel.tell(do=word, change=change.number, bundle=change.bundle or self._previous)

    def _settle_change(self, child: Child) -> None:
        """One process has answered; go on once all have."""
        change = self._change
        assert change is not None
        change.waiting_for.remove(child)
        if change.waiting_for:
            return
        if not change.is_commit:
            children = [one for one in change.children if one.is_ready and one.channel is not None]
            if not change.failed:
                if not change.catches_up:
                    self._previous, self._bundle = self._bundle, change.bundle or self._previous
                change.is_commit, change.waiting_for = True, list(children)
            for one in children:
                assert one.channel is not None
                one.channel.tell(do="abort" if change.failed else "commit", change=change.number)
                if not change.failed:
                    one.bundle = self._bundle
            if change.waiting_for:
                return
        self._end_change(change)

    def _end_change(self, change: Change) -> None:
        self._change = None
        if change.failed:
            _log.error("the model was not changed: %s", change.failed)
        if not change.catches_up:
            self._count(lambda metrics: metrics.reloaded("refused" if change.failed else "ok"))
        elif change.failed:  # their successors start with the right one
            for one in change.children:
                if one.process is not None:
                    one.process.kill()
        self._tell_outcome(change.asked_by, ok=not change.failed, message=change.failed, version=change.version)
        self._catch_up()

    def _tell_outcome(self, asked_by: tuple[Child, int] | None, **outcome: Any) -> None:
        if asked_by is not None and asked_by[0].channel is not None:
            asked_by[0].channel.tell(do="done", number=asked_by[1], **outcome)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _begin_drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        self._children = [child for child in self._children if child.process is not None]
        assert self._listening is not None
        time_left = self.options.drain_delay + self.options.drain_timeout + _MARGIN_SECONDS
        self._kill_at = time.monotonic() + time_left
        for child in self._children:
            if child.role == "http" and child.channel is not None:
                child.channel.tell(do="drain")
        self._listening.close()  # or the kernel would take clients until the end whom nobody accepts

    def _is_over(self) -> bool:
        """Whether nobody waits for an answer any more; the workers are ended last."""
        if not self._is_draining:
            return False
        return not any(child.role == "http" for child in self._children) or time.monotonic() > self._kill_at

    def _end_all(self) -> None:
        """Leave no process behind."""
        if self._listening is not None:
            self._listening.close()
        for child in self._children:
            if child.channel is not None:
                child.channel.close()  # a worker ends by that
        until = time.monotonic() + _MARGIN_SECONDS  # for the last records
        for child in self._children:
            if child.process is None:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()) if child.role == "worker" else 0)
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()

    @contextlib.contextmanager
    def _signals_heard(self) -> Any:
        """Within the block, signals wake the loop; they are acted upon between two turns, not within one."""
        read, write = socket.socketpair()
        read.setblocking(False)
        write.setblocking(False)
        before = signal.set_wakeup_fd(write.fileno())
        handlers = {n: signal.signal(n, lambda n, _: self._signals.append(n)) for n in (*ENDING, signal.SIGCHLD)}
        self._selector.register(read, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._selector.unregister(read)
            read.close()
            write.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that the kernel already takes clients for; they wait until a process is ready.

    Raises:
        ServerError: If that is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ServerError(f"port {port} is in use; choose another with port=...") from None
        raise ServerError(f"cannot listen on {host}:{port} ({error.strerror or error})") from None
    opened.set_inheritable(True)
    return opened
