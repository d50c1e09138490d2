"""Work that goes on beside the requests: one thread per job, started late, ended with the job done to its last item."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable

TOLD_SECONDS = 60.0
"""Least time between two lines in the log about a job that fails."""

_log = logging.getLogger(__name__)


class Background:
    """Calls a job again and again in a thread of its own.

    Nothing runs before :meth:`start`, so that objects may be made before a process forks. A job that raises is called
    again at the next turn; its error is logged at most once a minute and by kind, since its text may quote what
    customers sent.

    Args:
        name: Name of the thread.
        every: Seconds between two calls.
        job: Takes what is there and writes it away.
        at_exit: Called when the process ends by itself; None stops the thread, after one last call.
    """

    def __init__(
        self, name: str, every: float, job: Callable[[], None], *, at_exit: Callable[[], object] | None = None
    ) -> None:
        self._name = name
        self._every = every
        self._job = job
        self._at_exit = at_exit or self.stop
        self._wake = threading.Event()
        self._ending = False
        self._told = -TOLD_SECONDS
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread if it does not run."""
        if self._thread is None:
            self._ending = False
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
            atexit.register(self._at_exit)  # not called where a process ends with os._exit, as multiprocessing's do

    def wake(self) -> None:
        """Let the next call happen now."""
        self._wake.set()

    def stop(self, timeout: float = 2.0) -> bool:
        """Call the job a last time and end the thread.

        Args:
            timeout: Seconds to wait for it; a job that hangs (a full pipe, a dead collector) must not keep a process.

        Returns:
            Whether the last call has ended.
        """
        thread, self._thread = self._thread, None
        atexit.unregister(self._at_exit)
        self._ending = True
        self._wake.set()
        if thread is None:
            self._call()
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(self._every)
            self._wake.clear()
            if not self._ending:
                self._call()
        self._call()

    def _call(self) -> None:
        try:
            self._job()
        except Exception as error:
            if time.monotonic() - self._told >= TOLD_SECONDS:
                self._told = time.monotonic()
                _log.error("%s failed with %s", self._name, type(error).__name__)
