from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churnlib.schema import Kind, parsing

CELL = pl.col("cell")
UTC = dt.UTC


def column(values, dtype=None) -> pl.Series:
    return pl.Series("cell", values, dtype=dtype)


def read(rule, values, dtype=None, *options) -> list:
    cells = column(values, dtype)
    return cells.to_frame().select(rule(CELL, cells.dtype, *options)).to_series().to_list()


# --- numbers ------------------------------------------------------------------------------------------------------


def test_a_number_sent_as_text_is_read():
    assert read(parsing.number, ["12", " 3.5 ", "-1e3", "+7", ".5", "\u00a08"]) == [12.0, 3.5, -1000.0, 7.0, 0.5, 8.0]


@pytest.mark.parametrize(
    "text", ["", " ", "twelve", "1,5", "1_000", "0x10", "12 %", "--1", "1e", "inf", "-Infinity", "1e999", "1\0"]
)
def test_other_text_is_no_number(text):
    assert read(parsing.number, [text]) == [None]


@given(st.lists(st.floats(), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_numbers_typed_and_as_text_are_the_same_float(numbers):
    expected = [x if abs(x) < float("inf") else None for x in numbers]  # NaN compares false too
    assert read(parsing.number, numbers, pl.Float64) == expected
    assert read(parsing.number, [repr(x) for x in numbers]) == expected


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, None, 3], pl.Int8),
        ([1, None, 3], pl.UInt64),
        ([1, None, 3], pl.Int128),
        ([1.0, None, 3.0], pl.Float32),
        ([Decimal("1.00"), None, Decimal("3.00")], pl.Decimal(10, 2)),
        (["1", None, "3"], pl.Categorical()),
        (["1", None, "3.0"], pl.Enum(["1", "3.0"])),
    ],
)
def test_numbers_are_read_from_every_type(values, dtype):
    assert read(parsing.number, values, dtype) == [1.0, None, 3.0]


def test_what_is_no_number_by_its_type_is_missing_in_each_row():
    # A literal null would be one row, whatever the table's length.
    assert read(parsing.number, [dt.date(2024, 1, 5)] * 3) == [None] * 3
    assert read(parsing.moment, [1, 2, 3]) == [None] * 3


@pytest.mark.parametrize("word", [*parsing.MISSING_WORDS, "NaN", " NULL ", "None", "<NA>", "\t"])
def test_missing_words_are_no_value_and_no_error(word):
    assert read(parsing.given, [word, "x", None]) == [False, True, False]


def test_infinity_is_given_but_no_number_and_nan_is_missing():
    numbers = [1.0, float("inf"), float("nan"), None]
    assert read(parsing.given, numbers) == [True, True, False, False]
    assert read(parsing.number, numbers) == [1.0, None, None, None]


# --- truth values and categories ----------------------------------------------------------------------------------


def test_truth_words_are_read_in_any_case_and_type():
    assert read(parsing.truth, ["Yes", " TRUE", "t", "1", "1.0", "y"]) == ["true"] * 6
    assert read(parsing.truth, ["NO", "false ", "F", "0", "0.0", "n"]) == ["false"] * 6
    assert read(parsing.truth, [True, False, None]) == ["true", "false", None]
    assert read(parsing.truth, [1, 0, None]) == ["true", "false", None]
    assert read(parsing.truth, [1.0, 0.0, float("nan")]) == ["true", "false", None]


def test_a_word_for_neither_keeps_its_text_and_a_missing_one_is_missing():
    assert read(parsing.truth, ["Maybe", "N/A", "?", " ", None]) == ["Maybe", None, None, None, None]


def test_a_code_is_the_same_category_from_text_float_integer_and_decimal():
    expected = ["3", "-7", "0", None]
    assert read(parsing.category, ["3.0", "-7.00", " 0 ", ""]) == expected
    assert read(parsing.category, [3.0, -7.0, 0.0, float("nan")]) == expected
    assert read(parsing.category, [3, -7, 0, None]) == expected
    assert (
        read(parsing.category, [Decimal("3.00"), Decimal("-7.00"), Decimal("0.00"), None], pl.Decimal(10, 2))
        == expected
    )


def test_only_blanks_are_a_missing_category():
    names = ["None", "NA", "null", "🏔️", "a\0b", "v1.0", "1.10"]
    assert read(parsing.category, names) == names
    assert read(parsing.category, ["", "  ", "\t", "\n", None]) == [None] * 5
    assert read(parsing.category, [0.1, 1.5], pl.Float32) == ["0.1", "1.5"]


# --- dates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-05", "2024-02-29", "0001-01-01", "9999-12-31", "2024-01-05 10:30:00", "2024-01-05T10:30:00",
        "2024-01-05T10:30:00.25", "2024-01-05 10:30", "2024-01-05T10:30:00Z", "2024-01-05T10:30:00+02:00",
        "2024-01-05T10:30:00-0530", "2024-01-05 10:30:00.000001+00:00", "2024-01-05T10:30Z",
        "2024-01-05T10:30:00.123456",
    ],
)  # fmt: skip
def test_iso_dates_are_read_as_python_reads_them(text):
    expected = dt.datetime.fromisoformat(text)
    if expected.tzinfo is not None:
        expected = expected.astimezone(UTC).replace(tzinfo=None)
    assert read(parsing.moment, [f" {text} "]) == [expected]


@pytest.mark.parametrize("date_format", parsing.DATE_FORMATS)
def test_each_known_format_reads_what_strftime_writes(date_format):
    written = [dt.datetime(2024, 2, 29, 13, 5, 9), dt.datetime(1999, 12, 31), dt.datetime(2031, 7, 1, 0, 1)]
    texts = [moment.strftime(date_format) for moment in written]
    expected = [dt.datetime.strptime(text, date_format) for text in texts]
    assert read(parsing.moment, texts, None, [date_format]) == expected
    assert read(parsing.moment, texts) == [None] * 3


@pytest.mark.parametrize(
    "text", ["1.2.3", "10.1.2.3", "1/5", "2024-02-30", "24-01-05", "13/13/2024", "yesterday", "+12024-01-05", "2024"]
)
def test_other_text_is_no_date_in_any_format(text):
    assert read(parsing.moment, [text], None, parsing.DATE_FORMATS) == [None]


def test_formats_are_tried_in_order_and_mixed_columns_are_read_in_full():
    texts = ["2024-01-05", "05.01.2024", "1/5/2024", "5 Jan 2024", "05-Jan-2024", "2024-01-05T00:00:00Z", None, "?"]
    formats = ["%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%d-%b-%Y"]
    assert read(parsing.moment, texts, None, formats) == [dt.datetime(2024, 1, 5)] * 6 + [None] * 2
    assert read(parsing.moment, ["3/4/2024"], None, ["%d/%m/%Y", "%m/%d/%Y"]) == [dt.datetime(2024, 4, 3)]


def test_typed_dates_of_every_kind_are_one_moment():
    moment = dt.datetime(2024, 7, 5, 10)
    berlin = column([moment]).dt.replace_time_zone("Europe/Berlin")
    assert berlin.to_frame().select(parsing.moment(CELL, berlin.dtype)).item() == dt.datetime(2024, 7, 5, 8)
    for unit in ("ms", "us", "ns"):
        assert read(parsing.moment, [moment, None], pl.Datetime(unit)) == [moment, None]
    assert read(parsing.moment, [dt.date(2024, 7, 5)]) == [dt.datetime(2024, 7, 5)]
    assert read(parsing.moment, ["2024-07-05"], pl.Categorical()) == [dt.datetime(2024, 7, 5)]


def test_dates_beyond_the_year_9999_are_none():
    days = pl.Series("cell", [0, 3_000_000, 10**9], dtype=pl.Int32).cast(pl.Date)
    moments = days.to_frame().select(parsing.moment(CELL, days.dtype)).to_series()
    assert moments.is_null().to_list() == [False, True, True]


def test_whole_numbers_are_dates_by_a_format_only():
    assert read(parsing.moment, [20240105, None], None, ["%Y%m%d"]) == [dt.datetime(2024, 1, 5), None]
    assert read(parsing.moment, [20240105.0], None, ["%Y%m%d"]) == [dt.datetime(2024, 1, 5)]
    assert read(parsing.moment, ["20240105"], None, ["%Y%m%d"]) == [dt.datetime(2024, 1, 5)]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_no_text_whatever_makes_a_rule_fail(texts):
    for kind in (Kind.numeric, Kind.categorical, Kind.boolean, Kind.datetime):
        values = read(parsing.as_kind, texts, pl.String, kind, parsing.DATE_FORMATS)
        assert len(values) == len(texts)


# --- which columns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    [pl.List(pl.Int64), pl.Array(pl.Int64, 2), pl.Struct({"a": pl.Int64}), pl.Binary(), pl.Object(), pl.Duration("us")],
)
def test_types_without_single_values_are_not_plain(dtype):
    assert not parsing.is_plain(dtype)


def test_a_column_is_found_by_its_exact_name():
    frame = pl.DataFrame({"*": [1], "^a.*$": [2], "ab": [3]})
    assert [frame.select(parsing.cell_of(name)).item() for name in frame.columns] == [1, 2, 3]
