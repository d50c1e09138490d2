"""How the files of a table are to be read, where they do not say it themselves; the same for every table."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from churnlib.config.checks import check_choice, check_range


@dataclass(kw_only=True)
class FileOptions:
    """Options beside a table's path."""

    separator: str | None = None
    """Delimiter of a CSV file; detected from the header when left out."""
    decimal: str | None = None
    """comma where a CSV file writes numbers as 1.234,5."""
    null_values: list[str] = field(default_factory=list)
    """Cells that mean "no value", in every column, such as [-, unknown, -999]."""
    sheet: str | None = None
    """Sheet of an Excel file; the first one when left out."""
    header_row: int | None = None
    """Row of the sheet with the column names, from 1; the first one with anything in it when left out."""
    delta_version: str | None = None
    """Version of a Delta table: its number, or a moment such as 2024-05-01T12:00:00Z; the newest when left out."""

    def __post_init__(self) -> None:
        check_choice("decimal", self.decimal, ("comma", "point"))
        check_range("header_row", self.header_row, low=1)

    def reading(self) -> dict[str, Any]:
        """Return those that are set, as everything that opens a table takes them."""
        return {name: value for name in FILE_OPTIONS if (value := getattr(self, name)) not in (None, [])}


FILE_OPTIONS = tuple(one.name for one in fields(FileOptions))
