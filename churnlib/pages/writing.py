"""Templates that escape what they are given, and files that are there whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churnlib.errors import DataError
from churnlib.pages.words import count, figure, money, percent, rounded, share, signed, soft

if TYPE_CHECKING:
    from jinja2 import Environment

LOOK = Path(__file__).parent
"""Folder of ``look.css``, which a template includes."""


@cache
def templates(folder: Path) -> Environment:
    """Return the templates of a folder, and those that all pages share.

    Everything that is put into a page is escaped, and a name that is not there is an error. A process compiles each
    template once: that takes longer than filling it in.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, LOOK]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pct": percent, "count": count, "figure": figure, "money": money, "soft": soft}
    environment.filters |= {"share": share, "signed": signed, "rounded": rounded}
    return environment


def json_ready(value: Any) -> Any:
    """Return values as JSON has them: numbers that it lacks (NaN, infinity) become null.

    Args:
        value: Mappings, sequences, text, numbers (numpy's too), paths.
    """
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [json_ready(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's and torch's numbers and arrays
        return json_ready(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def write_whole(files: Mapping[Path, str | Callable[[Path], object]], *, remedy: str) -> None:
    """Write files, each whole or not at all.

    Args:
        files: By path the text, or what writes the file when called with a path.
        remedy: What to do where that cannot be, as part of a sentence.

    Raises:
        DataError: If a file cannot be written.
    """
    for target, content in files.items():
        temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
        try:
            if isinstance(content, str):
                temporary.write_text(content, encoding="utf-8")
            else:
                content(temporary)
            temporary.replace(target)
        except OSError as error:
            raise DataError(f"{target} cannot be written ({error.strerror or error}); {remedy}") from error
        finally:
            temporary.unlink(missing_ok=True)


__all__ = ["LOOK", "json_ready", "templates", "write_whole"]
