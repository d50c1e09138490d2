"""Sides and folds that go by time: what is learned is older than what is asked.

The rows of one moment are ordered at random, so that shares are exact to the row. Between two sides may lie a gap: as
long as it takes to know whether a customer left, rows say something about the days that the next side is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from churnlib.data.dealing import MICROSECONDS_PER_DAY, Dealing
from churnlib.data.splits import SIDES, Split, check_shares, one_side_each, side_counts, split_of
from churnlib.errors import ConfigError, DataError


def split_time(
    time: np.ndarray, shares: Sequence[float], *, seed: int, groups: np.ndarray | None = None, gap: int = 0
) -> Split:
    """Train on the oldest rows, validate on newer ones, test on the newest.

    A customer with rows on several sides keeps those of one side, drawn evenly and without looking at the label
    (keeping, say, only the newest would leave training with churners alone); the other rows are left out.

    Args:
        time: ``(n,)`` int or datetime64, the moment of each row.
        shares: Of train, validation and test; they sum to 1.
        seed: Of the order of equal moments.
        groups: ``(n,)`` customer of each row.
        gap: In units of ``time``: a row is left out when less lies between it and the first row of the next side.

    Raises:
        ConfigError: If the shares are impossible.
        DataError: If the gap leaves a side empty.
    """
    return rolling_origins(time, shares, 1, seed=seed, groups=groups, gap=gap)[0]


def rolling_origins(
    time: np.ndarray,
    shares: Sequence[float],
    n_origins: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    gap: int = 0,
) -> list[Split]:
    """Return several splits by time, oldest first, each tested on the rows that come after those of the one before.

    The last one is :func:`split_time`; each earlier one ends as many rows sooner as there are test rows, so that it is
    tested on as many, and knows nothing of what came later.

    Args:
        time: See :func:`split_time`, as all but the number.
        shares: Of the newest window; in the older ones training has fewer rows, the others as many.
        n_origins: How many.
        seed: Of the order of equal moments.
        groups: ``(n,)`` customer of each row.
        gap: In units of ``time``.

    Raises:
        ConfigError: If the shares are impossible, or there are too few rows for so many.
        DataError: If the gap leaves a side empty.
    """
    check_shares(shares)
    n_train, n_validation, n_test = side_counts(len(time), shares)
    if n_origins > 1 and (not n_test or n_train - (n_origins - 1) * n_test < max(n_validation, 1)):
        most = 1 if not n_test else max(1, 1 + (n_train - max(n_validation, 1)) // n_test)
        raise ConfigError(
            f"split.origins={n_origins} leaves too few rows to train the oldest model on; take {most} at most, or a "
            "smaller split.test"
        )
    return [
        _window(time, n_train - earlier * n_test, n_validation, n_test, seed=seed, groups=groups, gap=gap)
        for earlier in reversed(range(n_origins))
    ]


def _window(
    time: np.ndarray, n_train: int, n_validation: int, n_test: int, *, seed: int, groups: np.ndarray | None, gap: int
) -> Split:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.permutation(len(time)), time))
    side = np.full(len(time), -1, dtype=np.int8)
    n = n_train + n_validation + n_test
    side[order[:n]] = np.repeat(np.arange(3), [n_train, n_validation, n_test])
    later = len(time) - n  # rows of windows to come
    purged = purge(side, time, gap)
    if groups is not None:
        side = one_side_each(side, groups, rng)
    return split_of(side, by="time", purged=purged, later=later)


def purge(side: np.ndarray, time: np.ndarray, gap: int) -> int:
    """Take rows off their side (-1) that lie less than the gap before the next side; return how many.

    Raises:
        DataError: If a side is left without rows.
    """
    if gap <= 0:
        return 0
    present = [number for number in range(3) if (side == number).any()]
    starts = {number: time[side == number].min() for number in present}
    purged = 0
    for number, following in pairwise(present):
        late = (side == number) & (time + gap > starts[following])
        side[late] = -1
        purged += int(late.sum())
        if not (side == number).any():
            raise DataError(
                f"split.gap_days={gap / MICROSECONDS_PER_DAY:g} leaves no {SIDES[number]} rows before the "
                f"{SIDES[following]} rows: the dates lie too close together; take a smaller gap or larger shares"
            )
    return purged


def time_folds(pool: np.ndarray, dealing: Dealing, n_folds: int, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training rows and held-out rows of folds that go by time: each learns from all that is older.

    The rows are cut into one part more than folds, of equally many rows; the oldest part is never held out.

    Args:
        pool: ``(n,)`` int64 row numbers to deal.
        dealing: With the moments of all rows of the table.
        n_folds: How many.
        seed: Of the order of equal moments.

    Raises:
        DataError: If the gap leaves a fold without rows to learn from.
    """
    assert dealing.moments is not None
    time = dealing.moments[pool]
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.lexsort((rng.permutation(len(pool)), time)), n_folds + 1)
    folds = []
    for number in range(n_folds):
        side = np.full(len(pool), -1, dtype=np.int8)
        side[np.concatenate(parts[: number + 1])] = 0
        side[parts[number + 1]] = 1
        purge(side, time, dealing.gap)
        if dealing.groups is not None:
            side = one_side_each(side, dealing.groups[pool], rng)
        folds.append((pool[side == 0], pool[side == 1]))
    return folds
