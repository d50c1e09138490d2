"""The files of a report in its run folder: written whole, read again, and made anew from what they hold.

report.html      the page
report.json      its numbers and words, without the customers
report/          the same numbers as Parquet, a table each; customers.parquet and fronts.parquet name customers
model_card.md    the model card
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.errors import DataError
from churnlib.evaluation.report.card import markdown
from churnlib.evaluation.report.document import FORMAT
from churnlib.evaluation.report.page import render
from churnlib.evaluation.report.tables import NAMING, tables
from churnlib.pages.writing import write_whole

PAGE, NUMBERS, CARD, TABLES = "report.html", "report.json", "model_card.md", "report"


def write_report(document: Mapping[str, Any], folder: Path, *, page: Path | None = None) -> Path:
    """Write the page, its numbers, and the model card.

    Args:
        document: What :func:`churnlib.evaluation.report.document.build_document` returned.
        folder: Of the run.
        page: File of the page; ``report.html`` in the folder when left out.

    Returns:
        The file of the page.

    Raises:
        DataError: If a file cannot be written.
    """
    target = folder / PAGE if page is None else page
    kept = {key: part for key, part in document.items() if key not in NAMING}
    made = tables(document)
    try:
        (folder / TABLES).mkdir(exist_ok=True)
        for old in (folder / TABLES).glob("*.parquet"):
            if old.stem not in made:
                old.unlink()
    except OSError as error:
        raise DataError(f"{folder / TABLES} cannot be written ({error.strerror}); name another run") from error
    files = {folder / TABLES / f"{name}.parquet": table.write_parquet for name, table in made.items()}
    numbers = json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(
        {**files, folder / NUMBERS: numbers, folder / CARD: markdown(document), target: render(document)},
        remedy="choose another out=FILE",
    )
    return target


def read_document(folder: Path) -> dict[str, Any] | None:
    """Return the document that a run folder holds; None if it holds none, or one of another release.

    Raises:
        DataError: If the file is broken.
    """
    path = folder / NUMBERS
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); remove it to have the report made anew") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return None
    for key in NAMING:
        table = folder / TABLES / f"{key}.parquet"
        if table.is_file():
            document[key] = pl.read_parquet(table).to_dicts()
    return document


def render_again(folder: Path) -> bool:
    """Make the page anew from the numbers beside it, after a customer has left them; return whether there is one."""
    document = read_document(folder) if (folder / PAGE).is_file() else None
    if document is None:
        return False
    write_whole({folder / PAGE: render(document)}, remedy=f"remove {folder / PAGE}, which still names the customer")
    return True


__all__ = ["CARD", "NUMBERS", "PAGE", "TABLES", "read_document", "render_again", "write_report"]
