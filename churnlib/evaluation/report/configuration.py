"""The options of a run as words of the command line, without what must not be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SECRET = re.compile(r"(password|passwd|secret|token|credential|api_?key|access_?key|private_?key|signature)", re.I)
NAMES_ONLY = re.compile(r"_(env|file|id)$", re.I)
"""Options that name where a secret is, and hold none."""

HIDDEN = "***"


def settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each option that is set, by its name on the command line.

    >>> settings({"seed": 1, "data": {"path": "s3://me:pw@bucket/a.csv?sig=1", "time": None, "token": "x"}})
    [('seed', '1'), ('data.path', 's3://***@bucket/a.csv?***'), ('data.token', '***')]
    """
    return [(name, HIDDEN if _hides(name) else without_secrets(_text(value))) for name, value in _leaves(config)]


def without_secrets(text: str) -> str:
    """Return a text without the user, password and signature of addresses in it."""
    text = re.sub(r"://[^/@\s]*@", f"://{HIDDEN}@", text)
    return re.sub(r"(://[^\s?]*)\?\S*", rf"\1?{HIDDEN}", text)


def _hides(name: str) -> bool:
    last = name.rpartition(".")[2]
    return bool(SECRET.search(last)) and not NAMES_ONLY.search(last)


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        full = f"{path}.{name}" if path else str(name)
        if isinstance(inner, Mapping):
            yield from _leaves(inner, full)
        elif inner not in (None, "", [], ()):
            yield full, inner


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


__all__ = ["settings", "without_secrets"]
