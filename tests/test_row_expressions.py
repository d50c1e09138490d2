"""Expressions that people write: what is read, what is refused, and with which words."""

from __future__ import annotations

import polars as pl
import pytest

from churnlib.data.row_expressions import check_row_by_row, row_expression
from churnlib.errors import ConfigError

ROWS = pl.DataFrame(
    {"paid": [1.0, 2.0, 3.0, None], "months": [3.0, 0.0, 1.0, 1.0], "plan": ["a", "b", "a", None], "a b": [1.0] * 4}
)


def computed(sql):
    return ROWS.select(row_expression(sql, ROWS.schema, option="features.x").alias("x"))["x"].to_list()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("paid / NULLIF(months, 0)", [1 / 3, None, 3.0, None]),
        ("CASE WHEN paid > 1 THEN 'much' ELSE 'little' END", ["little", "much", "much", "little"]),
        ("plan IN ('a', 'z')", [True, False, True, None]),
        ("COALESCE(paid, 0) + 1", [2.0, 3.0, 4.0, 1.0]),
        ('"a b" * 2', [2.0] * 4),
        ("paid IS NULL", [False, False, False, True]),
        ("POW(paid, 2)", [1.0, 4.0, 9.0, None]),
        ("TRY_CAST(plan AS DOUBLE)", [None] * 4),
    ],
)
def test_expressions_over_one_row_are_read(sql, expected):
    assert computed(sql) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("AVG(paid)", "one value per row from that row alone"),
        ("paid - AVG(paid) OVER (PARTITION BY plan)", "one value per row"),
        ("paid + FIRST(months)", "one value per row"),
        ("RANK() OVER (ORDER BY paid)", "one value per row"),
        ("LAG(paid) OVER (ORDER BY months)", "one value per row"),
        ("COUNT(*) + paid", "one value per row"),
        ("ROW_NUMBER()", "one value per row"),
        ("1", "one value per row"),
        ("(SELECT 1)", "without queries and clocks"),
        ("paid IN (SELECT paid FROM read_csv('secret.csv'))", "without queries"),
        ("CURRENT_TIMESTAMP", "without queries and clocks"),
        ("payed", "names the column 'payed', which it cannot read; did you mean 'paid'"),
        ("zzz", "there are 'paid', 'months', 'plan', 'a b'"),
        ("plan / paid", "does not suit its columns"),
        ("paid +", "cannot be read as an expression"),
        ("paid; paid", "cannot be read as an expression"),
        ("CAST(plan AS INTEGER)", "must say TRY_CAST for CAST"),
        ("", "cannot be read"),
    ],
)
def test_others_are_refused_with_the_reason(sql, said):
    with pytest.raises(ConfigError, match=r"features\.x") as caught:
        row_expression(sql, ROWS.schema, option="features.x")
    assert said in str(caught.value)


def test_an_expression_that_looks_at_other_rows_is_found_by_trying():
    with pytest.raises(ConfigError, match=r"features\.x must give one value per row"):
        check_row_by_row(ROWS, {"x": pl.col("paid").fill_null(strategy="forward")}, option="features")


def test_an_expression_of_each_row_passes_the_trial():
    check_row_by_row(ROWS, {"x": pl.col("paid") * 2}, option="features")
