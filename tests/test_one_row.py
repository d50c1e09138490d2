"""One customer read in plain Python is the customer that polars reads."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from churnlib.data.coercion import coerce
from churnlib.data.customers import prepare_labelled
from churnlib.data.one_row import OneRowReader
from churnlib.data.splits import Split
from churnlib.data.tables import table_from
from churnlib.errors import RowErrors
from churnlib.schema import Column, Kind, Role
from tests.made import made_customers

CELLS: list[Any] = [
    None, "", " ", "\t", "\x1c", "\u00a0", "0", "1", "-1", "1.0", "-0.0", " 2.50 ", "1e3", "1E-400", "+5", ".5", "5.",
    "1,5", "inf", "-inf", "nan", "NaN", "NA", "n/a", "null", "?", "Yes", "yes", "YES ", "no", "True", "t", "false", "F",
    "monthly", "yearly", " two years", "two years ", "region 3", "Region 3", "region 99", "low", "middle", "high",
    "high.0", "12.00", "007", "1_000", "٣", "ß", "İ", "a\x00b", "*", "^x$", "Zürich", "Zürich 12.0", "٣.0",
    "\u2003high\u3000", "\u0085low", "\u180elow", "\ufefflow", "\u202812.5\u205f", "12 €", "\u212a", "YES\u200b",
    "2020-01-05", "2020-1-5", "2020-02-30",
    "2020-01-05 10:11:12", "2020-01-05T10:11:12", "2020-01-05T10:11:12Z", "2020-01-05 10:11:12.5",
    "2020-01-05 24:00:00",
    "0000-01-01", "9999-12-31", "05/01/2020", "[1, 2]", "[1.5, null, 2]", "[]", "[1e999]", 0, 1, -1, 7, 10**15,
    2**53 + 1, 10**400,
    2**63 - 1, 2**63, -(2**70), 0.0, -0.0, 0.5, 3.0, 1e300, -1e300, 1e-320, float("nan"), float("inf"), float("-inf"),
    True, False, dt.date(2021, 5, 6), dt.datetime(2021, 5, 6, 7, 8, 9), decimal.Decimal("1.50"),
]  # fmt: skip

LISTS: list[Any] = [
    [], [1.0], [1, 2, 3], [None, 2.5], [float("nan"), 1.0], [float("inf")], [1.0] * 9, ["1", 2], [True], [2**70],
    "[1]", None,
]  # fmt: skip


def prepared(
    *,
    time: bool = False,
    steps: dict[str, Any] | None = None,
    classes: tuple[str, ...] = ("no", "yes"),
    columns: dict[str, Any] | None = None,
    drop: Sequence[str] = (),
):
    n = 200
    frame = (
        made_customers(n)
        .drop("churn", "customer")
        .with_columns(
            pl.Series("band", ["low", "middle", "high", None] * (n // 4)),
            pl.Series(
                "usage", [[1.0, 2.0, float(i % 5)] if i % 3 else None for i in range(n)], dtype=pl.List(pl.Float64)
            ),
            pl.Series("taken", [dt.date(2023, 1, 1) + dt.timedelta(days=i) for i in range(n)]),
        )
    )
    taken = {"role": "time"} if time else {"kind": "datetime"}
    columns = {"band": {"order": ["low", "middle", "high"]}, "taken": taken, **(columns or {})}
    split = Split(np.arange(150), np.arange(150, 175), np.arange(175, n), by="random")
    label = (np.arange(n) % 3 % len(classes)).astype(np.int64)
    target = Column("left", Kind.categorical, Role.target)
    preprocess = {"steps": steps or {}}
    return prepare_labelled(
        frame.drop(drop), label, target=target, classes=classes, split=split, columns=columns, preprocess=preprocess
    )


def by_table(row, schema, preparation):
    """What reading the row as a table gives."""
    lists = {column.name for column in schema.columns if column.kind is Kind.sequence}
    read = coerce(table_from([row], sequences=lists), schema)
    encoded = preparation.encode(read.typed)
    missing = {name for name in schema.required() if read.typed[name].null_count()}
    return encoded, set(read.unreadable.columns), missing, set(preparation.unseen(read.typed))


def compare(row, customers) -> bool:
    """Whether the row is a row at all; if so, both ways of reading it agree to the last bit."""
    schema, preparation = customers.schema, customers.preparation
    reader = OneRowReader(schema, preparation)
    try:
        expected = by_table(row, schema, preparation)
    except RowErrors:
        with pytest.raises(RowErrors):
            reader.read(row)
        return False
    found = reader.read(row)
    np.testing.assert_array_equal(found.encoded.numeric, expected[0].numeric, err_msg=str(row))
    np.testing.assert_array_equal(found.encoded.codes, expected[0].codes, err_msg=str(row))
    assert (set(found.unreadable), set(found.missing), set(found.unseen)) == expected[1:], row
    assert found.encoded.numeric.dtype == np.float32
    assert found.encoded.codes.dtype == np.int64
    return True


def random_row(customers, rng):
    row = {}
    for column in customers.schema.columns:
        if column.role is Role.target or rng.random() < 0.05:
            continue
        pool = LISTS if column.kind is Kind.sequence and rng.random() < 0.8 else CELLS
        if rng.random() < 0.5:
            cell = customers.frame[column.name][int(rng.integers(len(customers.frame)))]
            cell = cell.to_list() if isinstance(cell, pl.Series) else str(cell) if isinstance(cell, dt.date) else cell
        else:
            cell = pool[int(rng.integers(len(pool)))]
        row[column.name] = cell
    return row


@pytest.mark.parametrize("time", [False, True])
def test_each_kind_of_cell_is_read_as_in_a_table(time):
    customers = prepared(time=time)
    plain = [c.name for c in customers.schema.columns if c.kind is not Kind.sequence and c.role is not Role.target]
    assert all(compare(dict.fromkeys(plain, cell), customers) for cell in CELLS)
    read = [compare({"usage": cell}, customers) for cell in LISTS + CELLS]
    assert read.count(False) == 0


@pytest.mark.parametrize("time", [False, True])
def test_random_rows_are_read_as_in_a_table(time):
    customers, rng = prepared(time=time), np.random.default_rng(0)
    assert sum(compare(random_row(customers, rng), customers) for _ in range(60)) > 50


@pytest.mark.slow
def test_thousands_of_random_rows_are_read_as_in_a_table():
    """A part of what scripts/check_one_row.py compares."""
    customers, rng = prepared(time=True), np.random.default_rng(1)
    assert sum(compare(random_row(customers, rng), customers) for _ in range(600)) > 550


def test_rows_go_through_the_users_steps():
    steps = {"more": {"step": "expressions", "columns": {"per": "charges / NULLIF(tenure, 0)"}}}
    customers, rng = prepared(steps=steps), np.random.default_rng(0)
    assert "per" in customers.preparation.feature_names
    assert sum(compare(random_row(customers, rng), customers) for _ in range(15)) > 12


def test_a_list_where_none_belongs_is_refused():
    customers = prepared()
    with pytest.raises(RowErrors, match="charges"):
        OneRowReader(customers.schema, customers.preparation).read({"charges": [1]})
