"""The list of customers who have objected to being scored (GDPR, articles 21 and 22): no model is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.watched import Watched
from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing

OPTED_OUT = "opted_out"
"""Column of a scored table that says who was left out."""

CUSTOMER_ID = "customer_id"
"""What the column of names may be called beside the model's own word for it."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """Names of customers, as cells are read: blanks around them do not count, and ``12.0`` is ``12``.

    Attributes:
        names: All of them.
    """

    names: frozenset[str]

    def __len__(self) -> int:
        return len(self.names)

    def among(self, column: pl.Series) -> np.ndarray:
        """Return which of the customers in a column are on the list, ``(n,)`` bool."""
        if not self.names or not parsing.is_plain(column.dtype):
            return np.zeros(len(column), dtype=bool)
        texts = column.alias("name").to_frame().select(parsing.category(pl.col("name"), column.dtype)).to_series()
        return texts.is_in(list(self.names)).fill_null(False).to_numpy()

    def __contains__(self, name: object) -> bool:
        return name_of(name) in self.names


def name_of(value: object) -> str | None:
    """Return the name of a customer who comes alone, as one in a column is read; None if it is no name.

    >>> name_of(" C-1 "), name_of(12.0), name_of(" ")
    ('C-1', '12', None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # of any length
    cell = pl.Series("name", [value], strict=False)
    return cell.to_frame().select(parsing.category(pl.col("name"), cell.dtype)).item()


def names_of(values: Sequence[object]) -> list[str | None]:
    """Return the names of customers who come together, each as :func:`name_of` reads it alone.

    >>> names_of([" C-1 ", 12.0, 12, None])
    ['C-1', '12', '12', None]
    """
    names: list[str | None] = [None] * len(values)
    alike: dict[type, list[int]] = {}
    for place, value in enumerate(values):
        alike.setdefault(type(value), []).append(place)
    for kind, places in alike.items():
        if kind in (str, float, bool):  # a column of one type reads its cells as each would be read alone
            cell = pl.Series("name", [values[place] for place in places])
            found = cell.to_frame().select(parsing.category(pl.col("name"), cell.dtype)).to_series().to_list()
        else:
            found = [None if kind is type(None) else name_of(values[place]) for place in places]
        for place, name in zip(places, found, strict=True):
            names[place] = name
    return names


def read_opt_out(path: str | Path, *, id: str | None = None, **reading: Any) -> OptOut:  # noqa: A002 - the field's name
    """Read a list.

    Args:
        path: A table as :func:`churnlib.data.sources.read_table` reads it, with the names in the column ``id`` or
            ``customer_id``, or in its only column. A list without rows is one that nobody is on.
        id: What the model's table calls its customers' names.
        **reading: Options of the file.

    Raises:
        ConfigError: If there is no such file.
        DataError: If it cannot be read, has several columns and none of these names, or a row without a name: whose
            objection that is cannot be known.
    """
    from churnlib.data.sources import scan_table

    table = scan_table(str(path), **reading)
    columns = table.collect_schema().names()
    column = next((name for name in (id, CUSTOMER_ID) if name in columns), columns[0] if len(columns) == 1 else None)
    if column is None:
        wanted = " or ".join(dict.fromkeys(repr(name) for name in (id, CUSTOMER_ID) if name is not None))
        raise DataError(f"opt_out={path} has no column {wanted}, and more than one; rename the one with the names")
    cells = table.select(parsing.cell_of(column)).collect().to_series()
    texts = cells.to_frame().select(parsing.category(pl.first(), cells.dtype)).to_series()
    if texts.has_nulls():
        row = int(texts.is_null().arg_max() or 0)
        raise DataError(f"opt_out={path} has no name in row {row} of {column!r}; complete it, or take the row away")
    return OptOut(frozenset(texts.to_list()))


class WatchedOptOut(Watched[OptOut]):
    """A list on disk that is read again when its file has changed, so that an objection counts from the next answer.

    Once its file cannot be read, nobody may be scored: whoever has objected meanwhile is not known.

    Args:
        path: The file, on this machine.
        id: What the model's table calls its customers' names.
    """

    def __init__(self, path: str | Path, *, id: str | None = None) -> None:  # noqa: A002 - the field's name
        super().__init__(path, partial(read_opt_out, id=id), option="opt_out")


def refuse_nameless(id: str | None, columns: list[str]) -> None:  # noqa: A002 - the field's name
    """Refuse to score rows of which nobody knows whose they are while there is a list.

    Raises:
        ConfigError: If the model knows no column of names, or the table does not have it.
    """
    if id is None:
        raise ConfigError(
            "opt_out needs customers with names, but the model was trained without data.id; train with it"
        )
    if id not in columns:
        raise ConfigError(f"opt_out needs the customers' names, and the table has no column {id!r}; add it")


__all__ = ["OPTED_OUT", "OptOut", "WatchedOptOut", "name_of", "names_of", "read_opt_out", "refuse_nameless"]
