"""Arrays as safetensors, and checked when they are read: a file may hold anything."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def write_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the arrays as the bytes of a safetensors file."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def read_arrays(content: bytes, wanted: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Read arrays back.

    Args:
        content: What :func:`write_arrays` returned.
        wanted: By name: kind of number (``"f"`` or ``"i"``, as numpy has it) and number of dimensions.

    Raises:
        ValueError: If it is no such file, or an array is absent, of another kind, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
    except SafetensorError as error:
        raise ValueError("the weights cannot be read; copy the bundle again") from error
    for name, (kind, ndim) in wanted.items():
        if name not in arrays or arrays[name].dtype.kind != kind or arrays[name].ndim != ndim:
            raise ValueError(f"the weights lack an array {name!r} of kind {kind!r} with {ndim} dimensions")
        if kind == "f" and not np.isfinite(arrays[name]).all():
            raise ValueError(f"the weights {name!r} are not finite")
    return {name: arrays[name] for name in wanted}
