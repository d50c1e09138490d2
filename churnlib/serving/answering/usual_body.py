"""From the bytes of a request to the cells of a customer, where nothing about either is unusual.

msgspec fills an object with one attribute per column, which takes a third of what a dict and the looks into it cost. A
body with other fields than the model's, without one of them, or with a cell of a kind that never fits is left to those
who say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from churnlib.serving.answering import strict_json
from churnlib.serving.answering.limits import NUMBER

if TYPE_CHECKING:
    from churnlib.row_predictor import ReadRow, RowPredictor


class UsualBodies:
    """Reads the JSON objects of usual customers.

    Args:
        rows: The model's reader of rows, which knows usual ones.
        columns: All that the model reads, in the order of the table, which is that of most clients.
        id_names: Fields that may hold what the client calls the customer, the one that counts first.
        worth: The column of a customer's worth; None of models that do not ask for it.
        most_bytes: Longest body; in a longer one a text could be too long.
    """

    def __init__(
        self,
        rows: RowPredictor,
        columns: Sequence[str],
        *,
        id_names: Sequence[str],
        worth: str | None,
        most_bytes: int,
    ) -> None:
        self._rows, self._most_bytes = rows, most_bytes
        names = rows.usual_names
        optional = [*id_names, *([] if worth is None or worth in names else [worth])]
        self._fields = list(dict.fromkeys([*id_names, *columns, *optional]))
        attribute = {name: f"field_{place}" for place, name in enumerate(self._fields)}
        plain: Any = str | NUMBER

        def declared(name: str) -> Any:
            if name in optional:
                return (attribute[name], plain | UnsetType, UNSET)
            return (attribute[name], plain | list[NUMBER] if name in rows.sequences else plain)

        kind = msgspec.defstruct(
            "Body",
            map(declared, self._fields),
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
            rename={attribute[name]: name for name in self._fields}.get,
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
        self._cells = attrgetter(*map(attribute.__getitem__, names))
        self._optional = tuple(map(attribute.__getitem__, optional))
        self._ids = self._optional[: len(id_names)]
        self._worth = None if worth is None else attribute[worth]
        self._n_names = len(names)

    @classmethod
    def of(cls, rows: RowPredictor, columns: Sequence[str], **options: Any) -> UsualBodies | None:
        """Return the reader for a model; None if it has no usual rows, or so few columns that it is not worth it."""
        return cls(rows, columns, **options) if len(rows.usual_names) > 1 else None

    def read(self, body: bytes) -> tuple[str | int | float | bool | None, ReadRow] | None:
        """Return what the client calls the customer, and the row as the model reads it; None of an unusual body."""
        if len(body) > self._most_bytes:
            return None
        try:
            found = self._decode(body)
        except (ValueError, RecursionError):
            return None
        cells = self._cells(found)
        others = [cell for name in self._optional if (cell := getattr(found, name)) is not UNSET]
        members = self._n_names + len(others)
        if (body.count(b":") != members or b"\\" in body) and not strict_json.each_key_once(
            body, members, self._keys(found), (*cells, *others)
        ):
            return None
        row = self._rows.read_usual(list(cells), None if self._worth is None else getattr(found, self._worth))
        if row is None:
            return None
        for name in self._ids:
            sent = getattr(found, name)
            if sent is not UNSET and sent is not None:
                return sent, row
        return None, row

    def _keys(self, found: Any) -> list[str]:
        """Return the keys that a body had."""
        struct_fields = found.__struct_fields__
        return [key for key, name in zip(self._fields, struct_fields, strict=True) if getattr(found, name) is not UNSET]


__all__ = ["UsualBodies"]
