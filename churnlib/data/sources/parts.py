"""Which local files make up a table: one file, those that a glob matches, those of a folder or of its manifest."""

from __future__ import annotations

import difflib
import glob
from pathlib import Path

from churnlib.data.ingested.manifest import manifest_files, read_manifest
from churnlib.errors import ConfigError, DataError

FORMATS = {".csv": "CSV", ".tsv": "CSV", ".txt": "CSV", ".parquet": "Parquet", ".pq": "Parquet"}
"""File name endings, in any case; those of CSV may be followed by ``.gz``."""


def table_format(name: str) -> str | None:
    """Return ``"CSV"`` or ``"Parquet"`` by the ending of a file name or address, or None.

    >>> table_format("exports/JAN.CSV.GZ")
    'CSV'
    """
    plain = name.lower().partition("?")[0]
    kind = FORMATS.get(Path(plain.removesuffix(".gz")).suffix)
    return None if kind == "Parquet" and plain.endswith(".gz") else kind


def find_parts(source: str) -> list[str]:
    """Return the files of a local table in the order of their names; they have one format.

    A path that exists is taken as it stands, even if it looks like a glob. Of a folder that ``churnlib ingest`` has
    written these are the files that its manifest names, in the manifest's order.

    Raises:
        DataError: If there are none, or one of them is no table by its name, or they have two formats.
        ConfigError: If the path is empty.
    """
    if not source:
        raise ConfigError("no table is named; set data.path to a CSV or Parquet file")
    path = Path(source)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        manifest = read_manifest(path)
        if manifest is not None:
            return [str(entry) for entry in manifest_files(path, manifest)]
        found = [entry for entry in path.iterdir() if _is_part(entry)]
        if not found:
            raise DataError(f"the folder {source} holds no CSV or Parquet file; name a file, or a glob for those below")
    else:
        found = [Path(name) for name in glob.glob(source, recursive=True)]  # noqa: PTH207 - this one skips hidden files
        found = [entry for entry in found if entry.is_file()]
        if not found:
            raise DataError(_not_found(path))
    parts = [str(entry) for entry in sorted(found)]
    _check_formats(source, parts)
    return parts


def is_ingested(source: str) -> bool:
    """Whether a local path is a folder with a manifest of ours: its parts may lack columns that others have."""
    path = Path(source)
    return path.is_dir() and read_manifest(path) is not None


def _is_part(entry: Path) -> bool:
    """Whether a file in a folder is a part of its table; other programs' marks (``_SUCCESS``, ``.crc``) are not."""
    return entry.is_file() and entry.name[0] not in "._" and table_format(entry.name) is not None


def _check_formats(source: str, parts: list[str]) -> None:
    formats = {table_format(part): part for part in reversed(parts)}
    if None in formats:
        raise DataError(
            f"{formats[None]} is not named like a table; churnlib reads {', '.join(FORMATS)} (and .csv.gz): "
            "export it as one of these, or name it so"
        )
    if len(formats) > 1:
        raise DataError(f"{source} holds CSV and Parquet files; name those of one format with a glob such as *.csv")


def _not_found(path: Path) -> str:
    """Return the sentence about a path that leads nowhere, with the names most like it."""
    looked = f"looked from {Path.cwd()}"
    if glob.has_magic(str(path)):
        return f"no file matches {path}; check the path ({looked})"
    if not path.parent.is_dir():
        return f"there is no file {path}: the folder {path.parent} does not exist; check the path ({looked})"
    by_lower = {entry.name.lower(): entry.name for entry in sorted(path.parent.iterdir())}
    near = [repr(by_lower[match]) for match in difflib.get_close_matches(path.name.lower(), by_lower, cutoff=0.75)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"check the path ({looked})"
    return f"there is no file {path}; {hint}"
