"""What databases send, as the columns of a customer table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl
import polars.selectors as cs

EXACT = 2**53
"""Whole numbers up to here are exact as float64."""


def tidy(frame: pl.DataFrame, decimals: Collection[str] = ()) -> pl.DataFrame:
    r"""Return the columns with types that the schema knows.

    Args:
        frame: As it came.
        decimals: Columns that came as text and hold numbers.

    Raises:
        ValueError: If a whole number has more digits than a float holds.

    >>> tidy(pl.DataFrame({"fee": ["12.50", None], "key": [b"\x0a", b""]}), ["fee"]).rows()
    [(12.5, '0a'), (None, '')]
    """
    numbers = [_float(one) for one in frame if one.name in decimals or isinstance(one.dtype, pl.Decimal)]
    return frame.with_columns(
        *numbers,
        cs.binary().bin.encode("hex"),
        cs.time().dt.to_string("%H:%M:%S"),
        cs.duration().dt.total_microseconds() / 1e6,
    )


def _float(values: pl.Series) -> pl.Series:
    """Return exact numbers, as text or decimals, as fractions."""
    floats = values.cast(pl.Float64)
    whole = values.str.contains(r"^-?\d+$") if values.dtype == pl.String else values == values.round(0)
    if (whole & (floats.abs() > EXACT)).any():
        raise ValueError(f"the column {values.name!r} holds whole numbers beyond 2^53")
    return floats


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse a result in which a name stands twice: some drivers give one column for both.

    Raises:
        ValueError: With the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns of the query are called {twice[0]!r}")
