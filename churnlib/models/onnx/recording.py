"""What a torch module does to rows, written down operator by operator.

The module is run twice, on a few made-up rows and on a few more, and every operator that it calls is noted with what it
was given. What is computed from weights alone is a constant. A size that differs between the two runs depends on the
number of rows, and must be a multiple of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from churnlib.models.onnx.graph import CannotExport

FEW, MORE = 5, 7
"""Rows of the two runs."""


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of a tensor.

    Attributes:
        shape: A size for each dimension; a negative one, ``-k``, is ``k`` times the number of rows.
        dtype: Of its elements.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that depends on the rows: the input of that number, or the result of an operator before."""

    number: int
    info: Info


@dataclass(frozen=True, slots=True)
class Fixed:
    """A tensor that does not depend on the rows' values.

    Attributes:
        array: Its numbers, to be repeated along the dimensions of ``info.shape`` that depend on the number of rows,
            where ``array`` has size 1.
        info: Its shape and dtype.
    """

    array: np.ndarray
    info: Info


@dataclass(frozen=True, slots=True)
class Varying:
    """A plain number that depends on the number of rows."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operator at work.

    Attributes:
        op: Its name without what tells its variants apart: ``mul`` for ``aten.mul_.Tensor``.
        arguments: By name, as its schema has them: tensors as :class:`Made` or :class:`Fixed`, lists, plain values.
        results: What it made.
    """

    op: str
    arguments: Mapping[str, Any]
    results: tuple[Made, ...]


def record(module: nn.Module, n_numeric: int, n_categorical: int) -> tuple[list[Call], Made | Fixed]:
    """Note what a module does to rows.

    Args:
        module: In evaluation mode, from ``(batch, n_numeric)`` float32 and ``(batch, n_categorical)`` int64.
        n_numeric: Numbers of a row.
        n_categorical: Codes of a row.

    Returns:
        The operators in their order, numbers 0 and 1 being the inputs, and what the module returned.

    Raises:
        CannotExport: If it does something that depends on the number of rows in another way, or writes into a tensor
            that others share.
    """
    few, more = (_Recorder(module, rows, n_numeric, n_categorical) for rows in (FEW, MORE))
    if [call.op for call in few.calls] != [call.op for call in more.calls]:
        raise CannotExport("the network does other things with other numbers of rows")
    calls = [
        Call(one.op, _merge(one.arguments, other.arguments), _merge(one.results, other.results))
        for one, other in zip(few.calls, more.calls, strict=True)
    ]
    return calls, _merge(few.returned, more.returned)


@dataclass(slots=True)
class _Noted:
    """An operator in one of the runs; its tensors are (number or None, tensor as it was then)."""

    op: str
    arguments: dict[str, Any]
    results: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    number: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    array: np.ndarray | None = field(repr=False)


class _Recorder(TorchDispatchMode):
    """Runs a module and notes its operators."""

    def __init__(self, module: nn.Module, rows: int, n_numeric: int, n_categorical: int) -> None:
        super().__init__()
        self.calls: list[_Noted] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Tensor] = []  # alive, so that no id is given twice
        self._sharing: dict[int, set[int]] = {}
        inputs = torch.zeros(rows, n_numeric), torch.zeros(rows, n_categorical, dtype=torch.int64)
        for number, tensor in enumerate(inputs):
            self._note(tensor, number)
        self._next = len(inputs)
        # In inference mode operators come as they are called, not taken apart for autograd.
        with torch.inference_mode(), self:
            returned = module(*inputs)
        self.returned = self._seen(returned)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = self._arguments(func._schema, args, kwargs or {})
        # What stands in a place for results is not read.
        arguments = {name: self._seen(value) for name, value in given.items() if name != "out"}
        result = func(*args, **(kwargs or {}))
        results = list(result) if isinstance(result, tuple | list) else [result]
        if not any(_depends(value) for value in arguments.values()):
            return result
        op = func._schema.name.partition("::")[2]
        if op.startswith(("empty", "new_empty")):  # a place for results, which are noted when they are written
            return result
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._check_alone(given[argument.name], op)
        for one in results:
            self._note(one, self._next)
            self._next += 1
        self.calls.append(_Noted(op.rstrip("_"), arguments, tuple(map(self._seen, results))))
        return result

    @staticmethod
    def _arguments(schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
        left_out = {one.name: one.default_value for one in schema.arguments if one.has_default_value()}
        return {**left_out, **given, **kwargs}

    def _note(self, tensor: Tensor, number: int) -> None:
        self._numbers[id(tensor)] = number
        self._kept.append(tensor)
        self._sharing.setdefault(tensor.untyped_storage().data_ptr(), set()).add(id(tensor))

    def _check_alone(self, tensor: Tensor, op: str) -> None:
        if tensor.numel() and self._sharing.get(tensor.untyped_storage().data_ptr(), {id(tensor)}) != {id(tensor)}:
            raise CannotExport(f"the network's {op} writes into a tensor that others share")

    def _seen(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [self._seen(one) for one in value]
        if not isinstance(value, Tensor):
            return value
        number = self._numbers.get(id(value))
        array = None if number is not None else value.detach().numpy().copy()
        return _Seen(number, tuple(value.shape), value.dtype, array)


def _depends(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_depends, value))
    return isinstance(value, _Seen) and value.number is not None


def _merge(few: Any, more: Any) -> Any:
    """Say in one what was seen with few and with more rows."""
    if isinstance(few, dict):
        return {name: _merge(value, more[name]) for name, value in few.items()}
    if isinstance(few, tuple | list):
        if len(few) != len(more):
            return Varying()
        return type(few)(_merge(one, other) for one, other in zip(few, more, strict=True))
    if not isinstance(few, _Seen):
        return few if few == more else Varying()
    info = Info(tuple(map(_size, few.shape, more.shape)), few.dtype)
    if few.number is not None:
        return Made(few.number, info)
    assert few.array is not None and more.array is not None
    array = few.array
    for dimension, size in enumerate(info.shape):
        if size < 0:
            array = array.take([0], axis=dimension)
    if not all(_equal(one, array) for one in (few.array, more.array)):
        raise CannotExport("the network makes numbers that depend on how many rows there are")
    return Fixed(array, info)


def _equal(whole: np.ndarray, part: np.ndarray) -> bool:
    return np.array_equal(whole, np.broadcast_to(part, whole.shape), equal_nan=whole.dtype.kind == "f")


def _size(few: int, more: int) -> int:
    if few == more:
        return few
    if few % FEW or more != few // FEW * MORE:
        raise CannotExport(f"a tensor of the network has {few} places for {FEW} rows and {more} for {MORE}")
    return -(few // FEW)
