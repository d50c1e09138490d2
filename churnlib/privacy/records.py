"""CSV files record by record, with the bytes of each as they stand: what is kept is not written anew."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from churnlib.data.sources.delimited import Header, read_header
from churnlib.data.sources.quotes import BOM, quote_mark
from churnlib.schema import parsing

AT_ONCE = 100_000
"""Records that are looked at together."""


@dataclass(frozen=True)
class Layout:
    """How a CSV file is to be read.

    Attributes:
        header: Its names and delimiter.
        quoted: Whether quotes put cells together; else they are text.
        packed: Whether the file is gzip.
    """

    header: Header
    quoted: bool
    packed: bool

    @classmethod
    def of(cls, path: Path) -> Layout:
        """Look at a file.

        Raises:
            DataError: If it is no CSV file.
        """
        tab = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else None
        header = read_header(str(path), separator=tab)
        quoted = quote_mark(str(path), header.separator) is not None
        return cls(header, quoted, path.name.lower().endswith(".gz"))

    def cells(self, record: bytes) -> list[str]:
        """Return the cells of a record."""
        text = record.decode("utf-8", errors="surrogateescape")
        quoting = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        return next(csv.reader([text.rstrip("\r\n")], delimiter=self.header.separator, quoting=quoting), [])


@contextmanager
def opened(path: Path, layout: Layout, mode: str = "rb") -> Iterator[IO[bytes]]:
    """Open a CSV file for its bytes, packed or not."""
    file = gzip.open(path, mode) if layout.packed else path.open(mode)  # noqa: SIM115 - closed below
    with cast("IO[bytes]", file):
        yield cast("IO[bytes]", file)


def records(path: Path, layout: Layout) -> Iterator[tuple[bytes, bool]]:
    """Yield each record, and whether it stands at the head of the file (the header and what is above it)."""
    with opened(path, layout) as file:
        lines: Iterator[bytes] = iter(file)
        if layout.header.end_of_line == "\r":
            lines = iter(part + b"\r" for part in file.read().rstrip(b"\r").split(b"\r"))
        above, seen_header, held = layout.header.lines_above, False, b""
        for line in lines:
            if above:
                above -= 1
                yield line, True
                continue
            held += line
            if layout.quoted and held.count(b'"') % 2:
                continue  # a line break in quotes
            yield held, not seen_header
            seen_header = seen_header or bool(held.removeprefix(BOM).strip())
            held = b""
        if held:
            yield held, not seen_header


def matching(
    path: Path, layout: Layout, columns: Sequence[str], wanted: Any
) -> Iterator[tuple[list[bytes], list[bool]]]:
    """Yield records in pieces, and which of each piece name the persons that are looked for.

    Args:
        path: A CSV file.
        layout: How it is to be read.
        columns: Where it names its customers.
        wanted: A :class:`~churnlib.privacy.persons.Person` or the like.
    """
    places, fragments = [layout.header.names.index(column) for column in columns], wanted.fragments()
    piece: list[bytes] = []
    heads: list[bool] = []
    for record, head in records(path, layout):
        piece.append(record)
        heads.append(head)
        if len(piece) == AT_ONCE:
            yield piece, _matches(piece, heads, layout, places, wanted, fragments)
            piece, heads = [], []
    if piece:
        yield piece, _matches(piece, heads, layout, places, wanted, fragments)


def _matches(
    piece: Sequence[bytes],
    heads: Sequence[bool],
    layout: Layout,
    places: Sequence[int],
    wanted: Any,
    fragments: Sequence[bytes],
) -> list[bool]:
    def may_match(number: int) -> bool:
        return not heads[number] and (not fragments or any(part in piece[number] for part in fragments))

    numbers = [number for number in range(len(piece)) if may_match(number)]
    cells = [layout.cells(piece[number]) for number in numbers]
    found: set[int] = set()
    for place in places:
        names = pl.Series("id", [row[place] if place < len(row) else None for row in cells], dtype=pl.String)
        texts = names.to_frame().select(parsing.category(pl.col("id"), pl.String())).to_series()
        found |= {number for number, matches in zip(numbers, wanted.match(texts).to_list(), strict=True) if matches}
    return [number in found for number in range(len(piece))]


__all__ = ["Layout", "matching", "opened", "records"]
