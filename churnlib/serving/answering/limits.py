"""How much one body may hold, and msgspec's decoders, which refuse more while they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Union

import msgspec
from msgspec import Meta

NUMBER: Any = Union[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], float, bool, None]  # noqa: UP007 - for pyright
"""A cell that is no text, as msgspec reads it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one body may hold.

    The decoders read what a client normally sends: rows of numbers and texts within these limits. They raise
    ``ValueError`` at anything else, and so at some of what is allowed (an object in a row, an integer of 20 digits).
    The length of keys is left to :meth:`keys_fit`: a key without a limit is one that msgspec finds among those it has
    seen before, which doubles the speed.

    Attributes:
        depth: Levels of objects and arrays, the row itself being the first; at least 2.
        fields: Keys of one object.
        text: Characters of one text or key; a model with text columns may need more.
        rows: Customers in a bulk request.
        decode_row: From bytes to a row; its texts may be as long as the body.
        decode_long_row: The same with texts of the right length.
        decode_rows: From bytes to ``{"instances": [row, ...]}``.
        decode_columns: From bytes to ``{"columns": {name: [...], ...}}``; any number of values.
    """

    depth: int = 8
    fields: int = 512
    text: int = 4096
    rows: int = 10_000
    decode_row: Callable[[bytes], dict[str, Any]] = field(init=False, repr=False, compare=False)
    decode_long_row: Callable[[bytes], dict[str, Any]] = field(init=False, repr=False, compare=False)
    decode_rows: Callable[[bytes], dict[str, list[dict[str, Any]]]] = field(init=False, repr=False, compare=False)
    decode_columns: Callable[[bytes], dict[str, dict[str, list[Any]]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields, rows = Meta(max_length=self.fields), Meta(max_length=self.rows)
        cell = Annotated[str, Meta(max_length=self.text)] | NUMBER | list[NUMBER]
        row = Annotated[dict[str, cell], fields]
        for name, kind in (
            ("decode_row", Annotated[dict[str, str | NUMBER | list[NUMBER]], fields]),  # lengths cost a microsecond
            ("decode_long_row", row),
            ("decode_rows", dict[str, Annotated[list[row], rows]]),
            ("decode_columns", dict[str, Annotated[dict[str, Annotated[list[cell], rows]], fields]]),
        ):
            object.__setattr__(self, name, msgspec.json.Decoder(kind).decode)

    def keys_fit(self, keys: Iterable[str]) -> bool:
        """Return whether no key is longer than a text may be."""
        return max(map(len, keys), default=0) <= self.text

    @classmethod
    def of_model(cls, columns: int, *, text: int = 4096, rows: int = 10_000) -> Limits:
        """Return the limits for a model of so many columns: a wide one needs more fields, and some to spare."""
        return cls(fields=max(512, 2 * columns), text=text, rows=rows)


__all__ = ["Limits"]
