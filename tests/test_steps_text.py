"""Texts and ready vectors as numbers, against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_steps import after, learn, training
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from churnlib.data.coercion import coerce
from churnlib.data.customers import prepare_customers
from churnlib.data.steps.text import word_counts
from churnlib.errors import ConfigError
from churnlib.schema import Kind

RNG = np.random.default_rng(0)
WORDS = np.array(
    ["slow", "line", "BILL", "bill", "too", "high", "thanks", "cancel", "été", "a", "router", "x_1", "ÄRGER"]
)
TEXTS = [" ".join(RNG.choice(WORDS, RNG.integers(1, 12))) + "!" for _ in range(300)]
LABEL = RNG.integers(0, 2, 300)
FRAME = pl.DataFrame({"note": TEXTS, "x": RNG.normal(size=300)})
DECLARED = {"note": {"kind": "text", "role": "feature"}}
KNOWN = training(FRAME, LABEL, columns=DECLARED)
NEW = ["Bill too high", "nobody wrote this", "", None, "a", "ÉTÉ été"]


@pytest.mark.parametrize("n_features", [64, 4096])
def test_numbers_of_texts_are_scikit_learns(n_features):
    learned = learn("text", KNOWN, n_features=n_features, n_components=5)
    vectorizer, tfidf = HashingVectorizer(n_features=n_features, norm=None), TfidfTransformer()
    svd = TruncatedSVD(5, random_state=1)
    expected = svd.fit_transform(tfidf.fit_transform(vectorizer.transform(TEXTS)))
    made = after(learned, KNOWN.rows)
    names = [f"note direction {i}" for i in range(1, 6)]
    np.testing.assert_allclose(made.select(names), expected, atol=2e-6)
    new = after(learned, pl.DataFrame({"note": NEW, "x": [0.0] * 6}))
    expected = svd.transform(tfidf.transform(vectorizer.transform([text or "" for text in NEW])))
    np.testing.assert_allclose(new.select(names), expected, atol=2e-6)
    assert new.row(3) == (0.0, *[0.0] * 5)
    assert "note" not in new.columns


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x250), max_size=30), max_size=6))
def test_any_text_has_the_words_that_scikit_learn_sees(texts):
    row, place, count = word_counts(pl.Series(texts, dtype=pl.String), 32)
    made = np.zeros((len(texts), 32))
    made[row, place] = count
    expected = HashingVectorizer(n_features=32, norm=None).transform(texts).toarray() if texts else made
    np.testing.assert_array_equal(made, expected)


def test_nothing_that_a_customer_wrote_is_kept():
    kept = json.dumps(learn("text", KNOWN, n_components=5).fitted.to_dict())
    assert not any(word.lower() in kept.lower() for word in ("router", "cancel", "thanks"))


def test_what_is_kept_stays_small():
    texts = [f"w{a} w{b} w{c}" for a, b, c in RNG.integers(0, 20_000, (3000, 3))]
    frame = pl.DataFrame({"note": texts, "x": RNG.normal(size=3000)})
    known = training(frame, RNG.integers(0, 2, 3000), columns=DECLARED)
    assert len(json.dumps(learn("text", known).fitted.to_dict())) < 450_000


def test_a_text_of_one_word_is_enough():
    known = training(FRAME.with_columns(note=pl.lit("slow")), LABEL, columns=DECLARED)
    assert set(after(learn("text", known), known.rows)["note direction 1"]) == {1.0}


def test_texts_without_words_are_refused():
    known = training(FRAME.with_columns(note=pl.lit("a b")), LABEL, columns=DECLARED)
    with pytest.raises(ConfigError, match="finds no word in 'note'; leave the column out"):
        learn("text", known)
    with pytest.raises(
        ConfigError, match=r"finds no text; say which column is one with data\.columns\.NAME\.kind=text"
    ):
        learn("text", training(FRAME.select("x", y="x"), LABEL))


# --- from a table -----------------------------------------------------------------------------------------------------

TABLE = FRAME.with_columns(note=pl.Series([f"{text} and so on and on" for text in TEXTS]), left=pl.Series(LABEL))


def test_free_text_becomes_numbers_of_a_model_when_it_is_a_feature():
    done = prepare_customers(
        TABLE, target="left", columns={"note": {"role": "feature"}}, preprocess={"steps": {"text": {"n_components": 4}}}
    )
    assert done.schema["note"].kind is Kind.text
    assert done.encoded["train"].numeric.shape[1] == 5
    assert done.preparation.seen == ()  # no list of all texts
    test = coerce(TABLE, done.schema).typed[done.rows("test")]
    np.testing.assert_array_equal(done.preparation.encode(test).numeric, done.encoded["test"].numeric)


def test_free_text_that_no_step_reads_is_refused():
    with pytest.raises(ConfigError, match=r"no preparation step reads the text of 'note'.*preprocess\.steps\.text"):
        prepare_customers(TABLE, target="left", columns={"note": {"role": "feature"}})


def test_free_text_is_carried_along_unless_it_is_a_feature():
    assert prepare_customers(TABLE, target="left").encoded["train"].numeric.shape[1] == 1


# --- vectors ----------------------------------------------------------------------------------------------------------


def lists(values: list) -> pl.DataFrame:
    return pl.DataFrame({"v": values, "x": [float(i) for i in range(len(values))]})


def test_a_vector_becomes_one_column_per_number():
    known = training(lists([[1.0, 2.0], [3.0, None], None, [5.0, 6.0]]), [0, 1, 0, 1])
    learned = learn("vector", known)
    assert [column.name for column in learned.columns] == ["x", "v[0]", "v[1]"]
    made = after(learned, known.rows)
    assert made["v[0]"].to_list() == [1.0, 3.0, None, 5.0]
    assert made["v[1]"].to_list() == [2.0, None, None, 6.0]


def test_a_list_of_another_length_counts_as_missing():
    known = training(lists([[1.0, 2.0], [3.0, 4.0], [9.0]]), [0, 1, 0])
    learned = learn("vector", known)
    assert learned.said == ("1 lists of 'v' do not have 2 numbers and count as missing",)
    new = after(learned, lists([[1.0, 2.0, 3.0], [], [7.0, 8.0]]))
    assert new.select("v[0]", "v[1]").rows() == [(None, None), (None, None), (7.0, 8.0)]


def test_histories_are_no_vectors():
    known = training(lists([[1.0], [3.0, 4.0], [9.0, 1.0, 2.0], [1.0] * 4]), [0, 1, 0, 1])
    with pytest.raises(ConfigError, match=r"3 of 4 lists of 'v' do not have 4 numbers.*read as histories"):
        learn("vector", known)
    with pytest.raises(ConfigError, match="finds no column of lists"):
        learn("vector", KNOWN)
