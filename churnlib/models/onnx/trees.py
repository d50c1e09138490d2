"""Decision trees as one node of ONNX's operators for machine learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churnlib.models.onnx.graph import Graph
from churnlib.models.onnx.writing import EncodedRows

if TYPE_CHECKING:
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
        right = graph.constant(trees.set_right.ravel(), np.float64)
        parts.append(graph.add("Gather", right, places, axis=0))
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
