"""The tables below some folders, and where each names its customers.

A table is any Parquet or CSV file with a column that names customers: ``customer_id``, as churnlib writes it; what a
bundle, a prepared table, an ingested one or the account of rules in the same folder says its id is called; or what the
user says. The records of a server are among them, as Parquet or as lines of JSON. Links are not followed. Hidden files
(parts of what is being written) are not looked at, but for those of an ingest that was ended.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from churnlib.data.ingested.lock import locked
from churnlib.data.ingested.manifest import MANIFEST, STAGING
from churnlib.data.ingested.shrinking import replace_part, table_of
from churnlib.data.pseudonyms import NOTE
from churnlib.data.recorded import is_recorded, noted_keys
from churnlib.data.sources.parts import table_format
from churnlib.data.unfinished import UNFINISHED
from churnlib.data.validation import RULES_REPORT
from churnlib.errors import ChurnlibError, ConfigError, DataError
from churnlib.privacy.records import Layout, matching, opened
from churnlib.schema import parsing

CUSTOMER_ID = "customer_id"
"""Name of the id column in every table of answers that churnlib writes."""

WRITTEN = ("CSV", "Parquet")
"""Formats that churnlib writes; others it only reads."""

UNFINISHED_FILE = (
    "it is being written, or was when its process was killed; wait for its end, or run prepare beside it again, which "
    "removes what was left"
)

SCHEMAS = ("bundle/schema.json", "preparation.json", "schema.json", MANIFEST, RULES_REPORT)
"""Files that say what the id column of the tables beside them is called, and whether it holds pseudonyms."""


@dataclass(frozen=True)
class Store:
    """One table that names customers.

    Attributes:
        path: The file.
        columns: Its columns that name them.
        pseudonyms: Key's id, tenant and purpose of the pseudonyms in it, of several keys in a server's records; none if
            its names are clear, or nobody says.
    """

    path: Path
    columns: tuple[str, ...]
    pseudonyms: tuple[Mapping[str, str], ...] = ()

    @property
    def is_recorded(self) -> bool:
        """Whether a server has written it, and perhaps writes others beside it."""
        return is_recorded(self.path.name)

    @property
    def is_parquet(self) -> bool:
        """Whether it is Parquet; else it is CSV."""
        return table_format(self.path.name) == "Parquet"

    @cached_property
    def layout(self) -> Layout:
        """How a CSV file is to be read."""
        return Layout.of(self.path)

    def find(self, wanted: Any) -> pl.DataFrame:
        """Return the rows that name the persons, all columns, in the table's order."""
        if self.is_parquet:
            lazy = _scan(self.path)
            return lazy.filter(self._matches(wanted, lazy.collect_schema())).collect(engine="streaming")
        rows = [self.layout.cells(record) for record in self._records(wanted) if record]
        names = self.layout.header.names
        cells = {name: [row[i] if i < len(row) else None for row in rows] for i, name in enumerate(names)}
        return pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String))

    def remove(self, wanted: Any) -> int:
        """Take the rows that name the persons out of the file: it is there as before, or without them.

        What an ingest that was ended has left half-done is no table, and goes as a whole.

        Returns:
            How many there were.

        Raises:
            DataError: If the file cannot be written, or would lose other rows too; it stays as it is then.
        """
        n_found = len(self.find(wanted))
        if not n_found:
            return 0
        if self.path.parent.name == STAGING:
            with locked(self.path.parent.parent):
                self.path.unlink()
            return n_found
        temporary = self.path.with_name(f".{self.path.name}.{uuid4().hex[:8]}")
        try:
            table = table_of(self.path)
            if table is not None:
                replace_part(table, self.path, lambda place: self._rewrite(wanted, place, n_found))
            else:
                self._rewrite(wanted, temporary, n_found)
                temporary.replace(self.path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{self.path} cannot be written without the rows ({error}); it stays as it was") from error
        finally:
            temporary.unlink(missing_ok=True)
        return n_found

    def _rewrite(self, wanted: Any, place: Path, n_found: int) -> None:
        """Write the other rows to another file, down to the disk."""
        (self._rewrite_parquet if self.is_parquet else self._rewrite_csv)(wanted, place, n_found)
        self._settle(place)

    def _settle(self, place: Path) -> None:
        """Give a file that takes this one's place its mode, and see it down to the disk."""
        shutil.copymode(self.path, place)
        with place.open("rb") as written:
            os.fsync(written.fileno())

    def _rewrite_parquet(self, wanted: Any, temporary: Path, n_found: int) -> None:
        lazy = _scan(self.path)
        kept = {k: v for k, v in pl.read_parquet_metadata(self.path).items() if k != "ARROW:schema"}
        n_rows = lazy.select(pl.len()).collect().item()
        others = lazy.filter(~self._matches(wanted, lazy.collect_schema()))
        others.sink_parquet(temporary, maintain_order=True, metadata=kept or None)
        n_left = pl.scan_parquet(temporary, glob=False).select(pl.len()).collect().item()
        if n_left != n_rows - n_found:
            raise DataError(f"{self.path} would keep {n_left:,} of {n_rows:,} rows, {n_found:,} of which were to go")

    def _rewrite_csv(self, wanted: Any, temporary: Path, n_found: int) -> None:
        removed = 0
        with opened(temporary, self.layout, "wb") as file:
            for piece, found in matching(self.path, self.layout, self.columns, wanted):
                removed += sum(found)
                file.writelines(record for record, gone in zip(piece, found, strict=True) if not gone)
        if removed != n_found:
            raise DataError(f"{self.path} has changed while it was read; try again")

    def _records(self, wanted: Any) -> Iterator[bytes]:
        for piece, found in matching(self.path, self.layout, self.columns, wanted):
            yield from (record for record, matches in zip(piece, found, strict=True) if matches)

    def _matches(self, wanted: Any, types: pl.Schema) -> pl.Expr:
        texts = [parsing.category(parsing.cell_of(name), types[name]) for name in self.columns]
        return pl.any_horizontal(
            text.map_batches(wanted.match, return_dtype=pl.Boolean(), is_elementwise=True) for text in texts
        )


@dataclass(frozen=True)
class Stores:
    """What was found below the folders.

    Attributes:
        tables: Every table that names customers.
        runs: Folders of runs, with a bundle.
        unread: Tables that could not be opened, and why.
    """

    tables: tuple[Store, ...]
    runs: tuple[Path, ...]
    unread: tuple[tuple[Path, str], ...] = ()


def find_stores(folders: Sequence[str | Path], *, id_columns: Sequence[str] = ()) -> Stores:
    """Find the tables below some folders.

    Args:
        folders: Those that are not there are left out.
        id_columns: More names of columns that name customers.

    Raises:
        ConfigError: If none of the folders is there.
    """
    roots = [Path(folder).expanduser() for folder in folders]
    there = [root.resolve() for root in roots if root.is_dir()]
    if not there:
        raise ConfigError(
            f"there is no folder {', '.join(map(str, roots))}; name those to search with folders=[DIR,...]"
        )
    tables: dict[Path, Store] = {}
    runs: list[Path] = []
    unread: list[tuple[Path, str]] = []
    for root in there:
        for folder, names in _walk(root):
            if (folder / "bundle" / "bundle.json").is_file() and folder not in runs:
                runs.append(folder)
            for name in names:
                path = folder / name
                if path in tables or not (table_format(name) in WRITTEN or is_recorded(name)):
                    continue
                try:
                    store = _open(path, root, id_columns)
                except (ChurnlibError, OSError, ValueError, pl.exceptions.PolarsError) as error:
                    unfinished = UNFINISHED.fullmatch(folder.name)
                    unread.append((path, UNFINISHED_FILE if unfinished else str(error).splitlines()[0]))
                    continue
                if store is not None:
                    tables[path] = store
    return Stores(tuple(tables.values()), tuple(runs), tuple(unread))


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, inner, names in os.walk(root, followlinks=False):
        inner[:] = sorted(name for name in inner if name == STAGING or UNFINISHED.fullmatch(name) or name[:1] != ".")
        files = sorted(name for name in names if not name.startswith(".") and not Path(folder, name).is_symlink())
        yield Path(folder), files


def _open(path: Path, root: Path, id_columns: Sequence[str]) -> Store | None:
    """Return the table if it names customers."""
    if is_recorded(path.name):
        return _open_record(path)
    said, pseudonyms = _said_beside(path, root)
    if table_format(path.name) == "Parquet":
        names = [name for name, dtype in _scan(path).collect_schema().items() if parsing.is_plain(dtype)]
    else:
        names = list(Layout.of(path).header.names)
    wanted = dict.fromkeys([*id_columns, CUSTOMER_ID, *said])
    columns = tuple(name for name in wanted if name in names)
    return Store(path, columns, () if pseudonyms is None else (pseudonyms,)) if columns else None


def _open_record(path: Path) -> Store | None:
    """Return a server's record if it names customers; of lines of JSON that is seen when they are read."""
    keys = tuple(noted_keys(path.parent))
    if table_format(path.name) != "Parquet":
        from churnlib.privacy.lines import Lines

        return Lines(path, (CUSTOMER_ID,), keys)
    return Store(path, (CUSTOMER_ID,), keys) if CUSTOMER_ID in _scan(path).collect_schema() else None


def _said_beside(path: Path, root: Path) -> tuple[list[str], Mapping[str, str] | None]:
    """Return what the files beside a table, or above it up to the root, say of its id column and its pseudonyms."""
    note = path.with_name(path.name + NOTE)
    if note.is_file():
        said = _json(note)
        return [said.get("column", CUSTOMER_ID)], {k: str(said.get(k, "")) for k in ("key_id", "tenant", "purpose")}
    for folder in path.parents:
        names: list[str] = []
        pseudonyms = None
        for name in SCHEMAS:
            if (folder / name).is_file():
                found, key = _told(_json(folder / name))
                names += found
                pseudonyms = pseudonyms or key
        if names or folder == root:
            return names, pseudonyms
    return [], None


def _told(content: Mapping[str, Any]) -> tuple[list[str], Mapping[str, str] | None]:
    """Return the id columns and the pseudonyms that a schema, or a file that holds one, tells of."""
    schema = content.get("schema", content)
    columns = schema.get("columns", []) if isinstance(schema, Mapping) else []
    names = [c["name"] for c in columns if isinstance(c, Mapping) and c.get("role") == "id" and "name" in c]
    names += [content[key] for key in ("id", "id_column", "customer_id") if isinstance(content.get(key), str)]
    about = schema.get("about", {}) if isinstance(schema, Mapping) else {}
    return names, about.get("pseudonyms") or content.get("pseudonyms")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


__all__ = ["CUSTOMER_ID", "Store", "Stores", "find_stores"]
