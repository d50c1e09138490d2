"""Shapley values as their definition says, to compare the library's effects with: slow, and sharing no code with them.

A customer's value of a set of columns is the model's mean answer where these columns are the customer's and the others
are those of background customers ("interventional" Shapley values).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ``(m, K)`` bool, which columns are the customer's, and ``(m,)`` background customers to ``(m,)`` answers."""


def exact(answer: Answer, n_columns: int, n_background: int) -> np.ndarray:
    """Return the Shapley values of one customer by all sets of columns, ``(K,)``."""

    def value(columns: tuple[int, ...]) -> float:
        own = np.zeros((n_background, n_columns), dtype=bool)
        own[:, list(columns)] = True
        return float(answer(own, np.arange(n_background)).mean())

    effects = np.zeros(n_columns)
    for column in range(n_columns):
        others = [other for other in range(n_columns) if other != column]
        for size in range(n_columns):
            weight = factorial(size) * factorial(n_columns - size - 1) / factorial(n_columns)
            for columns in combinations(others, size):
                effects[column] += weight * (value((*columns, column)) - value(columns))
    return effects


def sampled(
    answer: Answer, n_columns: int, n_background: int, *, orders: int = 6_000, seed: int = 0, at_a_time: int = 500
) -> np.ndarray:
    """Return the Shapley values of one customer by random orders, each with a random background customer, ``(K,)``."""
    rng = np.random.default_rng(seed)
    total, done = np.zeros(n_columns), 0
    while done < orders:
        m = min(at_a_time, orders - done)
        order = rng.permuted(np.tile(np.arange(n_columns), (m, 1)), axis=1)
        other = rng.integers(0, n_background, m)
        own = np.zeros((m, n_columns), dtype=bool)
        steps = [own.copy()]
        for turn in range(n_columns):
            own[np.arange(m), order[:, turn]] = True
            steps.append(own.copy())
        answers = answer(np.concatenate(steps), np.tile(other, n_columns + 1)).reshape(n_columns + 1, m)
        moved = answers[1:] - answers[:-1]
        for turn in range(n_columns):
            np.add.at(total, order[:, turn], moved[turn])
        done += m
    return total / orders
