"""One writer of a folder at a time: a lock that the system takes back when its holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from churnlib.errors import DataError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an ingested table while its files change.

    Args:
        folder: Of the table; it must be there.

    Raises:
        DataError: If another process holds it, or the folder cannot be written to.
    """
    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise DataError(f"{folder} cannot be written to ({error.strerror}); choose another folder") from error
    with file:
        try:
            take(file)
        except OSError as error:
            raise DataError(
                f"{folder} is being written by another process (another ingest, or forget); wait for its end, then "
                "try again"
            ) from error
        yield


def take(file: IO[str]) -> None:
    """Take the lock of an open file; it goes with the file.

    Raises:
        OSError: If another holds it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


__all__ = ["LOCK", "locked", "take"]
