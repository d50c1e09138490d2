"""Records of a server in lines of JSON: those of a person found, and taken out, while the server may add others."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.data.recorded import unchanging
from churnlib.errors import DataError
from churnlib.privacy.stores import CUSTOMER_ID, Store
from churnlib.schema import parsing


class Lines(Store):
    """Records that are a line of JSON each, with the customer in ``customer_id``."""

    def find(self, wanted: Any) -> pl.DataFrame:
        """Return the records that name the persons, in their order."""
        found = [line for line, matches in _matching(self.path, wanted) if matches]
        return pl.read_ndjson(io.BytesIO(b"".join(found)), infer_schema_length=None) if found else pl.DataFrame()

    def remove(self, wanted: Any) -> int:
        """Take the lines that name the persons out of the file; a server that adds one waits so long.

        Returns:
            How many there were.

        Raises:
            DataError: If the file cannot be written; it stays as it is then.
        """
        try:
            with unchanging(self.path):
                return super().remove(wanted)
        except OSError as error:
            raise DataError(f"{self.path} cannot be written without the rows ({error}); it stays as it was") from error

    def _rewrite(self, wanted: Any, place: Path, n_found: int) -> None:
        place.touch(0o600)
        place.write_bytes(b"".join(line for line, matches in _matching(self.path, wanted) if not matches))
        self._settle(place)


def _matching(path: Path, wanted: Any) -> Iterator[tuple[bytes, bool]]:
    """Yield each line, and whether it names one of the persons.

    Raises:
        DataError: If a line is no JSON, and so may name anybody.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    names = pl.Series("name", [_name(path, line) for line in lines], dtype=pl.String)
    texts = names.to_frame().select(parsing.category(pl.col("name"), pl.String())).to_series()
    yield from zip(lines, wanted.match(texts).to_list(), strict=True)


def _name(path: Path, line: bytes) -> str | None:
    try:
        name = json.loads(line)[CUSTOMER_ID] if line.strip() else None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"holds a line that is no record of a customer; take it out of {path} by hand") from None
    return None if name is None else str(name).lower() if isinstance(name, bool) else str(name)


__all__ = ["Lines"]
