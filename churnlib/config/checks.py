"""Refusing what is out of its range, with the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from churnlib.errors import ConfigError


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean X?"`` for the known word most like this one, else an empty text.

    >>> nearest("trane", ["train", "score"])
    '; did you mean train?'
    """
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def check_range(
    option: str, value: Any, *, low: float, high: float = float("inf"), open_low: bool = False, open_high: bool = False
) -> None:
    """Refuse a number outside its range; None and interpolations (text) pass.

    Raises:
        ConfigError: With the option, its range and the value.
    """
    if not isinstance(value, int | float):
        return
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    if above and below:
        return
    if high == float("inf"):
        wanted = f"{'above' if open_low else 'at least'} {low:,}"
    else:
        wanted = f"in {'(' if open_low else '['}{low:,}, {high:,}{')' if open_high else ']'}"
    raise ConfigError(f"{option} must be {wanted}, got {value!r}")


def check_choice(option: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices; None and interpolations pass.

    Raises:
        ConfigError: With the option, its choices and the value.
    """
    if value is None or value in choices or (isinstance(value, str) and "${" in value):
        return
    raise ConfigError(f"{option} must be one of {', '.join(choices)}, got {value!r}{nearest(str(value), choices)}")


def check_variable(option: str, name: str) -> None:
    """Refuse what is no name of an environment variable, such as the secret that the variable should hold.

    Raises:
        ConfigError: Without showing the value.
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
        raise ConfigError(
            f"{option} must be the name of an environment variable, and not what the variable holds: options are "
            "printed and kept"
        )


def check_local(option: str, path: str | None) -> None:
    """Refuse an address where a file or folder is written: as a path it would be a folder called ``s3:``.

    Raises:
        ConfigError: With the option and the remedy.
    """
    if path is not None and "://" in path:
        raise ConfigError(
            f"{option}={path.partition('?')[0]} is an address, but churnlib writes to local disks only; write to a "
            "path and copy it (such as aws s3 cp)"
        )
