"""What every step of preparation holds to, whichever it is: each step has an example here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churnlib.data.coercion import coerce
from churnlib.data.customers import Customers, prepare_labelled
from churnlib.data.preparation import Preparation
from churnlib.data.splits import Split
from churnlib.data.steps import STEPS, Chain, FittedChain, Training, fit_chain, read_steps
from churnlib.data.steps.chain import Link
from churnlib.data.steps.cut import FittedCut
from churnlib.errors import BundleError, ConfigError
from churnlib.schema import Column, Kind, Role, infer_schema

EXAMPLES = {
    "drop_missing": {"above": 0.25, "confirm": True, "indicator": True},
    "impute": {"each": {"usage": "mean", "total": {"constant": -1}, "band": "mode"}},
    "impute2": {"numbers": "mode", "categories": "mode", "indicator": False},
    "impute_iterative": {"rounds": 3},
    "impute_knn": {"sample": 150},
    "impute_knn2": {"columns": ["usage", "charges", "total"], "weights": "distance", "k": 3},
    "map": {
        "values": {"plan": {"PLUS": "max", "basic": None}, "band": {"low": "middle"}},
        "ignore_case": True,
        "units": {"total": {"factor": 2}},
    },
    "map2": {"units": {"usage": {"by": "region", "factors": {"r01": 0.001, "r02": 1.0}, "without": 1}}},
    "outliers": {},
    "outliers2": {"method": "robust_z", "treatment": "flag"},
    "outliers3": {"method": "z", "treatment": "drop", "limit": 2},
    "outliers4": {"method": "isolation_forest", "treatment": "flag", "n_trees": 10},
    "outliers5": {"method": "iqr", "treatment": "log", "columns": ["charges"]},
    "expressions": {
        "columns": {"ratio": "charges / NULLIF(services, 0)", "long": "tenure > 24", "both": "plan || region"}
    },
    "one_hot": {"max_categories": 5},
    "ordinal": {"orders": {"plan": ["basic", "plus", "max"]}},
    "target_encoding": {},
    "target_encoding2": {"columns": ["region"], "smooth": 10.0, "keep": True},
    "hashing": {"n_features": 8},
    "hashing2": {"n_features": 8, "output": "category", "columns": ["region"]},
    "frequency": {},
    "scale": {"columns": ["tenure", "usage"], "method": "standard"},
    "scale2": {"columns": ["usage"], "method": "yeo_johnson"},
    "scale3": {"method": "quantile_normal"},
    "bins": {"columns": ["tenure", "usage"]},
    "bins2": {"columns": ["usage"], "method": "tree", "output": "woe", "keep": True},
    "bins3": {"method": "equal_width", "output": "ordinal"},
    "text": {"columns": ["note"], "n_features": 64, "n_components": 3},
    "vector": {"columns": ["embedding"]},
    "pca": {"n_components": 2},
    "select_correlated": {"threshold": 0.6},
    "select_information_value": {"min_value": 0.05},
    "select_permutation": {"repeats": 2},
    "select_null_importance": {"draws": 3, "trees": 10},
    "select_rfe": {"folds": 2, "drop_share": 0.5},
    "select_stability": {"halves": 4, "threshold": 0.6},
    "band": {"columns": ["tenure", "usage"], "width": 12},
    "band2": {"columns": ["services"], "edges": [1, 3, 100]},
    "rare": {"columns": ["region", "plan"], "min_count": 8},
    "dates": {"cyclic": ["month", "weekday"], "keep": False},
    "cut": {"columns": ["charges"], "edges": [20, 50.5], "ordered": False},
    "tenure_groups": {"columns": ["tenure"]},
    "polynomial": {
        "squares": ["tenure"],
        "products": [["charges", "tenure"]],
        "ratios": [["usage", "services"]],
        "crosses": [["plan", "band"]],
    },
    "interactions": {"top": 3, "significance": 0.0},
}
"""Options of each step on the table below, by its word; a second example of a step has a number behind it."""

CHAINS = [
    ["expressions"],
    ["dates", "tenure_groups", "polynomial", "interactions"],
    ["ordinal", "one_hot", "scale3", "pca"],
    ["expressions", "rare", "band"],
    ["text", "hashing2", "target_encoding", "bins2", "select_rfe"],
    ["expressions", "map", "outliers3", "drop_missing", "impute_knn"],
    ["map2", "outliers4", "impute_iterative", "impute"],
]
"""Examples that are applied one after the other."""

N_TRAIN = 300
N = 400


def customers(seed: int = 0, n: int = N) -> pl.DataFrame:
    """Made-up customers with gaps, a skewed number, a rare category, dates and a text."""
    rng = np.random.default_rng(seed)

    def gaps(values, share=0.1):
        return [None if gone else value for value, gone in zip(values, rng.random(n) < share, strict=True)]

    tenure = rng.integers(0, 72, n).astype(float)
    charges = rng.lognormal(3.5, 0.6, n).round(2)
    return pl.DataFrame(
        {
            "tenure": tenure.tolist(),
            "charges": gaps(charges.tolist()),
            "total": gaps((tenure * charges).round(2).tolist(), 0.05),
            "usage": gaps(rng.normal(10, 30, n).round(2).tolist(), 0.3),
            "services": rng.integers(0, 5, n).astype(float).tolist(),
            "plan": gaps(rng.choice(["basic", "plus", "max"], n, p=[0.6, 0.35, 0.05]).tolist()),
            "region": [f"r{number:02d}" for number in rng.integers(0, 40, n)],
            "band": gaps(rng.choice(["low", "middle", "high"], n).tolist(), 0.05),
            "since": [
                f"2025-{month:02d}-{day:02d}"
                for month, day in zip(rng.integers(1, 13, n), rng.integers(1, 29, n), strict=True)
            ],
            "note": gaps([" ".join(words) for words in rng.choice(WORDS, (n, 6))]),
            "embedding": gaps(rng.normal(size=(n, 3)).round(3).tolist()),
        }
    )


WORDS = ["slow", "line", "bill", "Bill", "too", "high", "thanks", "cancel", "été", "a", "router"]

COLUMNS = {
    "note": {"kind": "categorical"},
    "band": {"order": ["low", "middle", "high"]},
    "services": {"kind": "numeric"},
    "region": {"kind": "categorical"},
}
FRAME = customers()
SCHEMA = infer_schema(FRAME, columns=COLUMNS)
TYPED = coerce(FRAME, SCHEMA).typed
LABEL = (np.random.default_rng(1).random(N) < 1 / (1 + np.exp(TYPED["tenure"].to_numpy() / 20 - 1))).astype(np.int64)


def steps_of(*names):
    return {name: {"step": name.rstrip("0123456789"), **EXAMPLES[name]} for name in names}


def learn(*names) -> FittedChain:
    return fit_chain(steps_of(*names), Training(TYPED[:N_TRAIN], SCHEMA.features, LABEL[:N_TRAIN], seed=3))


@cache
def fitted(*names) -> FittedChain:
    """What all the laws look at: learning takes longer than any of them."""
    return learn(*names)


@cache
def applied(*names) -> pl.DataFrame:
    return fitted(*names).chain.apply(TYPED)


def prepare(names, frame=FRAME, label=LABEL, *, train=N_TRAIN) -> Customers:
    """Prepare a table whose first rows are for training; the others are halved between validation and test."""
    half = train + (len(frame) - train) // 2
    split = Split(np.arange(train), np.arange(train, half), np.arange(half, len(frame)), by="random")
    return prepare_labelled(
        frame, label, target=Column("left", Kind.categorical, Role.target), classes=("no", "yes"), split=split,
        columns=COLUMNS, preprocess={"steps": steps_of(*names)},
    )  # fmt: skip


@cache
def prepared(*names) -> Customers:
    return prepare(names)


def learned_numbers(customers: Customers) -> str:
    return json.dumps(customers.preparation.to_dict())


ALL = [*([name] for name in EXAMPLES), *CHAINS]
SLOW = ("select_", "interactions", "impute_knn", "impute_iterative", "outliers4")
FAST = [name for name in EXAMPLES if not name.startswith(SLOW)]
every_chain = pytest.mark.parametrize("names", ALL, ids="-".join)


def test_every_step_has_an_example():
    assert {name.rstrip("0123456789") for name in EXAMPLES} == set(STEPS)


@every_chain
def test_one_row_equals_many(names):
    chain, together = fitted(*names).chain, applied(*names)
    alone = pl.concat([chain.apply(TYPED[row : row + 1]) for row in range(0, N, 16)])
    assert_frame_equal(alone, together[::16], check_exact=False, rel_tol=0, abs_tol=1e-9)
    backwards = chain.apply(TYPED.reverse()).reverse()
    assert_frame_equal(backwards, together, check_exact=False, rel_tol=0, abs_tol=1e-9)


@every_chain
def test_streamed_rows_equal_those_in_memory(names):
    streamed = fitted(*names).chain.scan(TYPED.lazy()).collect(engine="streaming")
    assert_frame_equal(streamed, applied(*names), check_exact=False, rel_tol=0, abs_tol=1e-9)


@every_chain
def test_no_rows_stay_no_rows(names):
    learned = fitted(*names)
    none = learned.chain.apply(TYPED[:0])
    assert none.shape[0] == 0
    assert set(none.columns) >= {column.name for column in learned.columns}


@every_chain
def test_rows_of_nothing_but_gaps_are_taken(names):
    empty = TYPED[:3].select(pl.lit(None, dtype=dtype).alias(name) for name, dtype in TYPED.schema.items())
    assert len(fitted(*names).chain.apply(empty)) == 1


@every_chain
def test_columns_have_the_types_of_their_kinds(names):
    learned = fitted(*names)
    types = {Kind.numeric: pl.Float64(), Kind.datetime: pl.Datetime("us"), Kind.sequence: pl.List(pl.Float64)}
    for rows in (learned.rows, applied(*names)):
        for column in learned.columns:
            assert rows.schema[column.name] == types.get(column.kind, pl.String()), column
            assert column.role is Role.feature
            if column.kind is Kind.numeric:
                assert not rows[column.name].is_nan().any(), column
                assert not rows[column.name].is_infinite().any(), column


@every_chain
def test_columns_depend_on_what_they_say_they_are_made_of_and_on_nothing_else(names):
    chain = fitted(*names).chain
    before = chain.apply(TYPED)
    origins = dict(zip(before.columns, chain.origins(TYPED.columns, before.columns), strict=True))
    for column in TYPED.columns:
        moved = chain.apply(TYPED.with_columns(TYPED[column].shuffle(seed=4)))
        changed = {name for name in before.columns if not moved[name].equals(before[name])}
        assert changed <= {name for name, made_of in origins.items() if column in made_of}


def test_columns_of_a_step_that_does_not_say_are_made_of_all():
    class Unsaid(FittedCut):
        def made_of(self):
            return None

    cut = fitted("cut").chain.links[0].fitted
    chain = Chain((Link("one", "cut", Unsaid(**asdict(cut))), *fitted("expressions").chain.links))
    assert chain.origins(["a", "b"], ["ratio", "a", "else"]) == [("a", "b")] * 3
    assert Chain().origins(["a", "b"], ["b"]) == [("b",)]


@every_chain
def test_what_was_learned_is_json_and_means_the_same(names):
    chain = fitted(*names).chain
    again = Chain.from_dict(json.loads(json.dumps(chain.to_dict(), allow_nan=False)))
    assert again == chain
    assert_frame_equal(again.apply(TYPED), applied(*names))


@every_chain
def test_fitting_twice_learns_the_same(names):
    assert fitted(*names).chain.to_dict() == learn(*names).chain.to_dict()


CHANGES = ("permuted", "changed", "dropped")


def with_other_rows_held_out(changes, *, train=N_TRAIN, seed=5) -> tuple[pl.DataFrame, np.ndarray]:
    """Return table and labels after changes to the rows that are not for training."""
    rng = np.random.default_rng(seed)
    frame, label, held_out = FRAME, LABEL, np.arange(train, N)
    if "changed" in changes:
        frame = pl.concat([FRAME[:train], customers(seed=seed + 1)[train:]])
        label = np.concatenate([LABEL[:train], 1 - LABEL[train:]])
    if "permuted" in changes:
        held_out = rng.permutation(held_out)
    if "dropped" in changes:
        held_out = held_out[: rng.integers(4, len(held_out))]
    rows = np.concatenate([np.arange(train), held_out])
    return frame[rows], label[rows]


@every_chain
def test_rows_that_are_not_for_training_change_nothing_that_was_learned(names):
    """Other columns' kinds come from all rows; they are fixed here, as the split is."""
    other = prepare(names, *with_other_rows_held_out(CHANGES))
    assert learned_numbers(other) == learned_numbers(prepared(*names))


@given(
    names=st.one_of(st.sampled_from(CHAINS), st.lists(st.sampled_from(FAST), min_size=1, max_size=3, unique=True)),
    changes=st.sets(st.sampled_from(CHANGES), min_size=1),
    train=st.integers(150, 350),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=25, deadline=None)
def test_nor_do_they_in_any_chain_whatever_becomes_of_them(names, changes, train, seed):
    try:
        first = prepare(names, train=train)
    except ConfigError:  # two of these steps make the same column, or one took what the next one reads
        return
    other = prepare(names, *with_other_rows_held_out(changes, train=train, seed=seed), train=train)
    assert learned_numbers(other) == learned_numbers(first)


ODD = {
    "tenure": "n", "charges": "count", "total": "rows", "usage": "value", "services": "cat", "plan": "literal",
    "region": "index", "band": "n_rows", "since": "len", "note": "cell", "embedding": "length",
}  # fmt: skip


def renamed(options):
    """Return options with the odd names for the columns that they name."""
    if isinstance(options, dict):
        return {ODD.get(key, key): renamed(value) for key, value in options.items()}
    if isinstance(options, list):
        return [renamed(value) for value in options]
    return ODD.get(options, options) if isinstance(options, str) else options


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "expressions"])
def test_a_column_may_be_called_like_one_that_a_step_makes_for_itself(name):
    columns = tuple(replace(column, name=ODD[column.name]) for column in SCHEMA.features)
    training = Training(TYPED.rename(ODD)[:N_TRAIN], columns, LABEL[:N_TRAIN], seed=3)
    options = {"step": name.rstrip("0123456789"), **renamed(EXAMPLES[name])}
    learned = fit_chain({"mine": options}, training)
    assert [column.kind for column in learned.columns] == [column.kind for column in fitted(name).columns]
    assert learned.chain.apply(TYPED.rename(ODD)).dtypes == applied(name).dtypes


@every_chain
def test_a_preparation_with_steps_survives_json(names):
    done = prepared(*names)
    again = Preparation.from_dict(json.loads(json.dumps(done.preparation.to_dict())))
    assert again == done.preparation
    encoded = again.encode(done.typed[done.rows("test")])
    np.testing.assert_array_equal(encoded.numeric, done.encoded["test"].numeric)
    np.testing.assert_array_equal(encoded.codes, done.encoded["test"].codes)


@pytest.mark.slow
def test_another_process_with_another_hash_seed_gives_the_same(tmp_path):
    chains = {"-".join(names): fitted(*names).chain for names in ALL}
    TYPED.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "chains.json").write_text(json.dumps({name: chain.to_dict() for name, chain in chains.items()}))
    program = f"""
import json, polars as pl
from churnlib.data.steps import Chain
rows = pl.read_parquet({str(tmp_path / "rows.parquet")!r})
for name, values in json.loads(open({str(tmp_path / "chains.json")!r}).read()).items():
    Chain.from_dict(values).apply(rows).write_parquet({str(tmp_path)!r} + "/" + name + ".out")
"""
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    for names in ALL:
        assert_frame_equal(pl.read_parquet(tmp_path / f"{'-'.join(names)}.out"), applied(*names))


def test_an_unknown_step_is_refused_with_a_near_one():
    with pytest.raises(ConfigError, match="there is no preparation step 'expresions'; did you mean expressions"):
        read_steps({"mine": {"step": "expresions"}})


def test_an_unknown_option_is_refused_with_a_near_one():
    with pytest.raises(ConfigError, match=r"unknown option preprocess\.steps\.mine\.column; did you mean columns"):
        read_steps({"mine": {"step": "expressions", "column": {}}})


def test_a_step_that_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match=r"preprocess\.steps\.mine must be a mapping"):
        read_steps({"mine": "expressions"})


def test_a_step_without_values_is_left_out():
    assert read_steps({"mine": None}) == {}


def test_the_name_of_a_step_is_its_word_unless_it_says_otherwise():
    assert read_steps({"expressions": {}})["expressions"].word == "expressions"


def test_a_step_from_a_newer_release_is_refused():
    with pytest.raises(BundleError, match="a step 'oracle', which this release does not know"):
        Chain.from_dict([{"name": "x", "step": "oracle", "learned": {}}])
