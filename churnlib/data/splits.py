"""Who is trained on, who decides when to stop, and who is only ever looked at once.

Shares are exact to the row. A customer is never on two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from churnlib.errors import ConfigError, DataError

SIDES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each side, in table order.

    Attributes:
        train, validation, test: ``(n,)`` int64 row numbers, ascending.
        by: How rows were dealt: ``random``, ``time`` or ``column``.
        left_out: Rows on no side: other dates of customers who stand on another side.
        purged: Rows on no side because they lie too close to the next one in time.
        later: Rows on no side because they came after the test rows.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    by: str
    left_out: int = 0
    purged: int = 0
    later: int = 0

    def sides(self) -> dict[str, np.ndarray]:
        """Return the row numbers by side."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def check_shares(shares: Sequence[float]) -> None:
    """Refuse shares that do not sum to one, or leave nothing to train or to validate on.

    Raises:
        ConfigError: With the shares as given.
    """
    train, validation, test = shares
    if not abs(sum(shares) - 1) <= 1e-6:  # NaN is refused too
        raise ConfigError(
            f"split.train, split.validation and split.test must sum to 1, "
            f"got {train:g} + {validation:g} + {test:g} = {sum(shares):g}"
        )
    if train <= 0 or validation <= 0:
        raise ConfigError(
            "split.train and split.validation must be above 0 (validation rows stop the training and set the "
            f"threshold), got {train:g} and {validation:g}"
        )
    if test < 0:
        raise ConfigError(f"split.test must be 0 or above, got {test:g}")


def split_random(
    label: np.ndarray,
    shares: Sequence[float],
    *,
    seed: int,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> Split:
    """Deal rows at random, each class in the same shares, and within a class each stratum.

    Args:
        label: ``(n,)`` int, the class of each row.
        shares: Of train, validation and test; they sum to 1.
        seed: Of the draw.
        groups: ``(n,)`` customer of each row; rows of one customer stay together. Shares are then exact in customers,
            and in rows as far as the customers' row counts allow.
        strata: ``(n,)`` int64, what to stratify by beside the class; of a customer the first row's counts.

    Raises:
        ConfigError: If the shares are impossible.
        DataError: If a class has too few rows to stand on each side.
    """
    check_shares(shares)
    rng = np.random.default_rng(seed)
    if groups is None:
        return split_of(_deal(label, shares, rng, strata), by="random")
    _, first, customer = np.unique(groups, return_index=True, return_inverse=True)
    # A customer counts as a churner if any of the rows does, so that churners are dealt in equal shares.
    customer_label = np.zeros(len(first), dtype=label.dtype)
    np.maximum.at(customer_label, customer, label)
    of_customer = None if strata is None else strata[first]
    return split_of(_deal(customer_label, shares, rng, of_customer)[customer], by="random")


def split_each_class(label: np.ndarray, share: float, *, seed: int) -> Split:
    """Take a share of each class for validation, at least one row of it, and train on the others.

    A class with one row is trained on and not validated; where all have one, the training rows are the validation rows
    too.

    Args:
        label: ``(n,)`` int, the class of each row.
        share: Of the validation rows, in (0, 1).
        seed: Of the draw.

    >>> [rows.tolist() for rows in split_each_class(np.array([0, 0, 0, 0, 1, 1, 2]), 0.25, seed=1).sides().values()]
    [[1, 2, 3, 5, 6], [0, 4], []]
    """
    rng = np.random.default_rng(seed)
    side = np.zeros(len(label), dtype=np.int8)
    for value, count in zip(*np.unique(label, return_counts=True), strict=True):
        wanted = min(max(round(share * count), 1), count - 1)
        side[rng.permutation(np.flatnonzero(label == value))[:wanted]] = SIDES.index("validation")
    dealt = split_of(side, by="random")
    return dealt if len(dealt.validation) else replace(dealt, validation=dealt.train)


def split_column(assigned: Sequence[str | None], *, column: str) -> Split:
    """Take the sides from a column that says train, validation or test; empty cells are on no side.

    Raises:
        DataError: If the column says anything else, or leaves train or validation empty.
    """
    words = np.array(["" if word is None else word.strip().lower() for word in assigned])
    unknown = sorted(set(words.tolist()) - {*SIDES, ""})
    if unknown:
        raise DataError(f"split.column {column!r} must say train, validation or test in each row, got {unknown[0]!r}")
    side = np.full(len(words), -1, dtype=np.int8)
    for number, name in enumerate(SIDES):
        side[words == name] = number
    for name, number in (("train", 0), ("validation", 1)):
        if not (side == number).any():
            raise DataError(f"split.column {column!r} marks no row as {name}; training needs train and validation rows")
    return split_of(side, by="column")


def fold_of_rows(
    label: np.ndarray,
    n_folds: int,
    rng: np.random.Generator,
    *,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """Return the fold of each row, ``(n,)`` int64.

    Rows are ordered by class and stratum, at random within them, and dealt like cards: the folds differ by one row in
    all, by one row in each class, and by one in each stratum of a class. Of customers with several rows it is the
    customers that are dealt, a churner being one whose rows say so at least once.
    """
    if groups is not None:
        _, first, customer = np.unique(groups, return_index=True, return_inverse=True)
        of_customer = np.zeros(int(customer.max()) + 1, dtype=label.dtype)
        np.maximum.at(of_customer, customer, label)
        return fold_of_rows(of_customer, n_folds, rng, strata=None if strata is None else strata[first])[customer]
    order = _shuffled(rng.random(len(label)), label, strata)
    fold = np.empty(len(label), dtype=np.int64)
    fold[order] = np.arange(len(label)) % n_folds
    return fold


def _shuffled(draw: np.ndarray, label: np.ndarray, strata: np.ndarray | None) -> np.ndarray:
    """Return the row numbers by class, stratum and draw."""
    if strata is not None:
        return np.lexsort((draw, strata, label))
    each = (np.flatnonzero(label == one) for one in np.unique(label))
    return np.concatenate([rows[np.argsort(draw[rows])] for rows in each])


def check_classes(label: np.ndarray, split: Split, classes: Sequence[str]) -> None:
    """Refuse a split in which a side lacks a class.

    Raises:
        DataError: With the side, the class and its count.
    """
    for name, rows in split.sides().items():
        if name == "test" and not len(rows):
            continue
        counts = np.bincount(label[rows], minlength=len(classes))
        for number, count in enumerate(counts):
            if not count:
                total = int((label == number).sum())
                raise DataError(
                    f"the {name} rows have no {classes[number]!r} ({total:,} of {len(label):,} rows are): too few rows "
                    "to split; give more rows or larger shares"
                )


def split_of(side: np.ndarray, *, by: str, purged: int = 0, later: int = 0) -> Split:
    """Return the rows of each side, given the side of each row (0, 1, 2, or -1 for none)."""
    train, validation, test = (np.flatnonzero(side == number) for number in range(3))
    left_out = int((side < 0).sum()) - purged - later
    return Split(train, validation, test, by=by, left_out=left_out, purged=purged, later=later)


def side_counts(n: int, shares: Sequence[float]) -> list[int]:
    """Rows per side: test and validation rounded, train gets the rest."""
    validation, test = round(n * shares[1]), round(n * shares[2])
    return [n - validation - test, validation, test]


def _deal(
    label: np.ndarray, shares: Sequence[float], rng: np.random.Generator, strata: np.ndarray | None = None
) -> np.ndarray:
    """Return the side of each row: totals exact, classes in proportion to within one row, and so strata in a class."""
    totals = side_counts(len(label), shares)
    side = np.empty(len(label), dtype=np.int8)
    for members, quota in _quotas(np.arange(len(label)), label, totals):
        parts = [(members, quota)] if strata is None else _quotas(members, strata[members], quota.tolist())
        for part, row in parts:
            side[rng.permutation(part)] = np.repeat(np.arange(3), row)
    return side


def _quotas(rows: np.ndarray, values: np.ndarray, totals: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each value its rows, and how many of them go to each side."""
    known, counts = np.unique(values, return_counts=True)
    quota = _proportional(counts, totals)
    return [(rows[values == value], row) for value, row in zip(known, quota, strict=True)]


def _proportional(counts: np.ndarray, totals: Sequence[int]) -> np.ndarray:
    """Integer table ``(classes, 3)`` with these row and column sums, each entry its share rounded up or down.

    Such a table always exists, but rounding entry by entry does not find it. Each entry starts rounded down; the rows
    that a class still has to place go, one by one, to sides that have room, and where none of the class's own has,
    another class makes room by moving a row of its own (augmenting paths, as in matching).
    """
    products = np.outer(counts, totals)
    table, rest = np.divmod(products, max(int(counts.sum()), 1))
    extra = np.zeros_like(table)
    room = np.asarray(totals) - table.sum(axis=0)
    for row in np.repeat(np.arange(len(counts)), counts - table.sum(axis=1)):
        placed = _place(int(row), rest, extra, room, visited=set())
        assert placed, "a rounding of a proportional table exists"
    return table + extra


def _place(row: int, rest: np.ndarray, extra: np.ndarray, room: np.ndarray, visited: set[int]) -> bool:
    """Round one entry of the row up, moving others where needed; say whether that was possible."""
    for side in np.argsort(-rest[row], kind="stable").tolist():
        if side in visited or not rest[row, side] or extra[row, side]:
            continue
        visited.add(side)
        if room[side] > 0:
            room[side] -= 1
            extra[row, side] = 1
            return True
        for other in np.flatnonzero(extra[:, side]).tolist():
            if _place(other, rest, extra, room, visited):
                extra[other, side], extra[row, side] = 0, 1
                return True
    return False


def one_side_each(side: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leave out (-1) the rows of a customer that are not on the customer's one side."""
    _, customer = np.unique(groups, return_inverse=True)
    present = np.zeros((int(customer.max()) + 1, 3), dtype=bool)
    present[customer[side >= 0], side[side >= 0]] = True
    chosen = np.where(present, rng.random(present.shape), -1.0).argmax(axis=1)
    return np.where(side == chosen[customer], side, -1).astype(np.int8)
