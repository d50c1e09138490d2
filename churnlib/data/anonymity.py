"""How far a table hides the people in it: cells with few rows, joined, and how many share what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

FEWEST = 5
"""Rows that a cell needs to stand by itself; fewer could be told apart by whoever knows one of them."""


def joined_edges(counts: Sequence[int], fewest: int) -> list[int]:
    """Return which edges stay when each cell with few rows is joined to its smaller neighbour.

    Args:
        counts: Rows of neighbouring cells; edge ``i`` lies between the cells ``i`` and ``i + 1``.
        fewest: Rows that a cell needs.

    >>> joined_edges([10, 4, 6, 20], 5)
    [0, 2]
    """
    left, edges = list(counts), list(range(len(counts) - 1))
    while len(left) > 1 and min(left) < fewest:
        small = left.index(min(left))
        before = small > 0 and (small == len(left) - 1 or left[small - 1] <= left[small + 1])
        gone = small - 1 if before else small
        left[gone : gone + 2] = [left[gone] + left[gone + 1]]
        del edges[gone]
    return edges


def n_joined(counts: Sequence[int], fewest: int) -> int:
    """Return how many of the smallest cells go together so that none of what results has few rows, if that is possible.

    Args:
        counts: Rows of cells in no order that matters, smallest first.
        fewest: Rows that a cell needs.

    >>> n_joined([3, 4, 9, 20], 5), n_joined([2, 9, 20], 5), n_joined([5, 9], 5)
    (2, 2, 0)
    """
    joined = sum(count < fewest for count in counts)
    while 0 < joined < len(counts) and sum(counts[:joined]) < fewest:
        joined += 1
    return joined


def k_anonymity(frame: pl.DataFrame, columns: Sequence[str], *, fewest: int = FEWEST) -> dict[str, Any]:
    """Say how many rows share each combination of values that somebody might know of a person.

    Args:
        frame: The table.
        columns: What might be known (quasi-identifiers): age, gender, region.
        fewest: Rows that a combination needs.

    Returns:
        ``columns``; ``groups``: combinations; ``smallest``: rows of the smallest one, the k of k-anonymity; ``below``:
        rows in combinations with fewer than ``fewest``; ``share`` of those.
    """
    sizes = frame.lazy().group_by(*columns).agg(n=pl.len()).select("n").collect(engine="streaming").to_series()
    below = int(sizes.filter(sizes < fewest).sum())
    smallest = sizes.min()
    return {
        "columns": list(columns),
        "groups": len(sizes),
        "smallest": 0 if smallest is None else int(smallest),  # type: ignore[arg-type]
        "below": below,
        "share": below / max(len(frame), 1),
    }


__all__ = ["FEWEST", "joined_edges", "k_anonymity", "n_joined"]
