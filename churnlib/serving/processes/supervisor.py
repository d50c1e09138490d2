"""The first process: it binds the port, starts the others, and sees to it that they live as long as they should.

It imports nothing that computes, so that it starts at once, stays small and cannot fail with a model. A child that dies
is started again; one that dies before it was ready, several times on end, ends the server. SIGTERM and SIGINT let the
HTTP processes answer what they have accepted and then end everything; SIGHUP has all processes read the bundle again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.changes import Changes
from churnlib.serving.processes.children import Child, Children, ServerError
from churnlib.serving.processes.lifecycle import BACKLOG, ENDING
from churnlib.serving.seeing.metric_folder import prepare_folder, remove_folder

if TYPE_CHECKING:
    from churnlib.serving.seeing.metrics import Metrics

_MARGIN_SECONDS = 3.0
"""Time beyond the drain that a process has to end by itself, and a worker after that."""

_TURN_SECONDS = 1.0
"""Longest time between two looks at everything."""

_log = logging.getLogger(__name__)


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
        self._selector = selectors.DefaultSelector()
        self._served: dict[str, Any] = {}
        self._announced = self._is_draining = False
        self._kill_at = float("inf")
        self._signals: list[int] = []
        self._metrics: Metrics | None = None

    def run(self) -> int:
        """Serve until a signal ends it; returns the exit status.

        Raises:
            ServerError: If the port is taken, a bundle is bad, or a process keeps dying.
        """
        self._listening = listen(self.options.host, self.options.port)
        folder = Path(tempfile.mkdtemp(prefix="churnlib-"))  # mode 0700
        self._numbers = prepare_folder()
        self._children = Children(self.options, folder, self._listening, self._selector)
        self._changes = Changes(self.options, self._children, self._count)
        try:
            with self._signals_heard():
                while self._children.all and not self._is_over():
                    self._turn()
        finally:
            self._listening.close()
            self._children.end_all(_MARGIN_SECONDS)
            shutil.rmtree(folder, ignore_errors=True)
            remove_folder(self._numbers)
        return 0

    def _turn(self) -> None:
        """Start whom it is time to start, wait until something happens, and do what follows."""
        if not self._is_draining:
            self._children.start_due(self._changes.bundle)
            self._children.start_spares()
        for key, _ in self._selector.select(self._children.pause(_TURN_SECONDS)):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            else:
                for message in self._children.heard(key.data):
                    self._heard(key.data, message)
        for child, pid, code in self._children.dead():
            self._died(child, pid, code)
        signals, self._signals = self._signals, []
        for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._begin_drain()
            elif number == signal.SIGHUP:
                self._changes.hang_up()
        self._changes.go_on()

    # --- what children say and do -----------------------------------------------------------------------------------

    def _heard(self, child: Child, message: dict[str, Any]) -> None:
        event = message.pop("event")
        if event == "ready":
            child.is_ready = child.was_ready = True
            child.failures = 0
            self._served.update(message)
            self._children.backend = self._served.get("backend", "")
            if not self._announced and all(one.is_ready for one in self._children.of("http")):
                self._announced = True
                self._changes.open()
                self._on_ready(self._served)
        elif event == "failed":
            if not self._announced:
                raise ServerError(message["message"])
            _log.error("the %s process cannot load the model: %s", child.role, message["message"])
        elif event == "order":
            self._changes.order(child, message)
        elif event == "done":
            self._changes.done(child, message)

    def _died(self, child: Child, pid: int, code: int) -> None:
        if self._is_draining:
            self._children.all.remove(child)
            return
        self._changes.gone(child)
        self._children.check(child, code)
        _log.error("the %s process %d ended (status %d) and is started again", child.role, pid, code)
        self._count_restart(child.role, pid)

    def _count_restart(self, role: str, pid: int) -> None:
        """Keep what the dead process has counted, and count its death."""
        from churnlib.serving.seeing.metric_files import mark_dead

        def add(metrics: Metrics) -> None:
            mark_dead(pid, self._numbers)
            metrics.restarted(role)

        self._count(add)

    def _count(self, add: Callable[[Metrics], None]) -> None:
        """Add to the numbers that are this process's own."""
        from churnlib.serving.seeing.metrics import Metrics

        try:
            if self._metrics is None:
                self._metrics = Metrics(folder=self._numbers)
            add(self._metrics)
            self._metrics.flush()
        except Exception as error:  # a full disk, say: no reason to let customers wait
            _log.error("numbers of the server are lost: %s", error)

    # --- the end ----------------------------------------------------------------------------------------------------

    def _begin_drain(self) -> None:
        if self._is_draining:
            return
        self._is_draining = True
        self._changes.close()
        self._children.end_spares()
        self._children.all = [child for child in self._children.all if child.process is not None]
        time_left = self.options.drain_delay + self.options.drain_timeout + _MARGIN_SECONDS
        self._kill_at = time.monotonic() + time_left
        for child in self._children.of("http"):
            child.tell(do="drain")
        self._listening.close()  # or the kernel would take clients until the end whom nobody accepts

    def _is_over(self) -> bool:
        """Whether nobody waits for an answer any more; the workers are ended last."""
        return self._is_draining and (not self._children.of("http") or time.monotonic() > self._kill_at)

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[None]:
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


__all__ = ["ServerError", "Supervisor", "listen"]
