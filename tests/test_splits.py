from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churnlib.data.rolling import split_time
from churnlib.data.splits import (
    _proportional,
    check_classes,
    check_shares,
    split_column,
    split_each_class,
    split_random,
)
from churnlib.errors import ConfigError, DataError

SHARES = (0.7, 0.15, 0.15)


@st.composite
def shares(draw):
    train, validation, test = (draw(st.integers(low, 100)) for low in (1, 1, 0))
    total = train + validation + test
    return train / total, validation / total, test / total


def made_labels(n: int, rate: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.int64)


def sizes(split) -> list[int]:
    return [len(rows) for rows in split.sides().values()]


def assert_each_row_once(split, n: int) -> None:
    rows = np.concatenate(list(split.sides().values()))
    assert len(rows) + split.left_out == n
    assert len(np.unique(rows)) == len(rows)
    for side in split.sides().values():
        assert (np.diff(side) > 0).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.floats(0.01, 0.99), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_each_class_gives_its_share_to_validation_and_keeps_a_row_to_train_on(labels, share, seed):
    label = np.array(labels)
    split = split_each_class(label, share, seed=seed)
    counts = np.bincount(label, minlength=4)
    assert len(split.test) == 0
    if counts.max() == 1:  # no class has a row to spare
        assert split.train.tolist() == split.validation.tolist() == list(range(len(label)))
        return
    assert_each_row_once(split, len(label))
    for value, count in enumerate(counts.tolist()):
        given_away = int((label[split.validation] == value).sum())
        assert given_away == 0 if count < 2 else 1 <= given_away < count
        assert abs(given_away - share * count) <= 1
    same = split_each_class(label, share, seed=seed)
    assert np.array_equal(same.validation, split.validation)


def test_a_table_is_dealt_in_three_sides():
    split = split_random(np.array([0, 1] * 50), SHARES, seed=0)
    assert (sizes(split), split.by, split.left_out) == ([70, 15, 15], "random", 0)
    assert np.bincount(np.array([0, 1] * 50)[split.train]).tolist() == [35, 35]


@given(st.integers(1, 400), st.floats(0, 1), shares(), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_shares_are_exact_to_the_row_and_classes_to_within_one(n, rate, given_shares, seed):
    label = made_labels(n, rate, seed)
    split = split_random(label, given_shares, seed=seed)
    assert_each_row_once(split, n)
    train, validation, test = sizes(split)
    for size, share in ((validation, given_shares[1]), (test, given_shares[2])):
        assert abs(size - n * share) <= 0.5 + 1e-9
    assert abs(train - n * given_shares[0]) <= 1 + 1e-9
    for rows in split.sides().values():
        for value in (0, 1):
            assert abs((label[rows] == value).sum() - len(rows) * (label == value).mean()) < 1


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), shares())
@settings(max_examples=200, deadline=None)
def test_every_entry_is_its_share_rounded_up_or_down_however_many_rare_classes(counts, given_shares):
    counts = np.array(counts)
    n = int(counts.sum())
    validation, test = round(n * given_shares[1]), round(n * given_shares[2])
    totals = [n - validation - test, validation, test]
    table = _proportional(counts, totals)
    assert table.sum(axis=0).tolist() == totals
    assert table.sum(axis=1).tolist() == counts.tolist()
    assert (table >= 0).all()
    for row, count in zip(table.tolist(), counts.tolist(), strict=True):
        for entry, total in zip(row, totals, strict=True):
            assert abs(entry - Fraction(count * total, n)) < 1


def test_a_class_of_one_row_is_never_dealt_twice():
    # Rounded by running totals alone, the single row of a class went to validation and to test, and -1 to training.
    counts = np.array([3, 1, 3, 1, 3, 1, 2])
    table = _proportional(counts, [4, 5, 5])
    assert (table >= 0).all() and table.sum(axis=1).tolist() == counts.tolist()
    label = np.repeat(np.arange(7), counts)
    assert sizes(split_random(label, (0.3, 0.35, 0.35), seed=0)) == [4, 5, 5]


def test_the_seed_fixes_the_split():
    label = made_labels(200, 0.3)
    first, again, other = (split_random(label, SHARES, seed=seed) for seed in (1, 1, 2))
    for side in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(first, side), getattr(again, side))
        assert not np.array_equal(getattr(first, side), getattr(other, side))


def test_every_row_is_as_likely_on_each_side():
    label = np.array([0] * 16 + [1] * 4)
    on_test = np.zeros(20)
    for seed in range(2000):
        on_test[split_random(label, (0.5, 0.25, 0.25), seed=seed).test] += 1
    # Each row is on the test side in a quarter of the draws, +- five standard errors.
    assert np.abs(on_test / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_a_test_share_of_zero_leaves_no_test_rows():
    split = split_random(made_labels(100, 0.3), (0.8, 0.2, 0.0), seed=0)
    assert sizes(split) == [80, 20, 0]


@given(st.integers(1, 200), st.integers(1, 60), shares(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_a_customer_is_never_on_two_sides(n, customers, given_shares, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, customers, n).astype(str)
    label = made_labels(n, 0.3, seed)
    split = split_random(label, given_shares, seed=seed, groups=groups)
    assert_each_row_once(split, n)
    assert split.left_out == 0
    sides = [set(groups[rows]) for rows in split.sides().values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    # Shares are exact in customers.
    n_customers = len(set(groups))
    assert len(sides[1]) == round(n_customers * given_shares[1])
    assert len(sides[2]) == round(n_customers * given_shares[2])


def test_churning_customers_are_dealt_in_equal_shares():
    groups = np.repeat(np.arange(100), 3)
    label = np.zeros(300, dtype=np.int64)
    label[2::3][:40] = 1  # the last row of the first 40 customers
    split = split_random(label, SHARES, seed=0, groups=groups)
    assert [label[rows].sum() for rows in split.sides().values()] == [28, 6, 6]


# --- by time ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(1, 30), shares(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_the_newest_rows_are_the_test_rows(n, dates, given_shares, seed):
    time = np.random.default_rng(seed).integers(0, dates, n)
    split = split_time(time, given_shares, seed=seed)
    assert_each_row_once(split, n)
    assert (split.by, split.left_out) == ("time", 0)
    assert sizes(split)[1:] == [round(n * given_shares[1]), round(n * given_shares[2])]
    filled = [time[rows] for rows in split.sides().values() if len(rows)]
    for older, newer in pairwise(filled):
        assert older.max() <= newer.min()


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 10), shares(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_time_order_holds_and_customers_stay_on_one_side(n, customers, dates, given_shares, seed):
    rng = np.random.default_rng(seed)
    time, groups = rng.integers(0, dates, n), rng.integers(0, customers, n).astype(str)
    split = split_time(time, given_shares, seed=seed, groups=groups)
    assert_each_row_once(split, n)
    sides = [set(groups[rows]) for rows in split.sides().values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    # Nobody is lost: each customer has a side.
    assert set().union(*sides) == set(groups)
    filled = [time[rows] for rows in split.sides().values() if len(rows)]
    for older, newer in pairwise(filled):
        assert older.max() <= newer.min()
    without_groups = split_time(time, given_shares, seed=seed)
    for side, rows in split.sides().items():
        assert set(rows) <= set(without_groups.sides()[side])


def test_time_may_be_dates_and_the_seed_orders_equal_ones():
    time = np.repeat(np.array(["2024-01-31", "2024-02-29"], dtype="datetime64[us]"), 50)
    first, again, other = (split_time(time, (0.7, 0.2, 0.1), seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.test, other.test)
    assert first.test.min() >= 50


# --- by column ----------------------------------------------------------------------------------------------------


def test_a_column_names_the_sides_in_any_case():
    split = split_column(["Train", " validation", "TEST", None, "", "train"], column="side")
    assert [rows.tolist() for rows in split.sides().values()] == [[0, 5], [1], [2]]
    assert (split.by, split.left_out) == ("column", 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "validation", "holdout"], "'holdout'"),
        (["train", "test"], "marks no row as validation"),
        (["validation", "test"], "marks no row as train"),
        ([None, None], "marks no row as train"),
    ],
)
def test_a_column_that_names_no_sides_is_refused(words, says):
    with pytest.raises(DataError, match=says):
        split_column(words, column="side")


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_shares", "says"),
    [
        ((0.7, 0.2, 0.2), "must sum to 1"),
        ((float("nan"), 0.5, 0.5), "must sum to 1"),
        ((0.0, 0.5, 0.5), "above 0"),
        ((0.9, 0.0, 0.1), "above 0"),
        ((0.9, 0.3, -0.2), "split.test must be 0 or above"),
    ],
)
def test_impossible_shares_are_refused(given_shares, says):
    with pytest.raises(ConfigError, match=says):
        check_shares(given_shares)
    with pytest.raises(ConfigError, match=says):
        split_random(np.zeros(10, dtype=np.int64), given_shares, seed=0)
    with pytest.raises(ConfigError, match=says):
        split_time(np.arange(10), given_shares, seed=0)


def test_shares_may_have_rounding_errors():
    check_shares((0.1 + 0.2, 0.3, 0.4))


def test_a_side_without_a_class_is_refused_by_name_and_count():
    label = np.array([1, *[0] * 99])
    split = split_random(label, SHARES, seed=0)
    with pytest.raises(DataError, match=r"have no 'left' \(1 of 100 rows are\)"):
        check_classes(label, split, ("stayed", "left"))
    check_classes(np.array([0, 1] * 50), split_random(np.array([0, 1] * 50), (0.8, 0.2, 0), seed=0), ("stayed", "left"))
