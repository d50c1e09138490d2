"""Tables from Python: data frames, lists of dicts, dicts of columns."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import subprocess
import sys
import uuid
from types import MappingProxyType

import numpy as np
import polars as pl
import pytest

from churnlib.data.tables import table_from
from churnlib.errors import DataError, RowErrors


def test_a_list_of_dicts_becomes_a_table_whatever_keys_its_rows_have():
    frame = table_from([{"tenure": 1, " plan ": "a"}, {"plan": "b", "city": "Köln"}, {}])
    assert frame.columns == ["tenure", "plan", "city"]
    assert frame.rows() == [(1, "a", None), (None, "b", "Köln"), (None, None, None)]
    assert frame.schema == {"tenure": pl.Int64, "plan": pl.String, "city": pl.String}


class Plan(enum.StrEnum):
    basic = "Basic"


class Level(enum.IntEnum):
    gold = 3


IDENTIFIER = uuid.UUID(int=7)
DAY, NOON = dt.date(2024, 5, 1), dt.datetime(2024, 5, 1, 12)
ZONED = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)

COLUMNS = {
    "whole numbers": ([1, None, 3], pl.Int64, [1, None, 3]),
    "whole and other numbers": ([1, 2.5, None], pl.Float64, [1.0, 2.5, None]),
    "NaN": ([float("nan"), 2.5], pl.Float64, [None, 2.5]),
    "NaN among whole numbers": ([float("nan"), 2], pl.Float64, [None, 2.0]),
    "truth": ([True, None, False], pl.Boolean, [True, None, False]),
    "text": (["a", None, ""], pl.String, ["a", None, ""]),
    "nothing": ([None, None], pl.String, [None, None]),
    "numbers and text": ([1, "1", None, 2.5], pl.String, ["1", "1", None, "2.5"]),
    "numbers and truth": ([True, 1, 0.5], pl.String, ["true", "1", "0.5"]),
    "NaN among text": ([float("nan"), "x", 3], pl.String, [None, "x", "3"]),
    "numbers that no column of numbers holds": ([2**70, 1], pl.String, [str(2**70), "1"]),
    "the largest numbers": ([2**63 - 1, -(2**63)], pl.Int64, [2**63 - 1, -(2**63)]),
    "numpy's numbers": ([np.int64(1), np.float32(2.5), np.float64("nan")], pl.Float64, [1.0, 2.5, None]),
    "numpy's truth and text": ([np.bool_(True), np.str_("x")], pl.String, ["true", "x"]),
    "members of enumerations": ([Plan.basic, None], pl.String, ["Basic", None]),
    "members of enumerations of numbers": ([Level.gold, 4], pl.Int64, [3, 4]),
    "days": ([DAY, None], pl.Date, [DAY, None]),
    "moments": ([NOON, None], pl.Datetime("us"), [NOON, None]),
    "days and moments": ([DAY, NOON], pl.String, ["2024-05-01", "2024-05-01 12:00:00"]),
    "moments with and without a zone": ([NOON, ZONED], pl.String, ["2024-05-01 12:00:00", "2024-05-01 12:00:00+00:00"]),
    "decimals": ([decimal.Decimal("1.50"), None], pl.Decimal(38, 2), [decimal.Decimal("1.50"), None]),
    "others": ([IDENTIFIER, None], pl.String, [str(IDENTIFIER), None]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_the_type_of_its_values_or_is_text(name):
    values, dtype, wanted = COLUMNS[name]
    for data in ([{"x": value} for value in values], {"x": values}, {"x": tuple(values)}):
        column = table_from(data)["x"]
        assert column.dtype == dtype
        assert column.to_list() == wanted


@pytest.mark.parametrize("name", COLUMNS)
def test_pandas_columns_become_what_lists_become(name):
    pandas = pytest.importorskip("pandas")
    values, _, wanted = COLUMNS[name]
    frame = pandas.DataFrame({"x": pandas.Series(values, dtype=object)}).set_index(pandas.Index(values, name="index"))
    column = table_from(frame)["x"]
    assert column.to_list() == wanted


def test_pandas_types_are_kept_and_its_marks_of_missing_are_missing():
    pandas = pytest.importorskip("pandas")
    moment = pandas.Timestamp(2024, 5, 1, 12)
    data = pandas.DataFrame(
        {
            "int": pandas.array([1, None], dtype="Int64"),
            "float": [1.5, np.nan],
            "bool": [True, False],
            "text": pandas.array(["a", None], dtype="string"),
            "category": pandas.Categorical(["a", None]),
            "moment": [moment, pandas.NaT],
            "zoned": pandas.to_datetime([moment, pandas.NaT], utc=True),
            "object": [pandas.NA, "x"],
        }
    )
    frame = table_from(data)
    assert frame.rows() == [
        (1, 1.5, True, "a", "a", NOON, ZONED, None),
        (None, None, False, None, None, None, None, "x"),
    ]
    assert [dtype.base_type() for dtype in frame.dtypes] == [
        pl.Int64, pl.Float64, pl.Boolean, pl.String, pl.String, pl.Datetime, pl.Datetime, pl.String,
    ]  # fmt: skip
    assert table_from(data.to_dict("records")).rows() == frame.rows()


def test_frames_of_polars_keep_their_types_and_get_normalised_names():
    frame = pl.DataFrame({" a ": [1], "b\n": ["x"], "c": [float("nan")]})
    for data in (frame, frame.lazy()):
        table = table_from(data)
        assert table.rows() == [(1, "x", None)]
        assert table.columns == ["a", "b", "c"]


def test_columns_may_be_arrays_and_series():
    data = {"a": np.array([1, 2]), "b": pl.Series([1.5, float("nan")]), "c": range(2), "d": np.array(["x", "y"])}
    assert table_from(data).rows() == [(1, 1.5, 0, "x"), (2, None, 1, "y")]


def test_any_mapping_is_a_row():
    assert table_from([MappingProxyType({"a": 1})]).rows() == [(1,)]


def test_the_table_given_is_left_alone():
    rows = [{"a": float("nan"), " b": ["x"]}]
    frame = pl.DataFrame({" a": [float("nan")]})
    with pytest.raises(RowErrors):
        table_from(rows)
    table_from(frame)
    assert rows[0][" b"] == ["x"] and frame.columns == [" a"] and frame[" a"].is_nan().all()


def test_no_customers_are_a_table_without_rows():
    assert table_from([]).shape == (0, 0)
    assert table_from({"a": []}).shape == (0, 1)
    assert table_from(pl.DataFrame(schema={"a": pl.Int64})).shape == (0, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([{"a": 1, " a": 2}], "row 0 has two columns named 'a'"),
        ({"a": [1], "a ": [2]}, "two columns named 'a'"),
        (pl.DataFrame({"a": [1], " a": [2]}), "two columns named 'a'"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1 values, 'a' has 2"),
        ({"a": 1, "b": "x"}, "list of one dict"),
        ({"a": "xyz"}, "'a' is of type str"),
        ([{"a": 1}, 7], "row 1 is of type int"),
        ([{}, {}], "none of the rows holds a value"),
        ([{"\ud800": 1}], "no valid Unicode"),
    ],
)
def test_what_is_no_table_is_told(data, words):
    with pytest.raises(DataError, match=words):
        table_from(data)


def test_pandas_columns_of_one_name_are_told():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="two columns named 'a'"):
        table_from(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


def test_cells_that_hold_no_single_value_are_told_row_by_row():
    rows = [{"a": 1, "b": "x"}, {"a": [1, 2], "b": b"y"}, {"a": {"k": 1}, "b": "half\ud800"}, {"a": np.zeros(2)}]
    with pytest.raises(RowErrors) as caught:
        table_from(rows)
    assert [(error.row, error.column) for error in caught.value.errors] == [
        (1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"),
    ]  # fmt: skip
    assert "row 1: column 'a' must be one value, not a list" in str(caught.value)


@pytest.mark.parametrize("data", ["customers.csv", 7, None, object()])
def test_what_is_never_a_table_is_a_mistake_of_the_program(data):
    with pytest.raises(TypeError, match="expected a polars or pandas DataFrame"):
        table_from(data)


def test_pandas_is_not_imported_for_other_tables():
    program = (
        "import sys; from churnlib.data.tables import table_from; table_from([{'a': 1}]); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
