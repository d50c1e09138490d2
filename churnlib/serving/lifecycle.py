"""The life of the server's processes: who ends on which signal, so that nothing in flight is lost and nobody is left.

LitServe 0.2.19 handles no SIGTERM: its main process dies and leaves the workers serving the port. Here the main process
turns the first SIGTERM or SIGINT into the ``KeyboardInterrupt`` on which LitServe drains: the HTTP processes finish
what they have, then the others end. The workers and the queues' manager do not hear signals that a terminal or a
service manager sends to all processes at once; and each child asks the kernel to end with its parent, so that even
``kill -9`` leaves none.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import litserve

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_ENDING = (signal.SIGTERM, signal.SIGINT)


class WorkerProcess(litserve.Callback):
    """Prepares a worker process before it imports the model's libraries."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def on_before_setup(self, *args: Any, **kwargs: Any) -> None:
        """Limit the threads of numeric libraries, leave signals to the main process, and end with it.

        One small table needs no thread pool: more threads per worker only make workers fight for the cores. The
        variables are read when torch and polars are imported, which happens in ``setup``; a user's own stay.
        """
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
            os.environ.setdefault(variable, str(self.threads))
        # Blocked, not ignored: polars takes SIGINT over with a handler of its own when it is imported.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        die_with_parent()
        log_to_stderr()


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes forked within the block never hear of SIGTERM and SIGINT; this process hears of them after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """Within the block, the first SIGTERM or SIGINT raises ``KeyboardInterrupt``; later ones do not disturb the ending.

    Enter it after polars was imported, whose own SIGINT handler would keep the signal from waking a waiting process.
    Children forked within the block inherit the handler. In them it ends the process quietly: uvicorn, once it has
    drained, raises the signal again for whoever had the handler before.
    """
    main = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != main:
            sys.exit(0)
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {each: signal.signal(each, stop) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextmanager
def children_follow() -> Iterator[None]:
    """Within the block, forked children (HTTP processes, the queues' manager) end when this process does."""
    active = [True]
    os.register_at_fork(after_in_child=lambda: die_with_parent() if active else None)  # cannot be taken back
    try:
        yield
    finally:
        active.clear()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux only; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it ended before the request was made
        os._exit(1)


def end_children() -> None:
    """Kill what is left of this process's children; called when nobody waits for an answer any more."""
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def log_to_stderr() -> None:
    """Print what churnlib logs, warnings and above; for processes that are servers, not for a library's user."""
    logger = logging.getLogger("churnlib")
    if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
