"""What the server's processes have in common: they end with their parent, hear no signals but from it, and log alike.

The supervisor alone decides about life and death. A terminal or a service manager that signals all processes at once
reaches only it, since the others block the signals; and each child asks the kernel to end with its parent, so that even
``kill -9`` leaves none.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
BACKLOG = 2048
"""Clients that the kernel lets wait for a process to take them."""

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NUMERIC = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def become_child(parent: int, threads: int) -> None:
    """Prepare a child process before it imports what computes.

    One small table needs no thread pool: more threads per process only make processes fight for the cores. The
    variables are read when torch and polars are imported; a user's own stay. Signals are blocked, not ignored: polars
    takes SIGINT over with a handler of its own when it is imported.

    Args:
        parent: Its process id.
        threads: Of the numeric libraries.
    """
    for variable in _NUMERIC:
        os.environ.setdefault(variable, str(threads))
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    die_with_parent(parent)
    log_to_stderr()


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends (Linux only; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request was made
        os._exit(1)


def log_to_stderr() -> None:
    """Print what churnlib logs, warnings and above; for processes that are servers, not for a library's user."""
    logger = logging.getLogger("churnlib")
    if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False


class Channel:
    """One end of a line between the supervisor and a child: one JSON object per line.

    Args:
        end: A connected stream socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._buffer = b""

    def fileno(self) -> int:
        """Return what a selector waits on."""
        return self.end.fileno()

    def tell(self, **message: Any) -> None:
        """Send a message; nothing happens if the other end is gone."""
        with contextlib.suppress(OSError):
            self.end.sendall(json.dumps(message).encode() + b"\n")

    def heard(self) -> Iterator[dict[str, Any]]:
        """Read once and yield the messages that are whole.

        Raises:
            EOFError: If the other end is gone.
        """
        try:
            data = self.end.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise EOFError
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def next(self) -> dict[str, Any]:
        """Wait for one message, and leave those behind it to be heard.

        Raises:
            EOFError: If the other end is gone.
        """
        line = b""
        while not line.endswith(b"\n"):
            byte = self.end.recv(1)
            if not byte:
                raise EOFError
            line += byte
        return json.loads(line)

    def close(self) -> None:
        """Close this end."""
        self.end.close()
