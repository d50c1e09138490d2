"""``manifest.json``: the files that are a table, and what is to be known of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from churnlib import __version__
from churnlib.data.ingested.facts import Facts, facts_of
from churnlib.errors import DataError

MANIFEST = "manifest.json"
FORMAT = "churnlib ingested table"
"""By this word a manifest of ours is told from other programs' files of the same name."""

VERSION = 1

STAGING = ".staging"
"""Folder, within that of the table, of files that are being written."""

ROLES = ("id", "time", "target")
"""Roles of columns that a manifest tells of."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the table.

    Attributes:
        path: Below the folder, with ``/`` between.
        snapshot: Date of its rows, ``YYYY-MM-DD``; ``none`` for rows without a date, None for a table without dates.
        rows: Number of rows.
        bytes: Size.
        sha256: Of its bytes.
        fingerprint: Of its rows, in whatever order; see :mod:`churnlib.data.ingested.facts`.
    """

    path: str
    snapshot: str | None
    rows: int
    bytes: int
    sha256: str
    fingerprint: str

    @classmethod
    def of(cls, path: str, snapshot: str | None, facts: Facts) -> Part:
        """Return the entry of a file."""
        return cls(path, snapshot, **asdict(facts))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an ingested table is.

    Attributes:
        parts: Its files, in the order of the table.
        columns: Name and type of each column, as polars calls it.
        roles: By role (id, time, target) the column, where one is known.
        source: Where the rows came from, without secrets.
        ingested: When rows last came, UTC.
        pseudonyms: Key's id, tenant and purpose, if the names are pseudonyms.
        polars: Release whose hash made the fingerprints.
        churnlib: Release that wrote it.
    """

    parts: tuple[Part, ...]
    columns: Mapping[str, str]
    roles: Mapping[str, str]
    source: Mapping[str, Any]
    ingested: str
    pseudonyms: Mapping[str, str] | None = None
    polars: str = pl.__version__
    churnlib: str = field(default=__version__)

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return sum(part.rows for part in self.parts)

    def snapshots(self) -> dict[str | None, int]:
        """Return the rows of each snapshot."""
        counts: Counter[str | None] = Counter()
        for part in self.parts:
            counts[part.snapshot] += part.rows
        return dict(counts)

    def of(self, snapshot: str | None) -> tuple[Part, ...]:
        """Return the files of a snapshot."""
        return tuple(part for part in self.parts if part.snapshot == snapshot)

    def to_dict(self) -> dict[str, Any]:
        """Return what is written; ``columns`` and ``id`` are found by everything that looks for an id column."""
        role_of = {name: role for role, name in self.roles.items()}
        columns = [
            {"name": name, "type": kind, **({"role": role_of[name]} if name in role_of else {})}
            for name, kind in self.columns.items()
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "churnlib": self.churnlib,
            "polars": self.polars,
            "ingested": self.ingested,
            "source": dict(self.source),
            **self.roles,
            **({"pseudonyms": dict(self.pseudonyms)} if self.pseudonyms else {}),
            "rows": self.rows,
            "columns": columns,
            "parts": [asdict(part) for part in self.parts],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Read what :meth:`to_dict` returned."""
        known = [one.name for one in fields(Part)]
        return cls(
            tuple(Part(**{name: part[name] for name in known}) for part in values["parts"]),
            {column["name"]: column["type"] for column in values["columns"]},
            {role: values[role] for role in ROLES if role in values},
            values["source"],
            values["ingested"],
            values.get("pseudonyms"),
            values["polars"],
            values["churnlib"],
        )


def read_manifest(folder: str | Path) -> Manifest | None:
    """Return the manifest of an ingested table; None where there is none, or another program's.

    Raises:
        DataError: If it is damaged, or of a newer release.
    """
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); ingest the table into a new folder") from error
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        return None
    if content.get("version") != VERSION:
        raise DataError(
            f"{path} is of version {content.get('version')}, and this release reads {VERSION}; update churnlib"
        )
    try:
        return Manifest.from_dict(content)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} lacks {error}; ingest the table into a new folder") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in the place of the one before, whole or not at all: from then on its files are the table."""
    path = folder / MANIFEST
    temporary = path.with_name(f".{MANIFEST}.{uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(manifest.to_dict(), indent=1, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folders([folder])


def sync_folders(folders: Iterable[Path]) -> None:
    """Let the names in some folders outlast a power cut, where the system knows how."""
    if os.name != "posix":
        return
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def manifest_files(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the files that a manifest names, each there and as long as it says.

    Raises:
        DataError: If one is missing or has another size.
    """
    paths = [folder / part.path for part in manifest.parts]
    for path, part in zip(paths, manifest.parts, strict=True):
        found = path.stat().st_size if path.is_file() else None
        if found != part.bytes:
            what = "is missing" if found is None else f"has {found:,} bytes, and its manifest says {part.bytes:,}"
            raise DataError(f"{path} {what}; copy the folder again, or ingest the table into a new one")
    return paths


def with_own_fingerprints(folder: Path, manifest: Manifest) -> Manifest:
    """Return the manifest with the fingerprints of this release's hash, read from the files where it has another's."""
    if manifest.polars == pl.__version__:
        return manifest
    parts = (replace(part, fingerprint=facts_of(folder / part.path).fingerprint) for part in manifest.parts)
    return replace(manifest, parts=tuple(parts), polars=pl.__version__)


__all__ = [
    "MANIFEST",
    "STAGING",
    "Manifest",
    "Part",
    "manifest_files",
    "read_manifest",
    "sync_folders",
    "with_own_fingerprints",
    "write_manifest",
]
