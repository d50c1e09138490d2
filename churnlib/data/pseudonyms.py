"""Keyed pseudonyms: a customer's name replaced by one that nobody can compute, or look up, without the key.

    key of a purpose   HMAC-SHA256(key, "churnlib pseudonyms" 0x00 tenant 0x00 purpose)
    pseudonym          first 128 bits of HMAC-SHA256(key of the purpose, name), as 26 characters of base32

A bare hash of a name protects nobody: names can be counted through. The same name has the same pseudonym in every
table of the same tenant and purpose, whether it came as text or as a number, so that tables still join; another
tenant's or purpose's tables do not join with it. Pseudonymous data are still personal data: whoever holds the key can
find a person again (and must, to forget one; see :mod:`churnlib.privacy`).

The key is read from the environment or a file when it is needed, is no option, and is shown nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.errors import ConfigError
from churnlib.schema import parsing

LENGTH = 26
"""Characters of a pseudonym: 128 bits in base32 without padding."""

SHORTEST_KEY = 32
"""Characters; a key of 64 hexadecimal digits has the strength of the hash."""

NOTE = ".pseudonyms.json"
"""Ending of the file beside a table that says which key its pseudonyms have: ``scores.csv.pseudonyms.json``."""

_ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype="S1")
_AT_ONCE = 100_000
_MAKE_ONE = """python -c "import secrets; print(secrets.token_hex(32))" """.strip()


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms of one key, tenant and purpose.

    Attributes:
        key_id: What the key is called; kept beside the data.
        tenant: Whose customers they are.
        purpose: What the data are for.
    """

    key_id: str
    tenant: str = ""
    purpose: str = "churn"
    _key: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self._key) < SHORTEST_KEY:
            raise ConfigError(
                f"the key {self.key_id!r} has {len(self._key)} characters, and fewer than {SHORTEST_KEY} can be "
                f"guessed; make one with {_MAKE_ONE}"
            )
        for name in ("tenant", "purpose"):
            if "\0" in getattr(self, name):
                raise ConfigError(f"pseudonymise.{name} holds a NUL, which ends a text here; leave it out")

    def of(self, name: str) -> str:
        """Return the pseudonym of a name, as :func:`churnlib.schema.parsing.category` reads it from a cell."""
        return self._each([name])[0]

    def trace(self, name: str) -> str:
        """Return what a record of an erasure keeps of a name: a keyed hash that no table of pseudonyms holds."""
        return hmac.digest(self._key_of(f"{self.purpose}\0erasure"), name.encode(), "sha256").hex()

    def column(self, names: pl.Series) -> pl.Series:
        """Return the pseudonyms of a column of names of any plain type; a missing name has none.

        Each different name is computed once.
        """
        texts = names.alias("name").to_frame().select(parsing.category(pl.col("name"), names.dtype)).to_series()
        distinct = texts.unique().drop_nulls()
        made = pl.Series(self._each(distinct.to_list()), dtype=pl.String)
        if distinct.is_empty():
            return texts.cast(pl.String).alias(names.name)
        return texts.replace_strict(distinct, made, default=None, return_dtype=pl.String).alias(names.name)

    def frame(self, frame: pl.DataFrame, column: str) -> pl.DataFrame:
        """Return a table with the names in a column replaced."""
        return frame.with_columns(self.column(frame.get_column(column)))

    def scan(self, lazy: pl.LazyFrame, column: str) -> pl.LazyFrame:
        """Return a table that is not read yet with the names in a column replaced, piece by piece."""
        cell = parsing.cell_of(column)
        return lazy.with_columns(cell.map_batches(self.column, return_dtype=pl.String(), is_elementwise=True))

    def note(self) -> dict[str, Any]:
        """Return what is kept beside the data."""
        return {"key_id": self.key_id, "tenant": self.tenant, "purpose": self.purpose}

    def write_note(self, table: Path, column: str) -> None:
        """Write beside a table which key its pseudonyms have."""
        text = json.dumps({**self.note(), "column": column}, indent=1, ensure_ascii=False)
        table.with_name(table.name + NOTE).write_text(text + "\n", encoding="utf-8")

    def _each(self, names: list[str]) -> list[str]:
        """Return the pseudonyms of names, in pieces: HMAC with both of its pads hashed once, then base32 by numpy."""
        inner, outer = _pads(self._key_of(self.purpose))
        found: list[str] = []
        for start in range(0, len(names), _AT_ONCE):
            digests = bytearray()
            for name in names[start : start + _AT_ONCE]:
                first, second = inner.copy(), outer.copy()
                first.update(name.encode())
                second.update(first.digest())
                digests += second.digest()[:16]
            found += _base32(digests)
        return found

    def _key_of(self, purpose: str) -> bytes:
        return hmac.digest(self._key, f"churnlib pseudonyms\0{self.tenant}\0{purpose}".encode(), "sha256")


def _pads(key: bytes) -> tuple[Any, Any]:
    """Return SHA-256 of the key's inner and outer pad (RFC 2104), to go on from; the key is as long as a digest."""
    block = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))


def _base32(digests: bytearray) -> list[str]:
    """Return lower-case base32 (RFC 4648) of each 16 bytes, without padding."""
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16), axis=1)
    fives = np.pad(bits, ((0, 0), (0, 2))).reshape(-1, LENGTH, 5) @ np.array([16, 8, 4, 2, 1], dtype=np.uint8)
    return _ALPHABET[fives].view(f"S{LENGTH}").ravel().astype(str).tolist()


def read_pseudonyms(
    *,
    key_env: str | None = None,
    key_file: str | Path | None = None,
    key_id: str | None = None,
    tenant: str = "",
    purpose: str = "churn",
) -> Pseudonyms | None:
    """Read the key that the options name; None if they name none.

    Args:
        key_env: Environment variable that holds it, or
        key_file: file that holds it; blanks and line ends around it do not count.
        key_id: What it is called.
        tenant: Whose customers they are.
        purpose: What the data are for.

    Raises:
        ConfigError: If there is no such key, or it is too short; the sentence never shows it.
    """
    if key_env is None and key_file is None:
        return None
    if not key_id:
        raise ConfigError("pseudonymise.key_id is missing; call the key something, such as key_id=2026-01")
    if key_env is not None:
        text = os.environ.get(key_env)
        if not text:
            raise ConfigError(f"the environment variable {key_env} holds no key; make one with {_MAKE_ONE}")
    else:
        try:
            text = Path(str(key_file)).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(
                f"the key file {key_file} cannot be read ({reason}); make a key with {_MAKE_ONE}"
            ) from None
    return Pseudonyms(key_id, tenant, purpose, text.strip().encode())


def check_id(column: str | None, names: list[str]) -> str:
    """Return the column whose names shall be replaced.

    Raises:
        ConfigError: If the table does not have it.
    """
    if column is None or column not in names:
        raise ConfigError(
            f"data.id names the column {column!r}, which the table does not have; its names stay in clear"
        )
    return column


__all__ = ["LENGTH", "NOTE", "Pseudonyms", "check_id", "read_pseudonyms"]
