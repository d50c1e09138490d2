"""A table into a folder: what is new or has changed takes its place once the manifest is renamed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from churnlib import __version__
from churnlib.data.ingested.facts import sha256_of, together
from churnlib.data.ingested.lock import LOCK, locked
from churnlib.data.ingested.manifest import (
    MANIFEST,
    STAGING,
    Manifest,
    Part,
    manifest_files,
    read_manifest,
    sync_folders,
    with_own_fingerprints,
    write_manifest,
)
from churnlib.data.ingested.staging import Stage, Staged
from churnlib.errors import ConfigError, DataError
from churnlib.schema import unknown_column

OURS = re.compile(r"(rows|snapshot=[^/]+)(/\d{4,}-[0-9a-f]{16}\.parquet)?")
"""Names that this module gives to folders and files."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a table.

    Attributes:
        manifest: Of the folder as it is now.
        added: Snapshots that are new.
        replaced: Snapshots that were there with other rows.
        unchanged: Snapshots that were there with the same rows.
        kept: Snapshots that are there and that the source does not have any longer.
    """

    manifest: Manifest
    added: tuple[str | None, ...]
    replaced: tuple[str | None, ...]
    unchanged: tuple[str | None, ...]
    kept: tuple[str | None, ...]
    changed: bool


def ingest(
    source: pl.LazyFrame,
    folder: str | Path,
    *,
    described: Mapping[str, Any],
    roles: Mapping[str, str | None],
    formats: Sequence[str] | None = None,
    pseudonyms: Mapping[str, str] | None = None,
    accept_columns: bool = False,
    rows_per_file: int = 1_000_000,
    progress: Callable[[int], None] | None = None,
) -> Ingested:
    """Bring a table into a folder.

    Rows are compared by snapshot, the date in the column with the role ``time``: one that is not there is added, one
    that is there with other rows is replaced, one that the source does not have is kept. A table without such a column
    is one snapshot. Nothing counts before the manifest is renamed, whatever ends the process.

    Args:
        source: The table; not collected.
        folder: The folder; made if it is not there.
        described: Where the rows come from, JSON-ready and without secrets.
        roles: The columns ``id``, ``time``, ``target``, or None for each.
        formats: Date formats of the column ``time`` besides ISO 8601; found out when None.
        pseudonyms: Key's id, tenant and purpose, if the names are pseudonyms.
        accept_columns: Take columns that differ from those that are there: what a row lacks is missing.
        rows_per_file: Rows of a file, at most.
        progress: Called with the number of rows written so far.

    Raises:
        ConfigError: If a column is not there, the folder holds something else, or the columns have changed.
        DataError: If the table has no rows, or the folder is being written, or cannot be.
    """
    target = Path(folder)
    names = source.collect_schema().names()
    known = {role: name for role, name in roles.items() if name is not None}
    for role, name in known.items():
        if name not in names:
            raise ConfigError(unknown_column(name, names, option=f"data.{role}"))
    with _opened(target):
        stored = read_manifest(target)
        _check_ours(target, stored)
        _clean(target, stored)
        stage = Stage(
            source, time=known.get("time"), formats=formats, rows_per_file=rows_per_file, progress=progress
        )  # fmt: skip
        if stored is not None:
            manifest_files(target, stored)
            stored = with_own_fingerprints(target, stored)
            _check_same(target, stored, known, stage.types, pseudonyms, accept=accept_columns)
        staging = target / STAGING
        try:
            staging.mkdir()
            staged = _written(stage, staging)
            about = Manifest((), {}, known, described, "", pseudonyms)
            return _commit(target, stored, staged, stage.types, about)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def verify(folder: str | Path) -> tuple[Manifest, list[str]]:
    """Compare every file of an ingested table with its manifest.

    Returns:
        The manifest, and a sentence about each file that differs.

    Raises:
        ConfigError: If the folder is no ingested table.
        DataError: If its manifest is damaged.
    """
    target = Path(folder)
    manifest = read_manifest(target)
    if manifest is None:
        raise ConfigError(f"{target} holds no {MANIFEST} of an ingested table; name a folder that ingest has written")
    found = []
    for part in manifest.parts:
        try:
            manifest_files(target, replace(manifest, parts=(part,)))
        except DataError as error:
            found.append(str(error))
            continue
        if sha256_of(target / part.path) != part.sha256:
            found.append(f"{target / part.path} has other bytes than its manifest says; copy the folder again")
    return manifest, found


# --- the folder -----------------------------------------------------------------------------------------------------


@contextmanager
def _opened(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made first; one that was made for nothing goes again."""
    made = not folder.exists()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is a file; name a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}); choose another folder") from error
    with locked(folder):
        try:
            yield
        finally:
            if made and not (folder / MANIFEST).exists():
                (folder / LOCK).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what lies in a folder and one below it, by its name from there."""
    for entry in folder.iterdir():
        yield entry.name, entry
        if entry.is_dir() and entry.name != STAGING:
            yield from ((f"{entry.name}/{inner.name}", inner) for inner in entry.iterdir())


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _check_ours(folder: Path, stored: Manifest | None) -> None:
    """Refuse a folder in which something else lies: leftovers are taken away by their names."""
    if stored is not None:
        return
    for name, _ in _files(folder):
        if not (OURS.fullmatch(name) or _is_hidden(name)):
            raise ConfigError(f"{folder} holds {name}, which ingest has not written; choose another output")


def _clean(folder: Path, stored: Manifest | None) -> None:
    """Take away what runs that were ended have left."""
    named = {part.path for part in stored.parts} if stored else set()
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    for entry in folder.glob(f".{MANIFEST}.*"):
        entry.unlink(missing_ok=True)
    for name, path in list(_files(folder)):
        if path.is_file() and "/" in name and OURS.fullmatch(name) and name not in named:
            path.unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and OURS.fullmatch(entry.name) and not any(entry.iterdir()):
            entry.rmdir()


# --- comparing ------------------------------------------------------------------------------------------------------


def _check_same(
    folder: Path,
    stored: Manifest,
    roles: Mapping[str, str],
    types: Mapping[str, pl.DataType],
    pseudonyms: Mapping[str, str] | None,
    *,
    accept: bool,
) -> None:
    """Refuse a table that is another one than that in the folder, or whose columns have changed."""
    for role in ("id", "time"):
        before, now = stored.roles.get(role), roles.get(role)
        if before != now:
            raise ConfigError(
                f"{folder} was ingested with data.{role}={before or 'null'}, not {now or 'null'}; choose another output"
            )
    if dict(stored.pseudonyms or {}) != dict(pseudonyms or {}):
        raise ConfigError(f"{folder} was ingested with other data.pseudonymise options; choose another output")
    changes = _changes(stored.columns, types)
    if changes and not accept:
        raise ConfigError(
            f"the columns have changed since {folder} was ingested: {'; '.join(changes)}; add accept_columns=true "
            "to take them (what a row lacks is missing), or correct the source"
        )
    _check_together(stored.columns, types)


def _changes(before: Mapping[str, str], now: Mapping[str, pl.DataType]) -> list[str]:
    """Return what differs, in words; a column without any value fits every type."""
    lost = [repr(name) for name in before if name not in now]
    new = [repr(name) for name in now if name not in before]
    null = str(pl.Null())
    other = [
        f"{name!r} was {before[name]} and is {kind}"
        for name, kind in now.items()
        if name in before and before[name] != str(kind) and null not in (before[name], str(kind))
    ]
    found = [f"{', '.join(lost[:8])} {'is' if len(lost) == 1 else 'are'} gone"] if lost else []
    found += [f"{', '.join(new[:8])} {'is' if len(new) == 1 else 'are'} new"] if new else []
    return found + other[:8]


def _check_together(before: Mapping[str, str], now: Mapping[str, pl.DataType]) -> None:
    """Refuse a column that holds lists in one snapshot and single values in another: no type takes both."""
    for name, kind in now.items():
        nested = any(before.get(name, "").startswith(word) for word in ("List", "Array", "Struct"))
        if name in before and nested != kind.is_nested() and str(pl.Null()) not in (before[name], str(kind)):
            raise ConfigError(f"the column {name!r} was {before[name]} and is {kind}; ingest it into another folder")


def _same_rows(stored: Manifest, snapshot: str | None, staged: Sequence[Staged]) -> bool:
    parts = stored.of(snapshot)
    if sum(part.rows for part in parts) != sum(one.facts.rows for one in staged):
        return False
    if [part.sha256 for part in parts] == [one.facts.sha256 for one in staged]:
        return True
    return together(part.fingerprint for part in parts) == together(one.facts.fingerprint for one in staged)


# --- writing --------------------------------------------------------------------------------------------------------


def _written(stage: Stage, staging: Path) -> list[Staged]:
    try:
        return stage.write(staging)
    except (OSError, pl.exceptions.PolarsError) as error:
        # What is wrong with the source is said by whoever reads it.
        said = str(error)
        if isinstance(error, OSError) and ("os error 28" in said or "os error 122" in said or str(staging) in said):
            raise DataError(
                f"{staging.parent} cannot be written to ({said.splitlines()[0]}); make room there"
            ) from error
        raise


def _commit(
    folder: Path, stored: Manifest | None, staged: Sequence[Staged], types: Mapping[str, pl.DataType], about: Manifest
) -> Ingested:
    """Move the files that count to their places, and rename the manifest."""
    by_snapshot: dict[str | None, list[Staged]] = {}
    for one in staged:
        by_snapshot.setdefault(one.snapshot, []).append(one)
    there = stored.snapshots() if stored else {}
    unchanged = tuple(s for s, own in by_snapshot.items() if stored and s in there and _same_rows(stored, s, own))
    added = tuple(s for s in by_snapshot if s not in there)
    replaced = tuple(s for s in by_snapshot if s in there and s not in unchanged)
    kept = tuple(s for s in there if s not in by_snapshot)
    columns = {**(stored.columns if stored else {}), **{name: str(kind) for name, kind in types.items()}}
    same_table = stored is not None and dict(stored.roles) == dict(about.roles) and dict(stored.columns) == columns
    if stored is not None and same_table and not (added or replaced):
        return Ingested(stored, added, replaced, unchanged, kept, changed=False)

    moved = [one for one in staged if one.snapshot in (*added, *replaced)]
    _move(folder, moved)
    before = [part for part in (stored.parts if stored else ()) if part.snapshot in (*unchanged, *kept)]
    parts = sorted([*before, *(one.part for one in moved)], key=_order)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = replace(about, parts=tuple(parts), columns=columns, ingested=now, churnlib=__version__)
    write_manifest(folder, manifest)
    _clean(folder, manifest)
    return Ingested(manifest, added, replaced, unchanged, kept, changed=True)


def _order(part: Part) -> tuple[str, str]:
    return (part.snapshot or "", part.path)


def _move(folder: Path, staged: Sequence[Staged]) -> None:
    places = set()
    for one in staged:
        place = folder / one.part.path
        place.parent.mkdir(exist_ok=True)
        one.path.replace(place)
        places.add(place.parent)
    sync_folders([folder, *places])


__all__ = ["Ingested", "ingest", "verify"]
