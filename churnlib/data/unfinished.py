"""A folder that is written beside its place and takes it when it is whole; what killed processes have left goes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from churnlib.data.ingested.lock import take

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished")
"""Names of folders that are being written, or were when their process was killed."""

LOCK_SUFFIX = ".lock"


@contextmanager
def unfinished_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside the target, which takes its place in the end, or goes again if something is raised.

    A process that is killed leaves the folder, with rows of customers in it. The next one that writes beside it takes
    it away: the system has taken back the lock that the dead one held.

    Args:
        target: Not there yet; the folders above it are made.

    Raises:
        OSError: If it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    folder = target.with_name(f".{target.name}.{uuid4().hex[:8]}.unfinished")
    lock = _lock_of(folder)
    with lock.open("a") as file:
        take(file)
        try:
            folder.mkdir()
            yield folder
            folder.replace(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def remove_leftovers(parent: Path) -> list[Path]:
    """Take away the unfinished folders below a folder whose processes have ended, and return them.

    Raises:
        OSError: If the folder cannot be read.
    """
    found = [lock.with_suffix("") for lock in parent.glob(f".*.unfinished{LOCK_SUFFIX}")]
    return [folder for folder in sorted(found) if UNFINISHED.fullmatch(folder.name) and _removed(folder)]


def _removed(folder: Path) -> bool:
    """Take a folder away if no process is writing it; return whether it was taken away."""
    lock = _lock_of(folder)
    try:
        with lock.open("a") as file:
            take(file)
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
    except OSError:
        return False
    return not folder.exists()


def _lock_of(folder: Path) -> Path:
    """Return where the lock of a folder lies: beside it, so that the folder can be renamed while it is held."""
    return folder.with_name(folder.name + LOCK_SUFFIX)


__all__ = ["UNFINISHED", "remove_leftovers", "unfinished_folder"]
