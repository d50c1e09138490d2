"""What a file holds, read again once the file has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from churnlib.errors import ChurnlibError, ConfigError

T = TypeVar("T")


class Watched(Generic[T]):
    """A file on disk and what was last read from it; whoever needs it takes the present state.

    A file that has become unreadable is an error for as long as it is: the state before it is not handed out, because
    what has changed meanwhile is not known.

    Args:
        path: The file, on this machine.
        read: Reads it whole; raises a :class:`churnlib.errors.ChurnlibError` if it cannot be read.
        option: What the file is called in errors: ``keys`` for ``keys=FILE``.
        every: Seconds for which what was found is believed; 0 looks at the file every time (a microsecond or two).
        clock: Seconds of a clock that never goes back.

    Raises:
        ChurnlibError: If the file cannot be read to begin with.
    """

    def __init__(
        self,
        path: str | Path,
        read: Callable[[Path], T],
        *,
        option: str,
        every: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self._read, self._option, self._every, self._clock = read, option, every, clock
        self._failure: ChurnlibError | None = None
        self._stamp = self._stamp_now()
        self._value = read(self.path)
        self._due = clock() + every

    def current(self) -> T:
        """Return what the file holds now, or held when it was last looked at, up to ``every`` seconds ago.

        Raises:
            ChurnlibError: If the file has changed to something that cannot be read, or is gone.
        """
        if self._clock() >= self._due:
            self._due = self._clock() + self._every
            self._look()
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # the same error many times: without its growing traceback
        return self._value

    def _look(self) -> None:
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp or self._failure is not None:
                self._value = self._read(self.path)
                self._stamp = stamp  # taken before the file was read: a change while it is read is found next time
            self._failure = None
        except ChurnlibError as error:
            self._failure = error

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            told = f"{self._option}={self.path} cannot be read ({error.strerror}); give the file again"
            raise ConfigError(told) from error
        return found.st_mtime_ns, found.st_size, found.st_ino


__all__ = ["Watched"]
