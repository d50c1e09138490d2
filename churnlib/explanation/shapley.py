"""Shapley values of columns by sampled orders: for any model, since it only asks for answers.

In each order the columns of a background customer become the customer's own, one after the other; a column's effect is
how much the answer moves when its turn comes, on average over orders and background customers (Castro, Gomez and Tejada
2009). An order is walked forth and back (Mitchell et al. 2022), which is exact where at most pairs of columns interact.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from churnlib.data.preparation import Encoded
from churnlib.explanation.mixing import Customers, Mixer

MOST_ROWS = 16_384
"""Mixed rows that are made at a time."""


def draw_orders(n_pairs: int, n_columns: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``(2 * n_pairs, n_columns)`` orders of columns, each followed by the same one backwards."""
    forth = np.argsort(rng.random((n_pairs, n_columns)), axis=1)
    return np.stack([forth, forth[:, ::-1]], axis=1).reshape(2 * n_pairs, n_columns)


def order_effects(
    value: Callable[[Encoded, np.ndarray], np.ndarray],
    mixer: Mixer,
    customers: Customers,
    background: Customers,
    orders: np.ndarray,
    which: np.ndarray,
) -> NDArray[np.float64]:
    """Return how much each column moves the answer in each order.

    Args:
        value: From encoded rows, and for each the number of the customer that it is about, to the explained numbers.
        mixer: How rows are mixed.
        customers: ``n`` customers.
        background: Customers that they are measured against.
        orders: ``(S, K)`` orders of the columns.
        which: ``(S,)`` background customer of each order.

    Returns:
        ``(n, S, K)``; the mean over the second axis are the Shapley values, and sums over the last are what the
        customer's answer is above the background customer's.
    """
    n, (n_orders, k) = len(customers), orders.shape
    effects = np.zeros((n, n_orders, k))
    # own[s, t] says which columns are the customer's after t turns of order s.
    turn = np.argsort(orders, axis=1)
    own = turn[:, None, :] < np.arange(k + 1)[None, :, None]
    step = max(1, MOST_ROWS // (n_orders * (k + 1)))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        whose = np.repeat(rows, n_orders * (k + 1))
        others = np.tile(np.repeat(which, k + 1), len(rows))
        mixed = mixer.mix(customers.take(whose), background.take(others), np.tile(own.reshape(-1, k), (len(rows), 1)))
        answers = value(mixed, whose).reshape(len(rows), n_orders, k + 1)
        moved = np.diff(answers, axis=2)
        effects[rows] = np.take_along_axis(moved, np.broadcast_to(turn, moved.shape), axis=2)
    return effects


__all__ = ["draw_orders", "order_effects"]
