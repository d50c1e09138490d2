"""Whether the quotes of a CSV file can be trusted, looked at before polars splits it.

A cell that holds a quote has to be in quotes itself, with each of its quotes doubled (RFC 4180, section 2). Exports
that put nothing in quotes write ``24" screen`` as it stands. polars then stops, or joins the cells between two such
quotes without a word.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from churnlib.errors import DataError

LOOKED_AT = 1 << 28
"""Bytes (256 MiB) of a file that are looked at, so that opening a huge table stays quick."""

BLOCK = 1 << 18
QUOTE, LF, CR = b'"\n\r'
BOM = b"\xef\xbb\xbf"


def quote_mark(file: str, separator: str) -> str | None:
    r"""Return the character that puts cells of a local CSV file in quotes: ``"``, or None if no cell is in quotes.

    In the second case quotes are text like any other.

    Raises:
        DataError: If some cells are in quotes and others hold quotes without being in quotes.
    """
    content = _content(file)
    separates = np.zeros(256, dtype=bool)
    separates[[ord(separator), LF, CR]] = True
    may_touch = separates.copy()
    may_touch[QUOTE] = True  # a doubled quote closes and opens again at once
    start = len(BOM) if content[: len(BOM)].tobytes() == BOM else 0

    last = len(content) - 1
    seen, wrong, any_quoted = 0, None, False
    for block in range(0, len(content), BLOCK):
        places = block + np.flatnonzero(content[block : block + BLOCK] == QUOTE)
        if not len(places):
            continue
        # Every second quote opens: the cell begins there. The others close: the cell ends there.
        opens, closes = places[seen % 2 :: 2], places[1 - seen % 2 :: 2]
        misplaced = [
            opens[~(may_touch[content[opens - 1]] | (opens == start))],
            closes[~(may_touch[content[np.minimum(closes + 1, last)]] | (closes == last))],
        ]
        if wrong is None:
            wrong = min((int(found[0]) for found in misplaced if len(found)), default=None)
        any_quoted = any_quoted or bool((separates[content[places - 1]] | (places == start)).any())
        seen += len(places)
        if any_quoted and wrong is not None:
            line = np.count_nonzero(content[:wrong] == LF) + 1
            raise DataError(
                f"line {line} of {file} has a quote inside a cell that is not in quotes, while other cells are; put "
                "the cell in quotes and write its quotes twice"
            )
    return '"' if any_quoted or not seen else None


def _content(file: str) -> np.ndarray:
    """Return the (unpacked) bytes at the start of a file, uint8."""
    path = Path(file)
    with path.open("rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
    if packed:
        with gzip.open(path) as unpacked:
            return np.frombuffer(unpacked.read(LOOKED_AT), dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r")[:LOOKED_AT]
