"""PyTorch's operators in ONNX's words, and the way from a module to nodes of a graph."""

from __future__ import annotations

from torch import nn

from churnlib.models.onnx.graph import CannotExport, Graph
from churnlib.models.onnx.operators import arithmetic, layers, shapes
from churnlib.models.onnx.operators.call import At, Operator, materialize
from churnlib.models.onnx.recording import Fixed, record

OPERATORS: dict[str, Operator] = {**arithmetic.OPERATORS, **shapes.OPERATORS, **layers.OPERATORS}
"""By PyTorch's name, ``mul`` for ``aten.mul.Tensor``."""


def draw_module(
    graph: Graph, module: nn.Module, numeric: str, codes: str, *, n_numeric: int, n_categorical: int
) -> str:
    """Add what a module does to a graph.

    Args:
        graph: Where to add it.
        module: In evaluation mode, from ``(batch, n_numeric)`` float32 and ``(batch, n_categorical)`` int64.
        numeric: The first input.
        codes: The second.
        n_numeric: Columns of the first.
        n_categorical: Columns of the second.

    Returns:
        The value that the module returns.

    Raises:
        CannotExport: If it does what has no form here.
    """
    calls, returned = record(module, n_numeric, n_categorical)
    values = {0: numeric, 1: codes}
    for call in calls:
        if call.op not in OPERATORS:
            raise CannotExport(f"PyTorch's {call.op} has no form in ONNX here")
        made = OPERATORS[call.op](At(graph, call, values, numeric))
        names = [made] if isinstance(made, str) else made
        values |= {result.number: name for result, name in zip(call.results, names, strict=True)}
    return materialize(graph, returned, numeric) if isinstance(returned, Fixed) else values[returned.number]
