"""Effects of customers: as they are told, and as they are found in pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churnlib.explanation.methods import MORE, Attribution

LARGEST_GAP, SMALLEST_GAP = 0.1, 0.05
"""A customer's effects by gradients add up if their sum misses by less than a tenth of the log-odds, or by 0.05, which
moves no probability by more than 1.3 percentage points."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What each column adds to the log-odds of each customer; rows that cannot be scored are NaN.

    ``base + values.sum(1)`` is ``log_odds``, but for ``error``.

    Attributes:
        names: Columns of the table, ``K`` of them.
        values: ``(n, K)`` float64.
        base: ``(n,)`` float64 mean log-odds of the background customers.
        log_odds: ``(n,)`` float64 of leaving, or of the explained class.
        error: ``(n,)`` float64 what ``base`` and ``values`` add up to, minus ``log_odds``.
        stability: ``(n,)`` float64 in [0, 1]: how many of the three largest effects are the same three when other
            background customers are drawn, on average over 20 draws; 1 where nothing is drawn.
        method: ``(n,)`` ``gradients``, ``shapley``, ``exact`` or ``linear`` of each row.
        target: ``(n,)`` int64 class that is explained; None for two classes.
        fidelity: ``(n,)`` float64 at most 1: how well a local line follows the model; None of other methods.
    """

    names: tuple[str, ...]
    values: np.ndarray
    base: np.ndarray
    log_odds: np.ndarray
    error: np.ndarray
    stability: np.ndarray
    method: np.ndarray
    target: np.ndarray | None = None
    fidelity: np.ndarray | None = None


@dataclass(slots=True)
class Found:
    """Effects as they are found, in pieces; see :class:`Effects`."""

    values: np.ndarray
    base: np.ndarray
    stability: np.ndarray
    method: np.ndarray
    fidelity: np.ndarray

    @classmethod
    def empty(cls, n: int, k: int) -> Found:
        """Return the effects of ``k`` columns of ``n`` customers, of whom nothing is known yet."""
        gaps = [np.full(n, np.nan) for _ in range(3)]
        return cls(np.full((n, k), np.nan), gaps[0], gaps[1], np.full(n, "", dtype=object), gaps[2])

    def misses(self, rows: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Say of which rows the effects do not add up to what the model has said, ``(n,)`` bool."""
        gap = np.abs(self.base[rows] + self.values[rows].sum(axis=1) - said)
        return gap > np.maximum(LARGEST_GAP * np.abs(said), SMALLEST_GAP)

    def with_more(self, rows: np.ndarray, more: Attribution) -> Attribution:
        """Return what the first gradients and further ones come to together."""
        weight = MORE - 1
        values = (self.values[rows] + weight * more.values) / (1 + weight)
        return more._replace(values=values, base=(self.base[rows] + weight * more.base) / (1 + weight))

    def fill(self, rows: np.ndarray, method: str, found: Attribution) -> None:
        """Write down what a method has found of some rows."""
        self.values[rows], self.base[rows], self.stability[rows] = found.values, found.base, found.stability
        self.method[rows], self.fidelity[rows] = method, found.fidelity


__all__ = ["Effects", "Found"]
