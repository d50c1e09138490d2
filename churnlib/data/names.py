"""Column names: one spelling for the same column, whichever system wrote it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from churnlib.errors import DataError

ZERO_WIDTH = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
"""Characters without width, which exports leave in headers; no two names should differ only in them."""


def normalize_name(name: object) -> str:
    """Return a column name as every part of the library writes it.

    Blanks around the name go, runs of blanks (line breaks and hard blanks too) become one, characters without width go,
    and letters with accents get their composed form (Unicode NFC). Case stays. Applying it twice changes nothing.

    >>> normalize_name("  Monthly   Charges ")
    'Monthly Charges'
    """
    text = str(name).translate(ZERO_WIDTH)
    return unicodedata.normalize("NFC", " ".join(text.split()))


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: Python also holds halves of characters, which no table can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_pattern(name: str) -> bool:
    """Whether polars reads a name as a pattern that stands for several columns."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def is_name(name: str) -> bool:
    """Whether a column may have this name, normalised."""
    return is_unicode(name) and not is_pattern(name)


def normalize_names(names: Iterable[object], *, table: str = "the table") -> list[str]:
    """Return the normalised names of a table's columns, all different and none empty.

    A column without a name is called after its place, counted from 1, as spreadsheets do.

    Args:
        names: The names as they came, in table order.
        table: What to call the table in an error, such as its path.

    Raises:
        DataError: If two columns have the same name once normalised, a name is no valid Unicode, or it is a pattern
            (``*``, ``^...$``).

    >>> normalize_names(["id", " ", "tenure "])
    ['id', 'column_2', 'tenure']
    """
    normalized = [normalize_name(name) or f"column_{place}" for place, name in enumerate(names, start=1)]
    first_place: dict[str, int] = {}
    for place, name in enumerate(normalized, start=1):
        if not is_unicode(name):
            raise DataError(f"the name of column {place} of {table} is no valid Unicode text ({name!a}); rename it")
        if is_pattern(name):
            raise DataError(f"{table} has a column named {name!r}, which stands for a pattern; rename it")
        if name in first_place:
            raise DataError(
                f"{table} has two columns named {name!r} (columns {first_place[name]} and {place}); rename one of them"
            )
        first_place[name] = place
    return normalized
