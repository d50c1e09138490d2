"""A table of any size in a stream into Parquet files of bounded size, those of each snapshot date apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
import polars.selectors as cs

from churnlib.data.dates import TRIED_ROWS, find_formats
from churnlib.data.ingested.facts import Facts, facts_of
from churnlib.data.ingested.manifest import Part
from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing, unknown_column

NO_DATE = "none"
"""Snapshot of rows whose date is missing or cannot be read."""

KEY = "\0snapshot"

MOST_SNAPSHOTS = 1_000
"""More dates than this are no snapshots, but times of their own for each row."""

GROUP_ROWS = 16_000
"""Rows of a row group, at most: each snapshot that is being written holds one in memory."""

CHUNK_ROWS = 20_000
"""Rows that are handed from reading to writing at a time. polars holds several dozen such chunks, whatever the size of
the table; of its own choice they are the source's row groups."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is written, and not yet a part of its table.

    Attributes:
        path: Where it lies.
        snapshot: Of its rows.
        number: Among the files of its snapshot, from 0.
        facts: Of the file.
    """

    path: Path
    snapshot: str | None
    number: int
    facts: Facts

    @property
    def part(self) -> Part:
        """Its entry in a manifest: the checksum in its name makes it another file than any before it."""
        folder = "rows" if self.snapshot is None else f"snapshot={self.snapshot}"
        return Part.of(f"{folder}/{self.number:04}-{self.facts.sha256[:16]}.parquet", self.snapshot, self.facts)


class Stage:
    """Writes a table into a folder.

    Args:
        source: The table; not collected.
        time: Column with the date of each row; None for a table without dates.
        formats: Its date formats besides ISO 8601; found at the beginning of the table when None.
        rows_per_file: Rows of a file, at most.
        progress: Called with the number of rows written so far.

    Raises:
        ConfigError: If the table has no such column.
        DataError: If it holds no dates.
    """

    def __init__(
        self,
        source: pl.LazyFrame,
        *,
        time: str | None,
        formats: Sequence[str] | None,
        rows_per_file: int,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._rows_per_file, self._progress = rows_per_file, progress
        self._done, self._counting = 0, Lock()
        self._paths: dict[str, list[Path]] = defaultdict(list)
        # Another month's file has other categories: the types of the parts of a table must not depend on its rows.
        self._source = source.with_columns(cs.categorical().cast(pl.String), cs.enum().cast(pl.String))
        self.types: dict[str, pl.DataType] = dict(self._source.collect_schema())
        self._key = None if time is None else self._snapshot(time, formats)

    def _snapshot(self, time: str, formats: Sequence[str] | None) -> pl.Expr:
        """Return the snapshot of a row as text."""
        if time not in self.types:
            raise ConfigError(unknown_column(time, list(self.types), option="data.time"))
        dtype, cell = self.types[time], parsing.cell_of(time)
        if formats is None:
            head = self._source.select(cell).head(TRIED_ROWS).collect().to_series()
            formats = find_formats(head, None, option="data.time", remedy=f"data.columns.{time}.format")
        return parsing.moment(cell, dtype, formats).dt.strftime("%Y-%m-%d").fill_null(NO_DATE)

    def write(self, folder: Path) -> list[Staged]:
        """Write the table into a folder that is there; return its files in the order of the table.

        Raises:
            DataError: If the table has no rows, or too many dates.
            OSError: If a file cannot be read or written, as polars says it, like its own errors.
        """
        rows = self._source if self._progress is None else self._counted()
        rows = rows if self._key is None else rows.with_columns(self._key.alias(KEY))
        target = pl.PartitionBy(
            folder,
            file_path_provider=lambda file: self._place(folder, file),
            key=None if self._key is None else KEY,
            include_key=None if self._key is None else False,
            max_rows_per_file=self._rows_per_file,
            approximate_bytes_per_file=None,
        )
        try:
            with pl.Config(streaming_chunk_size=CHUNK_ROWS):
                rows.sink_parquet(target, row_group_size=GROUP_ROWS, sync_on_close="all", maintain_order=True)
        finally:
            if len(self._paths) > MOST_SNAPSHOTS:
                raise DataError(
                    f"data.time has more than {MOST_SNAPSHOTS:,} dates; name the column with the snapshots, or leave "
                    "data.time out"
                )
        staged = [
            Staged(path, None if self._key is None else snapshot, number, facts_of(path))
            for snapshot, paths in sorted(self._paths.items())
            for number, path in enumerate(sorted(paths))
        ]
        if not any(one.facts.rows for one in staged):
            raise DataError("the table has columns but no rows; export it again with its customers")
        return [one for one in staged if one.facts.rows]

    def _place(self, folder: Path, file: Any) -> str:
        """Return the name of a file; polars asks for one when its first rows come."""
        keys = file.partition_keys
        snapshot = NO_DATE if keys is None or not keys.width else keys.item()
        name = f"{snapshot}-{file.index_in_partition:06}.parquet"
        with self._counting:
            self._paths[snapshot].append(folder / name)
            if len(self._paths) > MOST_SNAPSHOTS:
                raise ValueError("too many dates")
        return name

    def _counted(self) -> pl.LazyFrame:
        def count(piece: pl.DataFrame) -> pl.DataFrame:
            with self._counting:
                self._done += len(piece)
                if self._progress is not None:
                    self._progress(self._done)
            return piece

        return self._source.map_batches(count, schema=dict(self.types), streamable=True)


__all__ = ["NO_DATE", "Stage", "Staged"]
