"""CatBoost's trees as churnlib's own arrays, with what its splits ask of categories as sets.

A split of CatBoost's may ask for a statistic (a CTR): how many left among the training rows that share a value, or a
value together with others and with sides of numbers. Whatever the statistic, it is the same for all rows that have the
same codes in a few columns, and numbers between the same borders in a few others. The joint number of these is a
category like any other (:class:`Combination`), and the split sends a set of them to the right. CatBoost itself is asked
which, by a made row for each: neither its hashes nor its formulas are written here again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnlib.models.baselines.trees import Trees, TreesBuilder

Leaves = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From ``(n, n_numeric)`` float32 and ``(n, n_categorical)`` int64 to the leaf in each tree, ``(n, n_trees)``."""

MISSING_LEFT = ("AsIs", "AsFalse")
"""What CatBoost calls it when a missing number is above no border."""

MOST_STATES = 2**18
"""States of all combinations together that CatBoost is asked about; they take seconds."""

MOST_CELLS = 2**23
"""States times sets: the bytes of their table in a graph."""

ASKED = 2**12
"""Made rows in a question."""


@dataclass(frozen=True, slots=True)
class Combination:
    """Columns that together decide on which side of some splits a row falls.

    Attributes:
        categories: Categorical columns; what counts is their code.
        numbers: Numeric columns, each with ascending borders; what counts is how many of them the number is above. A
            missing one is above none.
        shape: Values that each part can have, categories first.
    """

    categories: tuple[int, ...]
    numbers: tuple[tuple[int, tuple[float, ...]], ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, elements: Sequence[Mapping[str, Any]], cardinalities: Sequence[int]) -> Combination:
        """Return the combination that CatBoost lists element by element."""
        borders: dict[int, set[float]] = {}
        for element in elements:
            if "float_feature_index" in element:
                borders.setdefault(element["float_feature_index"], set()).add(element["border"])
        categories = sorted({element["cat_feature_index"] for element in elements if "cat_feature_index" in element})
        numbers = tuple((column, tuple(sorted(borders[column]))) for column in sorted(borders))
        shape = (*(cardinalities[one] for one in categories), *(len(its) + 1 for _, its in numbers))
        return cls(tuple(categories), numbers, shape)

    @property
    def size(self) -> int:
        """Number of states: joint numbers of the parts, of which the last changes fastest."""
        return math.prod(self.shape)

    def rows(self, states: np.ndarray, n_numeric: int, n_categorical: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a row in each state, as numbers and codes."""
        numeric = np.zeros((len(states), n_numeric), dtype=np.float32)
        codes = np.zeros((len(states), n_categorical), dtype=np.int64)
        parts = iter(np.unravel_index(states, self.shape))
        for column in self.categories:
            codes[:, column] = next(parts)
        for column, borders in self.numbers:
            # A border is above those before it, and not above itself.
            beyond = np.nextafter(np.float32(borders[-1]), np.float32(np.inf))
            numeric[:, column] = np.array([*borders, beyond], dtype=np.float32)[next(parts)]
        return numeric, codes


@dataclass(frozen=True, slots=True)
class CombinedTrees:
    """Trees whose codes are states of combinations.

    Attributes:
        combinations: One for each code.
        trees: The trees.
    """

    combinations: tuple[Combination, ...]
    trees: Trees


def catboost_trees(content: bytes, leaves: Leaves, n_numeric: int, cardinalities: Sequence[int]) -> CombinedTrees:
    """Translate a model of CatBoost's.

    Args:
        content: The model in CatBoost's JSON, of trees that ask one question in all nodes of a step.
        leaves: The same model, to be asked.
        n_numeric: Numbers of a row.
        cardinalities: Codes of each categorical column.

    Raises:
        ValueError: If it holds what is not read here, or more combinations than can be asked about.
    """
    kept = json.loads(content)
    combined = _combined(kept, cardinalities)
    combinations = tuple(dict.fromkeys(combined.values()))
    sizes = [one.size for one in combinations]
    _check_size(sizes, n_sets=len(combined))
    builder = TreesBuilder(n_numeric, sizes)
    sets: dict[tuple[int, int], int] = {}
    for place, combination in enumerate(combinations):
        splits = [split for split, its in combined.items() if its == combination]
        rows = (combination.rows(states, n_numeric, len(cardinalities)) for states in _blocks(sizes[place]))
        goes_right = np.concatenate([_sides(leaves(*made), splits) for made in rows])
        sets |= {split: builder.categories(place, side) for split, side in zip(splits, goes_right.T, strict=True)}
    scale, start = kept["scale_and_bias"]
    for number, tree in enumerate(kept["oblivious_trees"]):
        _add(builder, tree, scale, {place: column for (of, place), column in sets.items() if of == number})
    return CombinedTrees(combinations, builder.build(start))


def _combined(kept: Mapping[str, Any], cardinalities: Sequence[int]) -> dict[tuple[int, int], Combination]:
    """Return the combination of each split that asks for categories, by tree and place in it."""
    info = kept["features_info"]
    numbers, categories = info.get("float_features", ()), info.get("categorical_features", ())
    if any(one["nan_value_treatment"] not in MISSING_LEFT for one in numbers):
        raise ValueError("CatBoost's trees for which a missing number is the largest are not read here")
    # CatBoost counts all that can be asked: borders of numbers, single values, then borders of statistics.
    before = sum(len(one["borders"]) for one in numbers) + sum(len(one.get("values", ())) for one in categories)
    statistics = [(Combination.of(one["elements"], cardinalities), one["borders"]) for one in info.get("ctrs", ())]
    asked = [combination for combination, borders in statistics for _ in borders]
    found = {}
    for number, tree in enumerate(kept["oblivious_trees"]):
        for place, split in enumerate(tree.get("splits") or ()):
            kind = split["split_type"]
            if kind == "OneHotFeature":
                found[number, place] = Combination.of([split], cardinalities)
            elif kind == "OnlineCtr":
                found[number, place] = asked[split["split_index"] - before]
            elif kind != "FloatFeature":
                raise ValueError(f"CatBoost's splits by {kind} are not read here")
    return found


def _check_size(sizes: Sequence[int], *, n_sets: int) -> None:
    if sum(sizes) > MOST_STATES or n_sets * max(sizes, default=0) > MOST_CELLS:
        raise ValueError(
            f"CatBoost keeps statistics of {sum(sizes):,} combinations of values in {n_sets:,} splits, which are too "
            "many for a graph; take fewer categories, or model=lightgbm"
        )


def _blocks(size: int) -> list[np.ndarray]:
    return [np.arange(start, min(start + ASKED, size)) for start in range(0, size, ASKED)]


def _sides(leaves: np.ndarray, splits: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return whether each row goes right at each split: a leaf's number has a bit for each step of its tree."""
    trees, places = np.array(splits).T
    return (leaves[:, trees] >> places & 1).astype(bool)


def _add(builder: TreesBuilder, tree: Mapping[str, Any], scale: float, sets: Mapping[int, int]) -> None:
    """Add a tree with all its nodes written out, step by step, as in a heap."""
    splits = tree.get("splits") or ()
    depth, n_inner = len(splits), 2 ** len(splits) - 1
    column, threshold = np.zeros(2 * n_inner + 1, dtype=np.int64), np.zeros(2 * n_inner + 1)
    for step in range(depth):
        # The leaf's first bit is that of the first split, so the last one is asked first.
        place = depth - 1 - step
        nodes = slice(2**step - 1, 2 ** (step + 1) - 1)
        if place in sets:
            column[nodes], threshold[nodes] = sets[place], 0.5
        else:
            column[nodes] = builder.number(splits[place]["float_feature_index"], missing_left=True)
            threshold[nodes] = splits[place]["border"]
    own = np.arange(2 * n_inner + 1)
    children = np.where(own[:, None] < n_inner, 2 * own[:, None] + [1, 2], own[:, None])
    values = scale * np.asarray(tree["leaf_values"], dtype=np.float64).reshape(n_inner + 1, -1)
    builder.add(column, threshold, children, np.concatenate([np.zeros((n_inner, values.shape[1])), values]))
