from __future__ import annotations

import datetime as dt
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churnlib.data import distinct
from churnlib.data.coercion import coerce, read_columns
from churnlib.data.fitting import fit_preparation
from churnlib.schema import Column, Kind, Role, Schema, infer_schema, stacking
from churnlib.schema.measurements import find_measurements

SCHEMA = Schema(
    (
        Column("id", Kind.identifier, Role.id),
        Column("months", Kind.numeric),
        Column("joined", Kind.datetime, nullable=True, formats=("%d.%m.%Y",)),
        Column("active", Kind.boolean),
        Column("size", Kind.ordinal, order=("S", "M")),
        Column("plan", Kind.categorical),
        Column("note", Kind.text, Role.ignored),
        Column("seen", Kind.datetime, Role.time),
        Column("churn", Kind.categorical, Role.target),
    )
)
ROW = {"months": "12", "joined": "5.1.2024", "active": "YES", "size": " M", "plan": "3.0", "seen": "2024-06-30"}
READ = {
    "months": 12.0, "joined": dt.datetime(2024, 1, 5), "active": "true", "size": "M", "plan": "3",
    "seen": dt.datetime(2024, 6, 30),
}  # fmt: skip
TYPES = {
    "months": pl.Float64, "joined": pl.Datetime("us"), "active": pl.String, "size": pl.String, "plan": pl.String,
    "seen": pl.Datetime("us"),
}  # fmt: skip


def test_cells_are_read_as_the_schema_says():
    coerced = coerce(pl.DataFrame([ROW]), SCHEMA)
    assert coerced.typed.to_dicts() == [READ]
    assert dict(coerced.typed.schema) == TYPES
    assert coerced.absent == ()
    assert coerced.unreadable_counts() == {}


@pytest.mark.parametrize(
    "cells",
    [
        (12, dt.date(2024, 1, 5), True, "M", 3, dt.datetime(2024, 6, 30)),
        (12.0, "2024-01-05T00:00:00Z", 1, "M ", 3.0, "2024-06-30 00:00"),
        (" 1.2e1", "05.01.2024", "t", "M", "3", "2024-06-30"),
    ],
)
def test_typed_json_and_text_rows_are_the_same_row(cells):
    row = dict(zip(READ, cells, strict=True))
    assert coerce(pl.DataFrame([row]), SCHEMA).typed.to_dicts() == [READ]


def test_the_order_of_columns_and_extra_columns_do_not_matter():
    row = {"extra": [1, 2], **dict(reversed(ROW.items())), "id": "a", "churn": "no", "note": "hello"}
    coerced = coerce(pl.DataFrame([row]), SCHEMA)
    assert coerced.typed.columns == [column.name for column in read_columns(SCHEMA)]
    assert coerced.typed.to_dicts() == [READ]


def test_a_column_that_is_absent_is_missing_in_each_row():
    frame = pl.DataFrame([ROW] * 3).drop("months", "seen")
    coerced = coerce(frame, SCHEMA)
    assert coerced.absent == ("months", "seen")
    assert coerced.typed["months"].to_list() == coerced.typed["seen"].to_list() == [None] * 3
    assert dict(coerced.typed.schema) == TYPES
    assert coerced.unreadable_counts() == {}


@pytest.mark.parametrize(
    "frame", [pl.DataFrame(), pl.DataFrame([ROW])[:0], pl.DataFrame({"other": []}), pl.DataFrame({"months": []})]
)
def test_an_empty_table_stays_empty(frame):
    coerced = coerce(frame, SCHEMA)
    assert len(coerced.typed) == 0
    assert dict(coerced.typed.schema) == TYPES
    assert coerced.unreadable_counts() == {}


def test_unreadable_cells_are_missing_counted_and_named_with_their_value():
    rows = [ROW, {**ROW, "months": "many"}, {**ROW, "months": " "}, {**ROW, "months": "inf", "joined": "2024-02-30"}]
    coerced = coerce(pl.DataFrame(rows), SCHEMA)
    assert coerced.typed["months"].to_list() == [12.0, None, None, None]
    assert coerced.unreadable_counts() == {"months": 2, "joined": 1}
    assert {name: coerced.unreadable[name].to_list() for name in ("months", "joined")} == {
        "months": [False, True, False, True],
        "joined": [False, False, False, True],
    }
    errors = list(coerced.unreadable_cells(pl.DataFrame(rows), SCHEMA))
    assert [(e.row, e.column, e.problem, e.value) for e in errors] == [
        (1, "months", "must be a finite number", "many"),
        (3, "months", "must be a finite number", "inf"),
        (3, "joined", "must be a date", "2024-02-30"),
    ]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("months", [dt.date(2024, 1, 5)] * 3),
        ("months", [[1]] * 3),
        ("months", [dt.timedelta(days=1)] * 3),
        ("joined", [20240105] * 3),
        ("joined", [True] * 3),
        ("joined", [{"a": 1}] * 3),
    ],
)
def test_cells_of_a_wrong_type_are_unreadable_in_each_row(column, cells):
    coerced = coerce(pl.DataFrame({column: cells}), SCHEMA)
    assert coerced.typed[column].to_list() == [None] * 3
    assert coerced.unreadable_counts() == {column: 3}


def test_categories_of_a_type_without_single_values_are_missing():
    for cells in ([[1]], [b"x"], [dt.timedelta(days=1)]):
        assert coerce(pl.DataFrame({"plan": cells}), SCHEMA).typed["plan"].to_list() == [None]


def test_columns_are_found_by_their_exact_names():
    names = ["*", "^m.*$", "months", "a[b]", "\u200b"]
    schema = Schema(tuple(Column(name, Kind.numeric) for name in names))
    frame = pl.DataFrame({name: [str(i)] for i, name in enumerate(names)})
    assert coerce(frame, schema).typed.rows() == [(0.0, 1.0, 2.0, 3.0, 4.0)]
    assert coerce(frame[:, 1:], schema).absent == ("*",)
    bad = coerce(frame.with_columns(pl.lit("x").alias("^m.*$")), schema)
    assert bad.unreadable_counts() == {"^m.*$": 1}


cells = st.lists(
    st.one_of(
        st.none(),
        st.text(max_size=6),
        st.sampled_from(["Yes", "no", " 1", "1.0", "2024-01-05", "5.1.2024", "nan", "M"]),
    ),
    min_size=1,
    max_size=12,
)


@given(cells)
@settings(max_examples=60, deadline=None)
def test_one_row_is_read_as_many_are(values):
    frame = pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name in TYPES})
    together = coerce(frame, SCHEMA)
    for row in range(len(values)):
        alone = coerce(frame[row : row + 1], SCHEMA)
        assert alone.typed.row(0) == together.typed.row(row)
        assert {name for name, n in alone.unreadable_counts().items() if n} == {
            mask.name for mask in together.unreadable if mask[row]
        }


@given(cells)
@example(["Yes", "no", None])
@example(["Yes", "no", "no", "1.0"])
@settings(max_examples=40, deadline=None)
def test_reading_each_different_cell_once_gives_the_same(values):
    frame = pl.DataFrame({name: pl.Series(values * 5, dtype=pl.String) for name in TYPES})
    expected = coerce(frame, SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "MANY_ROWS", 1)
        patch.setattr(distinct, "FIRST_ROWS", 3)  # later rows have cells that these do not show
        once, categorical = (coerce(f, SCHEMA) for f in (frame, frame.cast(pl.Categorical())))
    for other in (once, categorical):
        assert other.typed.equals(expected.typed)
        assert other.unreadable.equals(expected.unreadable)


def test_a_typed_table_and_its_csv_file_are_read_alike():
    rng = np.random.default_rng(0)
    n, start = 300, dt.datetime(2024, 1, 1, 1, 2, 3, 456)
    typed = pl.DataFrame(
        {
            "spend": rng.lognormal(0, 20, n),
            "usage": pl.Series(rng.normal(size=n).astype(np.float32)),
            "count": pl.Series(rng.integers(-(2**62), 2**62, n)),
            "gaps": [None if x < 0 else x for x in rng.normal(size=n).tolist()],
            "active": rng.random(n) < 0.5,
            "code": rng.integers(1, 4, n).astype(float),
            "joined": [dt.date(2020, 1, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 999, n)],
            "called": [start + dt.timedelta(seconds=int(s)) for s in rng.integers(0, 10**8, n)],
            "zoned": [start + dt.timedelta(hours=int(h)) for h in rng.integers(0, 999, n)],
            "plan": rng.choice(["basic", "plus"], n),
        }
    )
    typed = typed.with_columns(pl.col("zoned").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    text = pl.read_csv(io.BytesIO(typed.write_csv().encode()), infer_schema=False)
    schema = infer_schema(typed, columns={"code": {"kind": "categorical"}})
    assert infer_schema(text, columns={"code": {"kind": "categorical"}}) == schema
    first, second = coerce(typed, schema), coerce(text, schema)
    assert first.unreadable_counts() == second.unreadable_counts() == {}
    # A float32 is written with the digits that tell float32 numbers apart.
    float32 = pl.col("usage").cast(pl.Float32)
    assert first.typed.with_columns(float32).equals(second.typed.with_columns(float32))
    encoded = [fit_preparation(part.typed, schema).encode(part.typed) for part in (first, second)]
    np.testing.assert_array_equal(encoded[0].numeric, encoded[1].numeric)
    np.testing.assert_array_equal(encoded[0].codes, encoded[1].codes)


def test_a_wide_table_is_read_as_column_by_column(monkeypatch):
    rng = np.random.default_rng(0)
    measured = [f"{value:.2f}" for value in rng.normal(5, 3, 40)]
    kinds = {
        "measurement": measured,
        "gaps": [None, *measured[1:]],
        "blanks": ["  ", *measured[1:]],
        "words": ["n/a", *measured[1:]],
        "infinite": ["inf", *measured[1:]],
        "padded": [f"0{value}" for value in rng.integers(10, 99, 40)],
        "counts": [str(value) for value in rng.integers(0, 9, 40)],
        "customers": [str(value) for value in rng.permutation(40)],
        "customers twice": [f"{value}.0" if value % 2 else f"{value - 1}" for value in range(2, 42)],
        "shares": [f"{value:.3f}" for value in rng.random(40)],
        "truth": [str(value) for value in rng.integers(0, 2, 40)],
        "constant": ["7"] * 40,
        "empty": [None] * 40,
        "one value": [None, "7"] * 20,
        "text": [f"v{value}" for value in rng.integers(0, 5, 40)],
        "dates": [f"2024-01-{day:02d}" for day in rng.integers(1, 28, 40)],
        "lists": [f"[{value}]" for value in rng.integers(0, 9, 40)],
    }
    texts = {f"{kind} {copy}": values for kind, values in kinds.items() for copy in range(8)}
    numbers = {
        f"number {copy}": rng.normal(size=40).round(copy % 4) if copy % 3 else rng.integers(0, 50, 40).astype(float)
        for copy in range(150)
    }
    frame = pl.DataFrame({**texts, **numbers, "integers": rng.integers(0, 30, 40)})
    frame = frame.with_columns(pl.col("number 1").replace(frame["number 1"][0], float("nan")))
    together = infer_schema(frame)
    read = coerce(frame, together)
    assert len(find_measurements(frame)) > 100  # most of them were told so
    monkeypatch.setattr(stacking, "MANY_COLUMNS", 10_000)
    assert not find_measurements(frame)
    assert infer_schema(frame) == together
    assert coerce(frame, together).typed.equals(read.typed)
    assert coerce(frame, together).unreadable.equals(read.unreadable)
