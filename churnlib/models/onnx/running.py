"""An ONNX file as a model that answers, by ONNX Runtime and without torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from churnlib.errors import MissingPackageError
from churnlib.models.fitted import FittedModel, Kept

FLOPS = "flops"
"""Note in an ONNX file: the operations that one row takes."""


def has_runtime() -> bool:
    """Whether ONNX Runtime is installed; it is not imported for that."""
    return find_spec("onnxruntime") is not None


class OnnxModel:
    """A model that ONNX Runtime answers for; see :class:`~churnlib.models.fitted.FittedModel`.

    Args:
        content: An ONNX file, as :func:`~churnlib.models.onnx.writing.to_onnx` writes it.
        original: Reads the model that the file was made from.
        threads: Processor threads of one call. With one, a row's answer is the same to the last bit whichever rows it
            comes with.

    Raises:
        MissingPackageError: If ONNX Runtime is not installed.
        ValueError: If the content is no such file.
    """

    def __init__(self, content: bytes, *, original: Callable[[], FittedModel], threads: int = 1) -> None:
        self._original = original
        self._model: FittedModel | None = None
        self._session = _session(content, threads)
        if [one.name for one in self._session.get_inputs()] != ["numeric", "codes"]:
            raise ValueError("model.onnx reads other inputs than numeric and codes; train again")

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits, float32."""
        rows = {"numeric": np.ascontiguousarray(numeric), "codes": np.ascontiguousarray(codes)}
        return self._session.run(["logits"], rows)[0]

    @property
    def flops(self) -> int | None:
        """Operations that one row takes, see :mod:`churnlib.models.onnx.work`; None in files of earlier releases."""
        noted = self._session.get_modelmeta().custom_metadata_map.get(FLOPS)
        return None if noted is None else int(noted)

    def original(self) -> FittedModel:
        """Return the model that the file was made from; read from the bundle when first asked for."""
        if self._model is None:
            self._model = self._original()
        return self._model

    def keep(self) -> Kept:
        """Write the original model down."""
        return self.original().keep()


def original(model: FittedModel) -> FittedModel:
    """Return a model as it was trained, whatever answers for it."""
    return model.original() if isinstance(model, OnnxModel) else model


def _session(content: bytes, threads: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingPackageError(
            "backend=onnx needs ONNX Runtime, which is not installed; add it with: pip install 'churnlib[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime's own kinds, which share no base
        raise ValueError(f"ONNX Runtime cannot read model.onnx ({str(error).splitlines()[0]})") from error
