"""A customer's answer as a straight line through the answers for customers near it, as LIME draws one.

Ribeiro, Singh and Guestrin 2016: some of the customer's columns become a background customer's, the nearer rows count
more, and a ridge regression on which columns were kept says what each is worth. Rows are mixed in the columns of the
table, so that no one-hot column is half set, and each answer is the mean over the same few background customers, so
that the line of a sum over columns is exact. Its fidelity, the share of variance that the line follows, is told with
it: a model that bends or interacts has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnlib.data.preparation import Encoded
from churnlib.explanation.mixing import Customers, Mixer

KERNEL_WIDTH = 0.75
"""LIME's own default: the weight of a row is ``exp(-share of exchanged columns / (2 * 0.75^2))``."""

RIDGE = 1.0
"""Penalty on the squared coefficients, as LIME's, in rows."""

MOST_ROWS = 16_384
"""Mixed rows that are made at a time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Which columns are kept in each row near a customer, the same for all customers.

    Attributes:
        kept: ``(S, K)`` bool.
        which: ``(B,)`` int64 background customers whose columns fill the rest, of each row one after the other.
        weight: ``(S,)`` how much each row counts.
    """

    kept: np.ndarray
    which: np.ndarray
    weight: Floats


@dataclass(frozen=True, slots=True)
class Lines:
    """The line of each customer.

    Attributes:
        values: ``(n, K)`` what a column's being the customer's adds to the log-odds.
        base: ``(n,)`` where no column is.
        fidelity: ``(n,)`` weighted R2 of the line, at most 1.
        again: ``(n, R, K)`` the same from rows drawn again.
    """

    values: Floats
    base: Floats
    fidelity: Floats
    again: Floats


def draw_neighbours(n: int, n_columns: int, which: np.ndarray, rng: np.random.Generator) -> Neighbours:
    """Draw rows near a customer: how many columns are exchanged is equally likely from one to all, then which.

    Args:
        n: Rows.
        n_columns: Columns.
        which: ``(B,)`` background customers.
        rng: Source of chance.
    """
    exchanged = rng.integers(1, n_columns + 1, n)
    place = np.argsort(np.argsort(rng.random((n, n_columns)), axis=1), axis=1)
    return Neighbours(place >= exchanged[:, None], which, np.exp(-exchanged / n_columns / (2 * KERNEL_WIDTH**2)))


def linear_effects(
    value: Callable[[Encoded, np.ndarray], np.ndarray],
    mixer: Mixer,
    customers: Customers,
    background: Customers,
    near: Neighbours,
    *,
    resamples: int,
    seed: int,
) -> Lines:
    """Fit each customer's line.

    Args:
        value: From encoded rows, and for each the number of the customer that it is about, to the explained numbers.
        mixer: How rows are mixed.
        customers: ``n`` customers.
        background: Customers whose columns take the place of theirs.
        near: Of :func:`draw_neighbours`.
        resamples: How often rows are drawn again for ``again``.
        seed: Of these draws.
    """
    answers = _answers(value, mixer, customers, background, near)
    size = len(near.weight)
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=resamples)
    design = np.concatenate([np.ones((size, 1)), near.kept.astype(np.float64)], axis=1)
    weights = near.weight * np.concatenate([np.ones((1, size)), drawn])  # (1 + R, S)
    solved = np.stack([_ridge(design, weight, answers) for weight in weights], axis=1)  # (n, 1 + R, 1 + K)
    line = solved[:, 0]
    left = answers - line @ design.T
    middle = (answers @ near.weight / near.weight.sum())[:, None]
    spread = ((answers - middle) ** 2) @ near.weight
    missed = (left**2) @ near.weight
    fidelity = np.where(spread > 0, 1.0 - missed / np.where(spread > 0, spread, 1.0), 1.0)
    return Lines(line[:, 1:], line[:, 0], fidelity, solved[:, 1:, 1:])


def _answers(
    value: Callable[[Encoded, np.ndarray], np.ndarray],
    mixer: Mixer,
    customers: Customers,
    background: Customers,
    near: Neighbours,
) -> Floats:
    """Return the mean answers for each customer's rows, ``(n, S)``."""
    n, (size, _), fill = len(customers), near.kept.shape, len(near.which)
    found = np.empty((n, size))
    step = max(1, MOST_ROWS // (size * fill))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        whose, others = np.repeat(rows, size * fill), np.tile(near.which, len(rows) * size)
        kept = np.tile(np.repeat(near.kept, fill, axis=0), (len(rows), 1))
        mixed = mixer.mix(customers.take(whose), background.take(others), kept)
        found[rows] = value(mixed, whose).reshape(len(rows), size, fill).mean(axis=2)
    return found


def _ridge(design: Floats, weight: Floats, answers: Floats) -> Floats:
    """Return the coefficients of each row of answers, ``(n, 1 + K)``; the constant is not drawn to 0."""
    penalty = np.full(design.shape[1], RIDGE)
    penalty[0] = 0.0
    scaled = design.T * (weight * len(weight) / weight.sum())
    return np.linalg.solve(scaled @ design + np.diag(penalty), scaled @ answers.T).T


__all__ = ["KERNEL_WIDTH", "Lines", "Neighbours", "draw_neighbours", "linear_effects"]
