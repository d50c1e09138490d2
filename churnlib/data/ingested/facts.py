"""What a manifest says of one file: rows, size, checksum, and a fingerprint of the rows.

The checksum is of the bytes. The fingerprint is of the rows whatever their order, and of the columns whatever their
order: a database that returns the same rows in another order has the same content. It is the sum of a 64-bit hash of
each row and the sum of a hash of that, so that the fingerprint of several files is the sum of theirs. polars promises
its hash for one release only: with another one the fingerprints of the files that are there are computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import polars.selectors as cs

_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to be known of a file.

    Attributes:
        rows: Number of rows.
        bytes: Size.
        sha256: Of its bytes.
        fingerprint: Of its rows, 32 hexadecimal digits.
    """

    rows: int
    bytes: int
    sha256: str
    fingerprint: str


def facts_of(path: Path) -> Facts:
    """Read a Parquet file once for its bytes and once for its rows, in a stream."""
    lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    schema = lazy.collect_schema()
    names = sorted(schema)
    described = "\0".join(f"{name}\0{schema[name]}" for name in names)
    seed = int.from_bytes(hashlib.sha256(described.encode()).digest()[:8])
    row = pl.struct(cs.by_name(*names)).hash(seed)
    found = lazy.select(rows=pl.len(), first=row.sum(), second=row.hash(1).sum()).collect(engine="streaming")
    rows, first, second = found.row(0)
    return Facts(rows, path.stat().st_size, sha256_of(path), f"{first or 0:016x}{second or 0:016x}")


def sha256_of(path: Path) -> str:
    """Return the checksum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def together(fingerprints: Iterable[str]) -> str:
    """Return the fingerprint of the rows of several files.

    >>> together(["ffffffffffffffff0000000000000001", "00000000000000020000000000000001"])
    '00000000000000010000000000000002'
    """
    first = second = 0
    for fingerprint in fingerprints:
        first, second = first + int(fingerprint[:16], 16), second + int(fingerprint[16:], 16)
    return f"{first % _WHOLE:016x}{second % _WHOLE:016x}"


__all__ = ["Facts", "facts_of", "sha256_of", "together"]
