"""Columns as tensors of the Open Inference Protocol: in the JSON itself, or as bytes behind it.

The protocol's JSON says of each tensor its name, shape and datatype. The values may stand in it (``data``), or behind
it in the body, one tensor after another, as the binary extension has it: little-endian, texts each with their length
before them. ``tritonclient`` sends and asks for bytes unless told otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churnlib.serving.problems import RequestError, refuse, shown

DTYPES = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Datatypes of the protocol as numpy writes them; texts are BYTES."""

_LENGTH = struct.Struct("<I")
_SHARED_MEMORY = "shared_memory_region"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One column.

    Attributes:
        name: As the client spells it.
        datatype: A key of :data:`DTYPES`, or BYTES.
        values: A value per customer, or a list of steps; missing ones None.
    """

    name: str
    datatype: str
    values: list[Any]


def read_tensors(inputs: Any, tail: bytes, *, is_sequence: Callable[[str], bool]) -> list[Tensor]:
    """Read the inputs of a request.

    Args:
        inputs: ``inputs`` of the JSON.
        tail: What stands behind the JSON in the body.
        is_sequence: Whether the cells of a column are lists.

    Raises:
        RequestError: 400 if they are no tensors of the protocol.
    """
    if not isinstance(inputs, list) or not inputs or not all(isinstance(each, dict) for each in inputs):
        raise _wrong("inputs must be an array of tensors")
    tensors: list[Tensor] = []
    start = 0
    for given in inputs:
        name, shape, datatype = _described(given)
        size = _parameters(given).get("binary_data_size")
        count = int(np.prod(shape, dtype=object))
        if size is None:
            values = _from_json(name, datatype, given.get("data"), count)
        else:
            if type(size) is not int or not 0 <= size <= len(tail) - start:
                raise _wrong(f"binary_data_size of {name} is not what stands behind the JSON")
            values = _from_bytes(name, datatype, tail[start : start + size], count)
            start += size
        if len(shape) == 2 and (shape[1] != 1 or is_sequence(given["name"])):
            values = [values[place : place + shape[1]] for place in range(0, count, shape[1])] if count else []
        tensors.append(Tensor(given["name"], datatype, values))
    if start != len(tail):
        raise _wrong("there is more behind the JSON than the tensors say")
    return tensors


def _described(given: Mapping[str, Any]) -> tuple[str, list[int], str]:
    """Return a tensor's name (safe to show), shape and datatype."""
    name, shape, datatype = given.get("name"), given.get("shape"), given.get("datatype")
    if not isinstance(name, str) or not name:
        raise _wrong("every input needs a name")
    if not isinstance(shape, list) or len(shape) not in (1, 2) or not all(map(_is_size, shape)):
        raise _wrong(f"shape of {shown(name)} must be [n] or [n, 1] (of a list column [n, steps])")
    if shape[1:] == [0]:
        raise _wrong(f"{shown(name)} has no steps; leave it out")
    if datatype != "BYTES" and (not isinstance(datatype, str) or datatype not in DTYPES):
        raise _wrong(f"datatype of {shown(name)} must be BYTES or one of {', '.join(DTYPES)}")
    if _SHARED_MEMORY in _parameters(given):
        raise _wrong("shared memory is not read; send the tensors in the request")
    if _parameters(given).get("content_type") == "base64":
        raise _wrong(f"{shown(name)} must be text in UTF-8, not base64")
    return shown(name), shape, datatype


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _parameters(given: Mapping[str, Any]) -> Mapping[str, Any]:
    found = given.get("parameters")
    return found if isinstance(found, dict) else {}


# --- in the JSON --------------------------------------------------------------------------------------------------


def _from_json(name: str, datatype: str, data: Any, count: int) -> list[Any]:
    if not isinstance(data, list):
        raise _wrong(f"{name} has neither data nor binary_data_size")
    values = [item for row in data for item in row] if data and all(type(row) is list for row in data) else data
    if len(values) != count:
        raise _wrong(f"{name} has {len(values):,} values, and {count:,} by its shape")
    wanted = {"BYTES": {str, type(None)}, "BOOL": {bool}}.get(datatype)
    if wanted is None:
        wanted = {int, float, type(None)} if datatype.startswith("FP") else {int}
    if not set(map(type, values)) <= wanted:
        raise _wrong(f"{name} holds values that are no {datatype}")
    if datatype in ("BYTES", "BOOL", "FP64"):
        return values
    return _as_declared(name, datatype, values)


def _as_declared(name: str, datatype: str, values: list[Any]) -> list[Any]:
    """Return numbers as their datatype holds them, so that they are the same in the JSON and behind it."""
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if any(not limits.min <= value <= limits.max for value in values):
            raise _wrong(f"{name} holds numbers that are no {datatype}")
        return values
    try:
        with np.errstate(over="ignore"):
            return _without_nan(np.array([np.nan if v is None else float(v) for v in values], dtype=dtype))
    except OverflowError:
        raise _wrong(f"{name} holds numbers that are no {datatype}") from None


# --- behind it ----------------------------------------------------------------------------------------------------


def _from_bytes(name: str, datatype: str, raw: bytes, count: int) -> list[Any]:
    if datatype == "BYTES":
        texts = _texts(name, raw)
        if len(texts) != count:
            raise _wrong(f"{name} has {len(texts):,} values, and {count:,} by its shape")
        return texts
    dtype = np.dtype(DTYPES[datatype])
    if len(raw) != count * dtype.itemsize:
        raise _wrong(f"{name} has {len(raw):,} bytes, and {count * dtype.itemsize:,} by its shape and datatype")
    if dtype.kind == "b":
        return (np.frombuffer(raw, dtype=np.uint8) != 0).tolist()
    return _without_nan(np.frombuffer(raw, dtype=dtype))


def _without_nan(values: np.ndarray) -> list[Any]:
    """Return numbers with None for NaN, the protocol's only word for a missing one."""
    cells = values.tolist()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if cell != cell else cell for cell in cells]
    return cells


def _texts(name: str, raw: bytes) -> list[str]:
    texts, place, end = [], 0, len(raw)
    try:
        while place < end:
            (size,) = _LENGTH.unpack_from(raw, place)
            place += _LENGTH.size + size
            if place > end:
                raise _wrong(f"a text of {name} is longer than what is there")
            texts.append(raw[place - size : place].decode())
    except struct.error:
        raise _wrong(f"a text of {name} has no length before it") from None
    except UnicodeDecodeError:
        raise _wrong(f"{name} must be text in UTF-8") from None
    return texts


# --- and back -----------------------------------------------------------------------------------------------------


def written(name: str, datatype: str, values: Sequence[Any], *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return a tensor of an answer: what the JSON says of it, and what stands behind the JSON.

    Args:
        name: Of the output.
        datatype: A key of :data:`DTYPES`, or BYTES.
        values: One per customer; those of BYTES may be None, an empty text behind the JSON, and those of FP, NaN there.
        binary: Whether the values stand behind the JSON.
    """
    told: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
    if not binary:
        return {**told, "data": list(values)}, b""
    if datatype == "BYTES":
        texts = [(value or "").encode() for value in values]
        raw = b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    elif datatype.startswith("FP"):
        raw = np.array([np.nan if v is None else v for v in values], dtype=DTYPES[datatype]).tobytes()
    else:
        raw = np.array(values, dtype=DTYPES[datatype]).tobytes()
    return {**told, "parameters": {"binary_data_size": len(raw)}}, raw


def _wrong(message: str) -> RequestError:
    return refuse(400, "invalid_tensor", message)


__all__ = ["DTYPES", "Tensor", "read_tensors", "written"]
