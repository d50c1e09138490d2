"""Categories as whole numbers, for counting."""

from __future__ import annotations

import numpy as np
import polars as pl


def coded(values: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Return the place of each value among the different ones, and those.

    >>> codes, known = coded(pl.Series(["b", None, "a", "b"]))
    >>> codes.tolist(), known.to_list()
    ([1, 2, 0, 1], ['a', 'b'])

    Args:
        values: Text; missing values are null.

    Returns:
        ``(n,)`` int64, the number of known values for a missing one; and the known values, sorted.
    """
    known = values.drop_nulls().unique().sort()
    places = values.cast(pl.Enum(known)).to_physical().cast(pl.Int64).fill_null(len(known))
    return places.to_numpy(), known
