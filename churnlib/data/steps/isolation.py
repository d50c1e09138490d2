"""A forest of random cuts: rows that few cuts set apart are unusual (Liu, Ting, Zhou, 2008).

scikit-learn grows it; what is kept are the cuts as lists of numbers, and rows are scored from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

ROWS_PER_TREE = 256
PIECE = 16_384
"""Rows scored at a time."""


def grow(rows: np.ndarray, *, n_trees: int, contamination: float, seed: int) -> dict[str, Any]:
    """Grow a forest and return it as JSON-ready values.

    Args:
        rows: ``(n, d)`` float64 without gaps.
        n_trees: Trees.
        contamination: Share of these rows that count as unusual, in (0, 0.5].
        seed: Of the cuts.

    Returns:
        ``trees`` (place of each root), and for each node ``column``, ``cut``, ``left``, ``right`` (places of nodes; a
        leaf points to itself) and ``depth`` (cuts until a row is alone, of a leaf); ``usual`` (the depth of a row among
        others, times the trees) and ``border`` (a score above it is unusual).
    """
    from sklearn.ensemble import IsolationForest

    n_rows = min(ROWS_PER_TREE, len(rows))
    options: dict[str, Any] = {"n_estimators": n_trees, "max_samples": n_rows, "contamination": contamination}
    forest = IsolationForest(**options, random_state=seed).fit(rows)
    nodes: dict[str, list[Any]] = {name: [] for name in ("column", "cut", "left", "right", "depth")}
    roots = []
    for tree in (one.tree_ for one in forest.estimators_):
        start = len(nodes["cut"])
        roots.append(start)
        places, leaf = np.arange(tree.node_count), tree.children_left < 0
        nodes["column"] += np.where(leaf, 0, tree.feature).tolist()
        nodes["cut"] += np.where(leaf, 0.0, tree.threshold).tolist()
        nodes["left"] += (np.where(leaf, places, tree.children_left) + start).tolist()
        nodes["right"] += (np.where(leaf, places, tree.children_right) + start).tolist()
        nodes["depth"] += np.where(leaf, _depths(tree) + expected_depth(tree.n_node_samples), 0.0).tolist()
    usual = n_trees * float(expected_depth(np.array([n_rows]))[0])
    return {"trees": roots, **nodes, "usual": usual, "border": float(-forest.offset_)}


def expected_depth(n: np.ndarray) -> np.ndarray:
    """Return how many random cuts set one of ``n`` rows apart on average.

    >>> expected_depth(np.array([1, 2, 256])).round(2).tolist()
    [0.0, 1.0, 10.24]
    """
    many = np.maximum(n, 3).astype(np.float64)
    depth = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, depth))


def score(rows: np.ndarray, forest: Mapping[str, Any]) -> np.ndarray:
    """Return how unusual rows are, ``(n,)`` float64 in (0, 1]; about 0.5 is usual.

    Args:
        rows: ``(n, d)`` float64 without gaps.
        forest: What :func:`grow` returned, its lists as arrays or not.
    """
    roots, usual = np.asarray(forest["trees"]), forest["usual"]
    column, left, right = (np.asarray(forest[name]) for name in ("column", "left", "right"))
    cut, depth = np.asarray(forest["cut"]), np.asarray(forest["depth"])
    scores = np.ones(len(rows))
    for start in range(0, len(rows) if usual else 0, PIECE):
        # Trees are grown on float32, and a value on a cut must fall on the same side here.
        piece = rows[start : start + PIECE].astype(np.float32)
        line = np.arange(len(piece))[:, None]
        node = np.broadcast_to(roots, (len(piece), len(roots)))
        while True:
            below = np.where(piece[line, column[node]] <= cut[node], left[node], right[node])
            if np.array_equal(below, node):
                break
            node = below
        scores[start : start + PIECE] = 2.0 ** -(depth[node].sum(axis=1) / usual)
    return scores


def _depths(tree: Any) -> np.ndarray:
    """Return the number of cuts above each node, ``(n_nodes,)``; children stand behind their parents."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth
