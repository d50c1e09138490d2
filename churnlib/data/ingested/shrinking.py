"""Rows taken out of one file of an ingested table: another file takes its place, and the manifest says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from churnlib.data.ingested.facts import facts_of
from churnlib.data.ingested.lock import locked
from churnlib.data.ingested.manifest import (
    STAGING,
    Part,
    read_manifest,
    sync_folders,
    with_own_fingerprints,
    write_manifest,
)
from churnlib.errors import DataError


def table_of(path: Path) -> Path | None:
    """Return the folder of the ingested table that a file is a part of; None if it is none."""
    folder = path.parent.parent
    manifest = read_manifest(folder)
    own = path.relative_to(folder).as_posix()
    return folder if manifest is not None and any(part.path == own for part in manifest.parts) else None


def replace_part(folder: Path, path: Path, write: Callable[[Path], None]) -> None:
    """Put another file in the place of one of a table; the renamed manifest is the moment it counts.

    Rows, size, checksum and fingerprint in the manifest are those of the new file. If the process is ended, the old
    file is there as it was, or is a leftover that nobody reads.

    Args:
        folder: Of the table.
        path: The file.
        write: Writes the new one to the path that it is given.

    Raises:
        DataError: If the table is being written, or no longer has the file.
    """
    with locked(folder):
        manifest, own = read_manifest(folder), path.relative_to(folder).as_posix()
        old = next((part for part in manifest.parts if part.path == own), None) if manifest else None
        if manifest is None or old is None:
            raise DataError(f"{path} is no longer a part of {folder}, which was ingested meanwhile; try again")
        staging = folder / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            written = staging / path.name
            write(written)
            facts = facts_of(written)
            number = path.name.partition("-")[0]
            place = path.with_name(f"{number}-{facts.sha256[:16]}.parquet")
            written.replace(place)
            sync_folders([place.parent])
            new = Part.of(place.relative_to(folder).as_posix(), old.snapshot, facts)
            parts = tuple(new if part is old else part for part in manifest.parts)
            write_manifest(folder, with_own_fingerprints(folder, replace(manifest, parts=parts)))
            path.unlink()
        finally:
            shutil.rmtree(staging, ignore_errors=True)


__all__ = ["replace_part", "table_of"]
