"""How a cell becomes a number, a date, a truth value or a category: one rule for every entry point.

A cell may arrive as text (CSV files are read as text), as a JSON value, or already typed (Parquet, data frames). Each
function takes an expression and the type it comes in, and returns polars expressions, so that the same rule reads ten
million rows of a file and one customer of a request.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

MISSING_WORDS = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "<na>", "?")
"""Words (any case) that mean "no value" where a number, a date or a truth value is expected.

In a category only blanks mean that: "None" and "NA" are names that real tables use.
"""

TRUE_WORDS = ("yes", "y", "true", "t", "1", "1.0")
FALSE_WORDS = ("no", "n", "false", "f", "0", "0.0")

ISO = "iso"
"""Name of the ISO 8601 family of date formats in a schema; always tried first."""

_ISO_PATTERNS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
)
_ISO_ZONED_PATTERNS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")

DATE_FORMATS = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
)
"""Formats tried on text that is not ISO 8601, in this order of preference when two read equally many cells."""


def is_text(dtype: pl.DataType) -> bool:
    """Whether cells of this type are text."""
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def is_plain(dtype: pl.DataType) -> bool:
    """Whether a cell of this type is one value, not a list, a structure or an object."""
    return not (dtype.is_nested() or dtype in (pl.Object, pl.Binary))


def stripped(cell: pl.Expr) -> pl.Expr:
    """Text without blanks around it; blank text is missing."""
    text = cell.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def category(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the category a cell names, as text: ``" Two year "`` -> ``"Two year"``, ``3.0`` -> ``"3"``.

    Whole numbers lose their zero fraction, so that a code is the same category from a CSV file (text), a Parquet file
    (float) and JSON (integer).
    """
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        cell = cell.cast(pl.Float64).fill_nan(None)
    return stripped(cell).str.replace(r"^(-?\d+)\.0+$", "$1")


def truth(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return ``"true"`` or ``"false"`` for the known words in any case, else the cell's own text."""
    text = category(cell, dtype)
    lower = text.str.to_lowercase()
    word = pl.when(lower.is_in(TRUE_WORDS)).then(pl.lit("true")).when(lower.is_in(FALSE_WORDS)).then(pl.lit("false"))
    return pl.when(~lower.is_in(MISSING_WORDS)).then(word.otherwise(text))


def given(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether the cell holds anything where a number or a date is expected."""
    if is_text(dtype):
        return ~stripped(cell).str.to_lowercase().is_in(MISSING_WORDS).fill_null(True)
    return cell.is_not_nan() & cell.is_not_null() if dtype.is_float() else cell.is_not_null()


def number(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the cell as a finite float64; what is no such number is null (see :func:`given` to tell why)."""
    if not (is_text(dtype) or dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        return pl.lit(None, dtype=pl.Float64)
    value = (stripped(cell) if is_text(dtype) else cell).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def moment(cell: pl.Expr, dtype: pl.DataType, formats: Sequence[str] = ()) -> pl.Expr:
    """Return the cell as a naive UTC ``Datetime("us")``; text is read as ISO 8601, then by ``formats`` in order."""
    if isinstance(dtype, pl.Datetime):
        naive = cell.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else cell
        return naive.cast(pl.Datetime("us"))
    if dtype == pl.Date:
        return cell.cast(pl.Datetime("us"))
    if not is_text(dtype):
        return pl.lit(None, dtype=pl.Datetime("us"))
    text = stripped(cell)
    naive = [_read(text, pattern) for pattern in (*_ISO_PATTERNS, *(f for f in formats if f != ISO))]
    zoned = [
        text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC").dt.replace_time_zone(None)
        for pattern in _ISO_ZONED_PATTERNS
    ]
    return pl.coalesce(*naive, *zoned)


def _read(text: pl.Expr, pattern: str) -> pl.Expr:
    if "%H" in pattern:
        return text.str.to_datetime(pattern, strict=False, time_unit="us")
    return text.str.to_date(pattern, strict=False).cast(pl.Datetime("us"))
