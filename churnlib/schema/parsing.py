"""How a cell becomes a number, a date, a truth value or a category: one rule for every entry point.

A cell may arrive as text (CSV files are read as text), as a JSON value, or already typed (Parquet, data frames). Each
function takes an expression and the type it comes in, and returns polars expressions, so that the same rule reads ten
million rows of a file and one customer of a request.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import polars.selectors as cs

from churnlib.schema.columns import Kind

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
    "%Y-%m-%d %H:%M:%S%.f UTC",
)
_ISO_ZONED_PATTERNS = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
)

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
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%y",
    "%d/%m/%y",
)
"""Formats tried on text that is not ISO 8601, in this order of preference when two read equally many cells."""

_STEP = r"(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|(?i:null|nan|none))"
_STEPS = rf"^\s*\[\s*(?:{_STEP}\s*(?:,\s*{_STEP}\s*)*)?\]\s*$"
"""A JSON array of numbers and nulls; Python's names for a missing number are read too, since pandas writes them."""

_HISTORY = pl.List(pl.Float64)

_MOMENT = pl.Datetime("us")
_TIME_OF_DAY = ("%H", "%I", "%T", "%R")
_YEAR_10000 = 253_402_300_800_000_000  # microseconds since 1970; Python's dates end one before


def cell_of(name: str) -> pl.Expr:
    """Return the expression of a column with exactly this name; ``pl.col`` takes "*" and "^...$" for patterns."""
    return cs.by_name(name).as_expr()


def is_text(dtype: pl.DataType) -> bool:
    """Whether cells of this type are text."""
    return dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)


def is_plain(dtype: pl.DataType) -> bool:
    """Whether a cell of this type is one value that has a text: no list, structure, object, bytes or time span."""
    return not (dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Duration))


def is_sequence(dtype: pl.DataType) -> bool:
    """Whether a cell of this type is a list of numbers (or of nothing, where no list has a value)."""
    return isinstance(dtype, pl.List | pl.Array) and (dtype.inner.is_numeric() or dtype.inner == pl.Null)  # type: ignore[union-attr]


def nothing(dtype: type[pl.DataType] | pl.DataType) -> pl.Expr:
    """Return a column of missing values, as long as the table (a literal alone would be one row)."""
    return pl.repeat(None, pl.len(), dtype=dtype)


def as_kind(cell: pl.Expr, dtype: pl.DataType, kind: Kind, formats: Sequence[str] = ()) -> pl.Expr:
    """Return the cell read as this kind.

    Float64 for numbers, ``Datetime("us")`` for dates, ``List(Float64)`` for sequences, text for the rest.
    """
    if kind is Kind.sequence:
        return sequence(cell, dtype)
    if not is_plain(dtype):
        cell, dtype = nothing(pl.String), pl.String()
    if kind is Kind.numeric:
        return number(cell, dtype)
    if kind is Kind.datetime:
        return moment(cell, dtype, formats)
    if kind is Kind.boolean:
        return truth(cell, dtype)
    return category(cell, dtype)


def stripped(cell: pl.Expr) -> pl.Expr:
    """Text without blanks around it; blank text is missing."""
    text = cell.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def padded(cell: pl.Expr) -> pl.Expr:
    """Whether text is a whole number with leading zeros."""
    return stripped(cell).str.contains(r"^0\d+$")


def category(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the category a cell names, as text: ``" Two year "`` -> ``"Two year"``, ``3.0`` -> ``"3"``.

    Whole numbers lose their zero fraction, so that a code is the same category from a CSV file (text), a Parquet file
    (float) and JSON (integer).
    """
    if isinstance(dtype, pl.Decimal):
        cell = cell.cast(pl.Float64)
    elif dtype.is_float():
        cell = cell.fill_nan(None)
    elif dtype.is_integer() or dtype == pl.Boolean:
        return cell.cast(pl.String)
    return stripped(cell).str.replace(r"^(-?\d+)\.0+$", "$1")


def truth(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return ``"true"`` or ``"false"`` for the known words in any case, else the cell's own text."""
    text = category(cell, dtype)
    words = dict.fromkeys(TRUE_WORDS, "true") | dict.fromkeys(FALSE_WORDS, "false") | dict.fromkeys(MISSING_WORDS)
    return text.str.to_lowercase().replace_strict(
        list(words), pl.Series(words.values(), dtype=pl.String), default=text, return_dtype=pl.String
    )


def given(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Whether the cell holds anything where a number or a date is expected."""
    if is_text(dtype):
        return ~stripped(cell).str.to_lowercase().is_in(MISSING_WORDS).fill_null(True)
    return cell.fill_nan(None).is_not_null() if dtype.is_float() else cell.is_not_null()


def number(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the cell as a finite float64; what is no such number is null (see :func:`given` to tell why)."""
    if not (is_text(dtype) or dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        return nothing(pl.Float64)
    value = (stripped(cell) if is_text(dtype) else cell).cast(pl.Float64, strict=False)
    return value if dtype.is_integer() else pl.when(value.is_finite()).then(value)


def sequence(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the cell as a list of finite float64 steps, oldest first; null and NaN steps are missing ones.

    Text is read as a JSON array: ``"[1.5, null, 2]"``. What is no such list, or holds an infinite step, is null. An
    empty list is a history without steps, not a missing one.
    """
    if is_text(dtype):
        text = cell.cast(pl.String)
        inside = pl.when(text.str.contains(_STEPS)).then(text.str.strip_chars(" \t\r\n[]"))
        words = (
            pl.when(inside != "").then(inside.str.split(",")).when(inside == "").then(pl.lit([], pl.List(pl.String)))
        )
        steps = words.list.eval(pl.element().str.strip_chars().cast(pl.Float64, strict=False))
    elif is_sequence(dtype):
        steps = (cell.arr.to_list() if isinstance(dtype, pl.Array) else cell).cast(_HISTORY)
    else:
        return nothing(_HISTORY)
    # As an expression the steps would be read anew for each use of them.
    return steps.map_batches(_finite_steps, return_dtype=_HISTORY, is_elementwise=True)


def _finite_steps(steps: pl.Series) -> pl.Series:
    """Return lists with null for NaN, and null for a list with an infinite step."""
    known = steps.to_frame().select(pl.first().list.eval(pl.element().fill_nan(None))).to_series()
    infinite = known.list.max().is_infinite() | known.list.min().is_infinite()
    return known.set(infinite.fill_null(False), None) if infinite.any() else known


def moment(cell: pl.Expr, dtype: pl.DataType, formats: Sequence[str] = ()) -> pl.Expr:
    """Return the cell as a naive UTC ``Datetime("us")``; text is read as ISO 8601, then by ``formats`` in order.

    Numbers are dates only by a format (20240131 by ``%Y%m%d``). Years after 9999 are no dates, and where a format says
    ``%Y`` the year has four digits: "1.2.3" is a version, not a day of the year 3.
    """
    if dtype.is_numeric() and formats:
        cell, dtype = category(cell, dtype), pl.String()
    if is_text(dtype):
        return stripped(cell).map_batches(
            lambda text: _read_moments(text, formats), return_dtype=_MOMENT, is_elementwise=True
        )
    if isinstance(dtype, pl.Datetime):
        naive = cell.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else cell
        return _in_range(naive.cast(_MOMENT, strict=False))
    if dtype == pl.Date:
        return _in_range(cell.cast(_MOMENT, strict=False))
    return nothing(_MOMENT)


def _in_range(value: pl.Expr) -> pl.Expr:
    return pl.when(value.to_physical() < _YEAR_10000).then(value)


def _read_moments(text: pl.Series, formats: Sequence[str]) -> pl.Series:
    """Read text by one pattern after another, each only where those before read nothing: most columns need one."""
    patterns = [f for f in formats if f != ISO]
    if text.str.contains(r"^\d{4}-\d").any():
        patterns = [*_ISO_PATTERNS, *patterns, *_ISO_ZONED_PATTERNS]
    has_year = text.str.contains(r"\d{4}")
    moments = pl.Series(text.name, [None], dtype=_MOMENT).new_from_index(0, len(text))
    for pattern in patterns:
        if moments.null_count() == text.null_count():
            break
        readable = has_year if "%Y" in pattern else text.is_not_null()
        unread = (moments.is_null() & readable).arg_true()
        if len(unread):
            moments = moments.scatter(unread, _read(text.gather(unread), pattern))
    return moments


def _read(text: pl.Series, pattern: str) -> pl.Series:
    """Read text by one pattern; what does not fit is null."""
    if pattern in _ISO_ZONED_PATTERNS:
        value = text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC").dt.replace_time_zone(None)
    elif any(directive in pattern for directive in _TIME_OF_DAY):
        value = text.str.to_datetime(pattern, strict=False, time_unit="us")
    else:
        value = text.str.to_date(pattern, strict=False).cast(_MOMENT, strict=False)
    return value.to_frame().select(_in_range(pl.first())).to_series()
