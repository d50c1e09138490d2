"""Names of columns that are only filled in once a customer has left, as CRM exports call them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain

KNOWN = (
    "churn", "churned", "attrition", "cancel*", "terminat* date", "terminat* reason", "terminated", "deactivat*",
    "disconnect*", "customer status", "account status", "subscription status", "contract status",
    "close* date", "closed at", "account closed", "exit date", "exit reason", "exit interview",
    "leave date", "leave reason", "left date", "left at", "leaving", "departure", "offboard*", "unsubscrib*",
    "port* out", "final bill", "final invoice", "winback", "win back", "remaining contract", "remaining months",
    "contract left", "cltv",
)  # fmt: skip
"""Words, each of which a name must have, in any order; ``*`` stands for the end of a word or for any word.

``cltv`` is a forecast that knows how likely the customer stays; a status is today's, not that of the prediction's day.
"""

ALIKE, LONG = 0.85, 7
"""Words of so many letters may be misspelled by so much (``reamining``)."""


def words_of(name: str) -> list[str]:
    """Return the words of a column's name.

    >>> words_of("ChurnDate"), words_of("reamining_contract"), words_of("CLTV 2024")
    (['churn', 'date'], ['reamining', 'contract'], ['cltv', '2024'])
    """
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+", name)
    return [part.lower() for part in parts]


def known_leak(name: str, also: Sequence[str] = ()) -> str | None:
    """Return the entry of the list that a name matches, None if it matches none.

    >>> known_leak("reamining_contract"), known_leak("Churn Reason"), known_leak("contract"), known_leak("churndate")
    ('remaining contract', 'churn', None, 'churn')

    Args:
        name: Of the column.
        also: More entries, in the form of :data:`KNOWN`.
    """
    entries, every = _patterns((*KNOWN, *also))
    found = set[str]().union(*(_matched(word, every) for word in words_of(name)))
    entry = next((entry for entry, wanted in entries.items() if found.issuperset(wanted)), None)
    return entry or ("churn" if "churn" in name.lower() else None)


@lru_cache(maxsize=16)
def _patterns(entries: tuple[str, ...]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the words that a name must have, for each entry, and those of all entries."""
    wanted = {entry: entry.lower().replace("_", " ").split() for entry in entries}
    return wanted, tuple(dict.fromkeys(chain.from_iterable(wanted.values())))


@lru_cache(maxsize=4_096)  # the names of a wide table are made of the same few words
def _matched(word: str, patterns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(pattern for pattern in patterns if _matches(word, pattern))


def _matches(word: str, pattern: str) -> bool:
    if "*" in pattern:
        return fnmatchcase(word, pattern)
    if word == pattern:
        return True
    long_enough = min(len(word), len(pattern)) >= LONG
    return long_enough and difflib.SequenceMatcher(None, word, pattern).ratio() >= ALIKE


NAMES_OF_IDS = ("id", "ids", "uid", "uuid", "guid", "index", "rowid", "unnamed")


def is_called_id(name: str) -> bool:
    """Whether a name is one of a customer number or of a row's place in a file.

    >>> is_called_id("customerID"), is_called_id("paid"), is_called_id("Unnamed: 0")
    (True, False, True)
    """
    return not set(words_of(name)).isdisjoint(NAMES_OF_IDS)
