"""Log-odds that are combined, and linear models: what baselines and ensembles share; all in float64.

Logarithms are taken by way of the softmax: ONNX Runtime computes that row by row, and a plain logarithm in another way
for the last few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from churnlib.models.onnx.graph import Graph


def draw_affine(
    graph: Graph, inputs: str, weights: np.ndarray, offsets: np.ndarray, *, squeeze: bool | None = None
) -> str:
    """Return ``inputs @ weights + offsets``.

    Args:
        graph: Where to add it.
        inputs: ``(batch, in_features)`` float64.
        weights: ``(in_features, n_outputs)``.
        offsets: ``(n_outputs,)``.
        squeeze: Return ``(batch,)``; where there is one output when None.
    """
    # Never a single row, which is multiplied in another way than many.
    first = graph.add("Slice", inputs, *(graph.constant([one], np.int64) for one in (0, 1, 0)))
    more = graph.add("Concat", inputs, first, axis=0)
    product = graph.add("MatMul", more, graph.constant(np.ascontiguousarray(weights), np.float64))
    product = graph.add("Slice", product, *(graph.constant([one], np.int64) for one in (0, -1, 0)))
    scores = graph.add("Add", product, graph.constant(offsets, np.float64))
    if squeeze is None:
        squeeze = weights.shape[1] == 1
    return graph.add("Squeeze", scores, graph.constant([1], np.int64)) if squeeze else scores


def draw_mean(graph: Graph, members: Sequence[str], *, single: bool, hazards: bool = False) -> str:
    """Return the logits of the members' mean probability, as :func:`churnlib.models.ensemble.mean_logits`.

    Args:
        graph: Where to add it.
        members: ``(batch,)`` log-odds each, or ``(batch, n_classes)``.
        single: Whether they are log-odds, ``(batch,)``.
        hazards: Whether they are log-odds of hazards, ``(batch, n_intervals)``.
    """
    logits = [graph.cast(member, np.float64) for member in members]
    if len(logits) == 1:
        return logits[0]
    axis = graph.constant([1], np.int64)
    stacked = graph.add("Concat", *(graph.add("Unsqueeze", one, axis) for one in logits), axis=1)
    if hazards and not single:
        return _draw_mean_hazards(graph, stacked)
    if not single:
        shares = graph.reduce("ReduceLogSumExp", graph.add("LogSoftmax", stacked, axis=2), [1])
        return graph.add("Sub", shares, graph.constant(math.log(len(logits)), np.float64))
    # Leaving against staying: the softmax of (log-odds, 0).
    pairs = graph.add("Mul", graph.add("Unsqueeze", stacked, graph.constant([2], np.int64)), graph.constant([1.0, 0.0]))
    sides = graph.reduce("ReduceLogSumExp", graph.add("LogSoftmax", pairs, axis=2), [1])
    leaves, stays = (graph.add("Gather", sides, graph.constant(side, np.int64), axis=1) for side in (0, 1))
    return graph.add("Sub", leaves, stays)


def _draw_mean_hazards(graph: Graph, stacked: str) -> str:
    """Return the log-odds of the hazards of the mean survival of ``(batch, members, n_intervals)``."""
    deep = graph.add("Unsqueeze", stacked, graph.constant([3], np.int64))
    pairs = graph.add("LogSoftmax", graph.add("Mul", deep, graph.constant([1.0, 0.0])), axis=3)
    leaves, stays = (graph.add("Gather", pairs, graph.constant(side, np.int64), axis=3) for side in (0, 1))
    there = graph.add("CumSum", stays, graph.constant(2, np.int64), exclusive=1)
    leave, stay = (graph.reduce("ReduceLogSumExp", graph.add("Add", there, side), [1]) for side in (leaves, stays))
    return graph.add("Sub", leave, stay)


def draw_blend(graph: Graph, groups: Sequence[str], weights: Sequence[float], shift: Sequence[float]) -> str:
    """Return ``sum(weight * logits) + shift``, as :func:`churnlib.models.ensemble.blend_logits`."""
    several = len(shift) > 1
    blended = graph.constant(shift if several else shift[0], np.float64)
    for logits, weight in zip(groups, weights, strict=True):
        relative = graph.add("LogSoftmax", logits, axis=1) if several else logits
        blended = graph.add("Add", blended, graph.add("Mul", relative, graph.constant(weight, np.float64)))
    return blended
