"""Matrix products, normalisations, convolutions, attention and recurrent layers.

ONNX Runtime multiplies rows by a constant matrix in the same way whether there is one row or a thousand, to the last
bit, but not rows by a stack of matrices, nor a matrix by rows that lie in its columns. So that a customer's answer does
not hang on who is asked with it, products here are made of the first kind, or of convolutions, which take rows one by
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from churnlib.models.onnx.graph import CannotExport, Graph
from churnlib.models.onnx.operators.call import At, Operator
from churnlib.models.onnx.recording import Fixed, Made

MANY = 256
"""Matrices of a stack above which one convolution multiplies by all of them.

Three nodes for each matrix are up to half as fast again for many rows while they are few; of ten thousand columns they
were thirty thousand nodes, which ONNX Runtime took twelve seconds to read.
"""


def _linear(at: At) -> str:
    weight = at.graph.constant(np.ascontiguousarray(at.array("weight").T))
    bias = at.call.arguments["bias"]
    if len(at.out.shape) == 2:
        return at.graph.add("Gemm", at.value("input"), weight, *([] if bias is None else [at.value("bias")]))
    product = at.graph.add("MatMul", at.value("input"), weight)
    return product if bias is None else at.graph.add("Add", product, at.value("bias"))


def _product(at: At) -> str:
    return _matmul(at, "self", "mat2" if "mat2" in at.call.arguments else "other")


def _matmul(at: At, first: str, second: str) -> str:
    one, two = at.call.arguments[first], at.call.arguments[second]
    if isinstance(one, Fixed) and one.array.ndim == 2 and isinstance(two, Made) and len(two.info.shape) == 2:
        weight = at.graph.constant(np.ascontiguousarray(one.array.T))
        rows = at.graph.add("Transpose", at.value(second), perm=[1, 0])
        return at.graph.add("Transpose", at.graph.add("MatMul", rows, weight), perm=[1, 0])
    if isinstance(two, Fixed) and two.array.ndim == 3 and len(one.info.shape) == 3:
        return _by_stack(at.graph, at.value(first), two.array)
    return at.graph.add("MatMul", at.value(first), at.value(second))


def _by_stack(graph: Graph, rows: str, weights: np.ndarray) -> str:
    """Multiply ``(S, rows, K)`` by ``(S, K, C)`` one by one; returns ``(S, rows, C)``."""
    if len(weights) > MANY:
        return _by_groups(graph, rows, weights)
    axis = graph.constant([0], np.int64)
    parts = graph.add_many("Split", rows, outputs=len(weights), axis=0, num_outputs=len(weights))
    products = [
        graph.add("MatMul", graph.add("Squeeze", part, axis), graph.constant(np.ascontiguousarray(weight)))
        for part, weight in zip(parts, weights, strict=True)
    ]
    return graph.add("Concat", *(graph.add("Unsqueeze", product, axis) for product in products), axis=0)


def _by_groups(graph: Graph, rows: str, weights: np.ndarray) -> str:
    """Return what :func:`_by_stack` does in one node: a convolution of one place, with a group for each matrix.

    It takes rows one by one, so that their number changes no bit either.
    """
    n_stacked, n_summed, n_made = weights.shape
    channels = graph.reshape(graph.add("Transpose", rows, perm=[1, 0, 2]), [-1, n_stacked * n_summed, 1])
    kernel = graph.constant(weights.transpose(0, 2, 1).reshape(n_stacked * n_made, n_summed, 1))
    made = graph.add("Conv", channels, kernel, kernel_shape=[1], group=n_stacked)
    return graph.add("Transpose", graph.reshape(made, [-1, n_stacked, n_made]), perm=[1, 0, 2])


def _addmm(at: At) -> str:
    factors: dict[str, Any] = {"alpha": float(at.plain("alpha")), "beta": float(at.plain("beta"))}
    return at.graph.add("Gemm", at.value("mat1"), at.value("mat2"), at.value("self"), **factors)


def _baddbmm(at: At) -> str:
    at.require("alpha", 1)
    at.require("beta", 1)
    return at.graph.add("Add", _matmul(at, "batch1", "batch2"), at.value("self"))


def _einsum(at: At) -> str:
    """Sums of products of tensors that depend on the rows with one that does not: ``btw,twd->btd``.

    The former are multiplied number by number; the letters that they share with the latter and with the result number a
    stack of matrices.
    """
    left, result = at.plain("equation").replace(" ", "").split("->")
    operands = list(zip(left.split(","), at.call.arguments["tensors"], strict=True))
    fixed = [(letters, one.array) for letters, one in operands if isinstance(one, Fixed)]
    if len(fixed) != 1:
        raise CannotExport(f"einsum {left}->{result} has a form here for exactly one tensor that no row changes")
    [(of_weights, weights)] = fixed
    made = [(letters, at.to_value(one)) for letters, one in operands if isinstance(one, Made)]
    union = "".join(dict.fromkeys("".join(letters for letters, _ in made)))
    value = _aligned(at.graph, *made[0], union)
    for letters, other in made[1:]:
        value = at.graph.add("Mul", value, _aligned(at.graph, letters, other, union))
    stack = [one for one in union if one in of_weights and one in result]
    summed = [one for one in union if one in of_weights and one not in result]
    rows = [one for one in union if one not in of_weights]
    new = [one for one in of_weights if one not in union]
    if len(stack) != 1 or len(rows) != 1 or len(new) != 1:
        raise CannotExport(f"einsum {left}->{result} has no form here")
    order = [*stack, *summed, *new]
    size = {letter: weights.shape[place] for place, letter in enumerate(of_weights)}
    matrices = weights.transpose([of_weights.index(letter) for letter in order])
    matrices = matrices.reshape(size[stack[0]], -1, size[new[0]])
    value = at.graph.add("Transpose", value, perm=[union.index(letter) for letter in (*stack, *rows, *summed)])
    value = _by_stack(at.graph, at.graph.reshape(value, [len(matrices), -1, matrices.shape[1]]), matrices)
    return at.graph.add("Transpose", value, perm=[[*stack, *rows, *new].index(letter) for letter in result])


def _aligned(graph: Graph, letters: str, value: str, union: str) -> str:
    """Bring a tensor with some of the letters to all of them, with size 1 where it lacks one."""
    lacking = [place for place, letter in enumerate(union) if letter not in letters]
    present = [letter for letter in union if letter in letters]
    if present != list(letters):
        value = graph.add("Transpose", value, perm=[letters.index(letter) for letter in present])
    return graph.add("Unsqueeze", value, graph.constant(lacking, np.int64)) if lacking else value


def _batch_norm(at: At) -> str:
    at.require("training", False)
    weight, bias = (
        np.float32(neutral) if at.call.arguments[name] is None else at.array(name)
        for name, neutral in (("weight", 1), ("bias", 0))
    )
    mean, var = at.array("running_mean"), at.array("running_var")
    scale = weight / np.sqrt(var + np.float32(at.plain("eps")))
    product = at.graph.product_of(at.value("input"))
    if product is not None:  # two steps less for each row: the layer before takes the norm into its weights
        rows, weights, shift = product
        moved = (shift.astype(np.float64) - mean) * scale + bias
        folded = at.graph.constant(weights.astype(np.float64) * scale, np.float32)
        return at.graph.add("Gemm", rows, folded, at.graph.constant(moved, np.float32))
    along = (-1, *[1] * (len(at.out.shape) - 2))  # channels are the second dimension
    scaled = at.graph.add("Mul", at.value("input"), at.graph.constant(scale.reshape(along), np.float32))
    return at.graph.add("Add", scaled, at.graph.constant((bias - mean * scale).reshape(along), np.float32))


def _layer_norm(at: At) -> str:
    shape = at.plain("normalized_shape")
    weight = at.value("weight") if at.call.arguments["weight"] is not None else at.graph.constant(np.ones(shape), "f4")
    bias = at.value("bias") if at.call.arguments["bias"] is not None else at.graph.constant(np.zeros(shape), "f4")
    return at.graph.add(
        "LayerNormalization", at.value("input"), weight, bias, axis=-len(shape), epsilon=float(at.plain("eps"))
    )


def _convolution(at: At) -> str:
    padding = at.plain("padding")
    if isinstance(padding, str):
        raise CannotExport(f"a convolution with padding={padding!r} has no form here; give it in numbers")
    bias = [] if at.call.arguments["bias"] is None else [at.value("bias")]
    return at.graph.add(
        "Conv",
        at.value("input"),
        at.value("weight"),
        *bias,
        kernel_shape=list(at.info("weight").shape[2:]),
        strides=at.plain("stride"),
        pads=[*padding, *padding],
        dilations=at.plain("dilation"),
        group=at.plain("groups"),
    )


def _attention(at: At) -> str:
    at.require("attn_mask", None)
    at.require("dropout_p", 0.0)
    at.require("is_causal", False)
    scale = at.plain("scale") or float(at.info("query").shape[-1]) ** -0.5
    ndim = len(at.info("key").shape)
    key = at.graph.add("Transpose", at.value("key"), perm=[*range(ndim - 2), ndim - 1, ndim - 2])
    scores = at.graph.add("MatMul", at.graph.add("Mul", at.value("query"), at.graph.constant(scale, "f4")), key)
    return at.graph.add("MatMul", at.graph.add("Softmax", scores, axis=-1), at.value("value"))


# --- recurrent layers -----------------------------------------------------------------------------------------------

GATES = {"GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
"""Where ONNX's gates stand among PyTorch's: update before reset; input, output, forget, cell."""


def _recurrent(op: str) -> Operator:
    def translate(at: At) -> list[str]:
        at.require("has_biases", True)
        at.require("bidirectional", False)
        at.require("train", False)
        starts = at.call.arguments["hx"]
        if not all(isinstance(one, Fixed) and not one.array.any() for one in _listed(starts)):
            raise CannotExport(f"a {op} that does not start from zero has no form here")
        parameters = [one.array for one in at.call.arguments["params"]]
        value = at.value("input")
        if at.plain("batch_first"):
            value = at.graph.add("Transpose", value, perm=[1, 0, 2])  # (T, B, C)
        value = at.graph.add("Concat", value, _rows(at.graph, value, 0, 1), axis=1)  # never a single row
        states: list[list[str]] = []
        for layer in range(at.plain("num_layers")):
            value, *last = _recurrent_layer(at.graph, op, value, parameters[4 * layer : 4 * layer + 4])
            states.append([_rows(at.graph, one, 0, -1) for one in last])
        value = _rows(at.graph, value, 0, -1)
        if at.plain("batch_first"):
            value = at.graph.add("Transpose", value, perm=[1, 0, 2])
        return [value, *(at.graph.add("Concat", *each, axis=0) for each in zip(*states, strict=True))]

    return translate


def _rows(graph: Graph, value: str, start: int, end: int) -> str:
    """Take rows ``start`` to ``end`` of ``(T, B, H)``."""
    return graph.add("Slice", value, *(graph.constant([one], np.int64) for one in (start, end, 1)))


def _recurrent_layer(graph: Graph, op: str, value: str, parameters: list[np.ndarray]) -> list[str]:
    """Add one layer; return its outputs ``(T, B, H)`` and its last states ``(1, B, H)``."""
    of_inputs, of_states, *biases = (_gates(one, GATES[op]) for one in parameters)
    both = np.concatenate(biases)
    numbers = [graph.constant(one[None]) for one in (of_inputs, of_states, both)]
    # GRU: PyTorch applies the reset gate after the matrix product.
    more: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
    outputs = 2 if op == "GRU" else 3
    made = graph.add_many(op, value, *numbers, outputs=outputs, hidden_size=of_states.shape[1], **more)
    return [graph.add("Squeeze", made[0], graph.constant([1], np.int64)), *made[1:]]


def _gates(parameter: np.ndarray, order: list[int]) -> np.ndarray:
    return np.concatenate([np.split(parameter, len(order))[place] for place in order])


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


OPERATORS: dict[str, Operator] = {
    "linear": _linear,
    "matmul": _product,
    "mm": _product,
    "bmm": _product,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "einsum": _einsum,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "conv1d": _convolution,
    "scaled_dot_product_attention": _attention,
    "gru": _recurrent("GRU"),
    "lstm": _recurrent("LSTM"),
}
