"""What a translation is given: one operator at work, with its arguments as values of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from churnlib.models.onnx.graph import CannotExport, Graph
from churnlib.models.onnx.recording import Call, Fixed, Info, Made, Varying

Operator = Callable[["At"], "str | list[str]"]
"""Adds an operator to the graph and returns the value, or values, that it makes."""

_NUMPY = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.float16: np.float16,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}


@dataclass(frozen=True, slots=True)
class At:
    """An operator, and the graph as far as it is drawn.

    Attributes:
        graph: Where to add nodes.
        call: The operator.
        made: Value of each tensor that depends on the rows, by number.
        rows: A value whose first dimension is the rows.
    """

    graph: Graph
    call: Call
    made: Mapping[int, str]
    rows: str

    @property
    def out(self) -> Info:
        """Shape and dtype of the first result."""
        return self.call.results[0].info

    def info(self, name: str) -> Info:
        """Return shape and dtype of an argument that is a tensor."""
        return self.call.arguments[name].info

    def value(self, name: str, dtype: torch.dtype | None = None) -> str:
        """Return an argument, a tensor or a plain number, as a value of the graph.

        Args:
            name: Of the argument.
            dtype: What to convert it to; as it is when None.
        """
        return self.to_value(self.call.arguments[name], dtype)

    def values(self, name: str) -> list[str]:
        """Return an argument that is a list of tensors."""
        return [self.to_value(one) for one in self.call.arguments[name]]

    def to_value(self, given: Any, dtype: torch.dtype | None = None) -> str:
        """Return a tensor or a plain number as a value of the graph."""
        wanted = None if dtype is None else numpy_dtype(dtype)
        if isinstance(given, Made):
            value = self.made[given.number]
            return value if dtype in (None, given.info.dtype) else self.graph.cast(value, wanted)
        if isinstance(given, Fixed):
            value = materialize(self.graph, given, self.rows)
            return value if dtype in (None, given.info.dtype) else self.graph.cast(value, wanted)
        if isinstance(given, bool | int | float):
            return self.graph.constant(given, wanted)
        if isinstance(given, Varying):
            raise CannotExport(f"PyTorch's {self.call.op} got a number that depends on the number of rows")
        raise CannotExport(
            f"PyTorch's {self.call.op} got {type(given).__name__} where a tensor or a number is expected"
        )

    def plain(self, name: str) -> Any:
        """Return an argument that is no tensor.

        Raises:
            CannotExport: If it depends on the number of rows.
        """
        given = self.call.arguments[name]
        if any(isinstance(one, Varying) for one in (given if isinstance(given, list) else [given])):
            raise CannotExport(f"PyTorch's {self.call.op} got {name}, which depends on the number of rows")
        return given

    def array(self, name: str) -> np.ndarray:
        """Return an argument's numbers.

        Raises:
            CannotExport: If they depend on the rows.
        """
        given = self.call.arguments[name]
        if not isinstance(given, Fixed):
            raise CannotExport(f"PyTorch's {self.call.op} got {name}, which depends on the rows")
        return given.array

    def axis(self, name: str = "dim", of: str = "self") -> int:
        """Return an argument that is a dimension of another, counted from 0."""
        return self.plain(name) % max(len(self.info(of).shape), 1)

    def axes(self, name: str = "dim", of: str = "self") -> list[int]:
        """Return an argument that is some dimensions of another, counted from 0; all where none is given."""
        ndim, given = len(self.info(of).shape), self.plain(name)
        dims = given if isinstance(given, list) else [given] if given is not None else []
        return [dim % ndim for dim in dims] or list(range(ndim))

    def require(self, name: str, *allowed: Any) -> None:
        """Refuse a setting that is not translated.

        Raises:
            CannotExport: If the argument has another value.
        """
        if self.call.arguments[name] not in allowed:
            raise CannotExport(f"PyTorch's {self.call.op} with {name}={self.call.arguments[name]!r} has no form here")


def materialize(graph: Graph, fixed: Fixed, rows: str) -> str:
    """Return numbers that do not depend on the rows, repeated for each row where their shape asks for that."""
    value = graph.constant(fixed.array)
    if all(size >= 0 for size in fixed.info.shape):
        return value
    return graph.add("Expand", value, runtime_shape(graph, [min(size, 1) for size in fixed.info.shape], rows))


def runtime_shape(graph: Graph, sizes: Sequence[int], rows: str) -> str:
    """Return a shape that depends on the number of rows: a negative size ``-k`` stands for ``k`` times that."""
    count = graph.add("Shape", rows, start=0, end=1)
    parts = [
        graph.constant([size], np.int64) if size >= 0 else graph.add("Mul", count, graph.constant([-size], np.int64))
        for size in sizes
    ]
    return graph.add("Concat", *parts, axis=0)


def numpy_dtype(dtype: torch.dtype) -> type:
    """Return numpy's name of a dtype."""
    if dtype not in _NUMPY:
        raise CannotExport(f"{dtype} has no form in ONNX here")
    return _NUMPY[dtype]
