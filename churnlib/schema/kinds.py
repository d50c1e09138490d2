"""What the cells of one column are: read off its values, whatever the column is called.

Of most columns only the different values and how often each comes are looked at: a million rows of three contracts are
three values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from churnlib.schema import parsing
from churnlib.schema.columns import Kind, Role

READABLE_SHARE = 0.9
"""Share of the given cells that must read as a number (or date) for text to be a numeric (or datetime) column.

The others are counted, reported and treated as missing in training."""

FORMAT_SHARE = 0.01
"""Share of the given cells that a further date format must read to be added."""

PADDED_SHARE = 0.01
"""Share of numbers with a leading zero (01067, a zip code) from which they are codes: a number would lose the zero."""

FEW_NUMBERS = 20
"""Up to this many different numbers beside words that come again and again ("1", "2", "3+") are categories."""

WORD_SHARE = 0.01
"""Share of the given cells that such words hold at least, each of them five times on average."""

NEARLY_UNIQUE = 0.95
"""Share of distinct values from which a text column says nothing about customers not yet seen."""

LONG_TEXT = 40
"""Mean number of characters from which varied text with blanks in it is free text."""

FEW_ROWS = 20
"""Below this number of rows, unique whole numbers are not taken for an identifier."""

LONG_NUMBER = 100_000
"""From here on, unique whole numbers with equally many digits are taken for account numbers."""

MOST_SPELLINGS = 1_000
"""A column of truth words has fewer different cells than this, in however many spellings ("Yes", " YES", ...)."""

MOST_TRIED = 10_000
"""Different cells at most on which all date formats are tried; the best is then applied to the rest."""

CONSTANT = "always the same value"

CELL = pl.col("cell")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the values of a column suggest.

    Attributes:
        kind: What the cells are.
        role: ``feature`` or ``ignored``.
        missing: Number of cells without a value of this kind; unreadable ones count.
        formats: Date formats besides ISO 8601.
        note: Why, in a few words.
        unique: Whether each given cell has a value of its own.
    """

    kind: Kind
    role: Role
    missing: int
    formats: tuple[str, ...] = ()
    note: str = ""
    unique: bool = False


class Cells:
    """The cells of a column, each different one once with how often it comes.

    Measurements, of which few repeat, stay as they are: each cell comes once.

    Args:
        values: A column whose type :func:`churnlib.schema.parsing.is_plain` accepts.

    Attributes:
        values: The column.
        dtype: Its type.
        n_rows: Its length.
        frame: One row per cell, a missing one included: the ``cell``, ``n`` (how often it comes), ``given``
            (whether it holds anything where a number or date is expected), its ``number``, and for text also ``padded``
            (a whole number with leading zeros) and ``dated`` (has the look of a date).
        given: Number of given cells.
    """

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self.dtype = values.dtype
        self.n_rows = len(values)
        looks = {"given": parsing.given(CELL, self.dtype), "number": parsing.number(CELL, self.dtype)}
        if parsing.is_text(self.dtype):
            looks["padded"] = parsing.padded(CELL)
            looks["dated"] = parsing.stripped(CELL).str.contains(r"\d[-/. ]\w{1,9}[-/., ]+\w|^\w{3,9} \d{1,2}, \d{4}")
        # Named here once and for all: a column of the table may be called "n", "*" or "^a$".
        column = values.alias("cell")
        cells = column.to_frame().with_columns(n=pl.lit(1)) if _measured(values) else column.value_counts(name="n")
        self.frame = cells.with_columns(**looks)
        self.given = self.count(self.frame["given"])

    def count(self, mask: pl.Series) -> int:
        """Return the number of rows whose cell is marked in the mask, which is Boolean and as long as ``frame``."""
        return int(self.frame["n"].filter(mask).sum())

    def count_null(self, read: pl.Series) -> int:
        """Return the number of rows whose cell was read as nothing."""
        return self.count(read.is_null()) if read.null_count() else 0

    def read(self, kind: Kind, formats: Sequence[str] = ()) -> pl.Series:
        """Return the different cells read as this kind; null where that fails."""
        if kind is Kind.numeric:
            return self.frame["number"]
        return self.frame.select(parsing.as_kind(CELL, self.dtype, kind, formats)).to_series()

    def missing(self, kind: Kind, formats: Sequence[str] = ()) -> int:
        """Return how many rows hold no value of this kind (unreadable ones are missing in training)."""
        return self.count_null(self.read(kind, formats))


def _measured(values: pl.Series) -> bool:
    """Whether a column is typed numbers that its ends tell from truth values."""
    if not values.dtype.is_numeric():
        return False
    low, high = values.min(), values.max()
    return low is not None and (low < 0 or high > 1)  # type: ignore[operator]


def find_kind(cells: Cells, *, dates_first: bool = False) -> Finding:
    """Return what the values of a column suggest.

    Args:
        cells: The column.
        dates_first: Whether the column is said to hold dates, so that 0 and 1 are no truth values.
    """
    dtype = cells.dtype
    if not cells.given:
        return Finding(Kind.categorical, Role.ignored, cells.n_rows, note="all values are missing")
    if isinstance(dtype, pl.Date | pl.Datetime):
        return _varying(cells, Kind.datetime)
    sequence = _sequence(cells)
    if sequence is not None:
        return sequence
    words = None if dates_first else _words(cells)
    if words is not None:
        return _varying(cells, Kind.boolean, note=words)
    if dtype.is_numeric() or _holds_numbers(cells):
        return _number(cells)
    formats = date_formats(cells)
    if formats is not None:
        return _varying(cells, Kind.datetime, formats=formats, note=", ".join(formats))
    return _text(cells)


def _varying(cells: Cells, kind: Kind, *, formats: tuple[str, ...] = (), note: str = "") -> Finding:
    """A single value without gaps says nothing; with gaps, the gaps may say something."""
    value = cells.read(kind, formats)
    missing = cells.count_null(value)
    # Asked of each of ten thousand columns, the ends are far cheaper than a count of the different values.
    if not missing and value.min() == value.max():
        return Finding(kind, Role.ignored, missing, formats, CONSTANT)
    return Finding(kind, Role.feature, missing, formats, note)


def _words(cells: Cells) -> str | None:
    """Return a note if all given cells are words for true or false."""
    number = cells.frame["number"]
    # Most columns are told by their range; a table may have ten thousand, and each query counts.
    outside = number.null_count() < len(number) and (number.min() < 0 or number.max() > 1)  # type: ignore[operator]
    if outside or len(cells.frame) > MOST_SPELLINGS or not number.drop_nulls().is_in([0.0, 1.0]).all():
        return None
    lower = cells.read(Kind.categorical).str.to_lowercase()
    words = set(lower.to_list()) - {*parsing.MISSING_WORDS, None}
    if not words <= {*parsing.TRUE_WORDS, *parsing.FALSE_WORDS}:
        return None
    return "0/1" if words & {"0", "1"} else "yes/no"


# --- sequences ----------------------------------------------------------------------------------------------------


def _sequence(cells: Cells) -> Finding | None:
    """Return the finding of a column of lists, None if it is none: every given cell of text must be such a list."""
    text = parsing.is_text(cells.dtype)
    if not (text and _begins_with_bracket(cells)) and not parsing.is_sequence(cells.dtype):
        return None
    read = cells.read(Kind.sequence)
    missing, lengths = cells.count_null(read), read.list.len()
    if text and missing > cells.n_rows - cells.given:
        return None
    if not read.list.drop_nulls().list.len().sum():
        return Finding(Kind.sequence, Role.ignored, missing, note="no list has a value")
    if not missing and read.n_unique() == 1:
        return Finding(Kind.sequence, Role.ignored, missing, note=CONSTANT)
    return Finding(Kind.sequence, Role.feature, missing, note=f"up to {lengths.max():,} steps")


def _begins_with_bracket(cells: Cells) -> bool:
    """Whether the first given cell may be an array; most columns need no further look."""
    first = cells.frame["given"].arg_max()
    return first is not None and str(cells.frame["cell"][first]).lstrip().startswith("[")


# --- numbers ------------------------------------------------------------------------------------------------------


def _holds_numbers(cells: Cells) -> bool:
    """Whether text is a column of numbers: nearly all of it reads as such, and the rest are no categories."""
    number = cells.frame["number"]
    if cells.dtype == pl.Boolean or cells.n_rows - cells.count_null(number) < READABLE_SHARE * cells.given:
        return False
    if cells.count(cells.frame["padded"]) >= PADDED_SHARE * cells.given:
        return False
    if not number.null_count():
        return True
    words = number.is_null() & cells.frame["given"]
    repeated = cells.count(words) >= max(WORD_SHARE * cells.given, 5 * words.sum(), 1)
    return not (repeated and number.drop_nulls().n_unique() <= FEW_NUMBERS)


def _number(cells: Cells) -> Finding:
    found = _varying(cells, Kind.numeric)
    if found.role is Role.feature and not found.missing and _counts_customers(cells):
        note = "every value is different, as in a customer number"
        return Finding(Kind.identifier, Role.ignored, 0, note=note, unique=True)
    unreadable = found.missing - (cells.n_rows - cells.given)
    if unreadable and found.role is Role.feature:
        return replace(found, note=f"cells without a finite number: {unreadable:,}")
    return found


def _counts_customers(cells: Cells) -> bool:
    """Whether whole numbers look like customer numbers rather than like a measurement.

    All different is not enough, since so are many measurements. They also follow the order of the file, fill their
    range, or all have the same number of digits where that is no accident: the numbers are long, or so many draws from
    their range would have met twice.
    """
    n, numbers = cells.n_rows, cells.frame["number"]
    if n < FEW_ROWS or not (numbers == numbers.floor()).all() or cells.values.n_unique() != n:
        return False
    if cells.read(Kind.categorical).n_unique() != n:  # "1" and "1.0" are one customer
        return False
    numbers = cells.values.alias("cell").to_frame().select(parsing.number(CELL, cells.dtype)).to_series()
    low, high = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]
    if numbers.is_sorted() or numbers.is_sorted(descending=True) or high - low + 1 <= 2 * n:
        return True
    expected_meetings = n * (n - 1) / 2 / (high - low + 1)
    return low > 0 and len(str(low)) == len(str(high)) and (low >= LONG_NUMBER or expected_meetings >= 3)


# --- text ---------------------------------------------------------------------------------------------------------


def date_formats(cells: Cells) -> tuple[str, ...] | None:
    """Return the formats besides ISO 8601 that are needed to read text as dates; None if it holds no dates.

    Each further format is the one that reads most of what is still unread, so that day and month are not mistaken where
    the values tell them apart.
    """
    if not parsing.is_text(cells.dtype) or cells.count(cells.frame["dated"]) < READABLE_SHARE * cells.given:
        return None
    formats: list[str] = []
    unread = cells.frame.filter(pl.col("given") & parsing.moment(CELL, cells.dtype).is_null())
    while len(unread):
        tried = unread.head(MOST_TRIED)
        reads = {f: _rows_read(tried, cells.dtype, f) for f in parsing.DATE_FORMATS}
        best = max(reads, key=reads.__getitem__)
        estimate = reads[best] / int(tried["n"].sum()) * int(unread["n"].sum())
        if not estimate or estimate < FORMAT_SHARE * cells.given:
            break
        formats.append(best)
        unread = unread.filter(parsing.moment(CELL, cells.dtype, [best]).is_null())
    return tuple(formats) if unread["n"].sum() <= (1 - READABLE_SHARE) * cells.given else None


def _rows_read(frame: pl.DataFrame, dtype: pl.DataType, date_format: str) -> int:
    read = frame.select(parsing.moment(CELL, dtype, [date_format])).to_series()
    return int(frame["n"].filter(read.is_not_null()).sum())


def _text(cells: Cells) -> Finding:
    value = cells.read(Kind.categorical)
    missing = cells.count_null(value)
    rows, value = cells.n_rows - missing, value.drop_nulls()
    distinct = value.n_unique()
    if distinct > rows / 2 and _is_prose(value):
        return Finding(Kind.text, Role.ignored, missing, note="free text")
    if rows > 1 and distinct >= NEARLY_UNIQUE * rows:
        unique = distinct == rows
        note = "every value is different" if unique else f"{distinct / rows:.1%} of the values are different"
        return Finding(Kind.identifier, Role.ignored, missing, note=note, unique=unique)
    return _varying(cells, Kind.categorical, note=f"{distinct:,} values")


def _is_prose(texts: pl.Series) -> bool:
    """Whether texts are long and mostly of several words, unlike keys and addresses."""
    length, several_words = texts.str.len_chars().mean(), texts.str.contains(r"\S\s+\S").mean()
    return length >= LONG_TEXT and several_words >= 0.5  # type: ignore[operator]
