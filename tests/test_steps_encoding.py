"""One-hot, ordinal, target and frequency encoding and hashing, against scikit-learn and by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_steps import after, learn, training
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.utils import murmurhash3_32

from churnlib.data.murmur import murmur3
from churnlib.errors import ConfigError

RNG = np.random.default_rng(0)
N = 600
LABEL = (RNG.random(N) < 0.3).astype(int)
PLAN = RNG.choice(["basic", "plus", "max", None], N, p=[0.5, 0.3, 0.1, 0.1])
REGION = RNG.choice([f"r{i}" for i in range(25)], N, p=np.arange(1, 26) / 325)
FRAME = pl.DataFrame({"plan": PLAN.tolist(), "region": REGION.tolist(), "x": RNG.normal(size=N)})
KNOWN = training(FRAME, LABEL)
NEW = pl.DataFrame({"plan": ["max", "gold", None], "region": ["r3", "r99", "r24"], "x": [0.0, 1.0, 2.0]})


def test_one_hot_is_scikit_learns_and_an_unseen_value_is_zero_everywhere():
    learned = learn("one_hot", KNOWN, columns=["plan"])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(PLAN[:, None])
    names = ["plan=basic", "plan=max", "plan=plus", "plan is missing"]
    np.testing.assert_array_equal(after(learned, KNOWN.rows).select(names), encoder.transform(PLAN[:, None]))
    assert after(learned, NEW).select(names).rows() == [(0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1)]
    assert "plan" not in after(learned, NEW).columns


def test_rare_values_share_a_column_and_unseen_ones_do_not_fall_into_it():
    learned = learn("one_hot", KNOWN, columns=["region"], max_categories=3)
    names = ["region=r22", "region=r23", "region=r24", "region is rare"]
    frequent = pl.Series(REGION).value_counts().sort(["count", ""], descending=[True, False])[""].head(3)
    made = after(learned, KNOWN.rows)
    assert [name for name in made.columns if "=" in name] == [f"region={value}" for value in sorted(frequent)]
    np.testing.assert_array_equal(made["region is rare"], ~np.isin(REGION, frequent))
    assert after(learned, NEW)["region is rare"].to_list() == [1, 0, float("r24" not in list(frequent))]
    assert any("22 rare values of 'region' share a column" in line for line in learned.said)
    assert len(names) == len([name for name in made.columns if name.startswith("region")])


def test_a_value_below_the_least_share_has_no_column():
    learned = learn("one_hot", KNOWN, columns=["plan"], min_share=0.2, other=False)
    assert [c.name for c in learned.columns if c.name.startswith("plan")] == [
        "plan=basic", "plan=plus", "plan is missing",
    ]  # fmt: skip


def test_ranks_are_scikit_learns_and_a_value_outside_the_order_is_missing():
    orders = {"plan": ["basic", "plus", "max"]}
    ranks = after(learn("ordinal", KNOWN, orders=orders), KNOWN.rows)["plan"]
    encoder = OrdinalEncoder(categories=[["basic", "plus", "max"]], encoded_missing_value=np.nan)
    given_rows = np.array([value is not None for value in PLAN])
    expected = encoder.fit_transform(PLAN[given_rows][:, None])[:, 0]
    np.testing.assert_array_equal(ranks.drop_nulls(), expected)
    learned = learn("ordinal", KNOWN, orders={"plan": ["basic", "plus"]})
    assert learned.said == (f"{(PLAN == 'max').sum()} cells of 'plan' lie outside its order and count as missing",)
    assert after(learned, NEW)["plan"].to_list() == [None, None, None]


def test_a_declared_order_needs_no_second_one():
    known = training(FRAME, LABEL, columns={"plan": {"order": ["basic", "plus", "max"]}})
    assert after(learn("ordinal", known), NEW)["plan"].to_list() == [2.0, None, None]


@pytest.mark.parametrize("options", [{}, {"columns": ["plan"]}])
def test_an_order_that_nobody_declared_is_asked_for(options):
    with pytest.raises(ConfigError, match=r"declare .*data\.columns\.(NAME|plan)\.order=\[low,high\]"):
        learn("ordinal", KNOWN, **options)


# --- target encoding ------------------------------------------------------------------------------------------------


def sklearn_input():
    return np.stack([np.where(PLAN == None, "\0", PLAN), REGION], axis=1).astype(object)  # noqa: E711


@pytest.mark.parametrize("smooth", ["auto", 15.0])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_rates_are_scikit_learns_in_and_out_of_the_folds(smooth, n_classes):
    label = RNG.integers(0, n_classes, N)
    known = training(FRAME, label, n_classes=n_classes)
    learned = learn("target_encoding", known, smooth=smooth)
    encoder = TargetEncoder(smooth=smooth, cv=PredefinedSplit(known.folds(5)))
    out_of_fold = encoder.fit_transform(sklearn_input(), label)
    names = [column.name for column in learned.columns if "rate" in column.name]
    assert names[0] == ("plan rate" if n_classes == 2 else "plan rate 0")
    np.testing.assert_allclose(learned.rows.select(names).to_numpy(), out_of_fold, rtol=1e-12)
    np.testing.assert_allclose(after(learned, known.rows).select(names), encoder.transform(sklearn_input()), rtol=1e-12)
    unseen = after(learned, NEW)[1].select(f"region{name.removeprefix('plan')}" for name in names if "plan" in name)
    np.testing.assert_allclose(unseen.row(0), encoder.target_mean_, rtol=1e-12)


def auc_of_random_names(word: str, **options) -> tuple[float, float]:
    """ROC AUC of what a step makes of random names: of training rows as a model gets them, and fitted in place."""
    rng = np.random.default_rng(4)
    n = 4000
    frame = pl.DataFrame({"name": [f"n{i}" for i in rng.integers(0, 1500, n)], "x": rng.normal(size=n)})
    known = training(frame, rng.random(n) < 0.3, columns={"name": {"kind": "categorical"}})
    learned = learn(word, known, **options)
    made = learned.columns[-1].name
    return (
        roc_auc_score(known.label, learned.rows[made]),
        roc_auc_score(known.label, after(learned, known.rows)[made]),
    )


@pytest.mark.parametrize("smooth", ["auto", 0.0, 20.0])
def test_random_names_gain_nothing_in_the_training_rows(smooth):
    own, in_place = auc_of_random_names("target_encoding", columns=["name"], smooth=smooth)
    # The standard error of an AUC of 1200 and 2800 rows is 0.01.
    assert abs(own - 0.5) < 0.03
    assert in_place > 0.7  # the leak that the folds keep out


def test_rows_of_a_customer_do_not_tell_each_other_their_label():
    """Each customer has four rows, one label and a name of his own."""
    rng = np.random.default_rng(2)
    customer = np.repeat(np.arange(500), 4)
    label = (rng.random(500) < 0.4).astype(int)[customer]
    frame = pl.DataFrame({"name": [f"n{i}" for i in customer], "x": rng.normal(size=2000)})
    columns = {"name": {"kind": "categorical"}}
    grouped = learn("target_encoding", training(frame, label, columns=columns, groups=customer))
    assert grouped.rows["name rate"].n_unique() <= 5  # nothing but the folds' priors
    alone = learn("target_encoding", training(frame, label, columns=columns))
    assert roc_auc_score(label, alone.rows["name rate"]) > 0.95


def test_a_class_of_one_row_is_encoded_all_the_same():
    label = np.zeros(N, dtype=int)
    label[7] = 1
    assert learn("target_encoding", training(FRAME, label)).rows["plan rate"].null_count() == 0


def test_more_folds_than_rows_are_refused():
    known = training(FRAME[:4], LABEL[:4], columns={"region": {"kind": "categorical"}})
    with pytest.raises(ConfigError, match="folds of the step 'target_encoding'=5 is more than the 4 training rows"):
        learn("target_encoding", known)


# --- hashing and frequency ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=12), st.integers(0, 2**32 - 1))
def test_hashes_are_scikit_learns(texts, seed):
    expected = [murmurhash3_32(text.encode(), seed=seed) for text in texts]
    assert murmur3(pl.Series(texts, dtype=pl.String), seed=seed).tolist() == expected


def test_hashes_never_change():
    """One sum over many texts: whatever moves it would make saved models read their columns wrongly."""
    texts = pl.Series([f"{'ä' * (i % 7)}{i}" for i in range(1000)])
    digest = hashlib.sha256(murmur3(texts).astype("<i4").tobytes()).hexdigest()
    expected = b"".join(murmurhash3_32(t.encode()).to_bytes(4, "little", signed=True) for t in texts)
    assert digest == hashlib.sha256(expected).hexdigest()
    assert digest.startswith("7004375383481a33")


def test_hashed_columns_are_scikit_learns():
    learned = learn("hashing", KNOWN, n_features=16)
    rows = pl.concat([KNOWN.rows.select(NEW.columns), NEW])
    pairs = [
        {name: value for name, value in (("plan", plan), ("region", region)) if value is not None}
        for plan, region, _ in rows.iter_rows()
    ]
    expected = FeatureHasher(16).transform(pairs).toarray()
    np.testing.assert_array_equal(after(learned, rows).select(f"hash {i}" for i in range(16)), expected)


def test_hashed_categories_have_their_place_for_a_name():
    learned = learn("hashing", KNOWN, n_features=16, output="category", columns=["plan"])
    made = after(learned, NEW)["plan hash"].to_list()
    expected = [f"h{abs(murmurhash3_32(f'plan={value}')) % 16}" for value in ("max", "gold")]
    assert made == [*expected, None]


def test_a_share_is_that_of_the_training_rows():
    learned = learn("frequency", KNOWN, keep=True)
    made = after(learned, NEW)
    expected = [(PLAN == "max").mean(), 0.0, (PLAN == None).mean()]  # noqa: E711
    np.testing.assert_allclose(made["plan share"], expected)
    np.testing.assert_allclose(made["region share"], [(REGION == "r3").mean(), 0.0, (REGION == "r24").mean()])
    assert made["plan"].to_list() == NEW["plan"].to_list()


@pytest.mark.parametrize(
    ("word", "options", "says"),
    [
        ("one_hot", {"max_categories": 0}, "max_categories of the step 'one_hot' must be a number in"),
        ("one_hot", {"columns": ["x"]}, "names 'x', which is numeric; it takes categorical or ordinal or boolean"),
        ("one_hot", {"columns": ["pln"]}, "did you mean 'plan'"),
        ("target_encoding", {"smooth": "much"}, "smooth of the step 'target_encoding' must be a number"),
        ("hashing", {"output": "texts"}, "must be one of numbers, category"),
    ],
)
def test_an_impossible_option_is_refused_in_one_sentence(word, options, says):
    with pytest.raises(ConfigError, match=says):
        learn(word, KNOWN, **options)


def test_a_new_column_does_not_replace_an_old_one():
    known = training(FRAME.with_columns(pl.Series("plan rate", RNG.normal(size=N))), LABEL)
    with pytest.raises(ConfigError, match="makes the column 'plan rate', which the table has already"):
        learn("target_encoding", known)
