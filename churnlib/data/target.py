"""The target column: who left, as labels a model learns from, or one sentence about why it cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.errors import ConfigError, DataError
from churnlib.schema import parsing, unknown_column

MISSING_LABEL = -1
"""Label of a row without a target."""

MOST_CLASSES = 20
"""A target with more different values is a number or a name, not a class."""

NO_ANSWER = frozenset(parsing.MISSING_WORDS) - {"none", "nil"}
"""Words (any case) that mean "not known" in any target; "none" does so only beside yes and no, else it is a class."""

TRUTH: dict[str, bool] = {**dict.fromkeys(parsing.TRUE_WORDS, True), **dict.fromkeys(parsing.FALSE_WORDS, False)}
"""The truth of each truth word, in lower case."""


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """What a target column holds.

    Attributes:
        name: The column.
        counts: Number of rows by value, as text, most frequent first.
        missing: Number of rows without a value; they cannot be learned from.
    """

    name: str
    counts: dict[str, int]
    missing: int


def check_target(frame: pl.DataFrame, target: str, *, positive: object = None) -> TargetCounts:
    """Check that a table has a target that a model can learn, and count its values.

    Args:
        frame: The table.
        target: Name of the target column.
        positive: Value that means "left"; checked if given.

    Raises:
        DataError: If there is no such column (names like it are in the sentence), or it has one class or too many.
        ConfigError: If ``positive`` is given and is not one of two classes.
    """
    if target not in frame.columns:
        shown = ", ".join(map(repr, frame.columns[:12])) + (", ..." if frame.width > 12 else "")
        raise DataError(f"{unknown_column(target, frame.columns, option='data.target')} (columns: {shown})")
    counts, missing = _counts(frame[target])
    groups = _groups(counts, target)
    if positive is not None:
        _class_names(groups, positive, target)
    return TargetCounts(target, counts, missing)


def encode_target(target: pl.Series, positive: object = None) -> tuple[np.ndarray, list[str]]:
    """Turn a target column into labels.

    Cells are compared as stripped text, in which ``1.0`` is ``1``. Where all cells are truth words (yes, true, y, t, 1
    and no, false, n, f, 0, in any case) the spelling does not matter. Two classes: label 1 is the positive one. Three
    to 20: the labels number the classes in the order of their text.

    Args:
        target: The column, text or typed.
        positive: The value that means "left": a cell equals it as text, as number or as truth word, whichever first
            applies. It may be left out for truth words, and has to be for more than two classes.

    Returns:
        The labels, ``(n,)`` int64, ``MISSING_LABEL`` where :func:`target_given` is false; and the class names by label.

    Raises:
        DataError: If the column has no value, one class or more than 20.
        ConfigError: If ``positive`` is needed, not one of the classes, or given for more than two.

    >>> encode_target(pl.Series(["Yes", "no", None, " yes "]))
    (array([ 1,  0, -1,  1]), ['no', 'Yes'])
    """
    groups = _groups(_counts(target)[0], target.name)
    names = _class_names(groups, positive, target.name)
    label_of = {text: label for label, name in enumerate(names) for text in groups[name]}
    labels = _texts(target).replace_strict(label_of, default=MISSING_LABEL, return_dtype=pl.Int64)
    return labels.to_numpy().copy(), names


def target_given(target: pl.Series) -> pl.Series:
    """Return for each row whether it has a target, Boolean, as :func:`encode_target` reads it.

    >>> target_given(pl.Series(["Yes", "No", "NA", " ", None])).to_list()
    [True, True, False, False, False]
    """
    counts, _ = _counts(target)
    return _texts(target).is_in(list(counts)).fill_null(False)


# --- from cells to classes ----------------------------------------------------------------------------------------


def _texts(target: pl.Series) -> pl.Series:
    """Return the cells as stripped text, blank ones null."""
    if not parsing.is_plain(target.dtype):
        raise DataError(f"the target {target.name!r} holds {target.dtype}; name a column with one value per customer")
    cell = pl.col("target")
    return target.alias("target").to_frame().select(parsing.category(cell, target.dtype)).to_series()


def _counts(target: pl.Series) -> tuple[dict[str, int], int]:
    """Return the number of rows by text, most frequent first, and the number of rows without a target."""
    counted = _texts(target).drop_nulls().value_counts(name="n").sort(["n", "target"], descending=[True, False])
    counts: dict[str, int] = dict(counted.iter_rows())
    given = {text: n for text, n in counts.items() if text.lower() not in NO_ANSWER}
    known = {text: n for text, n in given.items() if text.lower() not in parsing.MISSING_WORDS}
    if {TRUTH.get(text.lower()) for text in known} == {True, False}:
        given = known
    return given, len(target) - sum(given.values())


def _groups(counts: Mapping[str, int], target: str) -> dict[str, dict[str, int]]:
    """Return the classes: the name of each, in the order of names, and its spellings with their counts."""
    if not counts:
        raise DataError(f"the target {target!r} has no value in any row; name the column that says who left")
    if len(counts) == 1:
        text, n = next(iter(counts.items()))
        raise DataError(
            f"the target {target!r} has one class only: {text!r} in all {n:,} rows that have a value; "
            "a model needs customers who left and customers who stayed"
        )
    truths = {text: TRUTH.get(text.lower()) for text in counts}
    if set(truths.values()) == {True, False}:
        spellings = [{text: n for text, n in counts.items() if truths[text] is side} for side in (False, True)]
        return {next(iter(group)): group for group in spellings}
    if len(counts) > MOST_CLASSES:
        shown = ", ".join(map(repr, list(counts)[:4]))
        raise DataError(
            f"the target {target!r} has {len(counts):,} different values ({shown}, ...) and looks like a number or a "
            f"name, not a class; name a column with 2 to {MOST_CLASSES} classes"
        )
    return {text: {text: counts[text]} for text in sorted(counts)}


def _class_names(groups: Mapping[str, Mapping[str, int]], positive: object, target: str) -> list[str]:
    """Return the class names by label."""
    if len(groups) > 2 and positive is not None:
        raise ConfigError(
            f"data.positive={positive} needs a target with two classes, but {target!r} has {len(groups)} "
            f"({_listed(groups)}); leave it out to learn all of them, or join classes in the table"
        )
    if positive is not None:
        chosen = _find_positive(groups, str(positive).strip(), target)
        return [*(name for name in groups if name != chosen), chosen]
    if len(groups) == 2 and {TRUTH.get(name.lower()) for name in groups} != {True, False}:
        raise ConfigError(
            f"the target {target!r} has the classes {_listed(groups)}; set data.positive to the one that means "
            f"the customer left, such as data.positive={next(iter(groups))}"
        )
    return list(groups)  # truth words: no, yes


def _find_positive(groups: Mapping[str, Mapping[str, int]], positive: str, target: str) -> str:
    """Return the class that ``positive`` names: as text, else as number, else as truth word."""
    number, truth = _number(positive), TRUTH.get(positive.lower())
    tests: list[Callable[[str], bool]] = [
        lambda text: text == positive,
        lambda text: number is not None and _number(text) == number,
        lambda text: truth is not None and TRUTH.get(text.lower()) is truth,
    ]
    for test in tests:
        found = [name for name, spellings in groups.items() if any(map(test, spellings))]
        if len(found) == 1:
            return found[0]
    raise ConfigError(
        f"data.positive={positive} is not a value of the target {target!r}, which has {_listed(groups)}; "
        "set it to one of them"
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _listed(groups: Mapping[str, Mapping[str, int]]) -> str:
    listed = [f"{name!r:.60} ({sum(spellings.values()):,} rows)" for name, spellings in groups.items()]
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
