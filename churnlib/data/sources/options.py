"""What may be said about a table's files, where they do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from churnlib.data.sources.stores import without_query
from churnlib.errors import ConfigError


class TableOptions(TypedDict, total=False):
    """Keyword arguments of everything that opens a table; None and what is left out is found out.

    Attributes:
        separator: Delimiter of CSV files: one character, or ``tab``.
        decimal: ``comma`` where cells of a CSV file write numbers as ``1.234,5``; ``point`` is as good as nothing.
        null_values: Cells, without blanks around them, that mean "no value" in every column.
        sheet: Sheet of an Excel file; the first visible one when left out.
        header_row: Row of the sheet with the column names, from 1; the first one with anything in it when left out.
        delta_version: Version of a Delta table: its number, or a moment in ISO 8601; the newest one when left out.
        storage_options: Credentials and settings of an object store, as polars takes them; without them polars looks
            in the environment.
    """

    separator: str | None
    decimal: str | None
    null_values: Sequence[str]
    sheet: str | None
    header_row: int | None
    delta_version: str | int | None
    storage_options: Mapping[str, Any] | None


BELONGS_TO = {"decimal": "CSV", "sheet": "Excel", "header_row": "Excel", "delta_version": "Delta Lake"}
"""Options of one format: silently ignored, they would mean other rows than the user has in mind."""


def check_format(options: TableOptions, kind: str, source: str) -> None:
    """Refuse options that another format has.

    Raises:
        ConfigError: With the option and both formats.
    """
    for option, wanted in BELONGS_TO.items():
        value, shown = options.get(option), without_query(source)
        if value is not None and wanted != kind:
            raise ConfigError(f"data.{option}={value} is for {wanted} tables, but {shown} is {kind}; leave it out")


def decimal_comma(options: TableOptions) -> bool:
    """Whether text cells write numbers with a decimal comma.

    Raises:
        ConfigError: If the option is no mark of decimals.
    """
    mark = options.get("decimal")
    marks = {None: False, "point": False, ".": False, "comma": True, ",": True}
    if mark not in marks:
        raise ConfigError(f"data.decimal must be comma or point, got {mark!r}")
    return marks[mark]
