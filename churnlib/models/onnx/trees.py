"""Decision trees as one node of ONNX's operators for machine learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from churnlib.models.onnx.graph import Graph
from churnlib.models.onnx.writing import EncodedRows

if TYPE_CHECKING:
    from churnlib.models.baselines.catboost_trees import Combination, CombinedTrees
    from churnlib.models.baselines.trees import Trees


def draw_trees(graph: Graph, trees: Trees, rows: EncodedRows) -> str:
    """Return the sums over all trees, float64: ``(batch,)`` for one output, else ``(batch, n_outputs)``."""
    n_outputs = len(trees.start)
    sums = graph.add(
        "TreeEnsembleRegressor",
        _columns(graph, trees, rows),
        domain="ai.onnx.ml",
        n_targets=n_outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        **_nodes(trees),
        **_leaves(trees),
    )
    # The node sums in float64, as its inputs are, and answers in float32.
    sums = graph.add("Add", graph.cast(sums, np.float64), graph.constant(trees.start, np.float64))
    return graph.add("Squeeze", sums, graph.constant([1], np.int64)) if n_outputs == 1 else sums


def draw_combined(graph: Graph, combined: CombinedTrees, rows: EncodedRows) -> str:
    """Return the sums over all trees, as :func:`draw_trees`, of trees whose codes are states of combinations."""
    if combined.combinations:
        states = _states(graph, combined.combinations, rows)
        rows = replace(rows, codes=states, cardinalities=tuple(one.size for one in combined.combinations))
    return draw_trees(graph, combined.trees, rows)


def _states(graph: Graph, combinations: Sequence[Combination], rows: EncodedRows) -> str:
    """Return the state of each combination, ``(batch, n_combinations)`` int64: a sum of its parts' strides."""
    borders = sorted({(column, border) for one in combinations for column, its in one.numbers for border in its})
    parts = rows.codes
    if borders:
        columns, values = graph.constant([column for column, _ in borders], np.int64), [border for _, border in borders]
        numbers = graph.add("Gather", rows.numeric, columns, axis=1)
        above = graph.cast(graph.add("Greater", numbers, graph.constant(values, np.float32)), np.int64)
        parts = graph.add("Concat", parts, above, axis=1)
    place_of = {one: len(rows.cardinalities) + place for place, one in enumerate(borders)}
    terms = [_terms(one, place_of) for one in combinations]
    width = max(map(len, terms))
    # Filled up with a part that counts nothing.
    filled = np.array([[*one, *[(0, 0)] * (width - len(one))] for one in terms], dtype=np.int64)
    picked = graph.add("Gather", parts, graph.constant(filled[:, :, 0]), axis=1)
    return graph.reduce("ReduceSum", graph.add("Mul", picked, graph.constant(filled[:, :, 1])), [2])


def _terms(combination: Combination, place_of: Mapping[tuple[int, float], int]) -> list[tuple[int, int]]:
    """Return the places of a combination's parts, each with what one of it counts; a number has a part per border."""
    strides = iter(np.cumprod((1, *combination.shape[:0:-1]))[::-1].tolist())
    terms = [(column, next(strides)) for column in combination.categories]
    for column, borders in combination.numbers:
        stride = next(strides)
        terms += [(place_of[column, border], stride) for border in borders]
    return terms


def draw_votes(graph: Graph, sums: str, votes: int, *, n_outputs: int) -> str:
    """Return log-odds of shares of votes, as :meth:`churnlib.models.baselines.trees.TreesModel.scores`."""
    from churnlib.models.onnx.operators.arithmetic import steady

    even = 0.5 if n_outputs == 1 else 1 / n_outputs
    total = graph.add("Add", sums, graph.constant(even, np.float64))
    shares = graph.add("Div", total, graph.constant(votes + 1, np.float64))
    shape = (-1,) if n_outputs == 1 else (-1, n_outputs)
    leaves = steady(graph, "Log", shares, shape)
    if n_outputs > 1:
        return leaves
    stays = steady(graph, "Log", graph.add("Sub", graph.constant(1, np.float64), shares), shape)
    return graph.add("Sub", leaves, stays)


def _columns(graph: Graph, trees: Trees, rows: EncodedRows) -> str:
    """Return what the splits compare, ``(batch, columns)`` float64; see :mod:`churnlib.models.baselines.trees`."""
    missing = graph.add("IsNaN", rows.numeric)
    parts = [
        graph.cast(graph.add("Where", missing, graph.constant(end, np.float32), rows.numeric), np.float64)
        for end in (-np.inf, np.inf)
    ]
    if len(trees.set_feature):
        n_sets, width = trees.set_right.shape
        picked = graph.add("Gather", rows.codes, graph.constant(trees.set_feature, np.int64), axis=1)
        places = graph.add("Add", picked, graph.constant(np.arange(n_sets) * width, np.int64))
        right = graph.constant(trees.set_right.ravel(), np.int8)
        parts.append(graph.cast(graph.add("Gather", right, places, axis=0), np.float64))
    return graph.add("Concat", *parts, axis=1)


def _nodes(trees: Trees) -> dict[str, object]:
    from onnx import numpy_helper

    tree, node = _names(trees)
    is_leaf = trees.children[:, 0] == np.arange(len(trees.column))
    of_node = np.repeat(trees.roots, _sizes(trees))
    left, right = (np.where(is_leaf, 0, trees.children[:, side] - of_node) for side in (0, 1))
    return {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": np.where(is_leaf, 0, trees.column).tolist(),
        "nodes_values_as_tensor": numpy_helper.from_array(trees.threshold.astype(np.float64), "thresholds"),
        "nodes_modes": ["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf.tolist()],
        "nodes_truenodeids": left.tolist(),
        "nodes_falsenodeids": right.tolist(),
    }


def _leaves(trees: Trees) -> dict[str, object]:
    from onnx import numpy_helper

    tree, node = _names(trees)
    leaves = np.flatnonzero(trees.children[:, 0] == np.arange(len(trees.column)))
    n_values = trees.value.shape[1]
    # A leaf with several values adds to every output.
    targets = np.tile(np.arange(n_values), len(leaves)) if n_values > 1 else trees.output[tree[leaves]]
    repeated = np.repeat(leaves, n_values)
    return {
        "target_treeids": tree[repeated].tolist(),
        "target_nodeids": node[repeated].tolist(),
        "target_ids": targets.tolist(),
        "target_weights_as_tensor": numpy_helper.from_array(trees.value[leaves].ravel(), "leaves"),
    }


def _sizes(trees: Trees) -> np.ndarray:
    return np.diff(np.append(trees.roots, len(trees.column)))


def _names(trees: Trees) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each node's tree, and its own number there."""
    sizes = _sizes(trees)
    tree = np.repeat(np.arange(len(sizes)), sizes)
    return tree, np.arange(len(trees.column)) - np.repeat(trees.roots, sizes)
