"""The folder in which a server records: what its files are called, whose names they hold, and who may write to them.

``part-TIME-PROCESS-NUMBER.parquet`` (or ``.jsonl``) holds predictions; it is whole when it is there, and a server never
writes to it again. ``labels-PROCESS.jsonl`` tells what became of customers, and grows while the server runs.
``.pseudonyms.json`` tells which keys the pseudonyms have had, a line for each; it does not hold the keys.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HAND_OVER_SECONDS = 60.0
"""Time that a running server holds predictions back before it writes them."""

KEYS = ".pseudonyms.json"

_NAMES = re.compile(r"part-\d{8}T\d{6}\.\d{6}Z-\d+-\d+\.(parquet|jsonl)|labels-\d+\.jsonl")


def is_recorded(name: str) -> bool:
    """Whether a file of this name is one of a server's records.

    >>> is_recorded("labels-4711.jsonl"), is_recorded("part-0.parquet")
    (True, False)
    """
    return _NAMES.fullmatch(name) is not None


def noted_keys(folder: Path) -> list[dict[str, str]]:
    """Return the notes about the keys of the pseudonyms in a folder: id, tenant and purpose of each."""
    try:
        lines = (folder / KEYS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.strip()]


def note_key(folder: Path, note: Mapping[str, Any]) -> None:
    """Note the key of the pseudonyms that are recorded from now on; those of older files stay noted.

    Raises:
        OSError: If it cannot be written.
    """
    if dict(note) not in noted_keys(folder):
        append_line(folder / KEYS, json.dumps(note, ensure_ascii=False).encode() + b"\n")


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file that only its owner may read, once nobody takes lines out of it.

    Raises:
        OSError: If it cannot be written.
    """
    with _held(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as opened:
        os.write(opened, line)


@contextmanager
def unchanging(path: Path) -> Iterator[None]:
    """Within the block nobody adds to the file, and it may be replaced.

    Raises:
        OSError: If it is not there.
    """
    with _held(path, os.O_RDONLY):
        yield


@contextmanager
def _held(path: Path, flags: int) -> Iterator[int]:
    """Hold the file of a name; it is opened again where another has taken its place meanwhile."""
    while True:
        opened = os.open(path, flags, 0o600)
        try:
            _lock(opened)
            if _is_at(path, opened):
                yield opened
                return
        finally:
            os.close(opened)  # and with it the lock


def _lock(opened: int) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows, where a file that is open cannot be replaced anyway
        return
    fcntl.flock(opened, fcntl.LOCK_EX)


def _is_at(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


__all__ = ["HAND_OVER_SECONDS", "KEYS", "append_line", "is_recorded", "note_key", "noted_keys", "unchanging"]
