"""What a baseline reads: the input layer's output for linear models and kernels, raw numbers and codes for trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from churnlib.models.baselines.baseline import FittedBaseline
from churnlib.models.input_layer import InputLayer

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows

EVERY_VALUE = 10**9
"""``one_hot_max`` of baselines, which have no embeddings."""


class FlatInputs:
    """The input layer as a function from arrays to an array: imputed, scaled, clipped, one-hot.

    Args:
        input_spec: Arguments of the input layer, with every categorical column one-hot encoded.

    Raises:
        ValueError: If a column would be embedded: an untrained embedding says nothing.
    """

    def __init__(self, input_spec: Mapping[str, Any]) -> None:
        if not all(input_spec["one_hot"]):
            raise ValueError("a baseline needs every categorical column one-hot encoded, got one that is embedded")
        self._layer = InputLayer(**input_spec).eval()

    @property
    def width(self) -> int:
        """Number of inputs."""
        return self._layer.out_features

    @property
    def owners(self) -> np.ndarray:
        """Place of the encoded column that each input comes from, ``(width,)``: numbers first, then categories."""
        return np.array(self._layer.groups, dtype=np.int64)

    def draw(self, graph: Graph, rows: EncodedRows) -> str:
        """Add the layer to an ONNX graph and return its output, float64."""
        from churnlib.models.onnx.operators import draw_module

        sizes = {"n_numeric": rows.n_numeric, "n_categorical": len(rows.cardinalities)}
        return graph.cast(draw_module(graph, self._layer, rows.numeric, rows.codes, **sizes), np.float64)

    def __call__(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return ``(n, width)`` float64 for ``(n, n_numeric)`` float32 and ``(n, n_categorical)`` int64."""
        with torch.inference_mode():
            return self._layer(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy().astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class FlatBaseline(FittedBaseline):
    """A baseline that reads the input layer's output.

    Attributes:
        input_spec: Arguments of the input layer.
    """

    input_spec: Mapping[str, Any] = field(repr=False)

    @cached_property
    def inputs(self) -> FlatInputs:
        """The input layer; built once."""
        return FlatInputs(self.input_spec)

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {"input": dict(self.input_spec)}


def raw_matrix(numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return numbers and codes side by side, ``(n, n_numeric + n_categorical)`` float32, missing numbers NaN.

    Codes stay what they are: "missing" is a category of its own, and "unseen" one that training never had.
    """
    return np.concatenate([numeric, codes.astype(np.float32)], axis=1)
