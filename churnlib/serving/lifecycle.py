"""The life of the server's processes: who ends on which signal, so that nothing in flight is lost and nobody is left.

LitServe 0.2.19 handles no SIGTERM: its main process dies and leaves the workers serving the port. Here the main process
turns the first SIGTERM or SIGINT into the ``KeyboardInterrupt`` on which LitServe drains (the HTTP processes finish what
they have, then the workers end); workers ignore the Ctrl-C that a terminal sends to all; and each child asks the
kernel to end with its parent, so that even ``kill -9`` leaves none.
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

import litserve

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class WorkerProcess(litserve.Callback):
    """Prepares a worker process before it imports the model's libraries."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def on_before_setup(self, *args: object, **kwargs: object) -> None:
        """Limit the threads of numeric libraries, leave Ctrl-C to the main process, and end with it.

        One small table needs no thread pool: more threads per worker only make workers fight for the cores. The
        variables are read when torch and polars are imported, which happens in ``setup``; a user's own stay.
        """
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
            os.environ.setdefault(variable, str(self.threads))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with_parent()
        log_to_stderr()


def log_to_stderr() -> None:
    """Print what churnlib logs, warnings and above; for processes that are servers, not for a library's user."""
    logger = logging.getLogger("churnlib")
    if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux only; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it ended before the request was made
        os._exit(1)


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """Within the block, the first SIGTERM or SIGINT raises ``KeyboardInterrupt``; later ones do not disturb the ending.

    Children forked within the block inherit the handler. In them it ends the process quietly: uvicorn, once it has
    drained, raises the signal again for whoever had the handler before.
    """
    main = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != main:
            sys.exit(0)
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        for each in previous:
            signal.signal(each, stop)
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


@contextmanager
def children_follow() -> Iterator[None]:
    """Within the block, forked children (LitServe's HTTP processes and its queue manager) end when this process does."""
    active = [True]
    os.register_at_fork(after_in_child=lambda: die_with_parent() if active else None)  # cannot be taken back
    try:
        yield
    finally:
        active.clear()


def end_children(patience: float = 5.0) -> None:
    """End what is left of this process's children: politely, and after ``patience`` seconds for certain."""
    for child in multiprocessing.active_children():
        child.terminate()
        child.join(patience)
        if child.is_alive():
            child.kill()
            child.join(patience)
