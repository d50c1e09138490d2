"""Forgetting a person: their rows leave every table that churnlib has written, and a record of it names nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.data.recorded import HAND_OVER_SECONDS
from churnlib.errors import ChurnlibError, DataError
from churnlib.privacy.models import Model, Sources, run_config, which_saw
from churnlib.privacy.persons import Erased, Person
from churnlib.privacy.stores import Store, Stores, find_stores


@dataclass(frozen=True, slots=True)
class Found:
    """Where a person is.

    Attributes:
        rows: By table the rows that name the person; tables without any are not there.
        searched: Number of tables that were searched.
        models: The models below the folders, and what each had to do with the person.
        unsearched: Tables in which the person may still be, and why they could not be searched.
        elsewhere: Tables outside the folders that a run has read and that name the person.
        records: Folders in which a server has recorded, and may be recording.
    """

    rows: Mapping[Path, pl.DataFrame]
    searched: int
    models: tuple[Model, ...]
    unsearched: tuple[tuple[Path, str], ...]
    elsewhere: tuple[Path, ...] = ()
    records: tuple[Path, ...] = ()

    @property
    def n_rows(self) -> int:
        """Rows in all tables."""
        return sum(len(rows) for rows in self.rows.values())


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What an erasure did.

    Attributes:
        found: Where the person was.
        removed: Rows removed, by table.
        record: What was written down about it; None in a dry run, and where nobody was found.
    """

    found: Found
    removed: Mapping[Path, int]
    record: Mapping[str, Any] | None


def search(
    wanted: Person | Erased, folders: Sequence[str | Path], *, id_columns: Sequence[str] = ()
) -> tuple[Stores, Found]:
    """Find everything about a person below some folders.

    Args:
        wanted: Whom to look for.
        folders: Where.
        id_columns: More names of columns that name customers.

    Raises:
        ConfigError: If none of the folders is there.
    """
    stores = find_stores(folders, id_columns=id_columns)
    given = [key.note() for key in wanted.keys]
    rows: dict[Path, pl.DataFrame] = {}
    records: list[Path] = []
    unsearched = list(stores.unread)
    for store in stores.tables:
        if store.is_recorded and store.path.parent not in records:
            records.append(store.path.parent)
        missing = next((dict(note) for note in store.pseudonyms if dict(note) not in given), None)
        if missing is not None:
            told = (store.path.parent if store.is_recorded else store.path, _key_wanted(missing))
            unsearched += [told] if told not in unsearched else []
            continue
        try:
            found = store.find(wanted)
        except (ChurnlibError, OSError, pl.exceptions.PolarsError) as error:
            if store.path.exists():  # else a server has deleted its oldest record meanwhile
                unsearched.append((store.path, str(error).splitlines()[0]))
            continue
        if len(found):
            rows[store.path] = found
    if isinstance(wanted, Erased):
        # Their runs list them no longer: what the models saw stands in the records of the first erasures.
        return stores, Found(rows, len(stores.tables), (), tuple(unsearched), records=tuple(records))
    sources = Sources(wanted)
    missed = [path for path, _ in unsearched]
    models = tuple(which_saw(run, rows, missed, sources) for run in stores.runs)
    for run in stores.runs:
        sources.hold(run_config(run).get("data") or {})
    elsewhere = tuple(path for path in sources.holding if path not in rows)
    return stores, Found(rows, len(stores.tables), models, tuple(unsearched), elsewhere, tuple(records))


def forget(
    wanted: Person | Erased,
    folders: Sequence[str | Path],
    *,
    record: str | Path,
    id_columns: Sequence[str] = (),
    dry_run: bool = False,
    progress: Callable[[Path, int], None] | None = None,
) -> Forgotten:
    """Remove a person's rows from every table below some folders.

    Each file is written anew beside itself and takes its own place at the end: it is there with the rows or without
    them, whatever happens. Order, columns and types of the rows that stay are the same; of CSV files the bytes.

    Args:
        wanted: Whom to forget.
        folders: Where.
        record: File to which a line of JSON about the erasure is added.
        id_columns: More names of columns that name customers.
        dry_run: Only say what would be removed.
        progress: Called with each table and the number of rows removed from it.

    Raises:
        ConfigError: If none of the folders is there.
        DataError: If nobody is found, or a table cannot be written.
    """
    stores, found = search(wanted, folders, id_columns=id_columns)
    if not found.rows:
        if isinstance(wanted, Person):
            raise DataError(nobody(found, folders))
        return Forgotten(found, {}, None)
    if dry_run:
        return Forgotten(found, {}, None)
    tables = {store.path: store for store in stores.tables}
    removed: dict[Path, int] = {}
    problem: DataError | None = None
    for path in found.rows:
        try:
            removed[path] = _remove(tables[path], wanted, progress)
        except DataError as error:
            problem = problem or error
            found = replace(found, unsearched=(*found.unsearched, (path, str(error))))
    written = _record(wanted, found, removed)
    _append(Path(record), written)
    if problem is not None:
        raise problem
    return Forgotten(found, removed, written)


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """Return the erasures that a file of records tells of.

    Raises:
        DataError: If it cannot be read, or holds something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise DataError(f"the records {path} cannot be read ({error.strerror}); name the file of erasures") from error
    except ValueError as error:
        raise DataError(f"{path} is no file of erasures: a line of it is no JSON ({error})") from error


def _remove(store: Store, wanted: Any, progress: Callable[[Path, int], None] | None) -> int:
    n_removed = store.remove(wanted)
    _leave_page(store.path)
    if progress is not None:
        progress(store.path, n_removed)
    return n_removed


def _leave_page(table: Path) -> None:
    """Make the page of a report anew where this is a table of customers on it."""
    from churnlib.evaluation.report.files import TABLES, render_again
    from churnlib.evaluation.report.tables import NAMING

    if table.parent.name == TABLES and table.stem in NAMING:
        render_again(table.parent.parent)


def _record(wanted: Person | Erased, found: Found, removed: Mapping[Path, int]) -> dict[str, Any]:
    """Return what is kept of an erasure: when, how much, which models, and of whom only keyed hashes."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "subject": wanted.trace() if isinstance(wanted, Person) else [],
        "reapplied": isinstance(wanted, Erased),
        "rows": sum(removed.values()),
        "tables": {str(path): n for path, n in removed.items()},
        "models": [
            {"bundle": str(model.bundle), "version": model.version, "created": model.created, "saw": model.said}
            for model in found.models
            if model.concerned
        ],
        "not_searched": {str(path): why for path, why in found.unsearched},
        "still_in": [str(path) for path in found.elsewhere],
    }


def _append(path: Path, record: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(
            f"the rows are removed, but the record of it cannot be written to {path} ({error.strerror}); write one by "
            f"hand: {json.dumps(record, ensure_ascii=False)}"
        ) from error


def _key_wanted(pseudonyms: Mapping[str, str]) -> str:
    told = ", ".join(f"{key}={value}" for key, value in pseudonyms.items() if value)
    return f"holds pseudonyms ({told}); name their key in keys=[...]"


def nobody(found: Found, folders: Sequence[str | Path]) -> str:
    """Return the sentence about a person who is in no table."""
    where = ", ".join(map(str, folders))
    tables = "the 1 table" if found.searched == 1 else f"none of the {found.searched:,} tables"
    sentence = f"{tables} below {where} {'does not name' if found.searched == 1 else 'names'} this customer"
    if found.unsearched:
        path, why = found.unsearched[0]
        more = f" (and {len(found.unsearched) - 1} more)" if len(found.unsearched) > 1 else ""
        return f"{sentence}, but {path}{more} was not searched: it {why}"
    if found.records:
        sentence += f"; {growing(found.records[0])}"
    return f"{sentence}; look for typing errors, or search other folders"


def growing(folder: Path) -> str:
    """Return what is said of a folder in which a server may be recording."""
    return (
        f"{folder} holds a server's records, and one that is running writes what it holds of the last "
        f"{HAND_OVER_SECONDS:.0f} seconds later: search again then, or when it has ended"
    )


__all__ = ["Forgotten", "Found", "forget", "growing", "nobody", "read_records", "search"]
