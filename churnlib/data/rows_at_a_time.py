"""How many rows a model is given at a time; apart from the batches of training, which need torch."""

from __future__ import annotations

EVALUATION_CELLS = 2**21
"""Cells in a batch without gradients: networks may make some dozens of numbers of each."""


def evaluation_rows(n_columns: int) -> int:
    """Return how many rows to give to a network at a time when no gradients are wanted.

    >>> evaluation_rows(24), evaluation_rows(10_000)
    (8192, 209)
    """
    return max(1, min(8_192, EVALUATION_CELLS // max(n_columns, 1)))
