"""What goes wrong while the sources of a joined table are read, as one sentence about the one that is broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import polars as pl

from churnlib.config.joined import SourceConfig
from churnlib.data.sources import reading
from churnlib.data.sources.diagnosis import fault
from churnlib.data.sources.parts import find_parts
from churnlib.data.sources.stores import is_remote
from churnlib.errors import DataError


def reading_source(config: SourceConfig) -> AbstractContextManager[None]:
    """Turn errors of reading one source into one sentence."""
    return reading(str(config.path), **config.reading())


@contextmanager
def reading_sources(sources: Mapping[str, SourceConfig]) -> Iterator[None]:
    """Turn errors of reading several sources at once into one sentence; to be put around every ``collect``.

    polars does not say which table it was reading: the local ones are looked at again.

    Raises:
        DataError: For any error of polars or of the operating system inside the block.
    """
    try:
        yield
    except (OSError, ValueError, ImportError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        for name, config in sources.items():
            found = None if is_remote(str(config.path)) else fault(find_parts(str(config.path)), config.separator)
            if found is not None:
                raise DataError(f"data.sources.{name}: {found}") from error
        first = str(error).strip().splitlines()[0][:300]
        raise DataError(f"one of the sources {', '.join(sources)} cannot be read: {first}; export it again") from error


__all__ = ["reading_source", "reading_sources"]
