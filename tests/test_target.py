"""The target column: labels, classes, and what is wrong with it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churnlib.data.target import MISSING_LABEL, check_target, encode_target, target_given
from churnlib.errors import ConfigError, DataError

M = MISSING_LABEL


def test_yes_and_no_need_no_word_about_the_positive_class():
    labels, classes = encode_target(pl.Series("churn", ["No", "Yes", "No"]))
    assert labels.tolist() == [0, 1, 0] and labels.dtype == np.int64
    assert classes == ["No", "Yes"]


TRUTH = {
    "numbers as text": (["0", "1", "1"], [0, 1, 1], ["0", "1"]),
    "fractions as text": (["0.0", "1.0", "1"], [0, 1, 1], ["0", "1"]),
    "whole numbers": ([0, 1, None], [0, 1, M], ["0", "1"]),
    "fractions and NaN": ([0.0, 1.0, float("nan")], [0, 1, M], ["0", "1"]),
    "truth values": ([False, True, None], [0, 1, M], ["false", "true"]),
    "letters": (["N", "y", "Y"], [0, 1, 1], ["N", "Y"]),
    "words in any case": (["TRUE", "false", "False", "False"], [1, 0, 0, 0], ["False", "TRUE"]),
    "words of several kinds": (["yes", "no", "1", "F", " YES "], [1, 0, 1, 0, 1], ["F", "1"]),
    "blanks around and in place of words": ([" yes", "no ", "", "  ", None], [1, 0, M, M, M], ["no", "yes"]),
    "words for missing": (["yes", "no", "NA", "null", "None", "?"], [1, 0, M, M, M, M], ["no", "yes"]),
}


@pytest.mark.parametrize("name", TRUTH)
def test_truth_words_are_read_however_they_are_written(name):
    values, wanted, classes = TRUTH[name]
    target = pl.Series("churn", values)
    labels, names = encode_target(target)
    assert labels.tolist() == wanted
    assert names == classes
    assert target_given(target).to_list() == [label != M for label in wanted]
    assert check_target(target.to_frame(), "churn").missing == wanted.count(M)


POSITIVE = {
    "text": (["left", "stayed"], "left", [1, 0]),
    "text with blanks": (["left ", "stayed"], " left", [1, 0]),
    "number as text": (["1", "2"], "2.0", [0, 1]),
    "number": ([1, 2], 1, [1, 0]),
    "fraction": ([1.5, 2.5], "2.50", [0, 1]),
    "no instead of yes": (["Yes", "No"], "No", [0, 1]),
    "truth word for another": (["Yes", "No"], "1", [1, 0]),
    "truth word in another case": (["Yes", "No"], "yes", [1, 0]),
    "truth value": (["Yes", "No"], True, [1, 0]),
    "false for a number": ([0, 1], "false", [1, 0]),
    "truth word beside another word": (["yes", "kept"], "1", [1, 0]),
    "text before truth": (["y", "t"], "t", [0, 1]),
    "missing beside two classes": (["left", "kept", "NA"], "left", [1, 0, M]),
    "none is a class": (["none", "all"], "none", [1, 0]),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_the_positive_value_is_found_as_text_number_or_truth_word(name):
    values, positive, wanted = POSITIVE[name]
    labels, classes = encode_target(pl.Series("churn", values), positive)
    assert labels.tolist() == wanted
    assert len(classes) == 2


def test_three_to_twenty_classes_are_numbered_in_the_order_of_their_text():
    labels, classes = encode_target(pl.Series(["loyal", "at risk", "left", None, "left "]))
    assert classes == ["at risk", "left", "loyal"]
    assert labels.tolist() == [2, 0, 1, M, 1]
    assert len(encode_target(pl.Series(range(20)))[1]) == 20


def test_none_is_a_class_beside_other_classes():
    assert encode_target(pl.Series(["none", "some", "all"]))[1] == ["all", "none", "some"]


def test_categories_and_enumerations_are_read_as_text():
    for dtype in (pl.Categorical(), pl.Enum(["kept", "left"])):
        assert encode_target(pl.Series(["left", "kept", None], dtype=dtype), "left")[0].tolist() == [1, 0, M]


def test_the_labels_are_the_callers_own():
    labels, _ = encode_target(pl.Series(["0", "1"]))
    labels[0] = 7
    assert labels.tolist() == [7, 1]


def test_checking_counts_the_values():
    counts = check_target(pl.DataFrame({"churn": ["no", "yes", "no", None, " "]}), "churn")
    assert (counts.name, counts.counts, counts.missing) == ("churn", {"no": 2, "yes": 1}, 2)


def test_checking_does_not_ask_for_the_positive_class():
    frame = pl.DataFrame({"state": ["left", "kept"]})
    assert check_target(frame, "state").counts == {"kept": 1, "left": 1}
    with pytest.raises(ConfigError, match=r"data\.positive=gone"):
        check_target(frame, "state", positive="gone")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("churn", "did you mean 'Churn'"),
        ("CHURN ", "did you mean 'Churn'"),
        ("chrun", "did you mean 'Churn'"),
        ("outcome", r"it has 'Churn', 'tenure'"),
        ("churn", r"columns: 'Churn', 'tenure'"),
    ],
)
def test_a_missing_target_is_told_with_names_like_it_and_the_columns(target, words):
    frame = pl.DataFrame({"Churn": ["no", "yes"], "tenure": [1, 2]})
    with pytest.raises(DataError, match=words):
        check_target(frame, target)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["no"] * 3 + [None], "one class only: 'no' in all 3 rows"),
        (["1", "1.0"], "one class only: '1' in all 2 rows"),
        ([None, " ", "NA"], "has no value in any row"),
        ([], "has no value in any row"),
        ([str(i) for i in range(21)], r"21 different values \('0', '1', .*\) and looks like a number"),
        ([i / 7 for i in range(2000)], "2,000 different values"),
        ([["yes"], ["no"]], r"holds List\(String\)"),
    ],
)
def test_a_target_that_cannot_be_learned_is_told(values, words):
    frame = pl.DataFrame({"churn": values}, schema=None if values else {"churn": pl.String})
    for attempt in (lambda: check_target(frame, "churn"), lambda: encode_target(frame["churn"])):
        with pytest.raises(DataError, match=words):
            attempt()


@pytest.mark.parametrize(
    ("values", "positive", "words"),
    [
        (["left", "kept", "left"], None, r"classes 'kept' \(1 rows\), 'left' \(2 rows\); set data\.positive"),
        (["1", "2"], None, r"set data\.positive"),
        (["yes", "kept"], None, r"set data\.positive"),
        (["left", "kept"], "gone", r"data\.positive=gone is not a value .* 'kept' \(1 rows\), 'left'"),
        (["left", "kept"], "Left", r"data\.positive=Left is not a value"),
        (["left", "kept"], "", r"is not a value"),
        (["yes", "no"], "maybe", r"data\.positive=maybe is not a value"),
        (["1", "2"], "1_0", r"is not a value"),
        (["a", "b", "c"], "a", r"two classes, but 'churn' has 3"),
    ],
)
def test_a_positive_value_that_is_missing_or_wrong_is_told_with_the_classes(values, positive, words):
    with pytest.raises(ConfigError, match=words):
        encode_target(pl.Series("churn", values), positive)
