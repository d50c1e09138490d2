from __future__ import annotations

import datetime as dt
import io
import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.schema import Column, Kind, Role, Schema, infer_schema, near_misses, unknown_column

N = 60
RNG = np.random.default_rng(0)
SPEND = np.round(RNG.gamma(3, 20, N), 2).tolist()  # a measurement that no rule takes for anything else


def column_of(values, dtype=None, **options) -> Column:
    """The entry of a column beside a sound feature."""
    values = pl.Series("x", values, dtype=dtype)
    spend = pl.Series("spend", (SPEND * (len(values) // N + 1))[: len(values)])
    return infer_schema(pl.DataFrame([values, spend]), **options)["x"]


def seen(column: Column) -> tuple[str, str, bool]:
    return column.kind.value, column.role.value, column.nullable


def cycle(*values, n: int = N) -> list:
    return [values[i % len(values)] for i in range(n)]


def a_table() -> pl.DataFrame:
    """Every kind of column, typed as a Parquet file is."""
    rng = np.random.default_rng(1)
    n = 200
    start = dt.date(2023, 1, 1)
    return pl.DataFrame(
        {
            "account": [f"{i * 7919 % 10007:05d}-{'XYZ'[i % 3]}" for i in range(n)],
            "months": rng.integers(0, 72, n),
            "spend": np.round(rng.gamma(3, 20, n), 2),
            "usage": [None if i % 11 == 0 else float(x) for i, x in enumerate(rng.lognormal(3, 1, n))],
            "flag": rng.integers(0, 2, n),
            "active": rng.random(n) < 0.5,
            "plan": rng.choice(["basic", "plus", "pro"], n),
            "size": rng.choice(["S", "M", "L"], n),
            "joined": [start + dt.timedelta(days=int(d)) for d in rng.integers(0, 700, n)],
            "called": [dt.datetime(2024, 1, 1) + dt.timedelta(seconds=int(s)) for s in rng.integers(0, 10**7, n)],
            "same": ["x"] * n,
            "empty": pl.Series([None] * n, dtype=pl.Float64),
            "churn": rng.choice(["yes", "no"], n),
        }
    )


# --- the whole table ----------------------------------------------------------------------------------------------


def test_a_table_is_described_by_its_values():
    schema = infer_schema(
        a_table(), target="churn", columns={"size": {"order": ["S", "M", "L"]}}, classes=("no", "yes")
    )
    assert {c.name: (c.kind.value, c.role.value) for c in schema.columns} == {
        "account": ("identifier", "id"),
        "months": ("numeric", "feature"),
        "spend": ("numeric", "feature"),
        "usage": ("numeric", "feature"),
        "flag": ("boolean", "feature"),
        "active": ("boolean", "feature"),
        "plan": ("categorical", "feature"),
        "size": ("ordinal", "feature"),
        "joined": ("datetime", "feature"),
        "called": ("datetime", "feature"),
        "same": ("categorical", "ignored"),
        "empty": ("categorical", "ignored"),
        "churn": ("categorical", "target"),
    }
    assert (schema.target, schema.id, schema.time, schema.classes) == ("churn", "account", None, ("no", "yes"))
    assert schema.required() == ("months", "spend", "flag", "active", "plan", "size", "joined", "called")
    assert "plan" in schema and "Plan" not in schema


def test_typed_and_all_text_tables_have_the_same_schema():
    typed = a_table()
    text = typed.with_columns(pl.all().cast(pl.String))
    assert infer_schema(text, target="churn") == infer_schema(typed, target="churn")
    csv = pl.read_csv(io.BytesIO(typed.write_csv().encode()), infer_schema=False)
    assert infer_schema(csv, target="churn") == infer_schema(typed, target="churn")


def test_the_target_is_never_looked_at():
    table = a_table()
    expected = infer_schema(table, target="churn")
    assert infer_schema(table.with_columns(pl.col("churn").shuffle(seed=1)), target="churn") == expected
    assert infer_schema(table.with_columns(churn=pl.lit(None)), target="churn") == expected


def test_names_say_nothing():
    table = a_table().drop("churn")
    names = ["customer_id", "date", "churned", "is_active", "zip", "price", "id", "name", "*", "^x$", "n", "cell"]
    renamed = table.rename(dict(zip(table.columns, names, strict=True)))
    kinds = [(c.kind, c.role, c.nullable, c.note) for c in infer_schema(table).columns]
    assert [(c.kind, c.role, c.nullable, c.note) for c in infer_schema(renamed).columns] == kinds


def test_the_order_of_rows_and_columns_changes_no_kind():
    table = a_table()
    expected = {c.name: c for c in infer_schema(table, target="churn").columns}
    shuffled = table.sample(fraction=1, shuffle=True, seed=2).select(sorted(table.columns))
    assert {c.name: c for c in infer_schema(shuffled, target="churn").columns} == expected


@pytest.mark.parametrize(
    ("name", "target", "kinds", "nullable"),
    [
        ("telco_customer_churn", "Churn",
         {"customerID": "identifier", "SeniorCitizen": "boolean", "TotalCharges": "numeric", "Partner": "boolean",
          "OnlineBackup": "categorical"}, {"TotalCharges"}),
        ("mlc_churn", "churn",
         {"state": "categorical", "account_length": "numeric", "international_plan": "boolean"}, set()),
        ("isp_churn", "churn", {"id": "identifier", "is_tv_subscriber": "boolean", "bill_avg": "numeric"},
         {"reamining_contract", "download_avg", "upload_avg"}),
    ],
)  # fmt: skip
def test_public_tables_are_read_as_their_authors_meant(name, target, kinds, nullable):
    folder = os.environ.get("CHURNLIB_DATA_DIR")
    if not folder:
        pytest.skip("CHURNLIB_DATA_DIR is not set: the public tables are not at hand")
    schema = infer_schema(pl.read_csv(Path(folder) / f"{name}.csv", infer_schema=False), target=target)
    assert {column: schema[column].kind.value for column in kinds} == kinds
    assert {c.name for c in schema.features if c.nullable} == nullable


# --- the traps ----------------------------------------------------------------------------------------------------


def test_numbers_stored_as_text_with_blanks_are_numbers_and_nullable():
    assert seen(column_of([" ", "", *map(str, SPEND)])) == ("numeric", "feature", True)


def test_a_few_unreadable_cells_do_not_make_numbers_text_and_are_counted():
    column = column_of([*map(str, SPEND), "many", "1,5"])
    assert seen(column) == ("numeric", "feature", True)
    assert column.note == "cells without a finite number: 2"


def test_many_unreadable_cells_do():
    assert column_of([*map(str, SPEND[:50]), *cycle("low", "high", n=10)]).kind is not Kind.numeric


def test_numbers_with_words_that_come_again_are_categories():
    # "3+" is a value of its own; read as a number it would be an error of each row that has it.
    assert seen(column_of(cycle("0", "1", "2", "0", "1", "2", "0", "1", "2", "0", "1", "3+", n=240))) == (
        "categorical",
        "feature",
        False,
    )
    assert column_of([*cycle(*map(str, range(20)), n=239), "lots"]).kind is Kind.numeric


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (cycle(0, 1, 1), "0/1"),
        (cycle(0.0, 1.0, None), "0/1"),
        (cycle("0", "1"), "0/1"),
        (cycle("Yes", "no", "TRUE", "f", " y ", "N"), "yes/no"),
        (cycle("true", "1", "No", "NA", ""), "0/1"),
        (cycle(True, False), "yes/no"),
        (cycle("Yes", None), "yes/no"),
    ],
)
def test_flags_are_boolean_in_any_spelling(values, note):
    column = column_of(values)
    assert (column.kind, column.role, column.note) == (Kind.boolean, Role.feature, note)


def test_more_than_two_values_are_no_flag():
    assert column_of(cycle(0, 1, 2)).kind is Kind.numeric
    assert column_of(cycle("Yes", "No", "No internet service")).kind is Kind.categorical


@pytest.mark.parametrize(
    "values",
    [[5] * N, ["x"] * N, [True] * N, [dt.date(2024, 1, 1)] * N, ["Yes", "yes", "TRUE"] * 20, ["5", "5.0", " 5"] * 20],
)
def test_constant_columns_are_ignored(values):
    column = column_of(values)
    assert (column.role, column.note) == (Role.ignored, "always the same value")


def test_a_constant_with_gaps_is_kept_for_its_gaps():
    assert seen(column_of(cycle(5, None))) == ("numeric", "feature", True)
    assert seen(column_of(cycle("x", ""))) == ("categorical", "feature", True)
    assert seen(column_of(cycle("Yes", "NA"))) == ("boolean", "feature", True)


@pytest.mark.parametrize("values", [[None] * N, [""] * N, ["NaN", "null"] * 30, [float("nan")] * N])
def test_columns_without_a_value_are_ignored(values):
    column = column_of(values, pl.String if values[0] is None else None)
    assert (column.role, column.nullable, column.note) == (Role.ignored, True, "all values are missing")


def test_a_column_of_nulls_without_a_type_is_ignored():
    assert column_of([None] * N, pl.Null).role is Role.ignored


IDENTIFIERS = {
    "text": [f"{i * 7919 % 10007}-{'XYZ'[i % 3]}" for i in range(N)],
    "numbers in file order": [1000 + 3 * i + i % 2 for i in range(N)],
    "numbers in reverse order": list(range(900, 900 - N, -1)),
    "numbers that fill their range": RNG.permutation(N).tolist(),
    "account numbers of equal length": RNG.choice(np.arange(10_000_000, 99_999_999, 7), N, replace=False).tolist(),
    "the same as text": [str(x) for x in RNG.choice(np.arange(10_000_000, 99_999_999, 7), N, replace=False)],
    "the same as floats": RNG.choice(np.arange(10_000_000, 99_999_999, 7), N, replace=False).astype(float).tolist(),
    "five digits, too many to be chance": RNG.choice(np.arange(10_000, 99_999), 2000, replace=False).tolist(),
    "twenty digits": [str(10**19 + int(x)) for x in RNG.choice(10**9, N, replace=False)],
    "leading zeros": [f"{x:09d}" for x in RNG.choice(10**8, N, replace=False)],
    "e-mail addresses": [f"customer.{i * 37 % 101}@example.org" for i in range(N)],
}


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_identifiers_are_known_by_their_values_and_become_the_id(name):
    assert seen(column_of(IDENTIFIERS[name])) == ("identifier", "id", False)


MEASUREMENTS = {
    "floats": RNG.normal(size=500).tolist(),
    "bytes": np.unique(RNG.lognormal(18, 2, 500).astype(np.int64))[::-1][RNG.permutation(490)].tolist(),
    "incomes": RNG.choice(np.arange(21_000, 95_000), 100, replace=False).tolist(),
    "negative balances": (-RNG.choice(np.arange(200_000, 900_000), 100, replace=False)).tolist(),
    "ages, each once": RNG.permutation(np.arange(20, 80))[:19].tolist(),
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_unique_measurements_are_no_identifiers(name):
    values = MEASUREMENTS[name]
    assert len(set(values)) == len(values)
    assert seen(column_of(values)) == ("numeric", "feature", False)


def test_numbers_that_come_twice_in_two_spellings_name_nobody():
    assert seen(column_of([*map(str, range(30)), "7.0"])) == ("numeric", "feature", False)


def test_nearly_unique_text_is_ignored_but_is_not_the_id():
    column = column_of([*(f"name {i}" for i in range(98)), "name 0", "name 1"])
    assert seen(column) == ("identifier", "ignored", False)
    assert "98.0%" in column.note


def test_of_two_identifiers_none_becomes_the_id():
    schema = infer_schema(pl.DataFrame({"a": IDENTIFIERS["text"], "b": IDENTIFIERS["e-mail addresses"], "x": SPEND}))
    assert schema.id is None
    assert [c.role for c in schema.columns] == [Role.ignored, Role.ignored, Role.feature]


def test_free_text_is_no_identifier():
    words = ["the", "bill", "was", "wrong", "again", "and", "nobody", "called", "me", "back"]
    comments = [" ".join(RNG.choice(words, 12)) + f" ({i})" for i in range(N)]
    assert seen(column_of(comments)) == ("text", "ignored", False)
    assert column_of([f"{i:064x}" for i in range(N)]).kind is Kind.identifier


DAYS = [dt.date(2023, 1, 1) + dt.timedelta(days=i * 13 % 700) for i in range(N)]


@pytest.mark.parametrize(
    ("written", "formats"),
    [
        ("%Y-%m-%d", ()),
        ("%Y-%m-%dT%H:%M:%SZ", ()),
        ("%m/%d/%Y", ("%m/%d/%Y",)),
        ("%d/%m/%Y", ("%d/%m/%Y",)),
        ("%d.%m.%Y", ("%d.%m.%Y",)),
        ("%d %b %Y", ("%d %b %Y",)),
        ("%B %d, %Y", ("%B %d, %Y",)),
        ("%d.%m.%Y %H:%M", ("%d.%m.%Y %H:%M",)),
    ],
)
def test_dates_are_found_in_many_formats(written, formats):
    column = column_of([day.strftime(written) for day in DAYS])
    assert (column.kind, column.role, column.formats) == (Kind.datetime, Role.feature, formats)


def test_dates_in_four_formats_in_one_column_are_all_read():
    formats = ("%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%d %b %Y")
    column = column_of([day.strftime(formats[i % 4]) for i, day in enumerate(DAYS)])
    assert seen(column) == ("datetime", "feature", False)
    assert set(column.formats) == set(formats[1:])


def test_dates_below_many_missing_cells_are_found():
    assert column_of([*["NA"] * 300, *map(str, DAYS)]).kind is Kind.datetime


def test_a_few_cells_that_are_no_dates_are_missing():
    assert seen(column_of([*map(str, DAYS), "2023-02-30", "soon"])) == ("datetime", "feature", True)


@pytest.mark.parametrize(
    "values", [cycle("1.2.3", "1.10.0", "2.0.1"), cycle("10.0.0.1", "10.0.0.2"), cycle("555-123-4567", "555-123-9999")]
)
def test_versions_addresses_and_phone_numbers_are_no_dates(values):
    assert seen(column_of(values)) == ("categorical", "feature", False)


def test_zip_codes_keep_their_zeros():
    assert column_of(cycle("01067", "80331", "20095", "01069")).kind is Kind.categorical
    # One cell is a slip, not a code.
    assert column_of([*map(str, SPEND * 3), "007"]).kind is Kind.numeric


@pytest.mark.parametrize(
    "values", [[*SPEND, 1e308, -1e308], [*SPEND, 1e-308, 5e-324], [*SPEND, 1e39], [*map(str, SPEND), "1e39", "1e-400"]]
)
def test_huge_and_tiny_numbers_are_numbers(values):
    assert seen(column_of(values)) == ("numeric", "feature", False)


def test_infinity_is_a_number_that_cannot_be_used():
    for values in ([*SPEND, float("inf")], [*map(str, SPEND), "-inf"]):
        column = column_of(values)
        assert seen(column) == ("numeric", "feature", True)
        assert column.note == "cells without a finite number: 1"


def test_emoji_none_and_na_are_categories():
    assert seen(column_of(cycle("🏔️", "🌊"))) == ("categorical", "feature", False)
    assert seen(column_of(cycle("None", "Basic", "NA"))) == ("categorical", "feature", False)


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        (cycle(Decimal("1.50"), Decimal("2.25"), Decimal("9.00")), pl.Decimal(10, 2), Kind.numeric),
        (cycle("a", "b", "c"), pl.Categorical(), Kind.categorical),
        (cycle("a", "b", "c"), pl.Enum(["c", "b", "a"]), Kind.categorical),
        (cycle("Yes", "No"), pl.Enum(["No", "Yes"]), Kind.boolean),
        ([str(x) for x in range(3)] * 20, pl.Categorical(), Kind.numeric),
        ([day.strftime("%d.%m.%Y") for day in DAYS], pl.Categorical(), Kind.datetime),
        (cycle(1, 2, 3), pl.Int128, Kind.numeric),
        (cycle(2**64 - 1, 5, 9), pl.UInt64, Kind.numeric),
        (DAYS, pl.Datetime("ns"), Kind.datetime),
    ],
)
def test_every_plain_type_is_read(values, dtype, kind):
    column = column_of(values, dtype)
    assert (column.kind, column.role) == (kind, Role.feature)


def test_dates_in_a_time_zone_are_dates():
    assert column_of(pl.Series(DAYS, dtype=pl.Datetime("us")).dt.replace_time_zone("Asia/Tokyo")).kind is Kind.datetime


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([["a", "b"]] * N, None),
        ([{"a": 1}] * N, None),
        ([b"x"] * N, pl.Binary),
        ([dt.timedelta(days=1)] * N, None),
        ([object()] * N, pl.Object),
    ],
)
def test_columns_without_single_values_are_ignored(values, dtype):
    column = column_of(values, dtype)
    assert seen(column) == ("text", "ignored", True)
    assert "not single values" in column.note


# --- the user's word ----------------------------------------------------------------------------------------------


def test_the_user_corrects_kinds_and_roles():
    schema = infer_schema(
        a_table(),
        target="churn",
        id="account",
        time="called",
        drop=["plan"],
        columns={
            "months": {"kind": "categorical"},
            "flag": {"kind": "numeric", "sensitive": True},
            "same": {"role": "feature"},
            "size": {"order": ["S", "M", "L"], "kind": None},
            "joined": {"role": "ignored"},
        },
    )
    said = {c.name: (c.kind.value, c.role.value, c.note) for c in schema.columns}
    assert said["months"] == ("categorical", "feature", "as declared")
    assert said["flag"] == ("numeric", "sensitive", "as declared")
    assert said["same"] == ("categorical", "feature", "as declared")
    assert said["size"] == ("ordinal", "feature", "as declared")
    assert said["joined"][1:] == said["plan"][1:] == ("ignored", "as declared")
    assert said["called"][:2] == ("datetime", "time")
    assert [c.name for c in schema.columns if c.sensitive] == ["flag"]
    assert schema["size"].order == ("S", "M", "L")


def test_an_identifier_is_never_promoted_against_the_users_word():
    table = pl.DataFrame({"a": IDENTIFIERS["text"], "x": SPEND})
    assert infer_schema(table, drop=["a"]).id is None
    assert infer_schema(table, columns={"a": {"role": "ignored"}}).id is None
    assert infer_schema(table.with_columns(b=pl.col("x")), id="b")["a"].role is Role.ignored


def test_a_declared_order_is_read_as_cells_are():
    column = column_of(cycle(1.0, 2.0, 3.0), columns={"x": {"order": ["1.0", " 2", "3"]}})
    assert (column.kind, column.order) == (Kind.ordinal, ("1", "2", "3"))


def test_values_outside_a_declared_order_are_counted():
    column = column_of(cycle("S", "M", "XL"), columns={"x": {"order": ["S", "M"]}})
    assert column.note == "as declared; cells outside the order: 20"


def test_a_declared_format_reads_text_and_whole_numbers():
    for values in (cycle("20240131", "20231130"), cycle(20240131, 20231130)):
        column = column_of(values, columns={"x": {"format": "%Y%m%d"}})
        assert (column.kind, column.role, column.formats, column.nullable) == (
            Kind.datetime,
            Role.feature,
            ("%Y%m%d",),
            False,
        )


def test_declared_dates_keep_the_formats_that_were_found():
    column = column_of([day.strftime("%d.%m.%Y") for day in DAYS], columns={"x": {"kind": "datetime"}})
    assert column.formats == ("%d.%m.%Y",)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target": "Spend"}, ConfigError, "did you mean 'spend'"),
        ({"id": "nothing like it"}, ConfigError, "it has 'account'"),
        ({"drop": ["spendd"]}, ConfigError, "data.drop names the column 'spendd'"),
        ({"columns": {"spendd": {"kind": "numeric"}}}, ConfigError, "data.columns.spendd"),
        ({"columns": {"spend": {"kind": "number"}}}, ConfigError, "must be one of numeric"),
        ({"columns": {"spend": {"role": "label"}}}, ConfigError, "must be one of feature"),
        ({"columns": {"spend": {"knd": "numeric"}}}, ConfigError, "unknown option data.columns.spend.knd"),
        ({"columns": {"plan": {"kind": "ordinal"}}}, ConfigError, "needs data.columns.plan.order"),
        ({"columns": {"plan": {"order": ["pro"]}}}, ConfigError, "two or more different values"),
        ({"columns": {"plan": {"order": ["pro", "pro "]}}}, ConfigError, "two or more different values"),
        ({"columns": {"plan": {"order": "pro"}}}, ConfigError, "must be a list"),
        ({"columns": {"plan": {"order": ["a", "b"]}}}, ConfigError, "data.columns.plan.order does not fit"),
        ({"columns": {"plan": {"order": ["a", "b"], "format": "%Y"}}}, ConfigError, "two kinds"),
        ({"columns": {"plan": {"kind": "numeric", "order": ["a", "b"]}}}, ConfigError, "two kinds"),
        ({"columns": {"plan": {"kind": "numeric"}}}, ConfigError, "data.columns.plan.kind does not fit"),
        ({"columns": {"plan": {"format": "%d.%m.%Y"}}}, ConfigError, "data.columns.plan.format does not fit"),
        ({"columns": {"spend": {"kind": "text"}}}, ConfigError, "which no model reads"),
        ({"columns": {"account": {"role": "feature"}}}, ConfigError, "which no model reads"),
        ({"id": "account", "drop": ["account"]}, ConfigError, "give it one role"),
        ({"columns": {"spend": {"role": "id"}, "plan": {"role": "id"}}}, ConfigError, "2 columns have the role id"),
        ({"time": "plan"}, DataError, "holds no dates"),
        ({"time": "flag"}, DataError, "holds no dates"),
        ({"time": "empty"}, DataError, "all are missing"),
    ],
)
def test_a_wrong_word_is_refused_in_one_sentence(options, error, says):
    with pytest.raises(error, match=says) as refusal:
        infer_schema(a_table(), **{"target": "churn", **options})
    assert "\n" not in str(refusal.value)


def test_a_column_of_lists_cannot_be_the_id():
    with pytest.raises(DataError, match="holds List"):
        column_of([[1]] * N, id="x")


def test_a_table_without_a_feature_is_refused_with_the_reasons():
    with pytest.raises(
        DataError, match=r"no column is left to learn from \(a: always the same value; b: all values are missing\)"
    ):
        infer_schema(pl.DataFrame({"a": [1] * N, "b": [None] * N}))


def test_near_misses_ignore_case_blanks_and_underscores():
    assert near_misses("monthly charges", ["MonthlyCharges", "total", "monthly_charges"]) == ["MonthlyCharges"]
    assert near_misses("xyz", ["tenure"]) == []
    assert "it has 'a', 'b'" in unknown_column("q", ["a", "b"], option="data.id")


# --- written down and printed -------------------------------------------------------------------------------------


def full_schema() -> Schema:
    columns = {"size": {"order": ["S", "M", "L"], "sensitive": True, "use": True, "purpose": "the offer"}}
    return infer_schema(a_table(), target="churn", time="called", columns=columns, classes=("no", "yes"))


def test_a_schema_survives_json(tmp_path):
    schema = full_schema()
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    schema.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == schema


def test_a_schema_with_odd_names_survives_json(tmp_path):
    schema = Schema((Column("plan 📱", Kind.categorical), Column('a "b"\n\\c', Kind.numeric)))
    schema.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == schema
    assert "📱" in (tmp_path / "schema.json").read_text(encoding="utf-8")


def test_entries_that_an_older_release_lacked_take_their_default():
    schema = Schema.from_dict({"columns": [{"name": "x", "kind": "numeric", "role": "feature"}], "classes": []})
    assert schema["x"] == Column("x", Kind.numeric)


@pytest.mark.parametrize(
    "values",
    [{}, [], {"columns": [{}], "classes": []}, {"columns": 3, "classes": []}, {"columns": ["x"], "classes": []},
     {"columns": [{"name": "x", "kind": "numbers", "role": "feature"}], "classes": []},
     {"columns": [{"name": "x", "kind": "numeric", "role": "feature", "colour": 1}], "classes": []}],
)  # fmt: skip
def test_what_is_no_schema_is_refused(values):
    with pytest.raises(BundleError, match="cannot be read"):
        Schema.from_dict(values)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "schema.json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        Schema.load(tmp_path / "schema.json")


def printed(schema: Schema, **options) -> str:
    file = io.StringIO()
    Console(file=file, width=120, force_terminal=False).print(schema.render(**options))
    return file.getvalue()


def test_a_schema_prints_as_a_table_with_a_line_per_column():
    text = printed(full_schema())
    assert "8 of 13 columns are features" in text
    line = next(line for line in text.splitlines() if "size" in line)
    assert all(word in line for word in ("ordinal", "feature (sensitive)", "as declared"))
    assert "more columns" not in text


def test_a_wide_schema_prints_its_first_columns_only():
    schema = Schema(tuple(Column(f"c{i}", Kind.numeric) for i in range(10_000)))
    text = printed(schema, most=3)
    assert "c2" in text and "c3 " not in text
    assert "9,997 more columns" in text


def test_markup_in_a_name_is_printed_as_it_is():
    assert "[bold]x[/bold]" in printed(Schema((Column("[bold]x[/bold]", Kind.numeric),)))


# --- sensitive columns, purposes and owners -----------------------------------------------------------------------


def test_a_sensitive_column_is_no_feature_unless_its_use_is_declared():
    def size(**said):
        return infer_schema(a_table(), target="churn", columns={"size": said})["size"]

    assert size(sensitive=True).role == size(role="sensitive").role == Role.sensitive
    assert size(role="sensitive").sensitive
    assert (size(sensitive=True, use=True).role, size(sensitive=True, use=True).sensitive) == (Role.feature, True)
    assert size(sensitive=True, role="ignored").role is Role.ignored
    schema = infer_schema(a_table(), target="churn", columns={"size": {"sensitive": True}})
    assert "size" not in [*(column.name for column in schema.features), *schema.required()]
    assert [column.name for column in schema.sensitive] == ["size"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"use": True}, "use belongs to sensitive columns"),
        ({"role": "sensitive", "use": True}, "leave the role out"),
        ({"role": "feature", "sensitive": True}, r"no model reads it unless you set data\.columns\.size\.use=true"),
    ],
)
def test_contradictory_words_on_a_sensitive_column_are_refused(said, sentence):
    with pytest.raises(ConfigError, match=sentence):
        infer_schema(a_table(), target="churn", columns={"size": said})


def test_purposes_and_owners_are_kept_and_older_schemas_still_read():
    columns = {"size": {"purpose": "choosing the offer", "owner": "billing"}}
    schema = replace(infer_schema(a_table(), columns=columns), about={"owner": "Ms Doe", "retention_days": 365})
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    assert (again["size"].purpose, again["size"].owner) == ("choosing the offer", "billing")
    older = infer_schema(a_table()).to_dict()
    assert "about" not in older and not any("owner" in column for column in older["columns"])
    assert Schema.from_dict(older).about == {}
