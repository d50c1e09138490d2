"""The folder in which the processes of a server keep their numbers; knows nothing of prometheus_client.

That package looks at the environment once, when it is imported, so the folder must be there, and named, before.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder, to this package as to prometheus_client."""

_LOCK = ".lock"


def prepare_folder() -> Path:
    """Return an empty folder that only this user can read, and name it to all processes started from now on.

    A folder that the environment names already is taken and emptied: numbers of an earlier server would come back.

    Raises:
        OSError: If there is no place for it; a read-only container needs a writable ``TMPDIR``.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else Path(tempfile.mkdtemp(prefix="churnlib-metrics-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in files_of(folder, "*"):
        old.unlink(missing_ok=True)
    os.environ[FOLDER_VARIABLE] = str(folder)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove the files and, where nothing else is in it, the folder; for the supervisor when all others have ended."""
    for path in (*files_of(folder, "*"), folder / _LOCK):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    if os.environ.get(FOLDER_VARIABLE) == str(folder):
        del os.environ[FOLDER_VARIABLE]


def files_of(folder: Path, owner: str) -> list[Path]:
    """Return the files of an owner (the end of their names, a glob), the half-written ones among them."""
    return [*folder.glob(f"{owner}.db"), *folder.glob(f"{owner}.part")]


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Within the block nobody moves numbers from one file to another."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def moving(folder: Path) -> Iterator[None]:
    """Within the block nobody reads the files: a number that moves would be there twice, or not at all."""
    with _locked(folder, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, kind)
        yield
