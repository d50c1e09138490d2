"""Columns of lists on the whole way: inferred, read from every source, prepared, packed, scored and served."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from made import TINY_MLP, made_bundle

import churnlib
from churnlib.bundle import write_bundle
from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.data.coercion import coerce
from churnlib.data.customers import prepare_customers
from churnlib.data.duplicates import deduplicate
from churnlib.data.fitting import fit_preparation
from churnlib.data.inputs import History
from churnlib.data.preparation import Preparation
from churnlib.data.profile import build_profile, draw_rows
from churnlib.data.sources import read_table, table_from
from churnlib.errors import ConfigError, DataError, RowErrors
from churnlib.predictor import Predictor
from churnlib.schema import Column, Kind, Role, Schema, infer_schema
from churnlib.scoring import score_file
from churnlib.serving.api import ChurnLitAPI
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

SCHEMA = Schema((Column("usage", Kind.sequence, nullable=True),))
N = 150


def customers_table(n: int = N, *, seed: int = 0) -> pl.DataFrame:
    """Customers with a history of up to six months: some short, one empty, one missing, with gaps."""
    rng = np.random.default_rng(seed)
    usage: list[list[float | None] | None] = [
        [
            None if rng.random() < 0.1 else round(float(v), 2)
            for v in rng.gamma(2, 20, 6 if i == 2 else rng.integers(1, 7))
        ]
        for i in range(n)
    ]
    usage[3], usage[4] = [], None
    return pl.DataFrame(
        {
            "customer": [f"C{i:04d}" for i in range(n)],
            "tenure": rng.integers(0, 72, n),
            "plan": rng.choice(["monthly", "yearly"], n),
            "usage": usage,
            "churn": rng.choice(["no", "yes"], n),
        }
    )


TABLE = customers_table()


def as_json(table: pl.DataFrame) -> pl.DataFrame:
    """The same with lists as text, as a CSV file holds them."""
    texts = [None if cell is None else json.dumps(cell) for cell in table["usage"].to_list()]
    return table.with_columns(pl.Series("usage", texts, dtype=pl.String))


def prepared(**options):
    return prepare_customers(TABLE, target="churn", id="customer", **options)


# --- reading --------------------------------------------------------------------------------------------------------

CELLS = {
    "[1.5, null, 2]": [1.5, None, 2.0],
    " [ 1e3 ,-2 ] ": [1000.0, -2.0],
    "[\n1,\n2\n]": [1.0, 2.0],
    "[]": [],
    "[null]": [None],
    "[nan, None, NaN]": [None, None, None],
    "": None,
    "NA": None,
}
NO_LISTS = [
    "5", "abc", "[1,]", "[1 2]", '["1"]', "[true]", "[[1]]", "[1], [2]", "[1e999]", "[Infinity]", "{}", "[1", "[+1]",
    "[.5]",
]  # fmt: skip


def test_text_is_read_as_a_json_array_and_empty_words_are_missing():
    coerced = coerce(pl.DataFrame({"usage": list(CELLS)}), SCHEMA)
    assert coerced.typed["usage"].to_list() == list(CELLS.values())
    assert coerced.typed["usage"].dtype == pl.List(pl.Float64)
    assert not coerced.unreadable_counts()


@pytest.mark.parametrize("text", NO_LISTS)
def test_other_text_is_unreadable_in_its_own_row_alone(text):
    frame = pl.DataFrame({"usage": ["[1]", text, None]})
    coerced = coerce(frame, SCHEMA)
    assert coerced.typed["usage"].to_list() == [[1.0], None, None]
    [error] = coerced.unreadable_cells(frame, SCHEMA)
    assert (error.row, error.problem, error.value) == (1, "must be a list of finite numbers", text)


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pl.Series([[1, 2], None], dtype=pl.List(pl.Int32)), [[1.0, 2.0], None]),
        (pl.Series([[1.5, math.nan], []]), [[1.5, None], []]),
        (pl.Series(np.arange(4.0).reshape(2, 2)), [[0.0, 1.0], [2.0, 3.0]]),
        (pl.Series([[None], []], dtype=pl.List(pl.Null)), [[None], []]),
    ],
)
def test_typed_lists_of_numbers_are_read(column, wanted):
    assert coerce(pl.DataFrame({"usage": column}), SCHEMA).typed["usage"].to_list() == wanted


@pytest.mark.parametrize(
    "cells", [[[1.0, math.inf]], [["a"]], [[[1.0]]], [5], [True], [{"a": 1.0}], [[True]]], ids=repr
)
def test_typed_cells_that_are_no_lists_of_finite_numbers_are_unreadable(cells):
    coerced = coerce(pl.DataFrame({"usage": cells}), SCHEMA)
    assert coerced.typed["usage"].to_list() == [None]
    assert coerced.unreadable_counts() == {"usage": 1}


def test_a_list_in_an_error_is_one_line():
    frame = pl.DataFrame({"usage": [[1.0, math.inf]]})
    [error] = coerce(frame, SCHEMA).unreadable_cells(frame, SCHEMA)
    assert str(error) == "row 0: column 'usage' must be a list of finite numbers, got [1.0, inf]"


# --- the schema -----------------------------------------------------------------------------------------------------


def test_lists_are_sequences_from_every_source(tmp_path):
    as_json(TABLE).write_csv(tmp_path / "t.csv")
    TABLE.write_parquet(tmp_path / "t.parquet")
    tables = {
        "polars": TABLE,
        "csv": read_table(tmp_path / "t.csv"),
        "parquet": read_table(tmp_path / "t.parquet"),
        "dicts": table_from(TABLE.to_dicts()),
        "columns": table_from(TABLE.to_dict(as_series=False)),
    }
    for table in tables.values():
        schema = infer_schema(table, target="churn", id="customer")
        column = schema["usage"]
        assert (column.kind, column.role, column.nullable) == (Kind.sequence, Role.feature, True)
        assert column.note == "up to 6 steps"
        assert coerce(table, schema).typed["usage"].to_list() == TABLE["usage"].to_list()
        assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_a_pandas_frame_holds_lists_and_arrays_as_objects():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"usage": [[1, 2], np.array([3.0, np.nan]), None, (4,)]})
    assert table_from(frame)["usage"].to_list() == [[1.0, 2.0], [3.0, None], None, [4.0]]


@pytest.mark.parametrize(
    ("cells", "kind", "role"),
    [
        (["[1]", "[2]", "x"] * 9, Kind.categorical, Role.feature),  # every given cell must be a list
        (["[1]", "[2]", None] * 9, Kind.sequence, Role.feature),
        ([[], [None], None] * 9, Kind.sequence, Role.ignored),
        ([[1.0, 2.0]] * 27, Kind.sequence, Role.ignored),  # always the same
        ([["a"], ["b"]] * 9, Kind.text, Role.ignored),
    ],
)
def test_what_is_a_sequence_is_read_off_the_cells(cells, kind, role):
    other = pl.Series("other", np.arange(len(cells)) % 2)
    column = infer_schema(pl.DataFrame([pl.Series("x", cells, strict=False), other]))["x"]
    assert (column.kind, column.role) == (kind, role)


def test_a_column_is_declared_a_sequence_or_not_to_be_one():
    table = pl.DataFrame({"x": [*["[1]", "[2]"] * 9, "broken"], "y": [0, 1, 0] * 6 + [1]})
    declared = infer_schema(table, columns={"x": {"kind": "sequence"}})["x"]
    assert (declared.kind, declared.nullable, declared.note) == (Kind.sequence, True, "as declared")
    assert infer_schema(table[:18], columns={"x": {"kind": "categorical"}})["x"].kind is Kind.categorical
    with pytest.raises(ConfigError, match="no value can be read by it"):
        infer_schema(table, columns={"y": {"kind": "sequence"}})
    with pytest.raises(DataError, match="cannot be used as numeric"):
        infer_schema(TABLE, columns={"usage": {"kind": "numeric"}})


def test_equal_histories_are_equal_rows():
    twice = pl.DataFrame({"usage": [[1.0, None], [1.0, None], [1.0], [], []]})
    assert deduplicate(twice).kept.to_list() == [0, 2, 3]


# --- python values --------------------------------------------------------------------------------------------------


def test_lists_among_single_values_stay_refused_where_nothing_says_that_they_belong_there():
    with pytest.raises(RowErrors, match="row 1: column 'a' must be one value, not a list"):
        table_from({"a": [1, [1, 2]]})
    with pytest.raises(RowErrors, match="row 1: column 'a' must be a list of finite numbers"):
        table_from({"a": [[1.0], ["x"]]})
    with pytest.raises(RowErrors, match="must be one value, not a list"):
        table_from({"a": [[1.0]]}, sequences={"b"})


def test_a_declared_column_leaves_its_wrong_cells_to_the_schema():
    cells = [[1, 2.5, None], (3,), np.array([4.0]), None, "[5]", 6, ["x"], [True], {"k": 1}, [[1]], [2**2000]]
    frame = table_from({"usage": cells}, sequences={"usage"})
    coerced = coerce(frame, SCHEMA)
    assert coerced.typed["usage"].to_list() == [[1.0, 2.5, None], [3.0], [4.0], None, [5.0], *[None] * 6]
    assert coerced.unreadable["usage"].arg_true().to_list() == [5, 6, 7, 8, 9, 10]


# --- preparation ----------------------------------------------------------------------------------------------------


def test_a_history_becomes_its_last_steps_with_statistics_in_common():
    typed = pl.DataFrame({"usage": [[1.0, 2.0, 3.0, 4.0], [10.0, None], [5.0], [], None]})
    preparation = fit_preparation(typed, SCHEMA, scale="standard", max_steps=3)
    assert preparation.histories == (History("usage", 3),)
    assert preparation.feature_names == ("usage[-3]", "usage[-2]", "usage[-1]")
    gone = math.nan
    expected = [[2.0, 3.0, 4.0], [gone, 10.0, gone], [gone, gone, 5.0], [gone] * 3, [gone] * 3]
    np.testing.assert_array_equal(preparation.encode(typed).numeric, np.array(expected, dtype=np.float32))
    steps = np.array([2.0, 3.0, 4.0, 10.0, 5.0])
    for statistics in preparation.numeric:
        assert statistics.fill == np.median(steps)
        assert statistics.center == pytest.approx(steps.mean())
        assert 1 / statistics.factor == pytest.approx(steps.std())
    assert preparation.input_spec()["sequences"] == [[0, 1, 2]]


def test_only_steps_that_training_rows_lack_get_an_indicator():
    preparation = fit_preparation(pl.DataFrame({"usage": [[1.0, 2.0], [3.0], [4.0, 5.0]]}), SCHEMA)
    assert [s.indicator for s in preparation.numeric] == [True, False]


def test_steps_stand_behind_all_other_numbers_in_the_order_of_the_columns():
    customers = prepared()
    names = customers.preparation.feature_names
    assert names == ("tenure", *(f"usage[-{ago}]" for ago in range(6, 0, -1)), "plan")
    assert customers.preparation.input_spec()["sequences"] == [[1, 2, 3, 4, 5, 6]]
    assert Preparation.from_dict(json.loads(json.dumps(customers.preparation.to_dict()))) == customers.preparation


def test_a_preparation_of_an_older_release_has_no_histories():
    customers = prepare_customers(TABLE.drop("usage"), target="churn", id="customer")
    values = customers.preparation.to_dict()
    del values["histories"]
    assert Preparation.from_dict(values) == customers.preparation


def test_other_than_training_rows_change_no_statistic():
    customers = prepared()
    others = np.concatenate([customers.rows("test"), customers.rows("validation")])
    usage = TABLE["usage"].to_list()
    for row in others.tolist():
        usage[row] = [1e6] * 20
    again = prepare_customers(TABLE.with_columns(pl.Series("usage", usage)), target="churn", id="customer")
    np.testing.assert_array_equal(again.rows("train"), customers.rows("train"))
    assert again.preparation == customers.preparation


def test_a_step_beyond_float32_is_its_largest_number():
    customers = prepared()
    typed = coerce(TABLE.with_columns(pl.Series("usage", [[1e300, -1e300]] * N)), customers.schema).typed
    assert np.isfinite(customers.preparation.encode(typed).numeric[:, -2:]).all()


def test_max_steps_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"preprocess.max_steps must be 1 or above, got 0"):
        fit_preparation(pl.DataFrame({"usage": [[1.0]]}), SCHEMA, max_steps=0)


# --- the profile ----------------------------------------------------------------------------------------------------


def test_a_profile_counts_steps_and_draws_lists_that_the_schema_reads():
    typed = pl.DataFrame({"usage": [[1.0, None, 3.0], [], None, [5.0]]})
    column = build_profile(typed, SCHEMA)["columns"]["usage"]
    assert (column["missing"], column["steps"], column["missing_steps"]) == (1, 4, 1)
    assert (column["mean"], column["whole"], column["lengths"][0], column["lengths"][-1]) == (3.0, True, 0.0, 3.0)
    customers = prepared()
    profile = build_profile(customers.typed, customers.schema)
    rows = draw_rows(json.loads(json.dumps(profile, allow_nan=False)), customers.schema, 400)
    drawn = [row["usage"] for row in rows]
    assert 0 < sum(cell is None for cell in drawn) < 40
    lists = [cell for cell in drawn if cell is not None]
    assert {len(cell) for cell in lists} <= set(range(7)) and any(None in cell for cell in lists)
    known = TABLE["usage"].explode().drop_nulls()
    assert all(known.min() <= step <= known.max() for cell in lists for step in cell if step is not None)
    assert not coerce(table_from(rows), customers.schema).unreadable_counts()


# --- the predictor, the bundle, the server --------------------------------------------------------------------------

GRU = {"_target_": "churnlib.models.sequence.GRU", "hidden_size": 4, "hidden_sizes": [8]}


@pytest.fixture(scope="module", params=[TINY_MLP, GRU], ids=["mlp", "gru"])
def predictor(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    write_bundle(made_bundle(prepared(), network=request.param), path)
    return churnlib.load(path)


def test_a_customer_has_one_probability_however_he_comes(predictor: Predictor, tmp_path):
    table = TABLE.drop("churn")
    expected = predictor.probabilities(table)
    assert expected.std() > 1e-3 and not np.isnan(expected).any()
    for form in (as_json(table), table.to_dicts(), table.to_dict(as_series=False), table[:, ::-1]):
        np.testing.assert_array_equal(predictor.probabilities(form), expected)
    alone = [predictor.probabilities([row])[0] for row in table.head(20).to_dicts()]
    np.testing.assert_allclose(alone, expected[:20], atol=1e-6)
    as_json(table).write_csv(tmp_path / "t.csv")
    np.testing.assert_array_equal(predictor.probabilities(read_table(tmp_path / "t.csv")), expected)


def test_only_the_last_steps_are_read_and_missing_steps_before_the_first_are_none(predictor: Predictor):
    row = {"tenure": 3, "plan": "monthly"}
    histories = [[1.0, 2.0], [None, 1.0, 2.0], [None] * 4 + [1.0, 2.0], [99.0] * 3 + [1.0] * 6, [1.0] * 6]
    answers = predictor.probabilities([{**row, "usage": history} for history in histories])
    np.testing.assert_allclose(answers[1:3], answers[0], atol=1e-6)
    np.testing.assert_allclose(answers[3], answers[4], atol=1e-6)
    assert abs(answers[0] - answers[4]) > 1e-4


def test_golden_rows_are_replayed_and_the_input_schema_names_the_steps(predictor: Predictor):
    assert predictor.replay_golden() < 1e-6
    [field] = [field for field in predictor.input_schema() if field["name"] == "usage"]
    assert field == {"name": "usage", "kind": "sequence", "required": False, "max_steps": 6}


def test_a_wrong_history_is_an_error_of_its_row(predictor: Predictor):
    rows = [{"tenure": 3, "plan": "monthly", "usage": cell} for cell in ([1, 2], ["a"], 5, None, [], "[1")]
    with pytest.raises(
        RowErrors, match=r"3 rows cannot be scored.*'usage' must be a list of finite numbers"
    ) as refusal:
        predictor.predict(rows)
    assert [error.row for error in refusal.value.errors] == [1, 2, 5]
    answers = predictor.predict(rows, on_error="null")
    assert answers["churn_probability"].is_null().to_list() == [False, True, True, False, False, True]


def served(predictor: Predictor, tmp_path):
    write_bundle(predictor.bundle, tmp_path / "bundle")
    api = ChurnLitAPI(str(tmp_path / "bundle"))
    api.setup("cpu")

    def answer(*requests):
        outputs = api.predict([api.decode_request(request) for request in requests])
        responses = [api.encode_response(output) for output in outputs]
        return [(response.status_code, json.loads(bytes(response.body))) for response in responses]

    return answer


def test_the_server_takes_lists_and_refuses_others_without_their_values(predictor: Predictor, tmp_path):
    answer = served(predictor, tmp_path)
    row = {"tenure": 3, "plan": "monthly"}
    good = [[1.5, None, 2], [], None, "[1.5, null, 2]", [7] * 50]
    bad = [["secret"], [1, True], [[1]], 5, "secret", {"a": 1}, [{"a": 1}]]
    together = answer(*({**row, "usage": cell} for cell in [*good, *bad]))
    assert [status for status, _ in together] == [200] * len(good) + [422] * len(bad)
    assert together[0][1]["churn_probability"] == together[3][1]["churn_probability"]
    for cell, (status, body) in zip([*good, *bad], together, strict=True):
        [(alone, same)] = answer({**row, "usage": cell})
        assert alone == status
        if status == 200:
            assert same["churn_probability"] == pytest.approx(body["churn_probability"], abs=1e-6)
        else:
            assert same["error"]["field"] == body["error"]["field"] == "usage"
            assert "secret" not in json.dumps(body)
    [(status, body)] = answer({**row, "usage": [1], "tenure": [3]})
    assert (status, body["error"]["field"]) == (422, "tenure")


# --- a run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True], ids=["by itself", "with members"])
def test_a_network_that_reads_histories_needs_one(tmp_path, inside):
    TABLE.drop("usage").write_csv(tmp_path / "t.csv")
    config = compose(["data=table", f"data.path='{tmp_path}/t.csv'", "data.target=churn", "model=gru"])
    if inside:
        members = {"_target_": "churnlib.models.members.Members", "trunk": config.model, "n_members": 2}
        config = replace(config, model=members)
    with pytest.raises(ConfigError, match=r"model=gru, lstm and cnn read histories.*data\.history\.path=FILE"):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["gru", "lstm", "cnn", "mlp", "tabnet"])
def test_a_run_trains_on_text_lists_and_scores_the_same_file(tmp_path, model):
    as_json(TABLE).write_csv(tmp_path / "t.csv")
    words = ["trainer.max_epochs=1", "trainer.progress=false", "logger=none", "trainer.accelerator=cpu"]
    config = compose(
        [
            "data=table",
            f"data.path='{tmp_path}/t.csv'",
            "data.target=churn",
            "data.id=customer",
            f"model={model}",
            *words,
        ]
    )
    metrics = train(config, folder=RunFolder(tmp_path / "run", latest=None)).metrics
    assert metrics["model"] == model and math.isfinite(metrics["test"]["log_loss"])
    out = tmp_path / "out.parquet"
    scored = score_file(
        ScoreConfig(bundle=f"{tmp_path}/run/bundle", input=f"{tmp_path}/t.csv", output=str(out), batch_rows=40)
    )
    assert (scored.rows, scored.bad) == (N, 0)
    saved = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    both = saved.join(pl.read_parquet(out), on="customer_id", how="left", suffix="_again", maintain_order="left")
    np.testing.assert_allclose(both["churn_probability"], both["churn_probability_again"], atol=1e-6)
