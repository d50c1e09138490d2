"""An ONNX graph while it is being drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

OPSET, ML_OPSET, IR_VERSION = 20, 3, 9
"""Of January 2024; ONNX Runtime reads them from 1.17 on."""

SMALL = 64
"""Elements of an attribute up to which two nodes are compared: trees have millions and are never alike."""


class CannotExport(ValueError):
    """A model, or a part of it, has no form in ONNX; the text says which."""


class Graph:
    """Collects nodes; equal nodes and equal numbers are kept once.

    Values are named by text: what :meth:`input`, :meth:`constant` and :meth:`add` return.
    """

    def __init__(self) -> None:
        self._inputs: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._known: dict[tuple[Any, ...], list[str]] = {}
        self._clipped: dict[str, str] = {}
        self._products: dict[str, Sequence[str]] = {}
        self._counts: Counter[str] = Counter()

    def input(self, name: str, dtype: Any, columns: int) -> str:
        """Add an input of ``(batch, columns)``."""
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._inputs.append(helper.make_tensor_value_info(name, kind, ["batch", columns]))
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add numbers, and return their name."""
        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"c{len(self._constants)}"
            self._arrays[name] = array
        return self._constants[key]

    def array(self, name: str) -> np.ndarray | None:
        """Return the numbers of a constant; None for any other value."""
        return self._arrays.get(name)

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.add_many(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def add_many(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs, and return their names.

        Args:
            op: ONNX's name of the operator.
            *inputs: Names of values; empty for an optional input that is left out.
            outputs: How many.
            domain: Of the operator; empty for ONNX's own.
            **attributes: Of the node; None leaves one out.
        """
        from onnx import helper

        attributes = {name: value for name, value in attributes.items() if value is not None}
        key = _key(op, domain, inputs, outputs, attributes)
        if key is not None and key in self._known:
            return self._known[key]
        number = self._counts[op]
        self._counts[op] += 1
        names = [f"{op}_{number}" + (f"_{place}" if outputs > 1 else "") for place in range(outputs)]
        self._nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{number}", domain=domain, **attributes)
        )
        if key is not None:
            self._known[key] = names
        if op == "Clip":
            self._clipped[names[0]] = inputs[0]
        if op == "Gemm" and not attributes:
            self._products[names[0]] = inputs
        return names

    def source_of_clip(self, value: str) -> str | None:
        """Return what was clipped to make a value; None for one that was not made so."""
        return self._clipped.get(value)

    def product_of(self, value: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        """Return rows, weights ``(in, out)`` and bias whose product a value is; None for one that was not made so."""
        rows, weight, *bias = self._products.get(value, ("", ""))
        weights, shift = self.array(weight), self.array(bias[0]) if bias else np.zeros(1, np.float32)
        return None if weights is None or shift is None else (rows, weights, shift)

    # --- shorthands -------------------------------------------------------------------------------------------------

    def cast(self, value: str, dtype: Any) -> str:
        """Convert a value to a dtype of numpy's."""
        from onnx import helper

        if (array := self.array(value)) is not None:
            return self.constant(array.astype(dtype))
        return self.add("Cast", value, to=int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Give a value another shape; -1 once, for the dimension that depends on the number of rows."""
        return self.add("Reshape", value, self.constant(list(shape), np.int64))

    def reduce(self, op: str, value: str, axes: Sequence[int], *, keepdims: bool = False) -> str:
        """Reduce over axes: ``ReduceSum``, ``ReduceMax``, ..."""
        return self.add(op, value, self.constant(list(axes), np.int64), keepdims=int(keepdims))

    def build(self, output: str, shape: Sequence[str | int], *, notes: dict[str, str] | None = None) -> bytes:
        """Return the model as bytes, the same for the same nodes; nodes that nothing reads are left out.

        Args:
            output: The value that it answers, float32; it will be called ``logits``.
            shape: Of the output.
            notes: Texts to go with the model.
        """
        from onnx import TensorProto, helper, numpy_helper

        nodes = [*self._nodes, helper.make_node("Identity", [output], ["logits"], name="logits")]
        kept, wanted = [], {"logits"}
        for node in reversed(nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input)
        graph = helper.make_graph(
            kept[::-1],
            "churnlib",
            self._inputs,
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(shape))],
            [numpy_helper.from_array(array, name) for name, array in self._arrays.items() if name in wanted],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="churnlib")
        helper.set_model_props(model, notes or {})
        return model.SerializeToString(deterministic=True)


def _key(op: str, domain: str, inputs: Sequence[str], outputs: int, attributes: dict[str, Any]) -> Any:
    """Return what two equal nodes have in common; None for one that is not worth comparing."""
    if any(hasattr(value, "SerializeToString") or np.size(value) > SMALL for value in attributes.values()):
        return None
    return (op, domain, tuple(inputs), outputs, repr(sorted(attributes.items())))
