from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churnlib.data.duplicates import deduplicate


def kept(frame: pl.DataFrame, **options) -> tuple[list[int], int, int]:
    found = deduplicate(frame, **options)
    return found.kept.to_list(), found.exact, found.repeated


def test_of_equal_rows_the_first_stays():
    assert kept(pl.DataFrame({"a": [1, 2, 1, 1], "b": ["x", None, "x", "y"]})) == ([0, 1, 3], 1, 0)


def test_of_a_customer_the_last_row_stays():
    frame = pl.DataFrame({"id": ["a", "b", "a", "a"], "months": [1, 5, 2, 1]})
    # Row 3 repeats row 0, so that row 2 is the customer's last word.
    assert kept(frame, id="id") == ([1, 2], 1, 1)


def test_equal_rows_of_different_customers_stay():
    assert kept(pl.DataFrame({"id": [1, 2, 3], "x": [7, 7, 7]}), id="id") == ([0, 1, 2], 0, 0)


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_rows_without_a_name_are_customers_of_their_own(blank):
    frame = pl.DataFrame({"id": [blank, "a", blank, "a"], "x": [1, 2, 3, 4]}, schema_overrides={"id": pl.String})
    assert kept(frame, id="id") == ([0, 2, 3], 0, 1)


def test_a_name_is_the_same_with_blanks_around_it_and_as_a_number():
    assert kept(pl.DataFrame({"id": ["7", " 7", "7.0"], "x": [1, 2, 3]}), id="id") == ([2], 0, 2)


def test_a_dated_customer_keeps_one_row_per_date():
    frame = pl.DataFrame({"id": ["a", "a", "a", "b"], "seen": ["1", "1", "2", "1"], "x": [1, 2, 3, 4]})
    assert kept(frame, id="id", time="seen") == ([1, 2, 3], 0, 1)


def test_missing_values_and_nan_are_equal_to_themselves():
    assert kept(pl.DataFrame({"a": [float("nan")] * 2, "b": [None] * 2})) == ([0], 1, 0)


def test_columns_are_found_by_their_exact_names():
    frame = pl.DataFrame({"*": ["a", "a", "b"], "^b.*$": [1, 2, 2], "bb": [5, 5, 5]})
    assert kept(frame) == ([0, 1, 2], 0, 0)
    assert kept(frame, id="*") == ([1, 2], 0, 1)
    assert kept(frame, id="^b.*$", time="*") == ([0, 1, 2], 0, 0)


def test_lists_can_be_compared_but_name_nobody():
    frame = pl.DataFrame({"a": [[1], [1], [2]], "b": [{"x": 1}, {"x": 1}, {"x": 1}]})
    assert kept(frame, id="a") == ([0, 2], 1, 0)


def test_an_empty_table_has_no_duplicates():
    assert kept(pl.DataFrame()) == kept(pl.DataFrame({"a": []}), id="a") == ([], 0, 0)


def test_as_python_dictionaries_do_it():
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(1, 40))
        rows = list(zip(rng.integers(0, 6, n).tolist(), rng.integers(0, 3, n).tolist(), strict=True))
        first = {row: place for place, row in reversed(list(enumerate(rows)))}
        last = {rows[place][0]: place for place in sorted(first.values())}
        frame = pl.DataFrame(rows, schema=["id", "x"], orient="row")
        assert kept(frame, id="id") == (sorted(last.values()), n - len(first), len(first) - len(last))
