"""What one customer's answer costs in arithmetic, counted from the graph that computes it.

Two operations for each multiplication and addition of a matrix product, a convolution or a recurrent layer, as
``torch.utils.flop_counter`` counts them and papers state them; one for each number that any other arithmetic makes
(an activation, a scale, a bias) or sums up; for decision trees one for each comparison on the longest way to a leaf and
one for each leaf that is added. Moving numbers (gather, concatenate, choose, convert) counts nothing, though it takes
time: two models whose figures are far apart differ in speed, and two whose figures are close may still do so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

FREE = frozenset({
    "Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "OneHot", "Pad", "Range", "Reshape", "ScatterND", "Shape", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators that move numbers."""

PASSES = {"Softmax": 3, "LogSoftmax": 3, "LayerNormalization": 6}
"""Operations for each number of operators that do several: exponential, sum, quotient; mean, distance, square, ..."""

Shapes = Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class Work:
    """Operations that one customer's answer takes.

    Attributes:
        products: Of matrix products, convolutions and recurrent layers.
        others: Of all else.
    """

    products: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        """All operations."""
        return self.products + self.others

    def __add__(self, other: Work) -> Work:
        return Work(self.products + other.products, self.others + other.others)


def work_of(content: bytes) -> Work:
    """Count the operations of an ONNX file for one row.

    Args:
        content: As :func:`~churnlib.models.onnx.writing.to_onnx` writes it: all inputs are ``(batch, columns)``.

    Raises:
        ValueError: If a size depends on more than the number of rows.
    """
    import onnx
    from onnx import shape_inference

    model = onnx.load_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, tuple[int | None, ...]] = {one.name: tuple(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(size.dim_value if size.HasField("dim_value") else None for size in sizes)
    return sum((_work(node, shapes) for node in graph.node), start=Work())


def _work(node: Any, shapes: Shapes) -> Work:
    if node.op_type in FREE:
        return Work()
    if node.op_type.startswith("TreeEnsemble"):
        return Work(others=_comparisons(node))
    if node.op_type in PRODUCTS:
        return PRODUCTS[node.op_type](node, shapes)
    numbers = max(_size(name, shapes) for name in (node.input[0], *node.output) if name)
    return Work(others=PASSES.get(node.op_type, 1) * numbers)


def _size(name: str, shapes: Shapes) -> int:
    return math.prod(_shape(name, shapes))


def _shape(name: str, shapes: Shapes) -> list[int]:
    found = [size for size in shapes.get(name, (None,)) if size is not None]
    if len(found) != len(shapes.get(name, (None,))):
        raise ValueError(f"the size of {name} is not known for one row")
    return found


# --- products -------------------------------------------------------------------------------------------------------


def _matmul(node: Any, shapes: Shapes) -> Work:
    return Work(2 * _size(node.output[0], shapes) * _shape(node.input[0], shapes)[-1])


def _gemm(node: Any, shapes: Shapes) -> Work:
    rows_first = next((one.i for one in node.attribute if one.name == "transA"), 0) == 0
    made, inner = _size(node.output[0], shapes), _shape(node.input[0], shapes)[1 if rows_first else 0]
    return Work(2 * made * inner, made if len(node.input) > 2 else 0)


def _conv(node: Any, shapes: Shapes) -> Work:
    made, kernel = _size(node.output[0], shapes), _shape(node.input[1], shapes)
    return Work(2 * made * math.prod(kernel[1:]), made if len(node.input) > 2 else 0)


def _recurrent(node: Any, shapes: Shapes) -> Work:
    """Count a GRU or an LSTM: every weight once a step, and about a dozen operations for each number of the state."""
    steps, weights = _shape(node.input[0], shapes)[0], _size(node.input[1], shapes) + _size(node.input[2], shapes)
    directions, _, state = _shape(node.input[2], shapes)
    return Work(2 * steps * weights, 12 * steps * directions * state)


PRODUCTS: Mapping[str, Callable[[Any, Shapes], Work]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "GRU": _recurrent,
    "LSTM": _recurrent,
}


# --- trees ----------------------------------------------------------------------------------------------------------


def _comparisons(node: Any) -> int:
    """Count the comparisons on the longest way through each tree, and the leaf that it ends at."""
    given = {one.name: list(one.ints or one.strings) for one in node.attribute}
    trees, names = (np.asarray(given[f"nodes_{name}"]) for name in ("treeids", "nodeids"))
    branches = np.asarray(given["nodes_modes"]) != b"LEAF"
    # Rows of a table in which each node finds its children.
    width = int(names.max()) + 1
    row_of = np.full((int(trees.max()) + 1) * width, -1)
    row_of[trees * width + names] = np.arange(len(trees))
    level, longest = np.flatnonzero(names == 0), Counter[int]()
    while len(level):
        longest.update(np.unique(trees[level]).tolist())
        level = level[branches[level]]
        children = [np.asarray(given[f"nodes_{side}nodeids"])[level] for side in ("true", "false")]
        level = row_of[np.concatenate([trees[level] * width + child for child in children])]
    return longest.total()
