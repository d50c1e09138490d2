"""Names of a table replaced by pseudonyms, piece by piece, in a table of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack
from uuid import uuid4

import polars as pl

from churnlib.data.pseudonyms import Pseudonyms, check_id
from churnlib.data.sources import TableOptions, reading, scan_table
from churnlib.errors import ConfigError, DataError

WRITERS = {".csv": "sink_csv", ".parquet": "sink_parquet", ".pq": "sink_parquet"}


def pseudonymise_table(
    source: str, target: str | Path, *, column: str, pseudonyms: Pseudonyms, **options: Unpack[TableOptions]
) -> int:
    """Write a table with pseudonyms in place of the customers' names, whole or not at all.

    Beside it ``<target>.pseudonyms.json`` says which key they have.

    Args:
        source: A table, as :func:`churnlib.data.sources.scan_table` takes it.
        target: File to write, CSV or Parquet by its ending.
        column: Names the customers.
        pseudonyms: The key.
        **options: How its files are read, see :class:`churnlib.data.sources.TableOptions`.

    Returns:
        The number of rows.

    Raises:
        ConfigError: If the table has no such column, or the file to write is there already.
        DataError: If the table cannot be read, or the file not be written.
    """
    path = Path(target)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(f"output={path} must end in .csv or .parquet")
    if path.exists() or not path.absolute().parent.is_dir():
        raise ConfigError(f"output={path} must be a new file in a folder that exists")
    lazy = scan_table(source, **options)
    replaced = pseudonyms.scan(lazy, check_id(column, lazy.collect_schema().names()))
    temporary = path.with_name(f".{uuid4().hex[:8]}.{path.name}")
    try:
        with reading(source, **options):
            getattr(replaced, writer)(temporary, maintain_order=True)
        temporary.replace(path)
        pseudonyms.write_note(path, column)
    except OSError as error:
        raise DataError(f"output={path} cannot be written ({error.strerror or error}); choose another file") from error
    finally:
        temporary.unlink(missing_ok=True)
    written = pl.scan_parquet(path, glob=False) if writer == "sink_parquet" else scan_table(path)
    return int(written.select(pl.len()).collect().item())


__all__ = ["pseudonymise_table"]
