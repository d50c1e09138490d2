"""Where log lines go: standard error, or a file that several processes append to and put aside when it is large."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterable, Iterator
from pathlib import Path

_TOGETHER = 4096
"""Bytes that a pipe takes in one piece (``PIPE_BUF``): what is longer may be torn apart by another process's lines."""


class Lines:
    """Appends lines, each whole, beside other processes that do the same.

    A file that has grown to ``rotate_bytes`` is renamed to ``NAME.1`` by whichever process sees it first, and what was
    ``NAME.1`` to ``NAME.2``, and so on; the others notice at their next lines. A file that someone else moved
    (logrotate) is opened anew as well. The file is readable by its owner only.

    Args:
        path: The file; None is standard error.
        rotate_bytes: Size from which it is put aside.
        keep: Files put aside that stay.
    """

    def __init__(self, path: str | Path | None, *, rotate_bytes: int, keep: int) -> None:
        self._path = None if path is None else Path(path)
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._descriptor = 2 if path is None else -1

    def write(self, lines: Iterable[bytes]) -> int:
        """Write lines, each with its end, as they come.

        Returns:
            How many could not be written: the disk is full, or nobody has the other end any more.
        """
        lost = 0
        for chunk in _chunks(lines):
            try:
                if self._path is not None:
                    self._open(self._path)
                _write_all(self._descriptor, b"".join(chunk))
            except OSError:
                lost += len(chunk)
        return lost

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, path: Path) -> None:
        """See to it that the descriptor is the file of this name, and not a full one."""
        if self._descriptor < 0 or not _is_same(self._descriptor, path):
            self.close()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size >= self._rotate_bytes:
            self._rotate(path)
            self._open(path)

    def _rotate(self, path: Path) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # of the full file, which one process alone renames
        try:
            if _is_same(self._descriptor, path):
                for number in range(self._keep, 0, -1):
                    older = _numbered(path, number - 1)
                    if older.exists():
                        older.replace(_numbered(path, number))
                if self._keep == 0:
                    path.unlink()
        finally:
            self.close()  # which gives up the lock


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _chunks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Gather lines up to what is written in one piece."""
    pending: list[bytes] = []
    size = 0
    for line in lines:
        if pending and size + len(line) > _TOGETHER:
            yield pending
            pending, size = [], 0
        pending.append(line)
        size += len(line)
    if pending:
        yield pending


def _write_all(descriptor: int, data: bytes) -> None:
    """Write everything; waits where standard error does not block and is full."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


__all__ = ["Lines"]
