"""Writing a bundle's model for other programs, and asking what was written whether it answers alike.

Each format is a function that writes to a path and returns the model that reads it back.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from churnlib.calibration import Platt, Temperature
from churnlib.errors import ConfigError
from churnlib.exporting.onnx import TOLERANCE, exported, golden_rows
from churnlib.models.fitted import FittedModel
from churnlib.models.onnx.graph import CannotExport
from churnlib.models.onnx.running import OnnxModel, original

if TYPE_CHECKING:
    from churnlib.bundle import Bundle

INT8 = "onnx_int8"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written.

    Attributes:
        path: The file, or the folder of a Triton repository.
        bytes: Size of all of it.
        difference: Largest difference of a golden row's probability to the model's own.
        divergence: Mean rise of the log loss, in nats, if the model's own probabilities were the truth.
    """

    path: Path
    bytes: int
    difference: float
    divergence: float


def export(bundle: Bundle, folder: Path, output: Path, *, kind: str) -> Export:
    """Write a bundle's model for another program, whole or not at all; the bundle stays as it is.

    Args:
        bundle: What to write.
        folder: Where it was read from.
        output: What to write to, outside of that folder; a file is replaced, a folder must not be there yet.
        kind: The format, one of ``FORMATS``.

    Raises:
        ConfigError: If the model has no such form, the path is none to write to, or (unless the format rounds by
            intent) what was written answers otherwise than the model.
        MissingPackageError: If a package that the format needs is not installed.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"output={output} lies in the bundle, which is never changed; choose another place")
    if output.is_dir():
        raise ConfigError(f"output={output} is a folder that exists already; choose another")
    temporary = output.with_name(f".{uuid4().hex[:8]}.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        written = FORMATS[kind](bundle, temporary)
        found = _compared(bundle, written)
        if kind != INT8 and not found[0] <= TOLERANCE:
            raise ConfigError(f"format={kind} would answer differently, by up to {found[0]:.1g}; nothing was written")
        files = [path for path in (temporary, *temporary.rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        temporary.replace(output)
    except CannotExport as error:
        raise ConfigError(f"format={kind}: {error}") from error
    except OSError as error:
        raise ConfigError(f"output={output} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if temporary.is_file():
            temporary.unlink()
    return Export(output, size, *found)


def _compared(bundle: Bundle, written: FittedModel) -> tuple[float, float]:
    """Return the largest difference of a probability, and the mean divergence."""
    rows = golden_rows(bundle)
    own, other = (
        bundle.calibration.probabilities(one.logits(rows.numeric, rows.codes))
        for one in (original(bundle.model), written)
    )
    shares, guesses = (one if one.ndim == 2 else np.stack([one, 1 - one], axis=1) for one in (own, other))
    smallest = np.finfo(np.float64).tiny
    logs = np.log(np.maximum(shares, smallest)) - np.log(np.maximum(guesses, smallest))
    return float(np.abs(own - other).max(initial=0.0)), float((shares * logs).sum(axis=1).mean())


# --- ONNX -----------------------------------------------------------------------------------------------------------


def _onnx(bundle: Bundle, path: Path) -> FittedModel:
    return _read_onnx(bundle, _onnx_file(bundle, path))


def _onnx_int8(bundle: Bundle, path: Path) -> FittedModel:
    """Weights of matrix products in 8 bits, activations as they come (ONNX Runtime's dynamic quantisation)."""
    _read_onnx(bundle, _onnx_file(bundle, path))  # says so if ONNX Runtime is not installed
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # its advice to prepare the graph, of which little is left to prepare
    try:
        quantize_dynamic(path, path, weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)
    if b"DynamicQuantizeLinear" not in path.read_bytes():  # the operator's name stands in the file as it is
        raise CannotExport("it has no products of matrices that 8 bits would make smaller; export format=onnx")
    return _read_onnx(bundle, path)


def _onnx_file(bundle: Bundle, path: Path) -> Path:
    path.write_bytes(bundle.onnx or exported(bundle))
    return path


def _triton(bundle: Bundle, path: Path) -> FittedModel:
    """``MODEL/config.pbtxt`` and ``MODEL/1/model.onnx``, as Triton's model repositories are laid out."""
    model = path / bundle.name
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(_triton_config(bundle), encoding="utf-8")
    return _onnx(bundle, model / "1" / "model.onnx")


def _formula(bundle: Bundle) -> str:
    """Say how a probability comes from logits, as comments of two lines."""
    calibration = bundle.calibration
    if isinstance(calibration, Temperature):
        said = f"logits / {calibration.temperature!r}"
    elif isinstance(calibration, Platt):
        shift = calibration.shift[0] if len(calibration.shift) == 1 else list(calibration.shift)
        said = f"{calibration.slope!r} * logits + {shift!r}"
    elif bundle.hazards is not None:
        said = "sigmoid(logits); survival is the product of 1 - hazard."
        return f"The hazard of each interval (decision.json: breaks) is\n# {said}"
    else:
        return f"A probability is what the bundle's\n# decision.json says of them: calibration={calibration.method}."
    return f"A probability is sigmoid({said}),\n# with more than two classes softmax({said})."


def _triton_config(bundle: Bundle) -> str:
    spec, n_outputs = bundle.preparation.input_spec(), bundle.n_outputs
    # Triton knows no output without dimensions beside the batch; the reshape takes the one that it asks for off again.
    logits = "dims: [ 1 ] reshape: { shape: [ ] }" if n_outputs == 1 else f"dims: [ {n_outputs} ]"
    return f"""\
# {bundle.name} {bundle.version}: encoded rows to logits. {_formula(bundle)}
name: "{bundle.name}"
platform: "onnxruntime_onnx"
max_batch_size: 4096
input [
  {{ name: "numeric" data_type: TYPE_FP32 dims: [ {len(spec["fill"])} ] }},
  {{ name: "codes" data_type: TYPE_INT64 dims: [ {len(spec["cardinalities"])} ] }}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 {logits} }}
]
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
"""


def _read_onnx(bundle: Bundle, path: Path) -> FittedModel:
    return OnnxModel(path.read_bytes(), original=lambda: bundle.model)


# --- PyTorch --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Function:
    """A function from tensors to logits, as a model that answers."""

    function: Callable[..., Any]

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.function(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()

    def keep(self) -> Any:
        raise TypeError("an exported model is not kept in a bundle")


def _torch_export(bundle: Bundle, path: Path) -> FittedModel:
    import torch

    network, examples = _network(bundle, "torch_export")
    rows = {0: torch.export.Dim("batch", min=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of its deprecated parts
        program = torch.export.export(network, examples, dynamic_shapes=(rows, rows), strict=False)
        archive = BytesIO()  # PyTorch complains about files that are not called .pt2
        torch.export.save(program, archive)
        path.write_bytes(archive.getvalue())
        return _Function(torch.export.load(BytesIO(path.read_bytes())).module())


def _torchscript(bundle: Bundle, path: Path) -> FittedModel:
    import torch

    network, examples = _network(bundle, "torchscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, which the command says itself
        script = torch.jit.trace(network, examples, check_trace=False)  # pyright: ignore[reportPrivateImportUsage]
        torch.jit.save(torch.jit.freeze(script), str(path))  # pyright: ignore[reportPrivateImportUsage]
        return _Function(torch.jit.load(str(path)))  # pyright: ignore[reportPrivateImportUsage]


def _network(bundle: Bundle, kind: str) -> tuple[Any, tuple[Any, Any]]:
    """Return a network with rows to trace it by: the golden ones, at least two."""
    import torch

    from churnlib.exporting.together import as_network

    model = original(bundle.model)
    network = as_network(model)
    if network is None:
        raise ConfigError(
            f"format={kind} is for networks, one or several together, and this bundle's {type(model).__name__} is none "
            "or holds others; take format=onnx, which holds any model"
        )
    rows = golden_rows(bundle)
    return network, (torch.from_numpy(rows.numeric), torch.from_numpy(rows.codes))


FORMATS: dict[str, Callable[[Bundle, Path], FittedModel]] = {
    "onnx": _onnx,
    INT8: _onnx_int8,
    "torch_export": _torch_export,
    "torchscript": _torchscript,
    "triton": _triton,
}
"""By name, what writes the format and reads it back."""
