"""Operators that move numbers without changing them."""

from __future__ import annotations

import numpy as np

from churnlib.models.onnx.graph import CannotExport
from churnlib.models.onnx.operators.call import At, Operator, runtime_shape
from churnlib.models.onnx.recording import Info


def _same(at: At) -> str:
    return at.value("self", at.out.dtype)


def _reshape(at: At) -> str:
    """Whatever a reshape was called, its result's shape says it all."""
    shape, value = at.out.shape, at.value("self")
    if shape == at.info("self").shape:
        return value
    depending = [size for size in shape if size < 0]
    if len(depending) == 1 and 0 not in shape:
        return at.graph.reshape(value, [max(size, -1) for size in shape])
    return at.graph.add("Reshape", value, runtime_shape(at.graph, shape, at.rows), allowzero=1)


def _permute(at: At, order: list[int]) -> str:
    value = at.value("self")
    return value if order == sorted(order) else at.graph.add("Transpose", value, perm=order)


def _transpose(at: At) -> str:
    order = list(range(len(at.info("self").shape)))
    first, second = at.axis("dim0"), at.axis("dim1")
    order[first], order[second] = order[second], order[first]
    return _permute(at, order)


def _turned(at: At) -> str:
    return _permute(at, list(range(len(at.info("self").shape)))[::-1])


def _last_two_turned(at: At) -> str:
    *rest, first, second = range(len(at.info("self").shape))
    return _permute(at, [*rest, second, first])


def _permuted(at: At) -> str:
    return _permute(at, at.axes("dims"))


def _moved(at: At) -> str:
    order = [dim for dim in range(len(at.out.shape)) if dim not in at.axes("source")]
    for destination, source in sorted(zip(at.axes("destination"), at.axes("source"), strict=True)):
        order.insert(destination, source)
    return _permute(at, order)


def _expand(at: At) -> str:
    value, before, after = at.value("self"), at.info("self").shape, at.out.shape
    before = (1,) * (len(after) - len(before)) + before
    if before == after:
        return _reshape(at)
    wanted = [1 if old == new else new for old, new in zip(before, after, strict=True)]
    if any(size < 0 for size in wanted):
        return at.graph.add("Expand", value, runtime_shape(at.graph, wanted, at.rows))
    return at.graph.add("Expand", value, at.graph.constant(wanted, np.int64))


def _join(at: At) -> str:
    axis = at.plain("dim") % len(at.out.shape)
    parts = [one for one in at.call.arguments["tensors"] if one.info.shape[axis] != 0]
    values = [at.to_value(one, at.out.dtype) for one in parts]
    return values[0] if len(values) == 1 else at.graph.add("Concat", *values, axis=axis)


def _stack(at: At) -> str:
    axis = at.plain("dim") % len(at.out.shape)
    values = [at.to_value(one, at.out.dtype) for one in at.call.arguments["tensors"]]
    axes = at.graph.constant([axis], np.int64)
    return at.graph.add("Concat", *(at.graph.add("Unsqueeze", value, axes) for value in values), axis=axis)


def _slice(at: At) -> str:
    value, before = at.value("self"), at.info("self").shape
    if before == at.out.shape:
        return value
    axis, step = at.axis(), at.plain("step")
    if before[axis] < 0:
        raise CannotExport("the network takes some of the rows out")
    start, end = (at.plain(name) for name in ("start", "end"))
    largest = np.iinfo(np.int64).max
    ends = [[0 if start is None else start], [largest if end is None else end], [axis], [step]]
    return at.graph.add("Slice", value, *(at.graph.constant(one, np.int64) for one in ends))


def _select(at: At) -> str:
    axis = at.axis()
    if at.info("self").shape[axis] < 0:
        raise CannotExport("the network takes a row out")
    return at.graph.add("Gather", at.value("self"), at.graph.constant(at.plain("index"), np.int64), axis=axis)


def _index(at: At) -> str:
    given = at.call.arguments["indices"]
    used = [(axis, one) for axis, one in enumerate(given) if one is not None]
    if len(used) != 1 or at.info("self").shape[used[0][0]] < 0:
        raise CannotExport("the network takes places of several dimensions, or rows, at once")
    [(axis, places)] = used
    return at.graph.add("Gather", at.value("self"), at.to_value(places), axis=axis)


def _index_select(at: At) -> str:
    return at.graph.add("Gather", at.value("self"), at.value("index"), axis=at.axis())


def _gather(at: At) -> str:
    return at.graph.add("GatherElements", at.value("self"), at.value("index"), axis=at.axis())


def _embedding(at: At) -> str:
    return at.graph.add("Gather", at.value("weight"), at.value("indices"), axis=0)


def _split(at: At) -> list[str]:
    axis = at.axis()
    sizes = [result.info.shape[axis] for result in at.call.results]
    if any(size < 0 for size in sizes):
        raise CannotExport("the network cuts the rows into parts")
    if len(sizes) == 1:
        return [at.value("self")]
    lengths = at.graph.constant(sizes, np.int64)
    return at.graph.add_many("Split", at.value("self"), lengths, outputs=len(sizes), axis=axis)


def _unbind(at: At) -> list[str]:
    axis = at.axis()
    places = range(len(at.call.results))
    return [at.graph.add("Gather", at.value("self"), at.graph.constant(one, np.int64), axis=axis) for one in places]


def _pad(at: At) -> str:
    at.require("mode", "constant")
    ndim, given = len(at.out.shape), at.plain("pad")
    ends = [[0] * ndim, [0] * ndim]
    for place, size in enumerate(given):  # from the last dimension on: its start, its end, the start of the one before
        ends[place % 2][ndim - 1 - place // 2] = size
    filled = at.graph.constant(at.plain("value") or 0, np.float32)
    return at.graph.add("Pad", at.value("self"), at.graph.constant([*ends[0], *ends[1]], np.int64), filled)


def _filled(at: At) -> str:
    """``zeros_like``, ``ones_like``, ``full_like``: shapes of rows without their values."""
    number = {"zeros_like": 0, "ones_like": 1}.get(at.call.op)
    number = at.plain("fill_value") if number is None else number
    info: Info = at.out
    value = at.to_value(number, info.dtype)
    return at.graph.add("Expand", value, runtime_shape(at.graph, info.shape, at.rows))


RESHAPES = ("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "_unsafe_view")
UNCHANGED = ("to", "_to_copy", "contiguous", "alias", "detach", "lift_fresh", "clone", "dropout", "type_as", "float")

OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(UNCHANGED, _same),
    "transpose": _transpose,
    "numpy_T": _turned,
    "t": _turned,
    "mT": _last_two_turned,
    "permute": _permuted,
    "movedim": _moved,
    "expand": _expand,
    "expand_as": _expand,
    "cat": _join,
    "stack": _stack,
    "slice": _slice,
    "narrow": _slice,
    "select": _select,
    "index": _index,
    "index_select": _index_select,
    "gather": _gather,
    "embedding": _embedding,
    "split": _split,
    "split_with_sizes": _split,
    "chunk": _split,
    "unbind": _unbind,
    "pad": _pad,
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), _filled),
}
