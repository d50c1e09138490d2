"""Templates that escape what they are given, and files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from churnlib.errors import DataError
from churnlib.pages.words import count, figure, money, percent, soft

if TYPE_CHECKING:
    from jinja2 import Environment

LOOK = Path(__file__).parent
"""Folder of ``look.css``, which a template includes."""


def templates(folder: Path) -> Environment:
    """Return the templates of a folder, and those that all pages share.

    Everything that is put into a page is escaped, and a name that is not there is an error.
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
    return environment


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


__all__ = ["LOOK", "templates", "write_whole"]
