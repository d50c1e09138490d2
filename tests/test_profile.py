from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churnlib.data.coercion import coerce
from churnlib.data.profile import FEWEST, N_QUANTILES, build_profile, draw_rows
from churnlib.data.tables import table_from
from churnlib.schema import Column, Kind, Role, Schema, infer_schema


def made_table(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    plans = ["basic"] * (n - 14) + ["gold"] * 10 + ["of Mr Rare"] * 4
    return pl.DataFrame(
        {
            "customer": [f"C{i * 7919 % 10007}" for i in range(n)],
            "spend": np.round(rng.gamma(3, 20, n), 2),
            "months": rng.integers(0, 72, n),
            "count": [None if x < 0 else float(x) for x in rng.normal(1, 1, n)],
            "the plan": plans,
            "active": rng.choice(["Yes", "no"], n),
            "size": rng.choice(["S", "M", "L"], n),
            "joined": [
                (dt.date(2023, 1, 1) + dt.timedelta(days=int(d))).strftime("%d.%m.%Y") for d in rng.integers(0, 300, n)
            ],
            "seen": [dt.datetime(2024, 1, 31, 12) + dt.timedelta(days=int(d)) for d in rng.integers(0, 60, n)],
            "churn": rng.choice(["yes", "no"], n),
        }
    )


def made_profile() -> tuple[dict, Schema, pl.DataFrame]:
    frame = made_table()
    columns = {"size": {"order": ["S", "M", "L"]}}
    schema = infer_schema(frame, target="churn", time="seen", columns=columns, classes=("no", "yes"))
    typed = coerce(frame, schema).typed
    return build_profile(typed, schema), schema, typed


def test_a_profile_holds_counts_and_quantiles():
    profile, _, typed = made_profile()
    assert profile["n"] == 400
    spend = typed["spend"].to_numpy()
    column = profile["columns"]["spend"]
    assert column["quantiles"] == np.quantile(spend, np.linspace(0, 1, N_QUANTILES)).tolist()
    assert (column["mean"], column["std"], column["whole"]) == (spend.mean(), spend.std(), False)
    assert profile["columns"]["months"]["whole"]
    assert profile["columns"]["count"]["missing"] == typed["count"].null_count() > 0
    assert profile["columns"]["the plan"] == {"missing": 0, "counts": {"basic": 386, "gold": 10}, "other": 4}
    joined = profile["columns"]["joined"]["quantiles"]
    assert (joined[0], joined[-1]) == (typed["joined"].min().isoformat(), typed["joined"].max().isoformat())  # type: ignore[union-attr]


def test_a_profile_and_drawn_rows_are_json_and_hold_no_id_and_no_rare_value():
    profile, schema, _ = made_profile()
    text = json.dumps({"profile": profile, "rows": draw_rows(profile, schema, 200)}, allow_nan=False)
    assert "Rare" not in text
    assert "customer" not in text and "churn" not in text
    assert json.loads(text)["profile"] == profile


def test_drawn_rows_are_read_without_an_error_and_resemble_the_training_rows():
    profile, schema, typed = made_profile()
    rows = json.loads(json.dumps(draw_rows(profile, schema, 2000, seed=3)))
    frame = table_from(rows)
    coerced = coerce(frame, schema)
    assert coerced.unreadable_counts() == {}
    assert coerced.absent == ()
    for name in schema.required():
        assert coerced.typed.get_column(name).null_count() == 0
    drawn = coerced.typed
    assert set(drawn["size"].unique()) == {"S", "M", "L"}
    assert set(drawn["active"].unique()) == {"true", "false"}
    assert drawn["months"].max() <= typed["months"].max()  # type: ignore[operator]
    np.testing.assert_allclose(drawn["spend"].to_numpy().mean(), typed["spend"].to_numpy().mean(), rtol=0.1)
    missing = typed["count"].null_count() / 400
    assert abs(drawn["count"].null_count() / 2000 - missing) < 5 * np.sqrt(missing * (1 - missing) / 2000)
    assert drawn["joined"].is_between(typed["joined"].min(), typed["joined"].max()).all()


def test_the_seed_fixes_the_rows():
    profile, schema, _ = made_profile()
    first, again, other = (draw_rows(profile, schema, 20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def one(column: Column, values, dtype) -> tuple[dict, Schema, list]:
    schema = Schema((column,))
    profile = build_profile(pl.DataFrame({column.name: pl.Series(values, dtype=dtype)}), schema)
    json.dumps(profile, allow_nan=False)
    rows = draw_rows(profile, schema, 50)
    assert coerce(table_from(rows), schema).unreadable_counts() == {}
    return profile["columns"][column.name], schema, [row[column.name] for row in rows]


def test_a_required_column_of_rare_values_is_still_filled():
    for kind in (Kind.categorical, Kind.boolean):
        profile, _, drawn = one(Column("x", kind), [f"v{i}" for i in range(30)], pl.String)
        assert (profile["counts"], profile["other"]) == ({}, 30)
        assert None not in drawn and not any("v1" in str(value) for value in drawn)
    _, _, drawn = one(Column("x", Kind.ordinal, order=("lo", "hi")), ["lo", "hi"], pl.String)
    assert set(drawn) == {"lo", "hi"}


@pytest.mark.parametrize("count", [FEWEST - 1, FEWEST])
def test_a_value_is_named_from_five_rows_on(count):
    profile, _, drawn = one(Column("x", Kind.categorical), ["a"] * 20 + ["b"] * count, pl.String)
    assert ("b" in profile["counts"]) == (count == FEWEST)
    assert "b" not in drawn if count < FEWEST else set(drawn) == {"a", "b"}


def test_a_column_without_a_value_is_drawn_missing():
    for column, dtype in (
        (Column("x", Kind.numeric, nullable=True), pl.Float64),
        (Column("x", Kind.datetime, nullable=True), pl.Datetime("us")),
        (Column("x", Kind.categorical, nullable=True), pl.String),
    ):
        profile, _, drawn = one(column, [None] * 5, dtype)
        assert profile["missing"] == 5
        assert drawn == [None] * 50


def test_whole_numbers_are_drawn_whole_and_truth_as_json_has_it():
    _, _, drawn = one(Column("x", Kind.numeric), [1.0, 5.0, 9.0], pl.Float64)
    assert all(type(value) is int and 1 <= value <= 9 for value in drawn)
    _, _, drawn = one(Column("x", Kind.boolean), ["true"] * 6 + ["false"] * 6, pl.String)
    assert {type(value) for value in drawn} == {bool}


def test_dates_at_the_ends_of_the_calendar_can_be_drawn():
    ends = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)]
    _, _, drawn = one(Column("x", Kind.datetime), ends, pl.Datetime("us"))
    assert all(dt.date.fromisoformat(day) for day in drawn)


def test_the_time_column_is_drawn_too():
    schema = Schema((Column("seen", Kind.datetime, Role.time), Column("x", Kind.numeric)))
    typed = pl.DataFrame({"seen": [dt.datetime(2024, 1, 31)] * 3, "x": [1.0, 2.5, 3.0]})
    assert {row["seen"] for row in draw_rows(build_profile(typed, schema), schema, 5)} == {"2024-01-31"}


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_whatever_numbers_are_profiled_the_profile_is_finite(values):
    profile, _, drawn = one(Column("x", Kind.numeric, nullable=True), values, pl.Float64)
    assert profile["missing"] == values.count(None)
    assert all(value is None or np.isfinite(value) for value in drawn)
