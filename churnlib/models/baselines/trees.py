"""Decision trees as flat arrays that numpy walks: no library is needed to ask scikit-learn's forests.

Every split is ``column > threshold``. The columns are made from a row so that this one comparison says all there is:

- each number twice, a missing one as -inf and as +inf: a split reads the copy that sends missing values its way;
- for each set of categories that some split sends to the right, a column of 0 and 1.

All trees of all rows take one step at a time, and a leaf leads to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churnlib.models.baselines.arrays import read_arrays, write_arrays
from churnlib.models.baselines.baseline import FittedBaseline, Head

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows

FLOAT32_MAX = np.finfo(np.float32).max

WALKED = 2**16
"""Pairs of row and tree that walk together: their places fit into the processor's cache."""

ARRAYS = {
    "column": ("i", 1), "threshold": ("f", 1), "children": ("i", 2), "value": ("f", 2), "output": ("i", 1),
    "roots": ("i", 1), "start": ("f", 1), "set_feature": ("i", 1), "set_right": ("i", 2),
}  # fmt: skip
"""Names of the stored arrays, with kind and dimensions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trees:
    """Trees in one set of arrays; see the module for what a column is.

    Attributes:
        n_numeric: Numbers of a row.
        column: ``(n_nodes,)`` int32, what the node compares: a number (missing goes left), ``n_numeric`` + a number
            (missing goes right), or ``2 * n_numeric`` + a set of categories; 0 for a leaf.
        threshold: ``(n_nodes,)`` float32; a row goes right where its column is above.
        children: ``(n_nodes, 2)`` int32, left and right; a leaf names itself. Children come after their parent.
        value: ``(n_nodes, n_values)`` float64, what a leaf adds: to its tree's output, or to each output.
        output: ``(n_trees,)`` int32, the output that a tree with one value in its leaves adds to.
        roots: ``(n_trees,)`` int32.
        start: ``(n_outputs,)`` float64, added to the sums.
        set_feature: ``(n_sets,)`` int32, the categorical column of a set.
        set_right: ``(n_sets, most codes)`` 0 or 1, whether a code goes right.
    """

    n_numeric: int
    column: np.ndarray
    threshold: np.ndarray
    children: np.ndarray
    value: np.ndarray
    output: np.ndarray
    roots: np.ndarray
    start: np.ndarray
    set_feature: np.ndarray
    set_right: np.ndarray

    @cached_property
    def depth(self) -> int:
        """Steps from a root to the farthest leaf."""
        steps, nodes = 0, np.unique(self.roots)
        while True:
            inner = nodes[self.children[nodes, 0] != nodes]
            if not len(inner):
                return steps
            steps, nodes = steps + 1, np.unique(self.children[inner])

    def columns(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return what the splits compare, ``(n, 2 * n_numeric + n_sets)`` float32."""
        missing = np.isnan(numeric)
        low, high = (np.where(missing, np.float32(end), numeric) for end in (-np.inf, np.inf))
        sets = self.set_right[np.arange(len(self.set_feature)), codes[:, self.set_feature]]
        return np.concatenate([low, high, sets.astype(np.float32)], axis=1)

    def __call__(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the sums over all trees, ``(n, n_outputs)`` float64."""
        columns = self.columns(numeric, codes)
        step = max(1, WALKED // max(len(self.roots), 1))
        parts = [self._walk(columns[start : start + step]) for start in range(0, len(columns), step)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.start)))

    def _walk(self, columns: np.ndarray) -> np.ndarray:
        flat, width = columns.ravel(), columns.shape[1]
        first = (np.arange(len(columns), dtype=np.int32) * width)[:, None]
        children = self.children.ravel()
        node = np.broadcast_to(self.roots, (len(columns), len(self.roots)))
        for _ in range(self.depth):
            right = flat[first + self.column[node]] > self.threshold[node]
            node = children[2 * node + right]
        leaves = self.value[node]  # (n, n_trees, n_values)
        if leaves.shape[2] > 1:
            return self.start + leaves.sum(axis=1)
        return self.start + leaves[:, :, 0] @ np.eye(len(self.start))[self.output]

    def check(self) -> None:
        """Refuse arrays that a walk could leave, or go round in for ever.

        Raises:
            ValueError: With what is wrong.
        """
        n_nodes, n_outputs, n_sets = len(self.column), len(self.start), len(self.set_feature)
        lengths = {len(self.threshold), len(self.children), len(self.value)}
        if lengths != {n_nodes} or self.children.shape[1] != 2 or len(self.output) != len(self.roots):
            raise ValueError("the trees' arrays have different lengths")
        nodes = np.arange(n_nodes)[:, None]
        is_leaf = (self.children == nodes).all(axis=1)
        if not (is_leaf | (self.children > nodes).all(axis=1)).all():
            raise ValueError("a tree has a node whose children do not come after it")
        for what, places, end in (
            ("node", self.children, n_nodes),
            ("root", self.roots, n_nodes),
            ("column", self.column[~is_leaf], 2 * self.n_numeric + n_sets),
            ("output", self.output, n_outputs),
            ("set of categories", self.set_feature, np.inf),
        ):
            if ((places < 0) | (places >= end)).any():
                raise ValueError(f"a tree names a {what} that does not exist")
        if len(self.set_right) != n_sets or self.value.shape[1] not in (1, n_outputs):
            raise ValueError("the trees' arrays do not fit together")


class TreesBuilder:
    """Collects trees node by node array, and gives them back in one set of arrays.

    Args:
        n_numeric: Numbers of a row.
        cardinalities: Codes of each categorical column, missing and unseen included.
    """

    def __init__(self, n_numeric: int, cardinalities: Sequence[int]) -> None:
        self.n_numeric = n_numeric
        self.cardinalities = tuple(cardinalities)
        self._sets: dict[tuple[int, bytes], int] = {}
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._outputs: list[int] = []

    def number(self, feature: int, *, missing_left: bool) -> int:
        """Return the column of a number's copy."""
        return feature if missing_left else self.n_numeric + feature

    def categories(self, feature: int, right: np.ndarray) -> int:
        """Return the column of a set of categories.

        Args:
            feature: Categorical column.
            right: ``(cardinality,)`` bool, whether a code goes right.
        """
        key = (feature, right.astype(np.int8).tobytes())
        return 2 * self.n_numeric + self._sets.setdefault(key, len(self._sets))

    def add(
        self, column: np.ndarray, threshold: np.ndarray, children: np.ndarray, value: np.ndarray, *, output: int = 0
    ) -> None:
        """Add a tree whose root is its first node.

        Args:
            column: ``(n_nodes,)``, as :meth:`number` and :meth:`categories` say.
            threshold: ``(n_nodes,)`` float64.
            children: ``(n_nodes, 2)``; a leaf has itself.
            value: ``(n_nodes, n_values)`` float64.
            output: See :class:`Trees`.
        """
        self._parts.append((column, _floor(threshold), children, value))
        self._outputs.append(output)

    def build(self, start: Sequence[float]) -> Trees:
        """Return the trees; ``start`` is added to the sums of their values."""
        sizes = [len(column) for column, *_ in self._parts]
        roots = np.cumsum([0, *sizes])[:-1]
        column, threshold, value = (
            np.concatenate([part[place] for part in self._parts] or [np.zeros((0,) if place < 3 else (0, 1))])
            for place in (0, 1, 3)
        )
        children = [part[2] + root for part, root in zip(self._parts, roots, strict=True)]
        set_right = np.zeros((len(self._sets), max(self.cardinalities, default=0)), dtype=np.int8)
        for (_, right), place in self._sets.items():
            set_right[place, : len(right)] = np.frombuffer(right, dtype=np.int8)
        return Trees(
            n_numeric=self.n_numeric,
            column=column.astype(np.int32),
            threshold=threshold.astype(np.float32),
            children=np.concatenate(children or [np.zeros((0, 2))]).astype(np.int32),
            value=value.astype(np.float64),
            output=np.array(self._outputs, dtype=np.int32),
            roots=roots.astype(np.int32),
            start=np.asarray(start, dtype=np.float64),
            set_feature=np.array([feature for feature, _ in self._sets], dtype=np.int32),
            set_right=set_right,
        )


def _floor(threshold: np.ndarray) -> np.ndarray:
    """Return the largest float32 not above: to a float32 it compares like the float64 that it was."""
    clipped = threshold.clip(-FLOAT32_MAX, FLOAT32_MAX)
    nearest = clipped.astype(np.float32)
    with np.errstate(over="ignore"):  # below the smallest number there is none, and none is needed
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > clipped, below, nearest).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TreesModel(FittedBaseline):
    """Trees whose sums are log-odds, or shares of votes.

    Attributes:
        trees: The trees.
        votes: Number of trees whose leaves hold shares of classes; 0 if the sums are log-odds.
    """

    kind: ClassVar[str] = "trees"
    trees: Trees
    votes: int = 0

    def sums(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return what the trees add up to, ``(n, n_outputs)`` float64: log-odds, or probabilities."""
        sums = self.trees(numeric, codes)
        return sums / self.votes if self.votes else sums

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return log-odds; one more tree, which cannot decide, keeps unanimous votes from being certain."""
        sums = self.sums(numeric, codes)
        single = sums.shape[1] == 1
        if self.votes:
            even = 0.5 if single else 1 / sums.shape[1]
            shares = (self.votes * sums + even) / (self.votes + 1)
            sums = np.log(shares) - np.log1p(-shares) if single else np.log(shares)
        return sums[:, 0] if single else sums

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.onnx.trees import draw_trees, draw_votes

        sums = draw_trees(graph, self.trees, rows)
        return draw_votes(graph, sums, self.votes, n_outputs=len(self.trees.start)) if self.votes else sums

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {"n_numeric": self.trees.n_numeric, "votes": self.votes}

    def state(self) -> bytes:  # noqa: D102
        return write_arrays({name: getattr(self.trees, name) for name in ARRAYS})

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> TreesModel:  # noqa: D102
        trees = Trees(n_numeric=int(values["n_numeric"]), **read_arrays(state, ARRAYS))
        trees.check()
        head = Head.from_values(values["head"], n_classes=n_classes)
        if len(trees.start) != len(head.shift):
            raise ValueError(f"trees with {len(trees.start)} outputs are none for {n_classes} classes")
        return cls(head=head, trees=trees, votes=int(values["votes"]))
