"""Operators that work number by number, compare, or reduce.

A customer's answer must not hang on who is asked with it, to the last bit. Two of ONNX Runtime's ways do, and are kept
out of the graph (`tests/test_onnx_operators.py` looks whether others do):

- Logarithm, softplus, sine and their like are computed for eight or sixteen numbers at a time and, where fewer are left
  at the end, in another way. They get rows whose length is a multiple of sixteen.
- A sum over a dimension in the middle is another one when there is only one row. It is brought to the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from churnlib.models.onnx.graph import Graph
from churnlib.models.onnx.operators.call import At, Operator, numpy_dtype

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

TOGETHER = 16
"""Numbers that a processor takes at a time, at most."""

FLOAT32_MAX = float(np.finfo(np.float32).max)


def _unary(op: str, **attributes: Any) -> Operator:
    return lambda at: at.graph.add(op, at.value("self", at.out.dtype), **attributes)


def _steady(op: str, **attributes: Any) -> Operator:
    return lambda at: steady(at.graph, op, at.value("self", at.out.dtype), at.out.shape, **attributes)


def steady(graph: Graph, op: str, value: str, shape: Sequence[int], **attributes: Any) -> str:
    """Apply an operator that treats the last few numbers in another way so that there are no last few.

    Args:
        graph: Where to add it.
        op: ONNX's name, of an operator on single numbers.
        value: What to apply it to, float.
        shape: Of the value; negative sizes depend on the number of rows.
        **attributes: Of the operator.
    """
    if math.prod(abs(size) for size in shape) % TOGETHER == 0:
        return graph.add(op, value, **attributes)
    if shape and shape[-1] > 0:
        missing, last = -shape[-1] % TOGETHER, len(shape) - 1
        ends = [*[0] * (2 * last + 1), missing]
        wide = graph.add(op, graph.add("Pad", value, graph.constant(ends, np.int64), mode="edge"), **attributes)
        cut = [graph.constant([one], np.int64) for one in (0, shape[-1], last)]
        return graph.add("Slice", wide, *cut)
    wide = graph.add("Unsqueeze", value, graph.constant([-1], np.int64))
    wide = graph.add("Expand", wide, graph.constant([*[1] * len(shape), TOGETHER], np.int64))
    return graph.add("Gather", graph.add(op, wide, **attributes), graph.constant(0, np.int64), axis=len(shape))


def _binary(op: str) -> Operator:
    def translate(at: At) -> str:
        return at.graph.add(op, at.value("self", at.out.dtype), at.value("other", at.out.dtype))

    return translate


def _scaled(op: str, *, turned: bool = False) -> Operator:
    """``self + alpha * other``, and its relatives."""

    def translate(at: At) -> str:
        at.require("alpha", 1)
        sides = [at.value("self", at.out.dtype), at.value("other", at.out.dtype)]
        return at.graph.add(op, *(reversed(sides) if turned else sides))

    return translate


def _divide(at: At) -> str:
    if at.call.arguments.get("rounding_mode") is not None:
        at.require("rounding_mode", None)
    return at.graph.add("Div", at.value("self", at.out.dtype), at.value("other", at.out.dtype))


def _compare(op: str) -> Operator:
    def translate(at: At) -> str:
        other = at.call.arguments["other"]
        mine = at.info("self").dtype
        dtype = mine if isinstance(other, int | float) else torch.promote_types(mine, other.info.dtype)
        if isinstance(other, float) and not mine.is_floating_point:
            dtype = torch.float32
        truth = at.graph.add(op, at.value("self", dtype), at.value("other", dtype))
        # `torch.gt(x, y, out=numbers)` writes 0 and 1.
        return truth if at.out.dtype == torch.bool else at.graph.cast(truth, numpy_dtype(at.out.dtype))

    return translate


def _not_equal(at: At) -> str:
    return at.graph.add("Not", str(_compare("Equal")(at)))


def _where(at: At) -> str:
    return at.graph.add("Where", at.value("condition"), at.value("self", at.out.dtype), at.value("other", at.out.dtype))


def _masked_fill(at: At) -> str:
    return at.graph.add("Where", at.value("mask"), at.value("value", at.out.dtype), at.value("self"))


def _clamp(at: At) -> str:
    low, high = (at.call.arguments.get(name) for name in ("min", "max"))
    value = at.value("self", at.out.dtype)
    if all(one is None or isinstance(one, int | float) for one in (low, high)):
        ends = ["" if one is None else at.to_value(one, at.out.dtype) for one in (low, high)]
        return at.graph.add("Clip", value, *ends)
    for op, end in (("Max", low), ("Min", high)):
        value = value if end is None else at.graph.add(op, value, at.to_value(end, at.out.dtype))
    return value


def _at_least(at: At) -> str:
    return at.graph.add("Max", at.value("self"), at.value("min", at.out.dtype))


def _at_most(at: At) -> str:
    return at.graph.add("Min", at.value("self"), at.value("max", at.out.dtype))


def _nan_to_num(at: At) -> str:
    """NaN becomes a number, infinity the largest one.

    ONNX does not say what clipping makes of NaN, so whether a number is NaN is asked of what was clipped.
    """
    at.require("posinf", None)
    at.require("neginf", None)
    value = at.value("self")
    asked = at.graph.source_of_clip(value) or value
    nan = at.plain("nan")
    ends = [at.graph.constant(end, np.float32) for end in (-FLOAT32_MAX, FLOAT32_MAX)]
    finite = value if asked != value else at.graph.add("Clip", value, *ends)
    return at.graph.add("Where", at.graph.add("IsNaN", asked), at.graph.constant(nan or 0.0, np.float32), finite)


def _rsqrt(at: At) -> str:
    return at.graph.add("Reciprocal", at.graph.add("Sqrt", at.value("self", at.out.dtype)))


def _square(at: At) -> str:
    value = at.value("self", at.out.dtype)
    return at.graph.add("Mul", value, value)


def _log1p(at: At) -> str:
    more = at.graph.add("Add", at.value("self"), at.graph.constant(1, numpy_dtype(at.out.dtype)))
    return steady(at.graph, "Log", more, at.out.shape)


def _log_sigmoid(at: At) -> str:
    turned = at.graph.add("Neg", at.value("self"))
    return at.graph.add("Neg", steady(at.graph, "Softplus", turned, at.out.shape))


def _silu(at: At) -> str:
    value = at.value("self")
    return at.graph.add("Mul", value, at.graph.add("Sigmoid", value))


def _elu(at: At) -> str:
    at.require("scale", 1)
    at.require("input_scale", 1)
    return steady(at.graph, "Elu", at.value("self"), at.out.shape, alpha=float(at.plain("alpha")))


def _gelu(at: At) -> str:
    return at.graph.add("Gelu", at.value("self"), approximate=at.plain("approximate"))


def _glu(at: At) -> str:
    value, gate = at.graph.add_many("Split", at.value("self"), outputs=2, axis=at.axis(), num_outputs=2)
    return at.graph.add("Mul", value, at.graph.add("Sigmoid", gate))


def _lerp(at: At) -> str:
    start = at.value("self")
    way = at.graph.add("Sub", at.value("end"), start)
    return at.graph.add("Add", start, at.graph.add("Mul", at.value("weight"), way))


def _addcmul(at: At) -> str:
    return _add_to_self(at, "Mul")


def _addcdiv(at: At) -> str:
    return _add_to_self(at, "Div")


def _add_to_self(at: At, op: str) -> str:
    value = at.graph.add(op, at.value("tensor1"), at.value("tensor2"))
    if at.plain("value") != 1:
        value = at.graph.add("Mul", value, at.value("value", at.out.dtype))
    return at.graph.add("Add", at.value("self"), value)


# --- reductions -----------------------------------------------------------------------------------------------------


def _reduce(op: str) -> Operator:
    def translate(at: At) -> str:
        keepdims = bool(at.call.arguments.get("keepdim", False))
        value, axes, ndim = at.value("self", at.out.dtype), at.axes(), len(at.info("self").shape)
        last = list(range(ndim - len(axes), ndim))
        if op not in ("ReduceSum", "ReduceMean") or 0 in axes or sorted(axes) == last:
            return at.graph.reduce(op, value, axes, keepdims=keepdims)
        kept = [axis for axis in range(ndim) if axis not in axes]
        moved = at.graph.reduce(op, at.graph.add("Transpose", value, perm=[*kept, *axes]), last)
        return at.graph.add("Unsqueeze", moved, at.graph.constant(sorted(axes), np.int64)) if keepdims else moved

    return translate


def _any(at: At) -> str:
    counted = at.graph.reduce("ReduceMax", at.value("self", torch.int32), at.axes(), keepdims=at.plain("keepdim"))
    return at.graph.cast(counted, np.bool_)


def _vector_norm(at: At) -> str:
    at.require("ord", 2)
    return _reduce("ReduceL2")(at)  # type: ignore[return-value]


def _cumsum(at: At) -> str:
    return at.graph.add("CumSum", at.value("self", at.out.dtype), at.graph.constant(at.axis(), np.int64))


def _along(op: str) -> Operator:
    return lambda at: at.graph.add(op, at.value("self", at.out.dtype), axis=at.axis())


OPERATORS: dict[str, Operator] = {
    **{name: _scaled(op) for name, op in (("add", "Add"), ("sub", "Sub"))},
    "rsub": _scaled("Sub", turned=True),
    "mul": _binary("Mul"),
    "div": _divide,
    "maximum": _binary("Max"),
    "minimum": _binary("Min"),
    **{
        name: _compare(op)
        for name, op in (
            ("eq", "Equal"),
            ("gt", "Greater"),
            ("ge", "GreaterOrEqual"),
            ("lt", "Less"),
            ("le", "LessOrEqual"),
        )
    },
    "ne": _not_equal,
    "where": _where,
    "masked_fill": _masked_fill,
    "clamp": _clamp,
    "clamp_min": _at_least,
    "clamp_max": _at_most,
    "nan_to_num": _nan_to_num,
    "isnan": lambda at: at.graph.add("IsNaN", at.value("self")),
    "bitwise_not": lambda at: at.graph.add("Not", at.value("self", torch.bool)),
    "logical_not": lambda at: at.graph.add("Not", at.value("self", torch.bool)),
    **{
        name: _unary(op)
        for name, op in (
            ("abs", "Abs"),
            ("neg", "Neg"),
            ("exp", "Exp"),
            ("sqrt", "Sqrt"),
            ("tanh", "Tanh"),
            ("sigmoid", "Sigmoid"),
            ("relu", "Relu"),
        )
    },
    **{name: _steady(op) for name, op in (("log", "Log"), ("sin", "Sin"), ("cos", "Cos"), ("mish", "Mish"))},
    "selu": _steady("Selu", alpha=SELU_ALPHA, gamma=SELU_GAMMA),
    "rsqrt": _rsqrt,
    "square": _square,
    "log1p": _log1p,
    "log_sigmoid": _log_sigmoid,
    "silu": _silu,
    "elu": _elu,
    "gelu": _gelu,
    "glu": _glu,
    "lerp": _lerp,
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "sum": _reduce("ReduceSum"),
    "mean": _reduce("ReduceMean"),
    "amax": _reduce("ReduceMax"),
    "amin": _reduce("ReduceMin"),
    "logsumexp": _reduce("ReduceLogSumExp"),
    "linalg_vector_norm": _vector_norm,
    "any": _any,
    "cumsum": _cumsum,
    "softmax": _along("Softmax"),
    "log_softmax": _along("LogSoftmax"),
}
