"""What LightGBM and XGBoost write about their trees, as churnlib's own arrays: needed where neither is at hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from churnlib.models.baselines.trees import Trees, TreesBuilder

CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2
MISSING_NONE, MISSING_NAN = 0, 2
"""Bits of LightGBM's ``decision_type``, and what its two highest say of missing values."""


def lightgbm_trees(text: str, n_numeric: int, cardinalities: Sequence[int]) -> Trees:
    """Read LightGBM's text.

    Args:
        text: As ``Booster.model_to_string`` writes it.
        n_numeric: Numbers of a row, before its codes.
        cardinalities: Codes of each categorical column.

    Raises:
        ValueError: If it holds what is not read here: linear leaves, or zeros that count as missing.
    """
    head, *blocks = text.split("\nend of trees")[0].split("\nTree=")
    n_outputs = int(_fields(head)["num_tree_per_iteration"])
    builder = TreesBuilder(n_numeric, cardinalities)
    for number, block in enumerate(blocks):
        _add_lightgbm(builder, _fields(block), output=number % n_outputs)
    return builder.build([0.0] * n_outputs)


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _add_lightgbm(builder: TreesBuilder, fields: Mapping[str, str], *, output: int) -> None:
    if int(fields.get("is_linear", "0")):
        raise ValueError("LightGBM's trees with linear leaves are not read here")
    leaves = _floats(fields["leaf_value"])
    splits = _integers(fields.get("split_feature", ""))
    n_splits = len(splits)
    decisions, thresholds = _integers(fields.get("decision_type", "")), _floats(fields.get("threshold", ""))
    borders, bits = _integers(fields.get("cat_boundaries", "")), _integers(fields.get("cat_threshold", ""))
    column, threshold = np.zeros(n_splits + len(leaves), dtype=np.int64), np.zeros(n_splits + len(leaves))
    for node, (feature, decision) in enumerate(zip(splits, decisions, strict=True)):
        if decision & CATEGORICAL:
            place = int(thresholds[node])
            words = bits[borders[place] : borders[place + 1]]
            n_codes = builder.cardinalities[feature - builder.n_numeric]
            right = np.array([not _has_bit(words, code) for code in range(n_codes)])
            column[node], threshold[node] = builder.categories(feature - builder.n_numeric, right), 0.5
            continue
        missing, left = decision >> MISSING_SHIFT, bool(decision & DEFAULT_LEFT)
        if missing not in (MISSING_NONE, MISSING_NAN):
            raise ValueError("LightGBM's trees with zeros that count as missing are not read here")
        # Where training had no missing value, one counts as 0.
        left = left if missing == MISSING_NAN else thresholds[node] >= 0
        column[node], threshold[node] = builder.number(feature, missing_left=left), thresholds[node]
    # Splits come first here, the root in front; LightGBM counts its leaves -1, -2, ...
    own = np.arange(n_splits + len(leaves))
    children = np.stack([own, own], axis=1)
    for side, name in enumerate(("left_child", "right_child")):
        named = np.array(_integers(fields.get(name, "")), dtype=np.int64)
        children[:n_splits, side] = np.where(named >= 0, named, n_splits + ~named)
    value = np.concatenate([np.zeros(n_splits), leaves])[:, None]
    builder.add(column, threshold, children, value, output=output)


def xgboost_trees(content: bytes, n_numeric: int, cardinalities: Sequence[int]) -> Trees:
    """Read XGBoost's JSON.

    Args:
        content: As ``Booster.save_raw("json")`` writes it, of an objective with log-odds or a softmax.
        n_numeric: Numbers of a row, before its codes.
        cardinalities: Codes of each categorical column.
    """
    learner = json.loads(content)["learner"]
    parameters = learner["learner_model_param"]
    n_outputs = max(int(parameters["num_class"]), 1)
    model = learner["gradient_booster"]["model"]
    builder = TreesBuilder(n_numeric, cardinalities)
    for tree, output in zip(model["trees"], model["tree_info"], strict=True):
        _add_xgboost(builder, tree, output=output)
    base = json.loads(parameters["base_score"])
    start = np.broadcast_to(np.asarray(base, dtype=np.float64), n_outputs).tolist()
    if learner["objective"]["name"] == "binary:logistic":  # its base is a probability
        start = [math.log(one) - math.log1p(-one) for one in start]
    return builder.build(start)


def _add_xgboost(builder: TreesBuilder, tree: Mapping[str, list], *, output: int) -> None:
    left, right = (np.array(tree[name]) for name in ("left_children", "right_children"))
    conditions = np.array(tree["split_conditions"], dtype=np.float32)
    own = np.arange(len(left))
    is_leaf = left == -1
    of_node = {
        node: (start, size)
        for node, start, size in zip(
            tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
        )
    }
    column, threshold = np.zeros(len(left), dtype=np.int64), np.zeros(len(left))
    for node in np.flatnonzero(~is_leaf).tolist():
        feature = tree["split_indices"][node]
        if node in of_node:
            start, size = of_node[node]
            goes_right = np.isin(
                np.arange(builder.cardinalities[feature - builder.n_numeric]), tree["categories"][start : start + size]
            )
            column[node], threshold[node] = builder.categories(feature - builder.n_numeric, goes_right), 0.5
            continue
        column[node] = builder.number(feature, missing_left=bool(tree["default_left"][node]))
        # Left is below the condition there, and up to the threshold here.
        threshold[node] = np.nextafter(conditions[node], np.float32(-np.inf))
    children = np.stack([np.where(is_leaf, own, left), np.where(is_leaf, own, right)], axis=1)
    builder.add(column, threshold, children, np.where(is_leaf, conditions, 0.0)[:, None], output=output)


def _has_bit(words: Sequence[int], place: int) -> bool:
    return place // 32 < len(words) and bool(words[place // 32] >> place % 32 & 1)


def _integers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _floats(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])
